"""Shared by the norms: the tensors that their kernels in C take, and the calls of those.

A kernel reads its numbers in the order of memory, and its results do not depend on the number of
threads. Gradients that are to be differentiated come from the reference formula.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from counterpoise.kernels import compiled
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.compiled import address
from counterpoise.kernels.dispatch import (
    addressable,
    apply_without_functorch,
    has_memory,
    plain_eager,
    wants_gradient,
)

DTYPES = (torch.float32, torch.bfloat16)
SMALL = 2**20  # numbers

Function = Callable[..., Tensor]


def choose(
    functions: tuple[Function, Function, Function],
    x: Tensor,
    shape: tuple[int, ...],
    weight: Tensor | None,
    bias: Tensor | None,
    eager_if_small: bool = False,
) -> tuple[Function, str]:
    """Return one of a norm's functions (reference, eager, cpu) for these tensors, and the reason.

    Weight and bias are to be of `shape`; those of another torch refuses with its message.
    """
    reference, eager, cpu = functions
    forced = forced_backend()
    if forced in ("reference", "eager"):
        return reference if forced == "reference" else eager, "asked for by norms.backend"
    if eager_if_small and forced is None and _small(x):
        why = "torch's kernel is quicker for fewer than 2**20 numbers; inexact at large means"
        return eager, why
    reason = _unfit(x, shape, weight, bias)
    if reason is not None:
        return eager, reason
    return cpu, "ours in C, exact at any mean, in the memory layout of the input"


def _small(x: Tensor) -> bool:
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
    )


def _unfit(
    x: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None
) -> str | None:
    """Return why the kernels in C cannot take these tensors; None where they can."""
    if not plain_eager():
        return "torch.compile, torch.func, traces and forward-mode AD need torch's operators"
    if compiled.LIBRARY is None:
        return "no kernel in C was compiled when the package was installed"
    if x.dtype not in DTYPES or not addressable(x):
        return "the kernels in C take float32 and bfloat16 tensors on a CPU"
    if not x.numel():
        return "there is nothing to normalize"
    for p in (weight, bias):
        if p is not None and not (p.shape == shape and p.dtype in (torch.float32, x.dtype)):
            return "the kernels in C take weight and bias of float32 or the input's dtype"
        if p is not None and not addressable(p):
            return "weight or bias is not in this process's memory"
    if weight is not None and bias is not None and weight.dtype != bias.dtype:
        return "the kernels in C take weight and bias of one dtype"
    return None


class Norm(NamedTuple):
    """A normalization of one tensor in C."""

    forward: Any  # the functions in C
    backward: Any
    memory: torch.memory_format  # in which the tensor is read and its output written
    means: int
    sizes: tuple[int, ...]  # the functions' own
    eps: float
    formula: Function  # of x, weight and, if there is one, bias


def normalize(norm: Norm, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return y in the layout `norm.memory`, of tensors that `choose` sends to the kernel in C."""
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
        norm, (_, of_x, of_weight, of_bias) = ctx.norm, ctx.needs_input_grad
        if torch.is_grad_enabled() or not has_memory(grads[0]):
            return None, *_by_formula(norm, grads[0], x, weight, bias)
        x, grad = (t.contiguous(memory_format=norm.memory) for t in (x, grads[0]))
        weight = None if weight is None else weight.contiguous()
        dx = torch.empty_like(x) if of_x else None
        dweight = None if weight is None or not of_weight else torch.empty_like(weight)
        dbias = None
        if bias is not None and of_bias:
            dbias = torch.empty_like(bias, memory_format=torch.contiguous_format)
        addresses = grad.data_ptr(), x.data_ptr(), address(weight), stats.data_ptr()
        into = address(dx), address(dweight), address(dbias)
        low, threads = _in_bfloat16(x, weight, bias), torch.get_num_threads()
        if norm.backward(*addresses, *into, *norm.sizes, *low, threads):
            raise MemoryError("no memory for the gradient of a norm")
        return None, dx, dweight, dbias


_apply = apply_without_functorch(_Norm)


def _by_formula(
    norm: Norm, grad: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None
) -> list[Tensor | None]:
    """Return the gradients of x, weight and bias where they are wanted; autograd knows them."""
    parameters = {"weight": weight} | ({} if bias is None else {"bias": bias})
    with torch.enable_grad():
        y = norm.formula(x, **parameters)
        inputs = [t for t in (x, weight, bias) if t is not None and t.requires_grad]
        found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    return [next(found) if t is not None and t.requires_grad else None for t in (x, weight, bias)]


def _in_bfloat16(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[bool, bool]:
    """Return whether x, and whether weight and bias, have their numbers in bfloat16."""
    own = bias if weight is None else weight
    return x.dtype is torch.bfloat16, own is not None and own.dtype is torch.bfloat16
