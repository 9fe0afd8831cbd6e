"""Root-mean-square normalization."""

import torch
from torch import nn

from counterpoise.kernels.rms_norm import rms_norm
from counterpoise.norms._layer import check_last_axes


class RMSNorm(nn.RMSNorm):
    r"""Root-mean-square normalization over the last axes, a drop-in for `torch.nn.RMSNorm`.

    .. math::
        y = \text{weight} \cdot \frac{x}{\sqrt{\operatorname{mean}(x^2) + \text{eps}}}

    with the mean over the last `len(normalized_shape)` axes of each sample: layer normalization
    that leaves the mean where it is. Same signature, parameters, initial values and state_dict as
    torch's. What differs: over (C, H, W) a `channels_last` tensor stays `channels_last`, and a
    wrong shape is a ValueError that names both shapes.

    Source: Zhang and Sennrich 2019, arXiv 1910.07467. Formula: `kernels/rms_norm/reference.py`.

    Args:
        normalized_shape: the last axes, an int or a sequence, as in torch.
        eps: added to the mean square; None for the machine epsilon of the input's dtype, of
            float32 for half precision.
        elementwise_affine: learn the weight.
        device: where the weight lives.
        dtype: of the weight.

    Shape: input (*, *normalized_shape), output the same, in the same dtype.

    Raises:
        ValueError: when the input's last axes are not `normalized_shape`.

    Example:
        >>> import torch
        >>> from counterpoise.norms import RMSNorm
        >>> RMSNorm(2)(torch.tensor([[3.0, 4.0]])).detach()
        tensor([[0.8485, 1.1314]])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized input, in the input's memory layout."""
        return _checked(x, self.normalized_shape, self.weight, self.eps, type(self).__name__)


@torch.fx.wrap  # a symbolic trace has no shape to look at, and calls it as it is
def _checked(
    x: torch.Tensor,
    shape: tuple[int, ...],
    weight: torch.Tensor | None,
    eps: float | None,
    name: str,
) -> torch.Tensor:
    check_last_axes(name, x, shape)
    return rms_norm(x, shape, weight, eps)


def for_shape(shape: tuple[int, ...]) -> RMSNorm:
    """Return the layer for tensors of shape (C, H, W)."""
    return RMSNorm(list(shape))
