"""Layer normalization: torch's kernel; for `channels_last` ours, or torch's on a view."""

import math
from collections.abc import Callable
from functools import partial

import torch

from counterpoise.kernels import _last_axes
from counterpoise.kernels._backend import by_formula, reference_asked
from counterpoise.kernels._eager import channels_last_of, matching, without_gaps
from counterpoise.kernels._half_precision import (
    HALF,
    Gradients,
    centred,
    right_gradients,
    sums_in_half,
)
from counterpoise.kernels._last_axes import by_way
from counterpoise.kernels._norm_in_c import may_take
from counterpoise.kernels.layer_norm import compiled
from counterpoise.kernels.layer_norm.reference import layer_norm as reference

_native_backward = torch.ops.aten.native_layer_norm_backward.default

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
        norm = _in_half if x.dtype in HALF else torch.layer_norm
        return norm(x, normalized_shape, weight, bias, eps)
    by_c = _by_c(x, normalized_shape)
    if not by_c:
        x = without_gaps(x)
        by_c = _by_c(x, normalized_shape)
    if by_c and compiled.fits(x, weight, bias):
        if torch.is_grad_enabled():
            return compiled.layer_norm(x, weight, bias, eps)
        return compiled.forward(x, weight, bias, eps)[0]
    taken = _last_axes.way(x, normalized_shape)[0]
    if taken == "reference":
        return by_formula(reference, x, normalized_shape, weight, bias, eps)
    norm = partial(_in_half if x.dtype in HALF else torch.layer_norm, eps=eps)
    return by_way(taken, norm, x, normalized_shape, weight, bias)


def _in_half(
    x: torch.Tensor,
    shape: tuple[int, ...],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    """torch's kernel, in half precision, with gradients that are right."""
    if not sums_in_half(x, weight, bias):
        return torch.layer_norm(x, shape, weight, bias, eps)
    return right_gradients(
        lambda x, weight, bias: torch.layer_norm(x, shape, weight, bias, eps),
        partial(_gradients, shape, eps),
        x.dim() - len(shape),
        x,
        weight,
        bias,
    )


def _gradients(
    shape: tuple[int, ...],
    eps: float,
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    wanted: tuple[bool, bool, bool],
) -> Gradients:
    mean, rstd = centred(x.view(-1, math.prod(shape)), eps)
    return _native_backward(grad, x, shape, mean, rstd, weight, weight, wanted)


def way(x: torch.Tensor, normalized_shape: tuple[int, ...]) -> tuple[str, str]:
    """The way that is taken for a tensor, and the reason."""
    if _by_c(x, normalized_shape):
        return "compiled", "ours in C: channels_last is normalized as the rows that it is, uncopied"
    return _last_axes.way(x, normalized_shape)


def _by_c(x: torch.Tensor, shape: tuple[int, ...]) -> bool:
    if x.is_contiguous() or x.dim() not in (4, 5) or x.shape[1:] != shape or not may_take(x):
        return False
    memory = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return x.is_contiguous(memory_format=memory)


def layer_norm_2d(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Layer normalization over the channels of each pixel; the memory layout of `x` is kept."""
    weight, bias = matching(x, weight, bias)
    x = without_gaps(x)
    if reference_asked():
        norm: Callable[..., torch.Tensor] = partial(by_formula, reference)
    else:
        norm = _in_half if x.dtype in HALF else torch.layer_norm
    y = norm(x.permute(0, 2, 3, 1), x.shape[1:2], weight, bias, eps).permute(0, 3, 1, 2)
    return y if channels_last_of(x) else y.contiguous()


def way_2d(x: torch.Tensor) -> tuple[str, str]:
    """The way of `layer_norm_2d` for a tensor, and the reason."""
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if channels_last_of(x):
        return "view", "a pixel's channels are neighbours in channels_last: torch's kernel"
    return "copies", "torch's kernel between two changes of layout"
