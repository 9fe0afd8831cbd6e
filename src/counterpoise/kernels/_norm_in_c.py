"""What group and layer normalization in C share: what they take, and how they are called."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from counterpoise.kernels import _compiled
from counterpoise.kernels._backend import asked
from counterpoise.kernels._compiled import address
from counterpoise.kernels._eager import plain_eager

DTYPES = (torch.float32, torch.bfloat16)


def may_take(x: Tensor) -> bool:
    """True for an ordinary tensor on a CPU, where there was a compiler and no backend is asked for.

    What is empty is for others. The layout is for the caller to ask.
    """
    return (
        _compiled.LIBRARY is not None
        and type(x) is Tensor
        and x.is_cpu
        and x.dtype in DTYPES
        and plain_eager()
        and asked() is None
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)  # kept from a transform
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


def normalized(
    kernel: Any,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    sizes: tuple[int, ...],
    eps: float,
) -> Tensor:
    """Return y in the layout of x; writes the means and 1/sqrt(var + eps) into `stats`."""
    y = torch.empty_like(x)
    places = x.data_ptr(), address(weight), address(bias), y.data_ptr(), stats.data_ptr()
    if kernel(*places, *sizes, eps, *_halves(x, weight, bias), torch.get_num_threads()):
        raise MemoryError("no memory for a norm's scratch")
    return y


def gradients(
    kernel: Any,
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    sizes: tuple[int, ...],
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return those of x, weight and bias that are wanted."""
    dx = torch.empty_like(x) if wanted[0] else None
    dweight = torch.empty_like(weight) if weight is not None and wanted[1] else None
    dbias = torch.empty_like(bias) if bias is not None and wanted[2] else None
    places = grad.data_ptr(), x.data_ptr(), address(weight), stats.data_ptr()
    into = address(dx), address(dweight), address(dbias)
    if kernel(*places, *into, *sizes, *_halves(x, weight, bias), torch.get_num_threads()):
        raise MemoryError("no memory for the gradient of a norm")
    return dx, dweight, dbias


def _halves(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[bool, bool]:
    """Whether x, and whether weight and bias, have their numbers in bfloat16."""
    own = bias if weight is None else weight
    return x.dtype is torch.bfloat16, own is not None and own.dtype is torch.bfloat16
