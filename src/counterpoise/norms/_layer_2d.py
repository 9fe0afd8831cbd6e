"""Layer normalization of each pixel of an image."""

import torch
from torch import nn

from counterpoise.kernels.layer_norm import layer_norm_2d


class LayerNorm2d(nn.LayerNorm):
    r"""Layer normalization over the channels of each pixel, as ConvNeXt-style nets use it.

    .. math::
        y = \text{weight} \cdot
        \frac{x - \operatorname{mean}(x)}{\sqrt{\operatorname{var}(x) + \text{eps}}} + \text{bias}

    with the mean and the (biased) variance over the channels of a pixel. Parameters and state_dict
    are those of `torch.nn.LayerNorm(num_channels)`, and of timm's and torchvision's LayerNorm2d.
    The memory layout of the input is kept; in `channels_last` nothing is copied.

    Source: Liu et al. 2022, arXiv 2201.03545, sec. 2.6. Formula: `kernels/layer_norm/reference.py`.

    Args:
        num_channels: how many channels there are.
        eps: added to the variance; 1e-6 in ConvNeXt.
        elementwise_affine: learn weight and bias.
        bias: learn a bias (only with `elementwise_affine`).
        device: where the parameters live.
        dtype: of the parameters.

    Shape: input (N, C, H, W), output the same, in the same dtype.

    Raises:
        ValueError: when num_channels is not one number, or the input not (N, num_channels, H, W).

    Example:
        >>> import torch
        >>> from counterpoise.norms import LayerNorm2d
        >>> LayerNorm2d(6)(torch.randn(2, 6, 5, 5)).shape
        torch.Size([2, 6, 5, 5])
    """

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-6,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_channels, eps, elementwise_affine, bias, device, dtype)
        if len(self.normalized_shape) != 1:
            raise ValueError(
                "LayerNorm2d takes a number of channels, over which it normalizes each pixel, but "
                f"got {num_channels}; take LayerNorm to normalize over all of (C, H, W)"
            )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalized input, in the input's memory layout."""
        return _checked(input, self.normalized_shape[0], self.weight, self.bias, self.eps)


@torch.fx.wrap  # a symbolic trace has no shape to look at, and calls it as it is
def _checked(
    x: torch.Tensor,
    channels: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(
            f"LayerNorm2d({channels}) needs an input (N, {channels}, H, W), but got "
            f"{tuple(x.shape)}"
        )
    return layer_norm_2d(x, weight, bias, eps)


def for_shape(shape: tuple[int, ...]) -> LayerNorm2d:
    """Return the layer for tensors of shape (C, H, W)."""
    return LayerNorm2d(shape[0])
