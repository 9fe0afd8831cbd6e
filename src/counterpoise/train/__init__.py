"""Training a classifier: one loop, one evaluation, and what they need.

`fit` trains, `predict` and `predict_logits` answer, `accuracy` scores; `make_optimizer` and
`cosine`/`constant` are what a training is usually given, `AUGMENTS` what images may be.
"""

from counterpoise.train._augment import AUGMENTS
from counterpoise.train._fit import Diverged, fit
from counterpoise.train._look import accuracy, predict, predict_logits
from counterpoise.train._optimizer import OPTIMIZERS, make_optimizer
from counterpoise.train._schedule import SCHEDULES, constant, cosine

__all__ = [
    "AUGMENTS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Diverged",
    "accuracy",
    "constant",
    "cosine",
    "fit",
    "make_optimizer",
    "predict",
    "predict_logits",
]
