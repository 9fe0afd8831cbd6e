"""Losses for imbalanced classes, each an `nn.Module` called as `loss(logits, target)`.

`ALL` maps the word used everywhere (`counterpoise compare --losses`, the tests, the table in the
docs) to a function from the samples per class to the loss: the softmax losses, for one class per
sample. `MULTI_LABEL` does so for independent yes/no decisions. A new member is one file, and one
line here.
"""

from collections.abc import Callable

import torch
from torch import nn

from counterpoise.losses._asymmetric import AsymmetricLoss
from counterpoise.losses._class_balanced import ClassBalancedLoss
from counterpoise.losses._class_weights import (
    count_classes,
    effective_number_weights,
    inverse_weights,
    median_frequency_weights,
)
from counterpoise.losses._deferred import DeferredReweighting
from counterpoise.losses._focal import FocalLoss
from counterpoise.losses._functional import tilted_cross_entropy
from counterpoise.losses._ldam import LDAMLoss
from counterpoise.losses._logit_adjusted import BalancedSoftmaxLoss, LogitAdjustedLoss
from counterpoise.losses._poly import PolyLoss
from counterpoise.losses._post_hoc import TauChoice, adjust_logits, choose_tau
from counterpoise.losses._sigmoid_focal import SigmoidFocalLoss
from counterpoise.losses._tilted import TiltedCrossEntropyLoss
from counterpoise.losses._vs import CDTLoss, VSLoss

__all__ = [
    "ALL",
    "MULTI_LABEL",
    "AsymmetricLoss",
    "BalancedSoftmaxLoss",
    "CDTLoss",
    "ClassBalancedLoss",
    "DeferredReweighting",
    "FocalLoss",
    "LDAMLoss",
    "LogitAdjustedLoss",
    "PolyLoss",
    "SigmoidFocalLoss",
    "TauChoice",
    "TiltedCrossEntropyLoss",
    "VSLoss",
    "adjust_logits",
    "choose_tau",
    "count_classes",
    "effective_number_weights",
    "inverse_weights",
    "median_frequency_weights",
    "tilted_cross_entropy",
]

Counts = torch.Tensor

ALL: dict[str, Callable[[Counts], nn.Module]] = {
    "cross_entropy": lambda counts: TiltedCrossEntropyLoss(),
    "weighted": lambda counts: TiltedCrossEntropyLoss(weight=inverse_weights(counts)),
    "focal": lambda counts: FocalLoss(),
    "weighted_focal": lambda counts: FocalLoss(weight=inverse_weights(counts)),
    "poly": lambda counts: PolyLoss(),
    "class_balanced": ClassBalancedLoss,
    "balanced_softmax": BalancedSoftmaxLoss,
    "logit_adjusted": LogitAdjustedLoss,
    "ldam": LDAMLoss,
    "cdt": CDTLoss,
    "vs": VSLoss,
}

MULTI_LABEL: dict[str, Callable[[Counts], nn.Module]] = {
    "sigmoid_focal": lambda counts: SigmoidFocalLoss(),
    "asymmetric": lambda counts: AsymmetricLoss(),
}
