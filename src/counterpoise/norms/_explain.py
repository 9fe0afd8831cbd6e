"""The implementation that a norm takes for a tensor, and the reason."""

import torch
from torch import nn

from counterpoise.kernels import group_norm, layer_norm, rms_norm
from counterpoise.norms._group import GroupNorm
from counterpoise.norms._layer import LayerNorm
from counterpoise.norms._layer_2d import LayerNorm2d
from counterpoise.norms._rms import RMSNorm


def explain(layer: nn.Module, x: torch.Tensor) -> str:
    """Return the implementation that `layer` takes for `x`, and why, in one line.

    The implementations: `cpu` is ours in C; `eager` is torch's kernels, with the layout of x
    restored; `reference` the paper's formula, see `norms.backend`.

    Args:
        layer: a LayerNorm, LayerNorm2d, GroupNorm, InstanceNorm or RMSNorm of this package.
        x: the tensor that would be given to it; nothing is normalized.

    Raises:
        TypeError: another module; torch's own norms too, which swap_norm makes this package's.

    Example:
        >>> import torch
        >>> from counterpoise.norms import GroupNorm, explain
        >>> explain(GroupNorm(2, 4).double(), torch.zeros(2, 4, 5, 5).double())
        'eager: the kernels in C take float32 and bfloat16 tensors on a CPU'
    """
    if isinstance(layer, GroupNorm):
        function, reason = group_norm.choose(x, layer.num_groups, layer.weight, layer.bias)
    elif isinstance(layer, LayerNorm2d):
        function, reason = layer_norm.choose_2d(x, layer.weight, layer.bias)
    elif isinstance(layer, LayerNorm):
        shape = tuple(layer.normalized_shape)
        function, reason = layer_norm.choose(x, shape, layer.weight, layer.bias)
    elif isinstance(layer, RMSNorm):
        function, reason = rms_norm.choose(x, tuple(layer.normalized_shape), layer.weight)
    else:
        kind = f"{type(layer).__module__}.{type(layer).__name__}"
        raise TypeError(f"explain knows the norms of this package, but got {kind}")
    return f"{function.__module__.rpartition('.')[2]}: {reason}"
