"""Layer normalization: `choose` decides which implementation a tensor gets, and says why."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels._norm import WHY_SMALL, small, unfit
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.layer_norm import cpu, eager, reference


def layer_norm(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalization over the last axes; the memory layout of `x` is kept."""
    function, _ = choose(x, normalized_shape, weight, bias)
    return function(x, normalized_shape, weight, bias, eps)


def choose(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if forced_backend() == "reference":
        return reference.layer_norm, "asked for by norms.backend"
    if small(x):
        return eager.layer_norm, WHY_SMALL
    reason = unfit(x, normalized_shape, weight, bias)
    if reason is not None:
        return eager.layer_norm, reason
    if x.shape[x.dim() - len(normalized_shape) :] != normalized_shape:
        return eager.layer_norm, "torch refuses what has other last axes"
    return cpu.layer_norm, "ours in C, exact at any mean, in the memory layout of the input"


def layer_norm_2d(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6
) -> Tensor:
    """Layer normalization over the channels of each pixel; the memory layout of `x` is kept."""
    function, _ = choose_2d(x, weight, bias)
    return function(x, weight, bias, eps)


def choose_2d(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation of `layer_norm_2d` for these tensors, and the reason."""
    if forced_backend() == "reference":
        return reference.layer_norm_2d, "asked for by norms.backend"
    reason = unfit(x, x.shape[1:2], weight, bias)
    if reason is not None:
        return eager.layer_norm_2d, reason
    return cpu.layer_norm_2d, "ours in C, exact at any mean, for the channels of each pixel"
