"""Memory layouts of (N, C, *) tensors, and the dtype in which a norm is computed."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels.dispatch import functorch_active

HALF = (torch.bfloat16, torch.float16)
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return the format that torch's own layers keep for `x`: a channels_last one, or contiguous.

    The order of the strides tells, for slices with gaps too. Within a torch.func transform, where
    vmap does not let anybody ask, it is contiguous.
    """
    last = _CHANNELS_LAST.get(x.dim())
    if last is None or x.is_contiguous() or functorch_active():
        return torch.contiguous_format
    if x.is_contiguous(memory_format=last) or _ordered_channels_last(x.shape, x.stride()):
        return last
    return torch.contiguous_format


def _ordered_channels_last(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """torch's rule (c10/core/MemoryFormat.h): from channels to samples no stride is too small."""
    if not strides[1]:
        return False
    least = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        ambiguous = axis == 0 and least == strides[1]  # one channel, one pixel
        if not shape[axis] or strides[axis] < least or ambiguous:
            return False
        least = strides[axis] * max(shape[axis], 1)
    return True


def in_float32(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute `norm(x, ...)` in float32 or wider, and return it in the dtype and layout of x."""

    @functools.wraps(norm)
    def call(x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        y = norm(wide, *arguments, **settings).to(x.dtype)
        return y.contiguous(memory_format=memory_format_of(x))

    return call


def by_torch(
    norm: Callable[..., Tensor], x: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Compute `norm(x, weight, bias)` by torch's kernel, and return it in the layout of x.

    Half precision on a CPU is computed in float32, as torch's kernels add up the gradients of
    weight and bias in the input's dtype, where a sum of ones stops growing at 256 or 2048.
    Parameters of another dtype than x become x's, or beside half precision float32: torch refuses
    other pairs with a message about the wrong dtype (pytorch#102922).
    """
    half = x.dtype in HALF
    dtype = torch.float32 if half else x.dtype
    wide = x.to(dtype) if half and x.device.type == "cpu" else x
    if not (_is_of(weight, wide.dtype) and _is_of(bias, wide.dtype)):
        weight, bias = (None if p is None else p.to(dtype) for p in (weight, bias))
    y = norm(wide, weight, bias)
    y = y if wide is x else y.to(x.dtype)
    return y if x.is_contiguous() else y.contiguous(memory_format=memory_format_of(x))


def _is_of(p: Tensor | None, dtype: torch.dtype) -> bool:
    return p is None or p.dtype == dtype
