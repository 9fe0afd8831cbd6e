"""Group normalization of (N, C, H, W) tensors whose memory is ordered N, H, W, C: channels_last.c.

The forward pass reads an image once for its moments, which are exact at any mean, and once for the
output; the backward pass reads it twice as well. Results do not depend on the number of threads.
"""

from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._compiled import prototype
from counterpoise.kernels._eager import batched, straight, without_memory
from counterpoise.kernels._layout import channels_last
from counterpoise.kernels._norm_in_c import gradients, may_take_beside, normalized
from counterpoise.kernels.group_norm.channels_last import differentiable

_forward: Any = prototype("group_norm_forward", "pppppiiiidiii")
_backward: Any = prototype("group_norm_backward", "pppppppiiiiiii")


def fits(channels: int, groups: int, weight: Tensor | None, bias: Tensor | None) -> bool:
    """True for groups and parameters that belong to so many channels; torch refuses others."""
    return (
        groups > 0
        and not channels % groups
        and may_take_beside(weight, (channels,))
        and may_take_beside(bias, (channels,))
    )


def forward(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Any]:
    """Return y in the layout of x, for each sample and group (mean, 1/sqrt(var + eps)), and sizes.

    The sizes are those of x as the C code takes them: samples, channels, pixels, groups.
    """
    n, c, h, w = x.shape
    sizes, stats = (n, c, h * w, groups), torch.empty(n, groups, 2, dtype=torch.float64)
    return normalized(_forward, x, weight, bias, stats, sizes, eps), stats, sizes


class _GroupNorm(torch.autograd.Function):
    """y = weight * (x - mean) / sqrt(var + eps) + bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        y, stats, ctx.sizes = forward(x, groups, weight, bias, eps)
        ctx.groups, ctx.eps = groups, eps
        ctx.save_for_backward(x, weight, bias, stats)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """By channels_last.c; by the formula where the gradient is to be differentiated."""
        (grad,) = grads
        x, weight, bias, stats = ctx.saved_tensors
        if torch.is_grad_enabled() or batched(grad) or without_memory(grad):
            dx, dweight, dbias = differentiable(ctx, x, weight, bias, grad)
        else:
            x, grad = channels_last(x), channels_last(grad)  # hooks may have changed x, saved
            of_x, _, of_weight, of_bias, _ = ctx.needs_input_grad
            dx, dweight, dbias = gradients(
                _backward, grad, x, weight, bias, stats, ctx.sizes, (of_x, of_weight, of_bias)
            )
        return dx, None, dweight, dbias, None


group_norm = straight(_GroupNorm)
