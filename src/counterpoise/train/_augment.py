"""Data augmentation: random changes of the training images."""

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise import registry

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Function from a training batch and a random generator to the augmented batch."""


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image horizontally with probability 1/2.

    Not for images whose sides have a meaning: digits, letters, organs.

    Args:
        images: (N, C, H, W), any dtype.
        generator: of random numbers, on the CPU.

    Raises:
        ValueError: a batch that does not hold images.

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
    """Shift each image by up to an eighth of its size, vertically and horizontally.

    New pixels are 0. For 32 x 32 pixels it is the usual augmentation of CIFAR, padding by 4 and a
    random crop of 32 x 32 (He et al. 2015, arXiv 1512.03385, section 4.2).

    Args:
        images: (N, C, H, W), any dtype.
        generator: of random numbers, on the CPU.

    Raises:
        ValueError: a batch that does not hold images.

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
    """Apply `flip`, then `crop`."""
    return crop(flip(images, generator), generator)


def augmentation(word: str | Augment) -> Augment | None:
    """Return the augmentation that a word names; None for "none".

    Args:
        word: a key of `AUGMENTS`; several of flip, crop, trivial_augment and rand_augment, joined
            by "+", which are applied in turn; `package.module:name`, or a function.

    Raises:
        ValueError: another word; the message has the nearest one.

    Example:
        >>> import torch
        >>> from counterpoise.train import augmentation
        >>> x = torch.arange(2.0).repeat(3, 1, 1, 1)
        >>> augmentation("crop+flip")(x, torch.Generator().manual_seed(0)).shape
        torch.Size([3, 1, 1, 2])
    """
    if not isinstance(word, str) or word in AUGMENTS or ":" in word or "+" not in word:
        return registry.resolve("augment", word, AUGMENTS)
    known = {name: AUGMENTS[name] for name in registry.AUGMENT_PARTS}
    parts = [registry.resolve("augment", part, known) for part in word.split("+")]
    return functools.partial(_in_turn, parts)


def _in_turn(parts: list[Augment], images: Tensor, generator: torch.Generator) -> Tensor:
    return functools.reduce(lambda x, part: part(x, generator), parts, images)


def augmentation_generator(
    seed: int, epoch: int, rank: int = 0, stream: int = 1
) -> torch.Generator:
    """Return an epoch's random generator, another one in each process and than a sampler's."""
    words = np.random.SeedSequence([seed, epoch, stream, *[rank] * (rank > 0)]).generate_state(1)
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
