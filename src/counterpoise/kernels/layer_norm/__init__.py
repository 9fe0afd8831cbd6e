"""Layer normalization: torch's kernel, and for `channels_last` the same kernel on a view."""

from functools import partial

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import by_formula, reference_asked
from counterpoise.kernels._eager import channels_last_of, matching, without_gaps
from counterpoise.kernels._last_axes import by_way, way
from counterpoise.kernels.layer_norm.reference import layer_norm as reference

__all__ = ["layer_norm", "layer_norm_2d", "way", "way_2d"]


def layer_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Layer normalization over the last axes; the memory layout of `x` is kept."""
    weight, bias = matching(x, weight, bias)
    if x.is_contiguous() and not reference_asked():  # as `way` says, sooner
        return torch.layer_norm(x, normalized_shape, weight, bias, eps)
    x = without_gaps(x)
    taken = way(x, normalized_shape)[0]
    if taken == "reference":
        return by_formula(reference, x, normalized_shape, weight, bias, eps)
    norm = partial(F.layer_norm, eps=eps)
    return by_way(taken, norm, x, normalized_shape, weight, bias)


def layer_norm_2d(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Layer normalization over the channels of each pixel; the memory layout of `x` is kept."""
    weight, bias = matching(x, weight, bias)
    x = without_gaps(x)
    norm = partial(by_formula, reference) if reference_asked() else F.layer_norm
    y = norm(x.permute(0, 2, 3, 1), x.shape[1:2], weight, bias, eps).permute(0, 3, 1, 2)
    return y if channels_last_of(x) else y.contiguous()


def way_2d(x: torch.Tensor) -> tuple[str, str]:
    """The way of `layer_norm_2d` for a tensor, and the reason."""
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if channels_last_of(x):
        return "view", "a pixel's channels are neighbours in channels_last: torch's kernel"
    return "copies", "torch's kernel between two changes of layout"
