"""Training and evaluation of a classifier.

`fit` is the training loop, `fit_heads` that of many heads on the same vectors, and `fit_stacked`
that of several seeds of a small net on a GPU; `predict`, `predict_logits` and `accuracy` evaluate.
`make_optimizer`, the schedules `cosine` and `constant`, the augmentations `AUGMENTS` (joined by
`augmentation`) and `Mix` are their usual arguments. To fine-tune, `freeze` says what is not
trained, and `resolve_precision` whether bfloat16 pays.
`retrain_head` is a second stage, for the head alone.
In several processes, `sync_batch_norm` and `shard` prepare a net for it, and `full_state` puts a
sharded one together.
"""

from counterpoise.train._augment import AUGMENTS, augmentation
from counterpoise.train._evaluate import SCORES, accuracy, predict, predict_logits
from counterpoise.train._fit import Diverged, HasEpoch, fit
from counterpoise.train._fit_heads import Head, fit_heads
from counterpoise.train._fit_stacked import Member, NotStackable, fit_stacked
from counterpoise.train._freeze import freeze
from counterpoise.train._mix import MIXES, Mix
from counterpoise.train._optimizer import OPTIMIZERS, make_optimizer
from counterpoise.train._precision import PRECISIONS, resolve_precision
from counterpoise.train._retrain import RETRAINS, retrain_head
from counterpoise.train._schedule import SCHEDULES, constant, cosine
from counterpoise.train._shard import full_state, shard
from counterpoise.train._sync_batch_norm import sync_batch_norm

__all__ = [
    "AUGMENTS",
    "MIXES",
    "OPTIMIZERS",
    "PRECISIONS",
    "RETRAINS",
    "SCHEDULES",
    "SCORES",
    "Diverged",
    "HasEpoch",
    "Head",
    "Member",
    "Mix",
    "NotStackable",
    "accuracy",
    "augmentation",
    "constant",
    "cosine",
    "fit",
    "fit_heads",
    "fit_stacked",
    "freeze",
    "full_state",
    "make_optimizer",
    "predict",
    "predict_logits",
    "resolve_precision",
    "retrain_head",
    "shard",
    "sync_batch_norm",
]
