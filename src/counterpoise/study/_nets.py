"""The net of a plan's settings: a registered one, a pretrained one, or a head on vectors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from counterpoise.study.settings import Training
from counterpoise.study.variant import Variant

if TYPE_CHECKING:
    from torch import nn

    from counterpoise.models import Backbone


def make_net(
    t: Training, variant: Variant, shape: tuple[int, ...], num_classes: int, *, weights: str = ""
) -> nn.Module:
    """Return the net that a training begins with, for samples of a shape.

    Args:
        t: the settings.
        variant: of which the norm and its settings are.
        shape: of a sample, or of its features.
        num_classes: of the data.
        weights: in place of those of the settings, such as "none" where a record has them.

    Raises:
        ValueError: it cannot be made, or not for these samples.
    """
    from torch import nn

    from counterpoise.models import make_head
    from counterpoise.net import build

    if t.head_alone:
        head = make_head(t.head_alone, math.prod(shape), num_classes)
        return head if len(shape) == 1 else nn.Sequential(nn.Flatten(), head)
    norm, own = variant.norm, variant.norm_settings
    return build(t.model, norm, shape, num_classes, norm_settings=own, **_of_backbone(t, weights))


def _of_backbone(t: Training, weights: str = "") -> dict[str, Any]:
    """Return what `net.build` is to know of a pretrained net."""
    if not t.pretrained:
        return {}
    asked = weights or ("pretrained" if t.weights == "auto" else t.weights)
    settings = {"weights": asked, "head": t.head, "size": t.image_size, "lora": t.lora}
    return {**settings, "interpolation": t.interpolation}


def open_backbone(t: Training, shape: tuple[int, ...] = (1, 1, 1)) -> Backbone:
    """Return the pretrained net as it comes, with its own norm, for images of a shape.

    Random weights are the same each time.

    Raises:
        ValueError: it cannot be made, or not for these samples.
    """
    import torch

    from counterpoise.models import Backbone
    from counterpoise.net import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(t.model, "keep", shape, 2, **_of_backbone(t))
    assert isinstance(net, Backbone)
    return net


def reading_of(t: Training) -> dict[str, Any]:
    """Return how images are read: as is asked for, or as a pretrained net was given them."""
    size, interpolation = t.image_size, t.interpolation
    if t.pretrained:
        from counterpoise.models import input_config

        config = input_config(t.model)
        own = config.size[0] if config.size[0] == config.size[1] else config.size
        size = size or own
        interpolation = config.interpolation if interpolation == "auto" else interpolation
    return {"image_size": size, "resize": t.resize, "interpolation": interpolation}
