"""Root-mean-square normalization: `choose` decides which implementation a tensor gets, and why."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels import _norm
from counterpoise.kernels.rms_norm import cpu, eager, reference

_FUNCTIONS = reference.rms_norm, eager.rms_norm, cpu.rms_norm


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
    x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if x.shape[x.dim() - len(normalized_shape) :] != normalized_shape:
        return eager.rms_norm, "torch refuses what has other last axes"
    return _norm.choose(_FUNCTIONS, x, normalized_shape, weight, None)
