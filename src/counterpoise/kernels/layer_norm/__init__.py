"""Layer normalization: torch's kernel, and for `channels_last` the same kernel on a view."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import is_channels_last


def layer_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Layer normalization over the last axes; the memory layout of `x` is kept.

    The mean over all of (C, H, W) does not depend on the order of its terms: a `channels_last`
    tensor is normalized as the (H, W, C) rows that it is, and only the small weight and bias move.
    torch.nn.LayerNorm copies the whole tensor there and returns it contiguous.
    """
    if len(normalized_shape) == 3 and is_channels_last(x) and not x.is_contiguous():
        c, h, w = normalized_shape
        y = F.layer_norm(x.permute(0, 2, 3, 1), (h, w, c), _moved(weight), _moved(bias), eps)
        return y.permute(0, 3, 1, 2)
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


def _moved(parameter: torch.Tensor | None) -> torch.Tensor | None:
    return None if parameter is None else parameter.permute(1, 2, 0)
