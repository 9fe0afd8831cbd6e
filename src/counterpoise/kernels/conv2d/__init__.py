"""2-D convolution: torch's, and on the CPU a folded one where 4 or 8 channels leave lanes idle."""

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import is_channels_last, plain_eager
from counterpoise.kernels.conv2d.folded import FoldedConv2d, pixels_folded

# Least products of a call (output numbers times input channels) that repay the folding, by pixels
# folded. Measured by benchmarks/conv2d.py: at these sizes 1.03 to 1.34 times torch's speed, below
# them 0.81 to 0.98 times. One input channel is folded at any size: from its memory torch cannot
# tell the layout, and would answer contiguous.
_REPAYS = {4: 400_000, 2: 1_600_000}


def conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """Convolution of stride 1; `folded.py` says which ones are computed in the folded form."""
    if _suits_folding(x, weight, padding) and plain_eager():
        return FoldedConv2d.apply(x, weight, bias, padding)
    return F.conv2d(x, weight, bias, padding=padding)


def _suits_folding(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> bool:
    kernel_h, kernel_w = weight.shape[2:]
    pixels = pixels_folded(weight.shape[0], x.shape[3])
    return (
        pixels > 1
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and is_channels_last(x)
        and (2 * padding[0], 2 * padding[1]) == (kernel_h - 1, kernel_w - 1)
        and (x.shape[1] == 1 or x.numel() * weight.shape[0] >= _REPAYS[pixels])
        and x.numel() > 0
    )
