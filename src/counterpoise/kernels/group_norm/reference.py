"""Group normalization as the paper writes it (Wu and He 2018, arXiv 1803.08494, eq. 1-7)."""

import torch

from counterpoise.kernels._layout import in_float32


@in_float32
def group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """y = weight * (x - mean) / sqrt(var + eps) + bias, over each group's channels and pixels."""
    groups = x.unflatten(1, (num_groups, -1)).flatten(2)
    centred = groups - groups.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    y = (centred / torch.sqrt(variance + eps)).reshape(x.shape)
    per_channel = (1, -1) + (1,) * (x.dim() - 2)
    if weight is not None:
        y = y * weight.reshape(per_channel)
    return y if bias is None else y + bias.reshape(per_channel)
