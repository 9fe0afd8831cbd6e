"""Layer normalization out of torch's operators; also for torch.compile, torch.func and export."""

import torch
from torch import Tensor

from counterpoise.kernels._layout import by_torch, memory_format_of


def layer_norm(
    x: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Layer normalization by torch's kernel, in the memory layout of x."""
    return by_torch(
        lambda x, weight, bias: torch.layer_norm(x, shape, weight, bias, eps), x, weight, bias
    )


def layer_norm_2d(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer normalization over the channels of each pixel, in the memory layout of x."""

    def norm(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        pixels = x.contiguous(memory_format=memory_format_of(x)).permute(0, 2, 3, 1)
        y = torch.layer_norm(pixels, x.shape[1:2], weight, bias, eps).permute(0, 3, 1, 2)
        return y.contiguous() if x.is_contiguous() else y

    return by_torch(norm, x, weight, bias)
