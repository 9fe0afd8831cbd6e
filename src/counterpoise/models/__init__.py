"""Small nets that take a norm, and parts of nets.

`ALL` maps the word used everywhere (`training.model` of a plan) to a function from a norm, the
shape of a sample and the number of classes to a net. A new member is one file, and one line here.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from counterpoise.models._deeper_cnn import DeeperCNN
from counterpoise.models._mlp import MLP, Norm
from counterpoise.models._normed_linear import NormedLinear
from counterpoise.models._resnet import ResNet

__all__ = ["ALL", "MLP", "DeeperCNN", "NormedLinear", "ResNet"]

InputShape = tuple[int, ...]


def _deeper_cnn(norm: Norm | None, shape: InputShape, num_classes: int) -> nn.Module:
    return DeeperCNN(norm, num_classes=num_classes, **_image("deeper_cnn", shape))


def _resnet8(norm: Norm | None, shape: InputShape, num_classes: int) -> nn.Module:
    return ResNet(norm, depth=8, num_classes=num_classes, **_image("resnet8", shape))


def _resnet20(norm: Norm | None, shape: InputShape, num_classes: int) -> nn.Module:
    return ResNet(norm, depth=20, num_classes=num_classes, **_image("resnet20", shape))


def _mlp(norm: Norm | None, shape: InputShape, num_classes: int) -> nn.Module:
    return MLP(norm, in_features=math.prod(shape), num_classes=num_classes)


def _image(word: str, shape: InputShape) -> dict[str, Any]:
    if len(shape) != 3:
        raise ValueError(
            f"{word} needs images (channels, height, width), but the samples have the shape "
            f"{tuple(shape)}; take mlp for vectors"
        )
    return {"in_channels": shape[0], "image_size": (shape[1], shape[2])}


ALL: dict[str, Callable[[Norm | None, InputShape, int], nn.Module]] = {
    "deeper_cnn": _deeper_cnn,
    "resnet8": _resnet8,
    "resnet20": _resnet20,
    "mlp": _mlp,
}
