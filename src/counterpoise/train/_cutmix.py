"""CutMix: a box of each image of a batch is that of the one before it."""

import math

import torch
from torch import Tensor

from counterpoise.train._mixup import draw_share, mix_rows


def cutmix(
    images: Tensor,
    probabilities: Tensor,
    generator: torch.Generator,
    alpha: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Paste a box of a share $1 - \lambda$ of the pixels, with $\lambda$ as in `mixup`.

    Its centre is uniform over the image. What stands out is cut off, and the probabilities are
    mixed by the share of the pixels that stay. Source: Yun et al. 2019, arXiv 1905.04899, eq. 1, 2.

    Raises:
        ValueError: a batch that does not hold images.
    """
    if images.dim() != 4:
        raise ValueError(
            f"cutmix is made for images (N, C, H, W), but got {tuple(images.shape)}; take mixup"
        )
    height, width = images.shape[2:]
    half = 0.5 * math.sqrt(1.0 - draw_share(alpha, generator))
    left, right = _side(width, half, generator)
    top, bottom = _side(height, half, generator)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.roll(1, 0)[..., top:bottom, left:right]
    share = 1.0 - (right - left) * (bottom - top) / (width * height)
    return mixed, mix_rows(probabilities, share)


def _side(size: int, half: float, generator: torch.Generator) -> tuple[int, int]:
    """Return where a box begins and ends on an axis, around a random pixel."""
    centre, reach = int(torch.randint(size, (1,), generator=generator)), int(half * size)
    return max(centre - reach, 0), min(centre + reach, size)
