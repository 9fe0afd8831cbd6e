"""Group normalization out of torch's operators; also for torch.compile, torch.func and export.

torch's CPU kernel for `channels_last` computes E[x^2] - E[x]^2 and loses all digits at large means
(docs/channels_last_group_norm.md), so it gets a contiguous copy.
"""

import torch
from torch import Tensor

from counterpoise.kernels._layout import by_torch


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Group normalization by torch's kernel for contiguous tensors, in the memory layout of x."""

    def norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if x.numel():
            # Of one pixel or channel a tensor can be contiguous and channels_last; a view of the
            # flat one is not: torch's channels_last kernel crashes without a gradient of x (2.13).
            rows = x.contiguous().flatten().view(x.shape)
            return torch.group_norm(rows, num_groups, weight, bias, eps)
        per_channel = (1, -1) + (1,) * (x.dim() - 2)  # torch's gradient of weight is NaN here
        y = x.clone() if weight is None else x * weight.view(per_channel)
        return y if bias is None else y + bias.view(per_channel)

    return by_torch(norm, x, weight, bias)
