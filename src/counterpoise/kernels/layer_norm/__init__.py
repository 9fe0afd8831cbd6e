"""Layer normalization: `choose` decides which implementation a tensor gets, and says why."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels import _norm
from counterpoise.kernels.layer_norm import cpu, eager, reference

_FUNCTIONS = reference.layer_norm, eager.layer_norm, cpu.layer_norm
_FUNCTIONS_2D = reference.layer_norm_2d, eager.layer_norm_2d, cpu.layer_norm_2d


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
    x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if x.shape[x.dim() - len(normalized_shape) :] != normalized_shape:
        return eager.layer_norm, "torch refuses what has other last axes"
    return _norm.choose(_FUNCTIONS, x, normalized_shape, weight, bias, eager_if_small=True)


def layer_norm_2d(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6
) -> Tensor:
    """Layer normalization over the channels of each pixel; the memory layout of `x` is kept."""
    function, _ = choose_2d(x, weight, bias)
    return function(x, weight, bias, eps)


def choose_2d(
    x: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation of `layer_norm_2d` for these tensors, and the reason."""
    return _norm.choose(_FUNCTIONS_2D, x, x.shape[1:2], weight, bias)
