"""Images changed at random each time they are trained on."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise import registry

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""From a batch of the training part, and what draws, to the batch that is trained on."""


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Not for images whose sides mean something: digits, letters, organs.

    Args:
        images: (N, C, H, W), any dtype.
        generator: on the CPU, what draws.

    Raises:
        ValueError: a batch that is not of images.

    Example:
        >>> import torch
        >>> from counterpoise.train import AUGMENTS
        >>> x = torch.arange(2.0).repeat(3, 1, 1, 1)
        >>> AUGMENTS["flip"](x, torch.Generator().manual_seed(0))[:, 0, 0].tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    _check(images)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its size, up or down and left or right.

    What comes in is 0. For 32 x 32 pixels: padded by 4, and a random 32 x 32 of that taken, the
    usual treatment of CIFAR (He et al. 2015, arXiv 1512.03385, section 4.2).

    Args:
        images: (N, C, H, W), any dtype.
        generator: on the CPU, what draws.

    Raises:
        ValueError: a batch that is not of images.

    Example:
        >>> import torch
        >>> from counterpoise.train import AUGMENTS
        >>> x = torch.arange(1.0, 4.0).repeat(3, 1, 3, 1)
        >>> AUGMENTS["crop"](x, torch.Generator().manual_seed(0))[:, 0, 1].tolist()
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]
    """
    _check(images)
    n, _, h, w = images.shape
    pad_h, pad_w = max(1, h // 8), max(1, w // 8)
    top = torch.randint(2 * pad_h + 1, (n,), generator=generator)
    left = torch.randint(2 * pad_w + 1, (n,), generator=generator)
    padded = F.pad(images, (pad_w, pad_w, pad_h, pad_h))
    return padded.unfold(2, h, 1).unfold(3, w, 1)[torch.arange(n), :, top, left]


def flip_and_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """`flip`, then `crop`."""
    return crop(flip(images, generator), generator)


def chance(seed: int, epoch: int) -> torch.Generator:
    """Return what draws in an epoch; a sampler of the same seed draws otherwise."""
    words = np.random.SeedSequence([seed, epoch, 1]).generate_state(1)
    return torch.Generator().manual_seed(int(words[0]))


def _check(images: Tensor) -> None:
    if images.dim() != 4:
        raise ValueError(
            f"flip and crop are made for images (N, C, H, W), but got {tuple(images.shape)}; leave "
            "augment out"
        )


AUGMENTS: dict[str, Augment | None] = {
    name: member.load() for name, member in registry.AUGMENTS.items()
}
