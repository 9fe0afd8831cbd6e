"""The parameters of a loss that say what the logits trained with it stand for."""

from typing import Any

import torch
from torch import nn

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._seesaw import SeesawLoss

_VECTORS = ("scale", "offset", "margin", "weight")


def link_parameters(loss: object) -> dict[str, Any]:
    """Return the parameters of `counterpoise.probabilities.Link` for a loss, as JSON has them.

    Args:
        loss: as it is at the end of the training.

    Returns:
        scale, offset, margin, weight, gamma and poly, those that are not the defaults. Of a loss
        without a known link, what comes nearest, and why as "approximate".

    Example:
        >>> from counterpoise.losses import FocalLoss
        >>> link_parameters(FocalLoss(gamma=2.0, alpha=[1.0, 3.0]))
        {'weight': [1.0, 3.0], 'gamma': [2.0]}
    """
    if type(loss) is nn.CrossEntropyLoss:
        return _checked({"weight": _numbers(loss.weight)}, loss.label_smoothing)
    if not isinstance(loss, AdjustedCrossEntropyLoss):
        return {"approximate": f"no formula is known for {type(loss).__name__}"}
    found: dict[str, Any] = {name: _numbers(getattr(loss, name)) for name in _VECTORS}
    gamma = loss.gamma if isinstance(loss.gamma, torch.Tensor) else torch.tensor([loss.gamma])
    found["gamma"] = _numbers(gamma) if bool(gamma.any()) else []
    found["poly"] = loss.poly
    if isinstance(loss, SeesawLoss):
        found["approximate"] = "no formula is known for the seesaw loss"
    if any(found["margin"]):
        found["margin"] = []
        found["approximate"] = "margins leave the logits of all but far samples undetermined"
    return _checked(found, loss.label_smoothing)


def _numbers(values: torch.Tensor | None) -> list[float]:
    return [] if values is None else [float(x) for x in values.flatten()]


def _checked(found: dict[str, Any], smoothing: float) -> dict[str, Any]:
    """Return the parameters without defaults, and say what stands in the way of a formula."""
    if smoothing:
        found["approximate"] = "label smoothing bounds the probabilities"
    if found.get("weight") and min(found["weight"]) <= 0:
        found["weight"] = []
        found["approximate"] = "a class of weight 0 was not learned"
    return {name: value for name, value in found.items() if value}
