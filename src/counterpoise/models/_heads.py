"""Heads on vectors: what is trained where a net's features are frozen."""

from __future__ import annotations

import math

from torch import nn

from counterpoise.models._mlp import MLP
from counterpoise.models._normed_linear import NormedLinear

_SCALE = 30.0  # of cosines


def make_head(kind: str, in_features: int, num_classes: int) -> nn.Module:
    """Return a head on vectors.

    Args:
        kind: "linear"; "cosine", a `NormedLinear`, whose logits are 30 times cosines; or "mlp",
            with one hidden layer as wide as the vectors, at most 512.
        in_features: numbers of a vector.
        num_classes: number of logits.

    Raises:
        ValueError: another kind.

    Example:
        >>> make_head("linear", 1280, 10)
        Linear(in_features=1280, out_features=10, bias=True)
    """
    if kind == "linear":
        return nn.Linear(in_features, num_classes)
    if kind == "cosine":
        return NormedLinear(in_features, num_classes, scale=_SCALE)
    if kind == "mlp":
        hidden = (min(in_features, 512),)
        return MLP(in_features=in_features, num_classes=num_classes, hidden=hidden)
    raise ValueError(f"head must be one of linear, cosine, mlp, but got {kind!r}")


def linear(norm: object, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return a linear head for samples of any shape, which are flattened."""
    return nn.Sequential(nn.Flatten(), make_head("linear", math.prod(shape), num_classes))


def cosine(norm: object, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return a cosine head for samples of any shape, which are flattened."""
    return nn.Sequential(nn.Flatten(), make_head("cosine", math.prod(shape), num_classes))
