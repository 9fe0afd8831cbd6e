"""Root-mean-square normalization: `choose` decides which implementation a tensor gets, and why."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels._norm import unfit
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.rms_norm import cpu, eager, reference


def rms_norm(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """RMS normalization over the last axes; the memory layout of `x` is kept."""
    function, _ = choose(x, normalized_shape, weight)
    return function(x, normalized_shape, weight, eps)


def choose(
    x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None = None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if forced_backend() == "reference":
        return reference.rms_norm, "asked for by norms.backend"
    reason = unfit(x, normalized_shape, weight, None)
    if reason is not None:
        return eager.rms_norm, reason
    if x.shape[x.dim() - len(normalized_shape) :] != normalized_shape:
        return eager.rms_norm, "torch refuses what has other last axes"
    return cpu.rms_norm, "ours in C, in one pass over memory, in the memory layout of the input"
