"""Features on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from counterpoise.data._rows import Rows

_BLOCK = 2**22  # numbers that are looked at at a time


class Standardizer:
    r"""Scale on which each feature has mean 0 and standard deviation 1 in a training split.

    .. math::
        x \to (x - \text{mean}) / \text{std}

    Mean and (biased) standard deviation are per feature of vectors (N, F) and per channel of images
    (N, C, ...), computed in float64. A feature that is constant there becomes 0 everywhere. uint8
    images are left alone: the training loop scales them to 0 .. 1.

    Args:
        mean: one number per feature, float64; None to leave samples alone.
        std: the same; infinity for a feature that is constant.

    Example:
        >>> import torch
        >>> scale = Standardizer.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> scale(torch.tensor([[4.0, 6.0]]))
        tensor([[2., 0.]])
    """

    def __init__(self, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        self.mean, self.std = mean, std

    @classmethod
    def fit(cls, train_inputs: Tensor | Rows) -> Standardizer:
        """Return the scale of a training split alone: others must not reach the net.

        Args:
            train_inputs: (N, F) or (N, C, ...), floating; or uint8.
        """
        if train_inputs.dtype == torch.uint8:
            return cls()
        axes = [k for k in range(train_inputs.dim()) if k != 1]
        blocks = train_inputs.split(max(1, _BLOCK // max(1, train_inputs.shape[1:].numel())))
        mean, std = _mean_std(iter(blocks), axes)
        return cls(mean.flatten(), std.flatten())

    def __call__(self, inputs: Tensor | Rows) -> Tensor | Rows:
        """Return samples of any split on the scale, in their dtype."""
        if self.mean is None or self.std is None:
            return inputs
        shape = [-1 if k == 1 else 1 for k in range(inputs.dim())]
        mean, std = self.mean.view(shape), self.std.view(shape)

        def scale(some: Tensor) -> Tensor:
            return ((some.double() - mean) / std).to(some.dtype)

        if isinstance(inputs, Rows) and inputs.unstored is not None:
            return Rows(inputs.unstored.changed(scale), inputs.index)
        return scale(inputs[:])

    def to_json(self) -> dict[str, Any]:
        """Return mean and std as plain data, 0 for the std of what is constant; {} for none."""
        if self.mean is None or self.std is None:
            return {}
        return {"mean": self.mean.tolist(), "std": self.std.nan_to_num(posinf=0).tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Standardizer:
        """Return the scale that `to_json` wrote."""
        if not content:
            return cls()
        std = torch.tensor(content["std"], dtype=torch.float64)
        mean = torch.tensor(content["mean"], dtype=torch.float64)
        return cls(mean, std.masked_fill(std == 0, torch.inf))


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
