"""Group normalization."""

from numbers import Integral

import torch
from torch import nn

from counterpoise.kernels.group_norm import group_norm


class GroupNorm(nn.GroupNorm):
    r"""Group normalization, a drop-in for `torch.nn.GroupNorm`.

    .. math::
        y = \text{weight} \cdot
        \frac{x - \operatorname{mean}(x)}{\sqrt{\operatorname{var}(x) + \text{eps}}} + \text{bias}

    with the mean and the (biased) variance over the channels of a group and all their pixels, for
    each sample by itself; weight and bias are per channel. Same signature, parameters, initial
    values and state_dict as torch's. What differs: a `channels_last` tensor stays `channels_last`
    and is normalized in two passes (torch's CPU kernel loses all digits there at large means).

    A group of one element (a channel of one pixel) has the variance 0: the output is the bias
    whatever the input, as in torch. `swap_norm` never makes such groups.

    Source: Wu and He 2018, arXiv 1803.08494. Formula: `kernels/group_norm/reference.py`.

    Args:
        num_groups: into how many groups the channels are cut.
        num_channels: how many channels there are; a multiple of `num_groups`.
        eps: added to the variance.
        affine: learn weight and bias.
        device: where the parameters live.
        dtype: of the parameters.
        bias: learn a bias (only with `affine`; needs a torch whose GroupNorm knows it).

    Shape: input (N, C, *), output the same, in the same dtype.

    Raises:
        ValueError: when the channels cannot be cut into the groups, or the input has others.

    Example:
        >>> import torch
        >>> from counterpoise.norms import GroupNorm
        >>> GroupNorm(2, 6)(torch.randn(3, 6, 5, 5)).shape
        torch.Size([3, 6, 5, 5])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        name = type(self).__name__
        for number in (num_groups, num_channels):
            if not isinstance(number, Integral):
                raise TypeError(f"{name} counts in whole numbers, but got {number!r}")
            if number < 1:
                raise ValueError(f"{name} needs one channel and group at least, but got {number}")
        if num_channels % num_groups:
            raise ValueError(
                f"{name} needs num_channels to be a multiple of num_groups, but got "
                f"{num_channels} channels and {num_groups} groups; choose groups that divide "
                f"{num_channels}"
            )
        unbiased = {} if bias else {"bias": False}  # a keyword of newer torch versions
        super().__init__(num_groups, num_channels, eps, affine, device, dtype, **unbiased)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalized input, in the input's memory layout."""
        return _checked(
            input,
            self.num_groups,
            self.weight,
            self.bias,
            self.eps,
            self.num_channels,
            type(self).__name__,
        )


@torch.fx.wrap  # a symbolic trace has no shape to look at, and calls it as it is
def _checked(
    x: torch.Tensor,
    groups: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    channels: int,
    name: str,
) -> torch.Tensor:
    check_channels(name, x, channels)
    return group_norm(x, groups, weight, bias, eps)


def check_channels(name: str, x: torch.Tensor, channels: int) -> None:
    """Refuses an input of other channels than the layer of that name was built for."""
    if x.dim() < 2 or x.shape[1] != channels:
        raise ValueError(
            f"{name} needs an input (N, C, ...) of {channels} channels, but got {tuple(x.shape)}"
        )


def for_shape(shape: tuple[int, ...], num_groups: int = 2) -> GroupNorm:
    """Return the layer for tensors of shape (C, H, W)."""
    return GroupNorm(num_groups, shape[0])
