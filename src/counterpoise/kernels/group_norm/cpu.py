"""Group normalization in C, `cpu.c` beside this file.

The forward pass reads a group once for its moments, which are exact at any mean, and once for the
output; the backward pass reads it twice as well.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._layout import memory_format_of
from counterpoise.kernels._norm import Norm, normalize
from counterpoise.kernels.compiled import prototype
from counterpoise.kernels.group_norm import reference

_FORWARD: Any = prototype("group_norm_forward", "pppppiiiiidiii")
_BACKWARD: Any = prototype("group_norm_backward", "pppppppiiiiiiii")


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Group normalization in the memory layout of x, for tensors that `_norm.choose` sends here."""
    samples, channels = x.shape[:2]
    pixels, memory = x.numel() // (samples * channels), memory_format_of(x)
    neighbours = pixels == 1 or memory is not torch.contiguous_format  # a pixel's channels
    sizes = samples, channels, pixels, num_groups, neighbours
    formula = partial(reference.group_norm, num_groups=num_groups, eps=eps)
    norm = Norm(_FORWARD, _BACKWARD, memory, samples * num_groups, sizes, eps, formula)
    return normalize(norm, x, weight, bias)
