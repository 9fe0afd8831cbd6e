"""Layer normalization over all of (C, H, W), or (C, D, H, W), of `channels_last`: channels_last.c.

It reads an image once for its moments, which are exact at any mean, and once for the output; the
gradient likewise. Weight and bias stay in their own order. Results do not depend on the number of
threads.
"""

import math
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._backend import by_formula
from counterpoise.kernels._compiled import address, prototype
from counterpoise.kernels._eager import batched, straight, without_memory
from counterpoise.kernels._layout import channels_last
from counterpoise.kernels._norm_in_c import in_half, may_take_beside
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

    The sizes are those of x as the C code takes them: samples, channels, pixels, dtypes.
    """
    n, c, *pixels = x.shape
    sizes, halves = (n, c, math.prod(pixels)), (in_half(x), in_half(weight, bias))
    y = torch.empty_like(x)
    stats = torch.empty(n, 2, dtype=torch.float64)
    data = x.data_ptr(), address(weight), address(bias), y.data_ptr(), stats.data_ptr()
    if _forward(*data, *sizes, eps, *halves, torch.get_num_threads()):
        raise MemoryError("no memory for layer normalization")
    return y, stats, (*sizes, *halves)


class _LayerNorm(torch.autograd.Function):
    """y = weight * (x - mean) / sqrt(var + eps) + bias."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        """Return y in the layout of x."""
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
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        if x.dim() == 4:  # x too: hooks of saved tensors may have changed it
            x, grad = channels_last(x), channels_last(grad)
        else:
            memory = torch.channels_last_3d
            x, grad = x.contiguous(memory_format=memory), grad.contiguous(memory_format=memory)
        dx = torch.empty_like(x) if of_x else None
        dweight = torch.empty_like(weight) if of_weight else None
        dbias = torch.empty_like(bias) if of_bias else None
        given = grad.data_ptr(), x.data_ptr(), address(weight), stats.data_ptr()
        wanted = address(dx), address(dweight), address(dbias)
        if _backward(*given, *wanted, *ctx.sizes, torch.get_num_threads()):
            raise MemoryError("no memory for the gradient of layer normalization")
        return dx, dweight, dbias, None


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
