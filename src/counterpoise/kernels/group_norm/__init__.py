"""Group normalization: torch's kernel where it is right, ours for `channels_last`."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._backend import reference_asked
from counterpoise.kernels._eager import is_channels_last, is_channels_last_3d, plain_eager
from counterpoise.kernels.group_norm.channels_last import MAX_CHANNELS, GroupNormChannelsLast
from counterpoise.kernels.group_norm.reference import group_norm as reference

# Forward and backward on one core, two copies and torch's kernel against ours, in microseconds
# (8 x 8 x 56 x 56: 1099 to 1226; 32 x 16 x 28 x 28: 1940 to 1664; 8 x 32 x 56 x 56: 4511 to 2936;
# 32 x 4 x 28 x 28, the sheet's: 597 to 948).
LARGE = 400_000
WIDE = 8  # channels a group; see `benchmarks/results/norms_1_thread.json` for what it saves


def group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Group normalization; the memory layout of `x` is kept. `way` says how it is done, and why."""
    if x.is_contiguous() and x.numel() and not reference_asked():  # as `way` says, sooner
        return torch.group_norm(x, num_groups, weight, bias, eps)
    taken = way(x, num_groups, weight, bias)[0]
    if taken == "reference":
        return reference(x, num_groups, weight, bias, eps)
    if taken == "affine":
        return _affine(x, weight, bias)
    if taken == "images":
        flat = x.permute(0, 2, 3, 4, 1).flatten(1, 2).permute(0, 3, 1, 2)
        return group_norm(flat, num_groups, weight, bias, eps).unflatten(2, x.shape[2:4])
    if taken == "rows":
        return _one_group(x, weight, bias, eps)
    if taken == "shifted":
        return F.group_norm(x - _group_means(x, num_groups), num_groups, weight, bias, eps)
    if taken == "ours":
        return GroupNormChannelsLast.apply(x, num_groups, weight, bias, eps)
    y = F.group_norm(x.contiguous(), num_groups, weight, bias, eps)
    return y.contiguous(memory_format=torch.channels_last) if taken == "copies" else y


def way(
    x: torch.Tensor, num_groups: int, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> tuple[str, str]:
    """The way that is taken for a tensor, and the reason.

    torch's CPU kernel for `channels_last` computes E[x^2] - E[x]^2 and loses all digits at large
    means, so it is never used.
    """
    if reference_asked():
        return "reference", "asked for by norms.backend"
    if not x.numel():
        return "affine", "nothing to normalize, and torch's gradient of weight is NaN there"
    if x.dim() == 5 and not x.is_contiguous() and is_channels_last_3d(x):
        return "images", "channels_last_3d is channels_last with depth and height as one axis"
    if not is_channels_last(x) or x.is_contiguous():
        return "native", "torch's kernel is right and fastest on contiguous tensors"
    if num_groups == 1:
        return "rows", "one group is layer normalization of the (H, W, C) rows, uncopied"
    if x.numel() >= LARGE and x.shape[1] >= WIDE * num_groups and _wide_dtype(x):
        return "shifted", "torch's kernel, quick for wide groups, right once they are centred"
    if not plain_eager():
        return "copies", "channels_last under torch.compile, torch.func or forward-mode AD"
    if _suits_ours(x, weight, bias):
        return "ours", "channels_last and large, where torch's kernel is wrong at large means"
    return "copies", "channels_last, but small, of many channels, of mixed dtypes or half precision"


def _one_group(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
) -> torch.Tensor:
    _, c, h, w = x.shape
    weight, bias = (None if p is None else p.expand(h, w, c) for p in (weight, bias))
    return F.layer_norm(x.permute(0, 2, 3, 1), (h, w, c), weight, bias, eps).permute(0, 3, 1, 2)


def _group_means(x: torch.Tensor, num_groups: int) -> torch.Tensor:
    """The mean of each group, (N, C, 1, 1): to take it off changes no output and no gradient."""
    by_channel = x.detach().mean((2, 3))
    means = by_channel.unflatten(1, (num_groups, -1)).mean(2, keepdim=True)
    return means.expand(-1, -1, x.shape[1] // num_groups).flatten(1)[:, :, None, None]


def _wide_dtype(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def _affine(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor:
    """Weight and bias alone, one for each channel; keeps the layout."""
    per_channel = (1, -1) + (1,) * (x.dim() - 2)
    y = x.clone() if weight is None else x * weight.view(per_channel)
    return (y if bias is None else y + bias.view(per_channel)).to(x.dtype)


def _suits_ours(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> bool:
    return (
        _wide_dtype(x)
        and all(p is None or p.dtype == x.dtype for p in (weight, bias))
        and x.numel() >= LARGE
        and x.shape[1] <= MAX_CHANNELS
    )
