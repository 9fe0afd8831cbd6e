"""Group normalization: `choose` decides which implementation a tensor gets, and says why."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels._norm import WHY_SMALL, small, unfit
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.group_norm import cpu, eager, reference


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
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if forced_backend() == "reference":
        return reference.group_norm, "asked for by norms.backend"
    if small(x):
        return eager.group_norm, WHY_SMALL
    reason = unfit(x, x.shape[1:2], weight, bias)
    if reason is not None:
        return eager.group_norm, reason
    if num_groups < 1 or x.shape[1] % num_groups:
        return eager.group_norm, "torch refuses groups that do not divide the channels"
    return cpu.group_norm, "ours in C, exact at any mean, in the memory layout of the input"
