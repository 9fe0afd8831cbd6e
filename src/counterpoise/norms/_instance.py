"""Instance normalization."""

import torch

from counterpoise.kernels.group_norm import group_norm
from counterpoise.norms._group import GroupNorm, check_channels


class InstanceNorm(GroupNorm):
    r"""Instance normalization for any number of axes: group normalization, a channel a group.

    .. math::
        y = \text{weight} \cdot
        \frac{x - \operatorname{mean}(x)}{\sqrt{\operatorname{var}(x) + \text{eps}}} + \text{bias}

    with the mean and the (biased) variance over the pixels of each channel of each sample. The
    parameters and state_dict are those of `torch.nn.InstanceNorm2d` without running statistics, and
    like torch's it learns no weight and bias unless asked to. The memory layout is kept.

    Source: Ulyanov et al. 2016, arXiv 1607.08022. Formula: `kernels/group_norm/reference.py`.

    Args:
        num_features: how many channels there are.
        eps: added to the variance.
        momentum: has no effect, as in torch's without running statistics; here for its place.
        affine: learn weight and bias.
        track_running_stats: must be False.
        device: where the parameters live.
        dtype: of the parameters.
        bias: learn a bias (only with `affine`; needs a torch whose GroupNorm knows it).

    Shape: input (N, C, *) with at least two pixels, output the same, in the same dtype. A single
    (C, H, W) cannot be told from an (N, C, L), and is taken for one: give it a first axis of 1.

    Raises:
        ValueError: with track_running_stats; when the input has other channels, or one pixel a
            channel: its variance is 0 and the output would be the bias, whatever the input.

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
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        if track_running_stats:
            raise ValueError(
                "InstanceNorm measures its statistics on every input, so track_running_stats must "
                "be False; take torch.nn.InstanceNorm2d for running ones"
            )
        super().__init__(num_features, num_features, eps, affine, device, dtype, bias=bias)

    @property
    def num_features(self) -> int:
        """The number of channels, under the name that torch's instance norms give it."""
        return self.num_channels

    def extra_repr(self) -> str:
        """The channels once, as torch's instance norms show them."""
        return f"{self.num_channels}, eps={self.eps}, affine={self.affine}"

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalized input, in the input's memory layout."""
        return _checked(
            input, self.num_channels, self.weight, self.bias, self.eps, type(self).__name__
        )


@torch.fx.wrap  # a symbolic trace has no shape to look at, and calls it as it is
def _checked(
    x: torch.Tensor,
    channels: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    name: str,
) -> torch.Tensor:
    check_channels(name, x, channels)
    if all(size == 1 for size in x.shape[2:]):
        raise ValueError(
            f"{name} needs more than one pixel a channel, but got {tuple(x.shape)}; use LayerNorm "
            "or GroupNorm with fewer groups"
        )
    return group_norm(x, channels, weight, bias, eps)


def for_shape(shape: tuple[int, ...]) -> InstanceNorm:
    """Return the layer for tensors of shape (C, H, W)."""
    return InstanceNorm(shape[0], affine=True)
