"""What bends a cross entropy: one value or none for each letter of the family's formula."""

from typing import NamedTuple

import torch


class Tilt(NamedTuple):
    """The letters of the formula; a vector has one entry per class, None is 1 or 0 for all."""

    scale: torch.Tensor | None = None
    offset: torch.Tensor | None = None
    margin: torch.Tensor | None = None
    gamma: float = 0.0
    poly: float = 0.0
