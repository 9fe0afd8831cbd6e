"""Layer normalization: torch's kernel, and for `channels_last` the same kernel on a view."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import reference_asked
from counterpoise.kernels._eager import is_channels_last
from counterpoise.kernels.layer_norm.reference import layer_norm as reference


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
    if x.is_contiguous() and not reference_asked():  # as `way` says, sooner
        return F.layer_norm(x, normalized_shape, weight, bias, eps)
    taken = way(x, normalized_shape)[0]
    if taken == "reference":
        return reference(x, normalized_shape, weight, bias, eps)
    if taken == "view":
        c, h, w = normalized_shape
        y = F.layer_norm(x.permute(0, 2, 3, 1), (h, w, c), _moved(weight), _moved(bias), eps)
        return y.permute(0, 3, 1, 2)
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


def way(x: torch.Tensor, normalized_shape: tuple[int, ...]) -> tuple[str, str]:
    """The way that is taken for a tensor, and the reason."""
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if len(normalized_shape) == 3 and is_channels_last(x) and not x.is_contiguous():
        return "view", "channels_last is normalized as the (H, W, C) rows that it is, uncopied"
    return "native", "torch's kernel"


def _moved(parameter: torch.Tensor | None) -> torch.Tensor | None:
    return None if parameter is None else parameter.permute(1, 2, 0)
