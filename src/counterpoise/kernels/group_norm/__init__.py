"""Group normalization: `choose` decides which implementation a tensor gets, and says why."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels import _norm
from counterpoise.kernels.group_norm import cpu, eager, reference

_FUNCTIONS = reference.group_norm, eager.group_norm, cpu.group_norm


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalization; the memory layout of `x` is kept."""
    function, _ = choose(x, num_groups, weight, bias)
    return function(x, num_groups, weight, bias, eps)


def choose(
    x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if num_groups < 1 or x.shape[1] % num_groups:
        return eager.group_norm, "torch refuses groups that do not divide the channels"
    return _norm.choose(_FUNCTIONS, x, x.shape[1:2], weight, bias, eager_if_small=True)
