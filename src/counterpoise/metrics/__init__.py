"""Metrics of one set of predictions: numbers in, numbers out, without torch.

`score` takes predicted classes; `evaluate` takes logits, from which it also computes likelihood and
calibration. `balanced_accuracy` is that one number, without the cost of the others. `log_loss_at`
and `reliability` judge probabilities at other class shares than those of the samples. `Measure` is
a metric that needs more than predictions, such as costs.
"""

from counterpoise.metrics._adjust import adjust
from counterpoise.metrics._confusion import dense_confusion
from counterpoise.metrics._evaluation import Evaluation, evaluate
from counterpoise.metrics._measure import Measure, least_constant_cost, rarer_class
from counterpoise.metrics._probabilities import (
    calibration_error,
    log_loss_at,
    log_softmax,
    reliability,
    share_weights,
)
from counterpoise.metrics._scores import Scores, balanced_accuracy, score

__all__ = [
    "Evaluation",
    "Measure",
    "Scores",
    "adjust",
    "balanced_accuracy",
    "calibration_error",
    "dense_confusion",
    "evaluate",
    "least_constant_cost",
    "log_loss_at",
    "log_softmax",
    "rarer_class",
    "reliability",
    "score",
    "share_weights",
]
