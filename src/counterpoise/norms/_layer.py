"""Layer normalization."""

import torch
from torch import nn

from counterpoise.kernels.layer_norm import layer_norm


class LayerNorm(nn.LayerNorm):
    r"""Layer normalization over the last axes, a drop-in for `torch.nn.LayerNorm`.

        y = weight * (x - mean) / sqrt(var + eps) + bias

    with the mean and the (biased) variance over the last `len(normalized_shape)` axes of each
    sample. Same signature, parameters, initial values and state_dict as torch's. What differs: over
    (C, H, W) a `channels_last` tensor stays `channels_last` and is not copied, and a wrong shape is
    a ValueError that names both shapes.

    Source: Ba, Kiros and Hinton 2016, arXiv 1607.06450. Formula: `kernels/layer_norm/reference.py`.

    Args:
        normalized_shape: the last axes, an int or a sequence, as in torch.
        eps: added to the variance.
        elementwise_affine: learn weight and bias.
        bias: learn a bias (only with `elementwise_affine`).
        device: where the parameters live.
        dtype: of the parameters.

    Shape: input (*, *normalized_shape), output the same, in the same dtype.

    Raises:
        ValueError: when the input's last axes are not `normalized_shape`.

    Example:
        >>> import torch
        >>> from counterpoise.norms import LayerNorm
        >>> x = torch.arange(8.0).reshape(2, 4)
        >>> LayerNorm(4)(x).mean(1).abs().max() < 1e-6
        tensor(True)
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalized input, in the input's memory layout."""
        shape = check_last_axes(self, input)
        return layer_norm(input, shape, self.weight, self.bias, self.eps)


def check_last_axes(layer: nn.LayerNorm | nn.RMSNorm, x: torch.Tensor) -> tuple[int, ...]:
    """The layer's normalized_shape; refuses an input whose last axes are others."""
    shape = layer.normalized_shape
    if x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{type(layer).__name__}({shape}) needs an input whose last {len(shape)} axes are "
            f"{shape}, but got {tuple(x.shape)}; build the layer with the shape of what it "
            "normalizes"
        )
    return shape
