"""Root-mean-square normalization: torch's kernel, for `channels_last` on a view."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import is_channels_last


def rms_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    """RMS normalization over the last axes; the memory layout of `x` is kept.

    As for layer normalization: a mean over all of (C, H, W) is the same in any order.
    """
    if len(normalized_shape) == 3 and is_channels_last(x) and not x.is_contiguous():
        c, h, w = normalized_shape
        moved = None if weight is None else weight.permute(1, 2, 0)
        return F.rms_norm(x.permute(0, 2, 3, 1), (h, w, c), moved, eps).permute(0, 3, 1, 2)
    return F.rms_norm(x, normalized_shape, weight, eps)
