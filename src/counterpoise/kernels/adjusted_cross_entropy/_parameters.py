"""The parameters of the adjusted cross entropy, all but the weights of `_samples.py`."""

from typing import NamedTuple

import torch


class Parameters(NamedTuple):
    """Three vectors (C,), where None stands for scale 1, offset 0 or margin 0; and two numbers."""

    scale: torch.Tensor | None = None
    offset: torch.Tensor | None = None
    margin: torch.Tensor | None = None
    gamma: float = 0.0
    poly: float = 0.0
