"""Shared by the norms: the tensors that their kernels in C take, and the calls of those."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from counterpoise.kernels import compiled
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.compiled import address
from counterpoise.kernels.dispatch import has_memory, plain_eager

DTYPES = (torch.float32, torch.bfloat16)
SMALL = 2**20  # numbers
WHY_SMALL = "torch's kernel is quicker for fewer than 2**20 numbers; inexact at large means"
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]  # of x, weight and bias


def small(x: Tensor) -> bool:
    """Return True where torch's kernel is taken because it is quicker, though not exact.

    For contiguous float32 tensors that stay in the caches, the kernels in C and the calls around
    them take up to 1.4 times torch's time (benchmarks/results/norms_exactness.md).
    """
    return (
        x.is_contiguous()
        and x.dtype is torch.float32
        and x.is_cpu
        and plain_eager()  # in a graph the size is not to be looked at
        and x.numel() < SMALL
        and forced_backend() is None
    )


def unfit(
    x: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None
) -> str | None:
    """Return why the kernels in C cannot take these tensors; None where they can.

    Weight and bias have a shape to be of; what has another one, torch refuses with its message.
    """
    if forced_backend() == "eager":
        return "asked for by norms.backend"
    if not plain_eager():
        return "torch.compile, torch.func, traces and forward-mode AD need torch's operators"
    if compiled.LIBRARY is None:
        return "no kernel in C was compiled when the package was installed"
    if x.dtype not in DTYPES or not _plain(x):
        return "the kernels in C take float32 and bfloat16 tensors on a CPU"
    if not x.numel():
        return "there is nothing to normalize"
    for p in (weight, bias):
        if p is not None and not (p.shape == shape and p.dtype in (torch.float32, x.dtype)):
            return "the kernels in C take weight and bias of float32 or the input's dtype"
        if p is not None and not _plain(p):
            return "weight or bias is not in this process's memory"
    if weight is not None and bias is not None and weight.dtype != bias.dtype:
        return "the kernels in C take weight and bias of one dtype"
    return None


def _plain(x: Tensor) -> bool:
    return (type(x) is Tensor or type(x) is Parameter) and x.is_cpu and has_memory(x)


def normalized(
    kernel: Any,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    sizes: tuple[int, ...],
    eps: float,
) -> Tensor:
    """Return y in the layout of x, which is dense; fill `stats`: mean, 1/sqrt(var + eps)."""
    weight = None if weight is None else weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    y = torch.empty_like(x)
    addresses = x.data_ptr(), address(weight), address(bias), y.data_ptr(), stats.data_ptr()
    if kernel(*addresses, *sizes, eps, *_in_bfloat16(x, weight, bias), torch.get_num_threads()):
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
) -> Gradients:
    """Return those of x, weight and bias that are wanted; x is dense, and `grad` in its layout."""
    weight = None if weight is None else weight.contiguous()
    dx = torch.empty_like(x) if wanted[0] else None
    dweight = torch.empty_like(weight) if weight is not None and wanted[1] else None
    dbias = None
    if bias is not None and wanted[2]:
        dbias = torch.empty_like(bias, memory_format=torch.contiguous_format)
    addresses = grad.data_ptr(), x.data_ptr(), address(weight), stats.data_ptr()
    into = address(dx), address(dweight), address(dbias)
    if kernel(*addresses, *into, *sizes, *_in_bfloat16(x, weight, bias), torch.get_num_threads()):
        raise MemoryError("no memory for the gradient of a norm")
    return dx, dweight, dbias


def _in_bfloat16(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[bool, bool]:
    """Return whether x, and whether weight and bias, have their numbers in bfloat16."""
    own = bias if weight is None else weight
    return x.dtype is torch.bfloat16, own is not None and own.dtype is torch.bfloat16


def gradients_by_formula(
    norm: Callable[..., Tensor],
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
) -> Gradients:
    """Return those of x, weight and bias that are wanted, by operators that autograd knows.

    For gradients that are to be differentiated, or that come several at once.
    """
    tensors = (x, weight, bias)
    inputs = [t for t in tensors if t is not None and t.requires_grad]
    with torch.enable_grad():
        found = iter(torch.autograd.grad(norm(x, weight, bias), inputs, grad, create_graph=True))
    of_x, of_weight, of_bias = (
        next(found) if t is not None and t.requires_grad else None for t in tensors
    )
    return of_x, of_weight, of_bias
