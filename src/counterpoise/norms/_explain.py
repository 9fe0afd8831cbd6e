"""Which way a norm takes for a tensor."""

import torch
from torch import nn

from counterpoise.kernels import group_norm, layer_norm, rms_norm
from counterpoise.norms._layer_2d import LayerNorm2d


def explain(layer: nn.Module, x: torch.Tensor) -> str:
    """Say in one line which way `layer` takes for `x`, and why.

    Args:
        layer: a LayerNorm, LayerNorm2d, GroupNorm, InstanceNorm or RMSNorm of this package.
        x: what would be given to it; nothing is computed.

    Raises:
        TypeError: another module.

    Example:
        >>> import torch
        >>> from counterpoise.norms import GroupNorm, explain
        >>> explain(GroupNorm(2, 4), torch.zeros(2, 4, 5, 5))
        "native: torch's kernel is right and fastest on contiguous tensors"
    """
    if isinstance(layer, nn.GroupNorm):
        taken, why = group_norm.way(x, layer.num_groups)
    elif isinstance(layer, LayerNorm2d):
        taken, why = layer_norm.way_2d(x)
    elif isinstance(layer, nn.LayerNorm):
        taken, why = layer_norm.way(x, tuple(layer.normalized_shape))
    elif isinstance(layer, nn.RMSNorm):
        taken, why = rms_norm.way(x, tuple(layer.normalized_shape))
    else:
        raise TypeError(f"explain knows the norms of this package, but got {type(layer).__name__}")
    return f"{taken}: {why}"
