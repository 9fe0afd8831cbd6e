"""Layer normalization in C, `cpu.c` beside this file; RMS normalization uses it, too.

Moments are exact at any mean. A row that fits into the cache is read from memory once, forward and
backward; a longer one twice. Weight and bias stay in their own order. Results do not depend on the
number of threads.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._layout import memory_format_of
from counterpoise.kernels._norm import gradients, gradients_by_formula, normalized
from counterpoise.kernels.compiled import prototype
from counterpoise.kernels.dispatch import apply_without_functorch, has_memory, wants_gradient
from counterpoise.kernels.layer_norm import reference

_FORWARD: Any = prototype("layer_norm_forward", "pppppiiiidiii")
_BACKWARD: Any = prototype("layer_norm_backward", "pppppppiiiiiii")

Shape = tuple[int, ...]


def layer_norm(
    x: Tensor, normalized_shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Layer normalization in the memory layout of x, for tensors that `_norm.unfit` accepts."""
    return normalize_rows(x, normalized_shape, weight, bias, eps, True, reference.layer_norm)


def layer_norm_2d(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer normalization over the channels of each pixel, in the memory layout of x."""
    pixels = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    y = layer_norm(pixels, x.shape[1:2], weight, bias, eps).permute(0, 3, 1, 2)
    return y.contiguous(memory_format=memory_format_of(x))


def normalize_rows(
    x: Tensor,
    shape: Shape,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    centred: bool,
    formula: Callable[..., Tensor],
) -> Tensor:
    """Normalization over the last axes; the formula is for gradients of gradients."""
    if wants_gradient(x, weight, bias):
        return _apply(x, shape, weight, bias, eps, centred, formula)
    return _forward(x, shape, weight, bias, eps, centred)[0]


def _forward(
    x: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float, centred: bool
) -> tuple[Tensor, Tensor]:
    """Return y in the layout of x, and for each row (mean, 1/sqrt(var + eps))."""
    rows, *sizes = _sizes(x, shape)
    stats = torch.empty(rows, 2, dtype=torch.float64)
    dense = x.contiguous(memory_format=_memory_of(x, shape))
    y = normalized(_FORWARD, dense, weight, bias, stats, (rows, *sizes, centred), eps)
    return y.contiguous(memory_format=memory_format_of(x)), stats


def _memory_of(x: Tensor, shape: Shape) -> torch.memory_format:
    """Return the layout that is computed in: of x, where its rows are whole samples."""
    return memory_format_of(x) if x.shape[1:] == shape else torch.contiguous_format


def _sizes(x: Tensor, shape: Shape) -> Shape:
    """Return rows, channels and pixels in the order of memory; contiguous rows are one channel."""
    numbers = math.prod(shape)
    channels = 1 if _memory_of(x, shape) is torch.contiguous_format else shape[0]
    return x.numel() // numbers, channels, numbers // channels


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shape: Shape,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        centred: bool,
        formula: Callable[..., Tensor],
    ) -> Tensor:
        y, stats = _forward(x, shape, weight, bias, eps, centred)
        ctx.shape, ctx.eps, ctx.centred, ctx.formula = shape, eps, centred, formula
        ctx.save_for_backward(x, weight, bias, stats)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """By cpu.c; by the formula where the gradient is to be differentiated."""
        x, weight, bias, stats = ctx.saved_tensors
        if torch.is_grad_enabled() or not has_memory(grads[0]):
            dx, dweight, dbias = gradients_by_formula(
                lambda x, *own: ctx.formula(x, ctx.shape, *own, ctx.eps), grads[0], x, weight, bias
            )
        else:
            sizes, memory = (*_sizes(x, ctx.shape), ctx.centred), _memory_of(x, ctx.shape)
            x = x.contiguous(memory_format=memory)
            grad = grads[0].contiguous(memory_format=memory)
            of_x, _, of_weight, of_bias, *_ = ctx.needs_input_grad
            wanted = (of_x, of_weight, of_bias)
            dx, dweight, dbias = gradients(_BACKWARD, grad, x, weight, bias, stats, sizes, wanted)
        return dx, None, dweight, dbias, None, None, None


_apply = apply_without_functorch(_Rows)
