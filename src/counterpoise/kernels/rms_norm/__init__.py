"""Root-mean-square normalization: torch's kernel, for `channels_last` on a view."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import reference_asked
from counterpoise.kernels._eager import is_channels_last
from counterpoise.kernels.rms_norm.reference import rms_norm as reference


def rms_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    """RMS normalization over the last axes; the memory layout of `x` is kept.

    As for layer normalization: a mean over all of (C, H, W) is the same in any order.
    """
    if x.is_contiguous() and not reference_asked():  # as `way` says, sooner
        return F.rms_norm(x, normalized_shape, weight, eps)
    taken = way(x, normalized_shape)[0]
    if taken == "reference":
        return reference(x, normalized_shape, weight, eps)
    if taken == "view":
        c, h, w = normalized_shape
        moved = None if weight is None else weight.permute(1, 2, 0)
        return F.rms_norm(x.permute(0, 2, 3, 1), (h, w, c), moved, eps).permute(0, 3, 1, 2)
    return F.rms_norm(x, normalized_shape, weight, eps)


def way(x: torch.Tensor, normalized_shape: tuple[int, ...]) -> tuple[str, str]:
    """The way that is taken for a tensor, and the reason."""
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if len(normalized_shape) == 3 and is_channels_last(x) and not x.is_contiguous():
        return "view", "channels_last is normalized as the (H, W, C) rows that it is, uncopied"
    return "native", "torch's kernel"
