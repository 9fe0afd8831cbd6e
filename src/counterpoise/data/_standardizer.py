"""Features on one scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from counterpoise.data._rows import Rows

_BLOCK = 2**22  # numbers that are looked at at a time


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
    blocks = train_inputs.split(max(1, _BLOCK // max(1, train_inputs.shape[1:].numel())))
    mean, std = _mean_std(iter(blocks), axes)

    def scale(inputs: Tensor) -> Tensor:
        return ((inputs.double() - mean) / std).to(inputs.dtype)

    def scaled(inputs: Tensor | Rows) -> Tensor | Rows:
        if isinstance(inputs, Rows) and inputs.unstored is not None:
            return Rows(inputs.unstored.changed(scale), inputs.index)
        return scale(inputs[:])

    return scaled


def _mean_std(blocks: Iterator[Tensor], axes: list[int]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of all blocks; infinity for the one of what is constant.

    They are joined as in Chan, Golub, LeVeque (1983).
    """
    mean = var = low = high = torch.empty(0)
    seen = 0
    for block in blocks:
        one_var, one_mean = torch.var_mean(block.double(), axes, correction=0, keepdim=True)
        one_low, one_high = block.amin(axes, keepdim=True), block.amax(axes, keepdim=True)
        if not seen:
            mean, var, low, high = one_mean, one_var, one_low, one_high
        else:
            share, apart = len(block) / (seen + len(block)), one_mean - mean
            mean = mean + share * apart
            var = (1 - share) * var + share * one_var + share * (1 - share) * apart**2
            low, high = torch.minimum(low, one_low), torch.maximum(high, one_high)
        seen += len(block)
    # Not std == 0: the rounded mean of equal numbers can differ from them.
    return mean, var.sqrt().masked_fill(low == high, torch.inf)
