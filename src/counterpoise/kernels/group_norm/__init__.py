"""Group normalization: torch's kernel on contiguous tensors, ours for `channels_last`."""

from functools import partial

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import by_formula, reference_asked
from counterpoise.kernels._eager import (
    is_channels_last,
    is_channels_last_3d,
    jit_tracing,
    matching,
    plain_eager,
    without_gaps,
)
from counterpoise.kernels._half_precision import (
    HALF,
    Gradients,
    centred,
    right_gradients,
    sums_in_half,
)
from counterpoise.kernels._norm_in_c import may_take
from counterpoise.kernels.group_norm import compiled
from counterpoise.kernels.group_norm.channels_last import (
    PARTS,
    GroupNormChannelsLast,
    native_backward,
    quick_forward,
)
from counterpoise.kernels.group_norm.reference import group_norm as reference


def group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Group normalization; the memory layout of `x` is kept. `way` says how it is done, and why."""
    weight, bias = matching(x, weight, bias)
    if x.dtype in HALF and sums_in_half(x, weight, bias) and not reference_asked():
        x = without_gaps(x)
        by_c = _by_c(x) and compiled.fits(x.shape[1], num_groups, weight, bias)
        if not by_c and way(x, num_groups)[0] != "images":
            return _in_half(x, num_groups, weight, bias, eps)
    if x.is_contiguous():
        if x.numel() and not jit_tracing() and not reference_asked():  # as `way` says, sooner
            return torch.group_norm(x, num_groups, weight, bias, eps)
    elif _by_c(x) and compiled.fits(x.shape[1], num_groups, weight, bias):
        if torch.is_grad_enabled():
            return compiled.group_norm(x, num_groups, weight, bias, eps)
        return compiled.forward(x, num_groups, weight, bias, eps)[0]
    weight, bias = (None if p is None else p.contiguous() for p in (weight, bias))
    taken = way(x, num_groups)[0]
    if taken == "compiled":
        taken = _torchs(x, num_groups)[0]
    if taken in PARTS:
        if not torch.is_grad_enabled():
            return PARTS[taken](x, num_groups, weight, bias, eps)[1]
        return GroupNormChannelsLast.apply(x, taken, num_groups, weight, bias, eps)[0]
    if taken == "reference":
        return by_formula(reference, x, num_groups, weight, bias, eps)
    if taken == "affine":
        return _affine(x, weight, bias)
    if taken == "images":
        flat = x.permute(0, 2, 3, 4, 1).flatten(1, 2).permute(0, 3, 1, 2)
        return group_norm(flat, num_groups, weight, bias, eps).unflatten(2, x.shape[2:4])
    if taken == "view":
        return _one_group(x, weight, bias, eps)
    if taken == "native" and (dense := without_gaps(x)) is not x:
        return group_norm(dense, num_groups, weight, bias, eps)
    y = torch.group_norm(x.contiguous(), num_groups, weight, bias, eps)
    return y.contiguous(memory_format=torch.channels_last) if taken == "copies" else y


def _in_half(
    x: torch.Tensor,
    groups: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    """Half precision by torch's kernels, with gradients that are rounded once."""
    return right_gradients(
        lambda x, weight, bias: group_norm(x, groups, weight, bias, eps),
        partial(_gradients, x.shape[1], x.shape[2:].numel(), groups, eps),
        1,
        x,
        weight,
        bias,
    )


def _gradients(
    channels: int,
    pixels: int,
    groups: int,
    eps: float,
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    wanted: tuple[bool, bool, bool],
) -> Gradients:
    sizes = x.numel() // (channels * pixels), channels, pixels
    mean, rstd = centred(x.view(sizes[0] * groups, -1), eps)
    return native_backward(grad, x, mean, rstd, weight, *sizes, groups, wanted)


def way(x: torch.Tensor, num_groups: int) -> tuple[str, str]:
    """The way that is taken for a tensor, and the reason.

    torch's CPU kernel for `channels_last` computes E[x^2] - E[x]^2 and loses all digits at large
    means, so it is never trusted unseen.
    """
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if not x.numel():
        return "affine", "nothing to normalize, and torch's gradient of weight is NaN there"
    if x.dim() == 5 and not x.is_contiguous() and is_channels_last_3d(x):
        return "images", "channels_last_3d is channels_last with depth and height as one axis"
    if x.is_contiguous():
        return "native", "torch's kernel is right and fastest on contiguous tensors"
    if not is_channels_last(x):
        return "native", "torch's kernel on a contiguous copy: the strides are of no known layout"
    if _by_c(x):
        return "compiled", "ours in C for channels_last: as exact and quick in any groups"
    return _torchs(x, num_groups)


def _by_c(x: torch.Tensor) -> bool:
    return may_take(x) and x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _torchs(x: torch.Tensor, num_groups: int) -> tuple[str, str]:
    """The way for a channels_last tensor by torch's kernels alone, and the reason."""
    ordinary = x.device.type == "cpu" and type(x) is torch.Tensor and plain_eager()
    if ordinary and quick_forward(x, num_groups):
        return "wide", "torch's channels_last kernel, on centred input where it would be wrong"
    if ordinary and x.dtype == torch.float32:
        return "narrow", "torch's contiguous kernel between two quick changes of layout"
    # Not on a GPU, whose layer norm gives a row to one block: 8 x 320 x 64 x 64 on an H100, forward
    # and backward, 5.4 ms, by copies 1.6.
    if (
        num_groups == 1
        and not (ordinary or x.is_cuda)
        and x.dtype in (torch.float32, torch.float64)
    ):
        return "view", "one group is layer normalization of the (H, W, C) rows, uncopied"
    return "copies", "torch's contiguous kernel between two changes of layout"


def _one_group(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    _, c, h, w = x.shape
    weight, bias = (None if p is None else p.expand(h, w, c) for p in (weight, bias))
    return F.layer_norm(x.permute(0, 2, 3, 1), (h, w, c), weight, bias, eps).permute(0, 3, 1, 2)


def _affine(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor:
    """Weight and bias alone, one for each channel; keeps the layout."""
    per_channel = (1, -1) + (1,) * (x.dim() - 2)
    y = x.clone() if weight is None else x * weight.view(per_channel)
    return (y if bias is None else y + bias.view(per_channel)).to(x.dtype)
