"""2-D convolution: torch's, and on the CPU our own for nets of 1 to 8 channels.

Compiled, if the installation has it and it suits (`compiled.py`); else folded (`folded.py`).
"""

from functools import lru_cache

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import autocasting, plain_eager
from counterpoise.kernels.conv2d.compiled import CompiledConv2d, compiled_conv2d, suits
from counterpoise.kernels.conv2d.folded import FoldedConv2d, folded_conv2d, pixels_folded


def conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """Convolution of stride 1."""
    if plain_eager():
        if suits(x, weight, bias, padding):
            if not torch.is_grad_enabled():
                return compiled_conv2d(x, weight, bias)
            return CompiledConv2d.apply(x, weight, bias)
        if _suits_folding(x, weight, padding) and not autocasting(x):
            if not torch.is_grad_enabled():
                return folded_conv2d(x, weight, bias, padding)
            return FoldedConv2d.apply(x, weight, bias, padding)
    return F.conv2d(x, weight, bias, padding=padding)


def _suits_folding(x: torch.Tensor, weight: torch.Tensor, padding: tuple[int, int]) -> bool:
    return (
        x.is_cpu
        and x.dtype == weight.dtype == torch.float32
        and _shapes_suit(x.shape, weight.shape, padding)
        and x.is_contiguous(memory_format=torch.channels_last)
    )


@lru_cache(maxsize=256)  # asked at every call, of few shapes
def _shapes_suit(images: torch.Size, kernels: torch.Size, padding: tuple[int, int]) -> bool:
    return (
        len(images) == 4
        and images.numel() > 0
        and (2 * padding[0], 2 * padding[1]) == (kernels[2] - 1, kernels[3] - 1)
        and pixels_folded(kernels[0], images[3]) > 1
    )
