"""Group normalization in C, `cpu.c` beside this file.

The forward pass reads a group once for its moments, which are exact at any mean, and once for the
output; the backward pass reads it twice as well. Results do not depend on the number of threads.
"""

from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._layout import memory_format_of
from counterpoise.kernels._norm import gradients, gradients_by_formula, normalized
from counterpoise.kernels.compiled import prototype
from counterpoise.kernels.dispatch import apply_without_functorch, has_memory, wants_gradient
from counterpoise.kernels.group_norm import reference

_FORWARD: Any = prototype("group_norm_forward", "pppppiiiiidiii")
_BACKWARD: Any = prototype("group_norm_backward", "pppppppiiiiiiii")


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Group normalization in the memory layout of x, for tensors that `_norm.unfit` accepts."""
    if wants_gradient(x, weight, bias):
        return _apply(x, num_groups, weight, bias, eps)
    return _forward(x, num_groups, weight, bias, eps)[0]


def _forward(
    x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Return y, and for each sample and group (mean, 1/sqrt(var + eps))."""
    x = x.contiguous(memory_format=memory_format_of(x))
    stats = torch.empty(len(x), num_groups, 2, dtype=torch.float64)
    return normalized(_FORWARD, x, weight, bias, stats, _sizes(x, num_groups), eps), stats


def _sizes(x: Tensor, num_groups: int) -> tuple[int, ...]:
    """Return samples, channels, pixels, groups, and whether a pixel's channels are neighbours."""
    samples, channels = x.shape[:2]
    pixels = x.numel() // (samples * channels)
    return samples, channels, pixels, num_groups, pixels == 1 or not x.is_contiguous()


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        y, stats = _forward(x, num_groups, weight, bias, eps)
        ctx.num_groups, ctx.eps = num_groups, eps
        ctx.save_for_backward(x, weight, bias, stats)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """By cpu.c; by the formula where the gradient is to be differentiated."""
        x, weight, bias, stats = ctx.saved_tensors
        if torch.is_grad_enabled() or not has_memory(grads[0]):
            dx, dweight, dbias = gradients_by_formula(
                lambda x, *own: reference.group_norm(x, ctx.num_groups, *own, ctx.eps),
                grads[0],
                x,
                weight,
                bias,
            )
        else:
            memory = memory_format_of(x)
            x = x.contiguous(memory_format=memory)
            grad = grads[0].contiguous(memory_format=memory)
            of_x, _, of_weight, of_bias, _ = ctx.needs_input_grad
            sizes, wanted = _sizes(x, ctx.num_groups), (of_x, of_weight, of_bias)
            dx, dweight, dbias = gradients(_BACKWARD, grad, x, weight, bias, stats, sizes, wanted)
        return dx, None, dweight, dbias, None


_apply = apply_without_functorch(_GroupNorm)
