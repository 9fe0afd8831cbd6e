"""Normalization layers: drop-in for torch.nn, right and fast in the layout they are given.

`ALL` maps the word used everywhere (in `DeeperCNN`, in `counterpoise demo`) to a function from the
shape (C, H, W) of the tensors to be normalized to a module.
"""

from collections.abc import Callable

from torch import nn

from counterpoise.norms._group import GroupNorm
from counterpoise.norms._layer import LayerNorm

__all__ = ["ALL", "GroupNorm", "LayerNorm"]

Shape = tuple[int, int, int]

ALL: dict[str, Callable[[Shape], nn.Module]] = {
    "layer": lambda shape: LayerNorm(list(shape)),
    "group": lambda shape: GroupNorm(2, shape[0]),
}
