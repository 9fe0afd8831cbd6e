"""Conditions for a hand-written autograd function; the only file with names private to torch.

Private torch, each with what happens in a version that lacks it:

- `torch._C._are_functorch_transforms_active`, `torch._C._len_torch_dispatch_stack` and
  `forward_ad._current_level`: within torch.func, dispatch modes and forward-mode AD our functions
  have no rules, and nothing public tells. Without one of them `plain_eager` is always False, so no
  kernel runs and torch's operators do all the work.
- the `apply` of `torch.autograd.Function`'s base class, see `apply_without_functorch`. Without it
  the public one, which is slower.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

_functorch_active: Any = getattr(torch._C, "_are_functorch_transforms_active", None)
_dispatch_modes: Any = getattr(torch._C, "_len_torch_dispatch_stack", None)
_COMPLETE = None not in (_functorch_active, _dispatch_modes, vars(forward_ad).get("_current_level"))


def plain_eager() -> bool:
    """Return True outside torch.compile, traces, torch.func, forward-mode AD and dispatch modes.

    Our autograd functions have rules for reverse mode on ordinary tensors alone; everywhere else
    (fake tensors and make_fx are dispatch modes) torch's operators have all of them.
    """
    return not (
        torch.compiler.is_compiling()
        or not _COMPLETE
        or torch.jit.is_tracing()
        or _functorch_active()
        or forward_ad._current_level >= 0
        or _dispatch_modes()
    )


def functorch_active() -> bool:
    """Return True within a torch.func transform; False under torch.compile, which hides it."""
    return not torch.compiler.is_compiling() and _COMPLETE and _functorch_active()


def apply_without_functorch(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Return `function.apply` without its work for torch.func, where `plain_eager` is False anyway.

    Of the 130 microseconds that small norms take forward and backward, it is 5.
    """
    base: Any = super(torch.autograd.Function, function)
    return getattr(base, "apply", function.apply)  # type: ignore[no-any-return]


def wants_gradient(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> bool:
    """Return True when autograd is to record computations on these tensors."""
    return torch.is_grad_enabled() and (
        x.requires_grad
        or (weight is not None and weight.requires_grad)
        or (bias is not None and bias.requires_grad)
    )


def autocasting(x: torch.Tensor) -> bool:
    """Return True within a `torch.autocast` for x's device; devices without it (meta): False."""
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def has_memory(x: torch.Tensor) -> bool:
    """Return True when the numbers of `x` lie in its memory as they are.

    Not so for batches of gradients (`is_grads_batched`), tensors kept from a torch.func transform,
    zeros without memory and signs that are yet to be changed.
    """
    try:
        return not x.is_neg() and (x.data_ptr() != 0 or not x.numel())
    except RuntimeError:  # a wrapper's storage
        return False


def addressable(x: torch.Tensor) -> bool:
    """Return True for a plain tensor whose numbers lie in this process's memory as they are."""
    plain = type(x) is torch.Tensor or type(x) is torch.nn.Parameter
    return plain and x.is_cpu and has_memory(x)


def readable(x: torch.Tensor) -> bool:
    """Return True where the values of a tensor can be looked at without waiting for a device."""
    return plain_eager() and addressable(x)
