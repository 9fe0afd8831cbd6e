"""Features on one scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from counterpoise.data._rows import Rows


def standardizer(train_inputs: Tensor | Rows) -> Callable[[Tensor | Rows], Tensor | Rows]:
    """Return the function that gives each feature mean 0 and standard deviation 1.

        x -> (x - mean) / std

    Mean and (biased) standard deviation are those of `train_inputs`, per feature of vectors (N, F)
    and per channel of images (N, C, ...), computed in float64. A feature that is constant there
    becomes 0 everywhere. uint8 images are left alone: the training loop scales them to 0 .. 1.

    Args:
        train_inputs: What to learn the scale from: the training split alone, for what the other
            splits show must not reach the net.

    Returns:
        A function for inputs of any split; it keeps their dtype.

    Example:
        >>> import torch
        >>> scale = standardizer(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> scale(torch.tensor([[4.0, 6.0]]))
        tensor([[2., 0.]])
    """
    if train_inputs.dtype == torch.uint8:
        return lambda inputs: inputs
    axes = [k for k in range(train_inputs.dim()) if k != 1]
    std, mean = torch.std_mean(train_inputs.double(), axes, correction=0, keepdim=True)
    # Not std == 0: the rounded mean of equal numbers can differ from them.
    constant = train_inputs.amax(axes, keepdim=True) == train_inputs.amin(axes, keepdim=True)
    std = std.masked_fill(constant, torch.inf)
    return lambda inputs: ((inputs.double() - mean) / std).to(inputs.dtype)
