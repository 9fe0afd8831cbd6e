"""Which way a norm takes for a tensor."""

import torch
from torch import nn

from counterpoise.kernels import group_norm, layer_norm, rms_norm
from counterpoise.kernels._eager import without_gaps
from counterpoise.kernels._half_precision import HALF
from counterpoise.norms._group import GroupNorm
from counterpoise.norms._layer import LayerNorm
from counterpoise.norms._layer_2d import LayerNorm2d
from counterpoise.norms._rms import RMSNorm


def explain(layer: nn.Module, x: torch.Tensor) -> str:
    """Say in one line which way `layer` takes for `x`, and why.

    Args:
        layer: a LayerNorm, LayerNorm2d, GroupNorm, InstanceNorm or RMSNorm of this package.
        x: what would be given to it; nothing is normalized.

    Raises:
        TypeError: another module; torch's own norms too, which swap_norm makes this package's.

    Example:
        >>> import torch
        >>> from counterpoise.norms import GroupNorm, explain
        >>> explain(GroupNorm(2, 4), torch.zeros(2, 4, 5, 5))
        "native: torch's kernel is right and fastest on contiguous tensors"
    """
    x = without_gaps(x)
    if isinstance(layer, GroupNorm):
        taken, why = group_norm.way(x, layer.num_groups)
    elif isinstance(layer, LayerNorm2d):
        taken, why = layer_norm.way_2d(x)
    elif isinstance(layer, LayerNorm):
        taken, why = layer_norm.way(x, tuple(layer.normalized_shape))
    elif isinstance(layer, RMSNorm):
        taken, why = rms_norm.way(x, tuple(layer.normalized_shape))
    else:
        kind = f"{type(layer).__module__}.{type(layer).__name__}"
        raise TypeError(f"explain knows the norms of this package, but got {kind}")
    if x.dtype in HALF and x.device.type == "cpu" and taken not in ("compiled", "reference"):
        why += "; in half precision its gradients are computed in float64"
    return f"{taken}: {why}"
