"""Layer normalization."""

import torch
from torch import nn

from counterpoise.kernels.layer_norm import layer_norm


class LayerNorm(nn.LayerNorm):
    r"""Layer normalization over the last axes, a drop-in for `torch.nn.LayerNorm`.

    .. math::
        y = \text{weight} \cdot
        \frac{x - \operatorname{mean}(x)}{\sqrt{\operatorname{var}(x) + \text{eps}}} + \text{bias}

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
        return _checked(
            input, self.normalized_shape, self.weight, self.bias, self.eps, type(self).__name__
        )


@torch.fx.wrap  # a symbolic trace has no shape to look at, and calls it as it is
def _checked(
    x: torch.Tensor,
    shape: tuple[int, ...],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    name: str,
) -> torch.Tensor:
    check_last_axes(name, x, shape)
    return layer_norm(x, shape, weight, bias, eps)


def check_last_axes(name: str, x: torch.Tensor, shape: tuple[int, ...]) -> None:
    """Refuses an input whose last axes are others than the layer of that name was built for."""
    if x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{name}({shape}) needs an input whose last {len(shape)} axes are {shape}, but got "
            f"{tuple(x.shape)}; build the layer with the shape of what it normalizes"
        )


def for_shape(shape: tuple[int, ...]) -> LayerNorm:
    """Return the layer for tensors of shape (C, H, W)."""
    return LayerNorm(list(shape))
