"""The check of a sample's shape and the memory layout that nets for images share."""

from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels.dispatch import functorch_active


def image_settings(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return `in_channels` and `image_size` for samples of a shape.

    Raises:
        ValueError: a shape that is not (channels, height, width).
    """
    if len(shape) != 3:
        raise ValueError(
            f"{name} needs images (channels, height, width), but the samples have the shape "
            f"{tuple(shape)}; take mlp for vectors"
        )
    return {"in_channels": shape[0], "image_size": (shape[1], shape[2])}


def channels_last(x: Tensor) -> Tensor:
    """Return images in `channels_last`; as they are in torch.func, whose tensors know no layout."""
    return x if functorch_active() else x.contiguous(memory_format=torch.channels_last)
