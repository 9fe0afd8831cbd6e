"""Losses for imbalanced classes, each an `nn.Module` called as `loss(logits, target)`.

`ALL` maps the name used everywhere (`counterpoise compare --losses`, the tests, the table in the
docs) to a function from the samples per class, and the loss's settings, to the loss: the softmax
losses, for one class per sample. `MULTI_LABEL` does so for independent yes/no decisions. A new
member is one file, and one row in `counterpoise/registry.py`.
"""

from typing import Any, Protocol

import torch
from torch import nn

from counterpoise import registry
from counterpoise.labels import count_classes
from counterpoise.losses._adjusted import (
    AdjustedCrossEntropyLoss,
    adjusted_cross_entropy,
    explain,
)
from counterpoise.losses._asymmetric import AsymmetricLoss
from counterpoise.losses._class_balanced import ClassBalancedLoss
from counterpoise.losses._class_weights import (
    effective_number_weights,
    inverse_weights,
    median_frequency_weights,
)
from counterpoise.losses._deferred import DeferredReweighting
from counterpoise.losses._focal import FocalLoss
from counterpoise.losses._ldam import LDAMLoss
from counterpoise.losses._link import link_parameters
from counterpoise.losses._logit_adjusted import BalancedSoftmaxLoss, LogitAdjustedLoss
from counterpoise.losses._poly import PolyLoss
from counterpoise.losses._post_hoc import TauChoice, adjust_logits, choose_tau
from counterpoise.losses._seesaw import SeesawLoss
from counterpoise.losses._sigmoid_focal import SigmoidFocalLoss
from counterpoise.losses._tau_norm import choose_norm_tau, normalize_logits
from counterpoise.losses._vs import CDTLoss, VSLoss
from counterpoise.registry import Member

__all__ = [
    "ALL",
    "MULTI_LABEL",
    "AdjustedCrossEntropyLoss",
    "AsymmetricLoss",
    "BalancedSoftmaxLoss",
    "CDTLoss",
    "ClassBalancedLoss",
    "DeferredReweighting",
    "FocalLoss",
    "LDAMLoss",
    "LogitAdjustedLoss",
    "PolyLoss",
    "SeesawLoss",
    "SigmoidFocalLoss",
    "TauChoice",
    "VSLoss",
    "adjust_logits",
    "adjusted_cross_entropy",
    "choose_norm_tau",
    "choose_tau",
    "count_classes",
    "effective_number_weights",
    "explain",
    "inverse_weights",
    "link_parameters",
    "median_frequency_weights",
    "normalize_logits",
]


class _Make(Protocol):
    def __call__(self, counts: torch.Tensor, /, **settings: Any) -> nn.Module:
        """Return a loss."""
        ...


def _from_counts(member: Member) -> _Make:
    make = member.load()
    return make if "counts" in member.needs else lambda counts, /, **settings: make(**settings)


ALL: dict[str, _Make] = {name: _from_counts(row) for name, row in registry.LOSSES.items()}
MULTI_LABEL: dict[str, _Make] = {
    name: _from_counts(row) for name, row in registry.MULTI_LABEL_LOSSES.items()
}
