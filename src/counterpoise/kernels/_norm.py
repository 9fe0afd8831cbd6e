"""Shared by the norms: the tensors that their kernels in C take, and the calls of those.

A kernel reads its numbers in the order of memory, and its results do not depend on the number of
threads. Gradients that are to be differentiated come from the reference formula.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from counterpoise.kernels import compiled
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.compiled import address
from counterpoise.kernels.dispatch import (
    apply_without_functorch,
    has_memory,
    plain_eager,
    wants_gradient,
)

DTYPES = (torch.float32, torch.bfloat16)
SMALL = 2**20  # numbers
WHY_SMALL = "torch's kernel is quicker for fewer than 2**20 numbers; inexact at large means"


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


class Norm(NamedTuple):
    """A normalization of one tensor in C."""

    forward: Any  # the functions in C
    backward: Any
    memory: torch.memory_format  # in which the tensor is read and its output written
    means: int
    sizes: tuple[int, ...]  # the functions' own
    eps: float
    formula: Callable[..., Tensor]  # of x, weight and bias


def normalize(norm: Norm, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Normalize tensors that `unfit` accepts, and return y in the layout `norm.memory`."""
    if wants_gradient(x, weight, bias):
        return _apply(norm, x, weight, bias)
    return _forward(norm, x, weight, bias)[0]


def _forward(
    norm: Norm, x: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return y, and each mean with its 1/sqrt(var + eps)."""
    x = x.contiguous(memory_format=norm.memory)
    weight = None if weight is None else weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    y, stats = torch.empty_like(x), torch.empty(norm.means, 2, dtype=torch.float64)
    addresses = x.data_ptr(), address(weight), address(bias), y.data_ptr(), stats.data_ptr()
    low, threads = _in_bfloat16(x, weight, bias), torch.get_num_threads()
    if norm.forward(*addresses, *norm.sizes, norm.eps, *low, threads):
        raise MemoryError("no memory for a norm's scratch")
    return y, stats


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, norm: Norm, x: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        y, stats = _forward(norm, x, weight, bias)
        ctx.norm = norm
        ctx.save_for_backward(x, weight, bias, stats)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """In C; by the formula where a gradient is differentiated, or several come at once."""
        x, weight, bias, stats = ctx.saved_tensors
        if not torch.is_grad_enabled() and has_memory(grads[0]):
            wanted = ctx.needs_input_grad[1:]
            return None, *_gradients(ctx.norm, grads[0], x, weight, bias, stats, wanted)
        learned = [t is not None and t.requires_grad for t in (x, weight, bias)]
        inputs = list(itertools.compress((x, weight, bias), learned))
        with torch.enable_grad():
            y = ctx.norm.formula(x, weight, bias)
            found = iter(torch.autograd.grad(y, inputs, grads[0], create_graph=True))
        return None, *(next(found) if learns else None for learns in learned)


_apply = apply_without_functorch(_Norm)


def _gradients(
    norm: Norm,
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    stats: Tensor,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return those of x, weight and bias that are wanted."""
    x, grad = (t.contiguous(memory_format=norm.memory) for t in (x, grad))
    weight = None if weight is None else weight.contiguous()
    dx = torch.empty_like(x) if wanted[0] else None
    dweight = torch.empty_like(weight) if weight is not None and wanted[1] else None
    dbias = None
    if bias is not None and wanted[2]:
        dbias = torch.empty_like(bias, memory_format=torch.contiguous_format)
    addresses = grad.data_ptr(), x.data_ptr(), address(weight), stats.data_ptr()
    into = address(dx), address(dweight), address(dbias)
    low, threads = _in_bfloat16(x, weight, bias), torch.get_num_threads()
    if norm.backward(*addresses, *into, *norm.sizes, *low, threads):
        raise MemoryError("no memory for the gradient of a norm")
    return dx, dweight, dbias


def _in_bfloat16(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[bool, bool]:
    """Return whether x, and whether weight and bias, have their numbers in bfloat16."""
    own = bias if weight is None else weight
    return x.dtype is torch.bfloat16, own is not None and own.dtype is torch.bfloat16
