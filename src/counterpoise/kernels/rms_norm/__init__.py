"""Root-mean-square normalization: torch's kernel, for `channels_last` on a view."""

from functools import partial

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import by_formula, reference_asked
from counterpoise.kernels._eager import matching, without_gaps
from counterpoise.kernels._last_axes import by_way, way
from counterpoise.kernels.rms_norm.reference import rms_norm as reference

__all__ = ["rms_norm", "way"]


def rms_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    """RMS normalization over the last axes; the memory layout of `x` is kept."""
    weight, _ = matching(x, weight, None)
    if x.is_contiguous() and not reference_asked():  # as `way` says, sooner
        return torch.rms_norm(x, normalized_shape, weight, eps)
    x = without_gaps(x)
    taken = way(x, normalized_shape)[0]
    if taken == "reference":
        return by_formula(reference, x, normalized_shape, weight, eps)
    norm = partial(F.rms_norm, eps=eps)
    return by_way(taken, norm, x, normalized_shape, weight)
