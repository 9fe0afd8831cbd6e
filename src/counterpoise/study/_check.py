"""What a plan must hold, told before anything runs."""

import math
from typing import TYPE_CHECKING, Any

from counterpoise.words import unknown

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan

# The words, here as well as in the families' tables, so that a plan is checked without torch;
# a test holds the two together.
NORMS = ("none", "batch", "layer", "group", "rms", "layer2d", "instance")
LOSSES = (
    "cross_entropy",
    "weighted",
    "focal",
    "weighted_focal",
    "poly",
    "class_balanced",
    "balanced_softmax",
    "logit_adjusted",
    "ldam",
    "cdt",
    "vs",
)
SAMPLERS = ("shuffle", "balanced", "square_root", "progressive")
AUGMENTS = ("none", "flip", "crop", "flip+crop")
NAMED_DATA = ("fashion_mnist", "digits")
MODELS = ("auto", "deeper_cnn", "resnet8", "resnet20", "mlp")


def check_plan(plan: "Plan") -> None:
    """Raise ValueError for the first thing that cannot be run."""
    from counterpoise.study.plan import METRICS

    _check_types(plan)
    for v in plan.variants:
        _word("norm", v.norm, NORMS)
        _word("loss", v.plain_loss, LOSSES)
        _word("sampler", v.sampler, SAMPLERS)
    _word("metric", plan.metric, METRICS, imports=False)
    _word("on_other_environment", plan.on_other_environment, ("keep", "rerun"), imports=False)
    if not plan.variants or not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(
            "a plan needs a norm, a loss, a sampler and a seed at least, and each seed once, but "
            f"got {list(plan.norms)}, {list(plan.losses)}, {list(plan.samplers)} and "
            f"{list(plan.seeds)}"
        )
    if min(plan.seeds) < 0 or not plan.margin > 0:
        raise ValueError(f"seeds must be >= 0 and margin > 0, but got {plan.seeds}, {plan.margin}")
    if len(set(plan.labels)) < len(plan.labels):
        raise ValueError(f"variants must have different names, but these are {plan.labels}")
    if plan.baseline and plan.baseline not in plan.labels:
        raise ValueError(unknown("baseline", plan.baseline, plan.labels))
    _check_imbalance(plan)
    _check_training(plan)


def _check_imbalance(plan: "Plan") -> None:
    i = plan.imbalance
    _word("imbalance.profile", i.profile, ("none", "linear", "exponential", "step"), imports=False)
    _word("imbalance.draw", i.draw, ("random", "first"), imports=False)
    if not (math.isfinite(i.factor) and i.factor >= 1) or min(i.largest, i.test_largest) < 0:
        raise ValueError(
            "imbalance needs factor >= 1 (1 is balanced) and largest >= 0, but got "
            f"{i.factor}, {i.largest} and {i.test_largest}"
        )


def _check_training(plan: "Plan") -> None:
    t = plan.training
    _word("training.model", t.model, MODELS)
    _word("training.augment", t.augment, AUGMENTS)
    _word("training.optimizer", t.optimizer, ("sgd", "adamw"), imports=False)
    _word("training.schedule", t.schedule, ("cosine", "constant"), imports=False)
    for part in t.watch:
        _word("training.watch", part, ("train", "validation", "test"), imports=False)
    if isinstance(t.lr, str) and t.lr != "auto":
        raise ValueError(f"training.lr must be a number or 'auto', but got {t.lr!r}")
    for name, value, low, high in (
        ("training.epochs", t.epochs, 1, math.inf),
        ("training.batch_size", t.batch_size, 1, math.inf),
        ("training.image_size", t.image_size, 4, math.inf),
        ("training.momentum", t.momentum, 0, 0.999999),
        ("training.weight_decay", t.weight_decay, 0, math.inf),
        ("training.warmup", t.warmup, 0, 0.999999),
        ("training.clip_norm", t.clip_norm, 0, math.inf),
        ("training.deferred", t.deferred, 0, 1),
        ("training.validation", t.validation, 0, 0.9),
        ("tuning.seeds", plan.tuning.seeds, 1, math.inf),
        ("tuning.epochs", plan.tuning.epochs, 0, math.inf),
        *(("a learning rate", lr, 1e-30, 1e30) for lr in plan.grid or (t.lr,)),
    ):
        if not (isinstance(value, int | float) and low <= value <= high):
            raise ValueError(f"{name} must be within {low} .. {high}, but got {value!r}")
    if not t.validation and (t.lr == "auto" or "validation" in t.watch):
        raise ValueError(
            "training.validation must be above 0 where lr is 'auto' or watch holds 'validation': "
            "choices are made on it; set a share such as 0.1, or a fixed lr and another watch"
        )
    if "test" in t.watch and t.lr == "auto":
        raise ValueError(
            "training.watch must not hold 'test' while lr is 'auto': the test part is read once, "
            "after all choices; watch 'validation', or give lr a number"
        )


def _word(kind: str, word: Any, known: tuple[str, ...], imports: bool = True) -> None:
    if word not in known and not (imports and ":" in str(word)):
        more = (*known, "module:name") if imports else known
        raise ValueError(unknown(kind, word, more))


def _check_types(plan: "Plan") -> None:
    """Refuse values of another kind than the defaults', which TOML and Python let through."""
    for where, part in (
        ("", plan),
        ("imbalance.", plan.imbalance),
        ("training.", plan.training),
        ("tuning.", plan.tuning),
    ):
        for key, f in part.__dataclass_fields__.items():
            value, default = getattr(part, key), f.default
            if key == "lr":
                fits = isinstance(value, str | int | float) and not isinstance(value, bool)
            elif isinstance(default, float):
                fits = isinstance(value, int | float) and not isinstance(value, bool)
            else:
                fits = type(value) is type(default)
            if not fits:
                raise ValueError(
                    f"{where}{key} must be of the kind of {default!r}, but got {value!r}"
                )
    for key in ("norms", "losses", "samplers"):
        if not all(isinstance(word, str) for word in getattr(plan, key)):
            raise ValueError(f"{key} must be words, but got {getattr(plan, key)!r}")
    if not all(type(seed) is int for seed in plan.seeds):
        raise ValueError(f"seeds must be integers, but got {plan.seeds!r}")
