"""Instance normalization."""

import torch

from counterpoise.norms._group import GroupNorm


class InstanceNorm(GroupNorm):
    r"""Instance normalization for any number of axes: group normalization, a channel a group.

        y = weight * (x - mean) / sqrt(var + eps) + bias

    with the mean and the (biased) variance over the pixels of each channel of each sample. The
    parameters and state_dict are those of `torch.nn.InstanceNorm2d` without running statistics, and
    like torch's it learns no weight and bias unless asked to. The memory layout is kept.

    Source: Ulyanov et al. 2016, arXiv 1607.08022. Formula: `kernels/group_norm/reference.py`.

    Args:
        num_features: how many channels there are.
        eps: added to the variance.
        affine: learn weight and bias.
        device: where the parameters live.
        dtype: of the parameters.

    Shape: input (N, C, *) with at least two pixels, output the same, in the same dtype.

    Raises:
        ValueError: when the input has other channels, or one pixel a channel: its variance is 0 and
            the output would be the bias, whatever the input.

    Example:
        >>> import torch
        >>> from counterpoise.norms import InstanceNorm
        >>> InstanceNorm(6)(torch.randn(3, 6, 5)).mean(2).abs().max() < 1e-6
        tensor(True)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        affine: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, num_features, eps, affine, device, dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalized input, in the input's memory layout."""
        if input.dim() > 1 and input.shape[2:].numel() == 1:
            raise ValueError(
                f"InstanceNorm needs more than one pixel a channel, but got {tuple(input.shape)}; "
                "use LayerNorm or GroupNorm with fewer groups"
            )
        return super().forward(input)
