"""Layer normalization over all of (C, H, W), or (C, D, H, W), of `channels_last`: channels_last.c.

The forward pass reads an image once for its moments, which are exact at any mean, and once for the
output; the backward pass reads it twice as well. Weight and bias stay in their own order. Results
do not depend on the number of threads.
"""

import math
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._backend import by_formula
from counterpoise.kernels._compiled import prototype
from counterpoise.kernels._eager import batched, straight, without_memory
from counterpoise.kernels._layout import channels_last
from counterpoise.kernels._norm_in_c import gradients, may_take_beside, normalized
from counterpoise.kernels.layer_norm.reference import layer_norm as reference

_forward: Any = prototype("layer_norm_forward", "pppppiiidiii")
_backward: Any = prototype("layer_norm_backward", "pppppppiiiiii")


def fits(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """True for parameters of an image's shape; torch refuses others."""
    shape = x.shape[1:]
    return may_take_beside(weight, shape) and may_take_beside(bias, shape)


def forward(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Any]:
    """Return y in the layout of x, for each sample (mean, 1/sqrt(var + eps)), and sizes.

    The sizes are those of x as the C code takes them: samples, channels, pixels.
    """
    n, c, *pixels = x.shape
    sizes, stats = (n, c, math.prod(pixels)), torch.empty(n, 2, dtype=torch.float64)
    return normalized(_forward, x, weight, bias, stats, sizes, eps), stats, sizes


class _LayerNorm(torch.autograd.Function):
    """y = weight * (x - mean) / sqrt(var + eps) + bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        y, stats, ctx.sizes = forward(x, weight, bias, eps)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, bias, stats)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """By channels_last.c; by the formula where the gradient is to be differentiated."""
        (grad,) = grads
        x, weight, bias, stats = ctx.saved_tensors
        if torch.is_grad_enabled() or batched(grad) or without_memory(grad):
            return _differentiable(ctx, x, weight, bias, grad)
        if x.dim() == 4:  # x too: hooks of saved tensors may have changed it
            x, grad = channels_last(x), channels_last(grad)
        else:
            memory = torch.channels_last_3d
            x, grad = x.contiguous(memory_format=memory), grad.contiguous(memory_format=memory)
        wanted = ctx.needs_input_grad[:3]
        return *gradients(_backward, grad, x, weight, bias, stats, ctx.sizes, wanted), None


layer_norm = straight(_LayerNorm)


def _differentiable(
    ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, grad: Tensor
) -> tuple[Tensor | None, ...]:
    inputs = [t for t in (x, weight, bias) if t is not None and t.requires_grad]
    with torch.enable_grad():
        y = by_formula(reference, x, x.shape[1:], weight, bias, ctx.eps)
        found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    each = (next(found) if t is not None and t.requires_grad else None for t in (x, weight, bias))
    return (*each, None)
