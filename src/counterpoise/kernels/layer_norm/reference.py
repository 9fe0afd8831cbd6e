"""Layer normalization as the paper writes it (Ba et al. 2016, arXiv 1607.06450, eq. 4)."""

import torch

from counterpoise.kernels._layout import in_float32


@in_float32
def layer_norm(
    x: torch.Tensor,
    normalized_shape: tuple[int, ...],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """y = weight * (x - mean) / sqrt(var + eps) + bias, over the axes of `normalized_shape`."""
    axes = tuple(range(-len(normalized_shape), 0))
    centred = x - x.mean(axes, keepdim=True)
    variance = centred.square().mean(axes, keepdim=True)
    y = centred / torch.sqrt(variance + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@in_float32
def layer_norm_2d(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """The same over the channels of each pixel of an (N, C, H, W) tensor."""
    return layer_norm(x.movedim(1, -1), x.shape[1:2], weight, bias, eps).movedim(-1, 1)
