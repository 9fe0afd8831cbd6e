"""2-D convolution: torch's, and on the CPU a folded one for nets of 1 to 8 channels."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import is_channels_last, plain_eager
from counterpoise.kernels.conv2d.folded import FoldedConv2d, pixels_folded


def conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """Convolution of stride 1; `folded.py` says which ones are computed in the folded form."""
    if _suits_folding(x, weight, padding) and plain_eager():
        return FoldedConv2d.apply(x, weight, bias, padding)
    return F.conv2d(x, weight, bias, padding=padding)


def _suits_folding(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> bool:
    kernel_h, kernel_w = weight.shape[2:]
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and is_channels_last(x)
        and x.numel() > 0
        and (2 * padding[0], 2 * padding[1]) == (kernel_h - 1, kernel_w - 1)
        and pixels_folded(weight.shape[0], x.shape[3]) > 1
    )
