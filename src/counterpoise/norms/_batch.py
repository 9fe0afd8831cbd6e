"""torch's batch normalization, as a member of the family."""

from torch import nn


def for_shape(shape: tuple[int, ...]) -> nn.Module:
    """Return torch's layer for samples of a shape: (C, H, W), or a vector's (C)."""
    return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])
