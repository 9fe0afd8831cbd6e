"""What the dispatchers ask: may a hand-written autograd function run, in which dtype and layout."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad


def plain_eager() -> bool:
    """True outside torch.compile, jit.trace, torch.func, forward-mode AD and dispatch modes.

    Our autograd functions speak only for reverse mode on ordinary tensors; everywhere else (fake
    tensors and make_fx are dispatch modes) torch's own operators know all the rules, so the
    dispatchers fall back to them.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
    )


def straight(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """`function.apply` without what that does for torch.func, where `plain_eager` is False anyway.

    Of the 130 microseconds that small norms take forward and backward, it is 5.
    """
    base: Any = super(torch.autograd.Function, function)
    return base.apply  # type: ignore[no-any-return]


def jit_tracing() -> bool:
    """True within torch.jit.trace, whose graph is for inputs of other layouts and values too."""
    return not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None


def autocasting(x: torch.Tensor) -> bool:
    """True within a `torch.autocast` for x's device; devices without autocast (meta): False."""
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def is_channels_last(x: torch.Tensor) -> bool:
    """True when the memory of an (N, C, H, W) tensor is ordered N, H, W, C.

    Within a torch.func transform, where vmap does not let anybody ask, False.
    """
    if x.dim() != 4 or functorch_active():
        return False
    return x.is_contiguous(memory_format=torch.channels_last)


def is_channels_last_3d(x: torch.Tensor) -> bool:
    """The same for the memory of an (N, C, D, H, W) tensor, ordered N, D, H, W, C."""
    if x.dim() != 5 or functorch_active():
        return False
    return x.is_contiguous(memory_format=torch.channels_last_3d)


def channels_last_of(x: torch.Tensor) -> torch.memory_format | None:
    """Which of the two channels_last formats x has; None for neither and for contiguous tensors."""
    if x.is_contiguous():
        return None
    if is_channels_last(x):
        return torch.channels_last
    return torch.channels_last_3d if is_channels_last_3d(x) else None


def without_gaps(x: torch.Tensor) -> torch.Tensor:
    """`x`, but dense in channels_last where it is a slice of such a tensor, with gaps in it.

    The order of its strides tells, as it tells torch's own layers, which keep that layout too.
    """
    if x.dim() not in (4, 5) or x.is_contiguous():
        return x
    if functorch_active():
        return x
    memory = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    if x.is_contiguous(memory_format=memory) or not _ordered_channels_last(x.shape, x.stride()):
        return x
    return x.contiguous(memory_format=memory)


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


def matching(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Weight and bias in dtypes that torch's kernels take beside x's: x's own, or float32 for half.

    torch refuses the other pairs with a message about the wrong dtype (pytorch#102922).
    """
    own = x.dtype
    if (weight is None or weight.dtype == own) and (bias is None or bias.dtype == own):
        return weight, bias
    dtype = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
    weight, bias = (None if p is None else p.to(dtype) for p in (weight, bias))
    return weight, bias


def batched(grad: torch.Tensor) -> bool:
    """True when several gradients come at once (`is_grads_batched`, vectorized Jacobians)."""
    functorch = torch._C._functorch
    return functorch.is_legacy_batchedtensor(grad) or functorch.is_batchedtensor(grad)


def without_memory(grad: torch.Tensor) -> bool:
    """True where the memory is not the numbers: zeros without any, or signs yet to be changed."""
    return grad._is_zerotensor() or grad.is_neg()


def functorch_active() -> bool:
    """True within a torch.func transform; under torch.compile nobody can ask, False."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def as_channels_last(y: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The memory of `y`, dense and ordered N, H, W, C, as an (N, C, H, W) tensor.

    A view made inside an autograd function may not be changed in place afterwards, and an in-place
    ReLU is what people put behind a conv or a norm; so the result is a tensor of its own.
    """
    n, c, h, w = shape
    return y.new_empty(0).set_(
        y.untyped_storage(), y.storage_offset(), (n, c, h, w), (c * h * w, 1, w * c, c)
    )


# True for a tensor that was kept from a torch.func transform which has ended.
is_wrapped: Callable[[torch.Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor


def readable(x: torch.Tensor) -> bool:
    """True where the values of a tensor can be looked at without waiting for a device."""
    own = type(x) is torch.Tensor or type(x) is torch.nn.Parameter
    return own and x.is_cpu and plain_eager() and not x.is_neg() and not is_wrapped(x)
