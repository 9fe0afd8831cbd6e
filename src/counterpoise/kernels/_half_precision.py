"""Norms in half precision on a CPU, with the gradients that torch's kernels get wrong there.

torch adds up the gradients of weight and bias in the input's dtype: a sum of ones stops growing at
256 in bfloat16, at 2048 in float16. Here every gradient is computed in float64, from what was
given, and rounded once to the dtype of its result: at any number of rows, however much cancels.
The output is torch's. A block of rows at a time is in float64, so the memory beyond the gradients
is some 8 MB, or what one row takes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._eager import (
    batched,
    functorch_active,
    jit_tracing,
    plain_eager,
    straight,
    without_memory,
)

HALF = (torch.bfloat16, torch.float16)
BLOCK = 2**17  # numbers in float64 at once: calls of small operators cost more in smaller ones

Norm = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]  # of x, weight and bias
Backward = Callable[[Tensor, Tensor, Tensor | None, tuple[bool, bool, bool]], Gradients]


def sums_in_half(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """True where torch's kernels would add up a gradient that may be asked for in half precision.

    A graph that is exported or traced is for inference, on what may have no float64.
    """
    if x.dtype not in HALF or x.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    if jit_tracing() or getattr(torch.compiler, "is_exporting", bool)():  # new in torch 2.7
        return False
    learned = any(p is not None and p.requires_grad for p in (weight, bias))
    return learned or functorch_active()


def right_gradients(
    norm: Norm, backward: Backward, axes: int, x: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """`norm(x, weight, bias)`, x in half precision; where `plain_eager` is False, in a wider dtype.

    A row is what the first `axes` axes of x count. `backward(grad, x, weight, wanted)` returns the
    gradients that are wanted for any number of rows, all in float64 and contiguous.
    """
    if plain_eager() and x.numel() and type(x) is Tensor and not _kept_from_a_transform(x):
        return _apply(norm, backward, axes, x, weight, bias)
    return _widened(norm, x, weight, bias)


def centred(rows: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Take the mean from each row, and return its mean and 1 / std as torch's kernels want them.

    Their gradient of weight cancels where a mean is large.
    """
    rows -= rows.mean(1, keepdim=True)
    rstd = (rows.square().mean(1) + eps).rsqrt()
    return torch.zeros_like(rstd), rstd


def _kept_from_a_transform(x: Tensor) -> bool:
    return torch._C._functorch.is_functorch_wrapped_tensor(x)


def _widened(norm: Norm, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """In a compiled graph in float32: not every norm in float64 compiles (torch 2.13)."""
    dtype = torch.float32 if torch.compiler.is_compiling() else torch.float64
    own = (None if p is None else p.to(dtype) for p in (weight, bias))
    return norm(x.to(dtype), *own).to(x.dtype)


class _RightGradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        norm: Norm,
        backward: Backward,
        axes: int,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.norm, ctx.of_rows, ctx.axes = norm, backward, axes
        ctx.save_for_backward(x, weight, bias)
        return norm(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """In blocks of rows; by torch's operators where the gradient is to be differentiated."""
        (grad,) = grads
        tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        if torch.is_grad_enabled() or batched(grad) or without_memory(grad):
            inputs = [t for t, asked in zip(tensors, wanted, strict=True) if asked]
            again = torch.is_grad_enabled()
            with torch.enable_grad():
                y = _widened(ctx.norm, *tensors)
            found = iter(torch.autograd.grad(y, inputs, grad, create_graph=again))
            return None, None, None, *(next(found) if asked else None for asked in wanted)
        return None, None, None, *_in_blocks(ctx.of_rows, ctx.axes, grad, tensors, wanted)


_apply = straight(_RightGradients)


def _in_blocks(
    backward: Backward,
    axes: int,
    grad: Tensor,
    tensors: tuple[Tensor, Tensor | None, Tensor | None],
    wanted: tuple[bool, bool, bool],
) -> list[Tensor | None]:
    x, weight, _ = tensors
    weight = None if weight is None else weight.double()
    dx, sums = torch.empty_like(x), [torch.zeros((), dtype=torch.float64)] * 2
    for grads, rows, into in _blocks(axes + 1, grad[None], x[None], dx[None]):
        here, *parts = backward(_wide(grads), _wide(rows), weight, wanted)
        if here is not None:
            into.copy_(here.view(into.shape))
        sums = [s if part is None else s + part for s, part in zip(sums, parts, strict=True)]
    found = zip((dx, *sums), tensors, wanted, strict=True)
    return [f.to(t.dtype) if t is not None and asked else None for f, t, asked in found]


def _blocks(axes: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Pieces of tensors of one shape, cut along the first axes, of BLOCK numbers about."""
    first = tensors[0]
    many = BLOCK * len(first) // first.numel()
    if many or axes == 1:
        yield from zip(*(t.split(max(many, 1)) for t in tensors), strict=True)
    else:
        for pieces in zip(*(t.unbind() for t in tensors), strict=True):
            yield from _blocks(axes - 1, *pieces)


def _wide(x: Tensor) -> Tensor:
    """In float64 and contiguous; from float16 that is quicker by way of float32."""
    x = x.float() if x.dtype == torch.float16 else x
    return x.to(torch.float64, memory_format=torch.contiguous_format)
