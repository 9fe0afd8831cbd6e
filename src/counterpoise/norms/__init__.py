"""Normalization layers: drop-in for torch.nn, right and fast in the layout they are given.

Under torch.autocast they return what torch's return: on a CPU the input's dtype, on a GPU float32.

In bfloat16 and float16 on a CPU torch adds up the gradients of weight and bias in the input's
dtype; here they are summed in float32 or wider, and rounded once to the parameter's.

`ALL` maps the name used everywhere (in plans, in `counterpoise demo`) to a function from the shape
(C, H, W) of the tensors to be normalized to a module.
"""

from collections.abc import Callable

from torch import nn

from counterpoise import registry
from counterpoise.kernels.backend import backend
from counterpoise.norms._explain import explain
from counterpoise.norms._group import GroupNorm
from counterpoise.norms._instance import InstanceNorm
from counterpoise.norms._layer import LayerNorm
from counterpoise.norms._layer_2d import LayerNorm2d
from counterpoise.norms._rms import RMSNorm
from counterpoise.norms._swap import WORDS as SWAP_WORDS
from counterpoise.norms._swap import swap_norm, swap_table
from counterpoise.norms._swap_table import Change, SwapTable

__all__ = [
    "ALL",
    "SWAP_WORDS",
    "Change",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LayerNorm2d",
    "RMSNorm",
    "SwapTable",
    "backend",
    "explain",
    "swap_norm",
    "swap_table",
]

ALL: dict[str, Callable[[tuple[int, ...]], nn.Module]] = {
    name: member.load() for name, member in registry.NORMS.items()
}
