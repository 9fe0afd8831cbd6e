"""Data augmentation by randomly chosen operations of torchvision."""

import torch
from torch import Tensor

from counterpoise.text import one_line


def trivial_augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Apply one random operation of random strength to each image: TrivialAugment (wide).

    Source: Müller and Hutter 2021, arXiv 2103.10158; torchvision's `TrivialAugmentWide`, with its
    defaults.

    Args:
        images: (N, C, H, W), uint8, of 1 or 3 channels.
        generator: of random numbers, on the CPU; it draws a seed for each image.

    Raises:
        ValueError: other inputs, or no torchvision.
    """
    return _each("TrivialAugmentWide", images, generator)


def rand_augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Apply two random operations of strength 9 of 30 to each image: RandAugment.

    Source: Cubuk et al. 2019, arXiv 1909.13719; torchvision's `RandAugment`, with its defaults.

    Arguments and errors: as in `trivial_augment`.
    """
    return _each("RandAugment", images, generator)


def _each(name: str, images: Tensor, generator: torch.Generator) -> Tensor:
    if images.dim() != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
        raise ValueError(
            "trivial_augment and rand_augment are made for images (N, C, H, W) in uint8, with 1 or "
            f"3 channels, but got {tuple(images.shape)} in {images.dtype}; take flip or crop, or "
            "give pixels from 0 to 255"
        )
    try:
        from torchvision.transforms import v2
    except Exception as error:  # torchvision of another version than torch raises RuntimeError
        raise ValueError(
            f"trivial_augment and rand_augment need torchvision, but: {one_line(error)}; pip "
            'install "counterpoise[vision]"'
        ) from error
    change, changed = getattr(v2, name)(), []
    seeds = torch.randint(2**63 - 1, (len(images),), generator=generator).tolist()
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images, seeds, strict=True):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs, too
            changed.append(change(image))
    return torch.stack(changed)
