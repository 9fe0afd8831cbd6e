"""Whether a norm in C may take a tensor: the rule of group and layer normalization."""

import torch
from torch import Tensor
from torch.nn import Parameter

from counterpoise.kernels import _compiled
from counterpoise.kernels._backend import asked
from counterpoise.kernels._eager import plain_eager

DTYPES = (torch.float32, torch.bfloat16)


def may_take(x: Tensor) -> bool:
    """True for an ordinary tensor on a CPU, where there was a compiler and no backend is asked for.

    What is no image, empty or contiguous is for others.
    """
    return (
        type(x) is Tensor
        and x.is_cpu
        and x.dtype in DTYPES
        and _compiled.LIBRARY is not None
        and asked() is None
        and plain_eager()
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)  # kept from a transform
        and not x.is_contiguous()
        and x.numel() > 0
    )


def may_take_beside(p: Tensor | None, shape: tuple[int, ...]) -> bool:
    """True for a weight or bias of a shape, in a dtype that `matching` allows.

    Others torch's operators refuse, or take though their strides are strange.
    """
    if p is None:
        return True
    own = type(p) is Parameter or type(p) is Tensor
    return own and p.is_cpu and p.shape == shape and p.is_contiguous()


def in_half(x: Tensor | None, other: Tensor | None = None) -> bool:
    """Whether the first of the two that there is has its numbers in bfloat16."""
    x = other if x is None else x
    return x is not None and x.dtype == torch.bfloat16
