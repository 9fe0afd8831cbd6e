"""Whether a norm in C may take a tensor: the rule of group and layer normalization."""

import torch
from torch import Tensor

from counterpoise.kernels import _compiled
from counterpoise.kernels._backend import native_asked
from counterpoise.kernels._eager import plain_eager

DTYPES = (torch.float32, torch.bfloat16)


def may_take(x: Tensor) -> bool:
    """True for an ordinary tensor on a CPU, where there was a compiler and nobody says "native"."""
    return (
        _compiled.LIBRARY is not None
        and x.dtype in DTYPES
        and x.device.type == "cpu"
        and type(x) is Tensor
        and plain_eager()
        and not native_asked()
    )


def may_take_beside(size: int, *own: Tensor | None) -> bool:
    """True for weight and bias of so many numbers, as `matching` gives them; torch refuses others.

    Those of strange strides torch's operators take.
    """
    return all(
        p is None
        or (
            p.numel() == size
            and p.dtype in DTYPES
            and p.device.type == "cpu"
            and type(p) in (Tensor, torch.nn.Parameter)
            and p.is_contiguous()
        )
        for p in own
    )


def in_half(x: Tensor | None, other: Tensor | None = None) -> bool:
    """Whether the first of the two that there is has its numbers in bfloat16."""
    x = other if x is None else x
    return x is not None and x.dtype == torch.bfloat16
