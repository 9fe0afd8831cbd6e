"""Layer normalization in C, `cpu.c` beside this file; RMS normalization uses it, too.

Moments are exact at any mean. A row that fits into the cache is read from memory once, forward and
backward; a longer one twice. Weight and bias stay in their own order.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._layout import memory_format_of
from counterpoise.kernels._norm import Norm, normalize
from counterpoise.kernels.compiled import prototype
from counterpoise.kernels.layer_norm import reference

_FORWARD: Any = prototype("layer_norm_forward", "pppppiiiidiii")
_BACKWARD: Any = prototype("layer_norm_backward", "pppppppiiiiiii")

Shape = tuple[int, ...]


def layer_norm(
    x: Tensor, shape: Shape, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Layer normalization in the memory layout of x, for tensors that `_norm.choose` sends here."""
    return normalize_rows(x, shape, weight, bias, eps, True, reference.layer_norm)


def layer_norm_2d(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Layer normalization over the channels of each pixel, in the memory layout of x."""
    pixels = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    y = layer_norm(pixels, x.shape[1:2], weight, bias, eps).permute(0, 3, 1, 2)
    return y.contiguous(memory_format=memory_format_of(x))


def normalize_rows(
    x: Tensor,
    shape: Shape,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    centred: bool,
    formula: Callable[..., Tensor],
) -> Tensor:
    """Normalization over the last axes; the formula gives the gradients of gradients."""
    whole = x.shape[1:] == shape  # samples, which C takes in the layout of x
    memory = memory_format_of(x) if whole else torch.contiguous_format
    numbers = math.prod(shape)
    channels = 1 if memory is torch.contiguous_format else shape[0]  # one, in the order of memory
    rows = x.numel() // numbers
    sizes = rows, channels, numbers // channels, centred
    formula = partial(formula, normalized_shape=shape, eps=eps)
    y = normalize(Norm(_FORWARD, _BACKWARD, memory, rows, sizes, eps, formula), x, weight, bias)
    return y if whole else y.contiguous(memory_format=memory_format_of(x))
