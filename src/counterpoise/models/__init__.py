"""Small nets with a choice of norm, and a cosine classifier.

`ALL` maps a name (`training.model` of a plan) to a function from a norm, the shape of a sample and
the number of classes to a net. A new member is one file, and one row in
`counterpoise/registry.py`.
"""

from collections.abc import Callable

from torch import nn

from counterpoise import registry
from counterpoise.models._backbone import (
    Backbone,
    InputConfig,
    input_config,
    is_backbone,
    open_backbone,
)
from counterpoise.models._deeper_cnn import DeeperCNN
from counterpoise.models._heads import make_head
from counterpoise.models._mlp import MLP, Norm
from counterpoise.models._normed_linear import NormedLinear
from counterpoise.models._resnet import ResNet

__all__ = [
    "ALL",
    "MLP",
    "Backbone",
    "DeeperCNN",
    "InputConfig",
    "NormedLinear",
    "ResNet",
    "input_config",
    "is_backbone",
    "make_head",
    "open_backbone",
]

ALL: dict[str, Callable[[Norm | None, tuple[int, ...], int], nn.Module]] = {
    name: member.load() for name, member in registry.MODELS.items()
}
