"""Root-mean-square normalization: torch's kernel, for `channels_last` on a view."""

import math
from functools import partial

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import by_formula, reference_asked
from counterpoise.kernels._eager import matching, without_gaps
from counterpoise.kernels._half_precision import HALF, Gradients, right_gradients, sums_in_half
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
        norm = _in_half if x.dtype in HALF else torch.rms_norm
        return norm(x, normalized_shape, weight, eps)
    x = without_gaps(x)
    taken = way(x, normalized_shape)[0]
    if taken == "reference":
        return by_formula(reference, x, normalized_shape, weight, eps)
    norm = partial(_in_half if x.dtype in HALF else F.rms_norm, eps=eps)
    return by_way(taken, norm, x, normalized_shape, weight)


def _in_half(
    x: torch.Tensor, shape: tuple[int, ...], weight: torch.Tensor | None, eps: float | None
) -> torch.Tensor:
    """torch's operators, in half precision, with gradients that are rounded once."""
    if not sums_in_half(x, weight, None):
        return torch.rms_norm(x, shape, weight, eps)
    small = torch.finfo(torch.float32).eps if eps is None else eps
    return right_gradients(
        lambda x, weight, _: torch.rms_norm(x, shape, weight, small),
        partial(_gradients, shape, small),
        x.dim() - len(shape),
        x,
        weight,
        None,
    )


def _gradients(
    shape: tuple[int, ...],
    eps: float,
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    _: tuple[bool, bool, bool],
) -> Gradients:
    """With z = x / rms: (grad * weight - z * mean(grad * weight * z)) / rms and sum(grad * z)."""
    grad, x = (t.view(-1, math.prod(shape)) for t in (grad, x))
    rstd = (x.square().mean(1, keepdim=True) + eps).rsqrt()
    z = x * rstd
    by_z = grad * z
    dweight = by_z.sum(0).view(shape)
    if weight is not None:
        grad, by_z = grad * weight.flatten(), by_z * weight.flatten()
    return (grad - z * by_z.mean(1, keepdim=True)) * rstd, dweight, None
