"""Group normalization: torch's kernel where it is right, ours for `channels_last`."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import is_channels_last, plain_eager
from counterpoise.kernels.group_norm.channels_last import MAX_CHANNELS, GroupNormChannelsLast


def group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Group normalization; the memory layout of a 4-D `x` is kept.

    torch's CPU kernel for `channels_last` computes E[x^2] - E[x]^2 and loses all digits at large
    means, so it is never used: few channels go through `channels_last.py`, many through a
    contiguous copy and back.
    """
    if not is_channels_last(x) or x.is_contiguous():
        return F.group_norm(x.contiguous(), num_groups, weight, bias, eps)
    if _suits_ours(x, weight, bias) and plain_eager():
        return GroupNormChannelsLast.apply(x, num_groups, weight, bias, eps)
    y = F.group_norm(x.contiguous(), num_groups, weight, bias, eps)
    return y.contiguous(memory_format=torch.channels_last)


def _suits_ours(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and all(p is None or p.dtype == x.dtype for p in (weight, bias))
        and x.numel() > 0
        and x.shape[1] <= MAX_CHANNELS
    )
