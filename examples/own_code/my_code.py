"""A net, a loss and an augmentation of your own, for `counterpoise compare` and `doctor`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def net(
    norm: Callable[[tuple[int, ...]], nn.Module], shape: tuple[int, int, int], num_classes: int
) -> nn.Module:
    """Return a small net for images of a shape (C, H, W): logits (N, num_classes)."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        norm((16, height, width)),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        norm((32, height, width)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (height // 2) * (width // 2), num_classes),
    )


def root_weighted(counts: Tensor) -> nn.Module:
    """Return cross entropy that weighs a class by 1 / sqrt(its number of samples)."""
    weight = counts.float().clamp_min(1).rsqrt()
    return nn.CrossEntropyLoss(weight / weight.mean())


def erase(images: Tensor, generator: torch.Generator) -> Tensor:
    """Set a random square in each image of the batch (N, C, H, W) to 0."""
    n, _, height, width = images.shape
    side = max(1, height // 4)
    top = torch.randint(height - side + 1, (n, 1, 1, 1), generator=generator)
    left = torch.randint(width - side + 1, (n, 1, 1, 1), generator=generator)
    row, column = torch.arange(height).view(-1, 1), torch.arange(width)
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    return images.masked_fill(inside.to(images.device), 0)
