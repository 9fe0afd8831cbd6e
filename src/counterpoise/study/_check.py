"""Checks of a plan, made before anything runs."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from numbers import Integral
from typing import TYPE_CHECKING, cast

from counterpoise import registry
from counterpoise.registry import unknown
from counterpoise.stats import MAX_SEEDS
from counterpoise.study._axes import DESIGNS
from counterpoise.study._check_engine import check_devices, check_engine
from counterpoise.study._check_inputs import check_augment, check_mix
from counterpoise.study._check_kinds import (
    check_kinds,
    check_settings,
    check_texts,
    check_types,
    is_integer,
)
from counterpoise.study._check_metric import check_metric
from counterpoise.study._check_nets import check_norm, check_pretrained
from counterpoise.study._check_stages import check_stages
from counterpoise.study._check_variants import (
    check_fields,
    check_models,
    check_same,
    check_search,
    trainings,
)
from counterpoise.study._check_words import check_word, shown
from counterpoise.study.settings import (
    BALANCED,
    HEADS,
    SEEDS,
    TUNING_SEED,
    Imbalance,
    Training,
    is_number,
    seconds_of,
)
from counterpoise.study.variant import Variant

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan

NAMED_DATA = ("fashion_mnist", "digits")
MODELS = ("auto", *registry.MODELS, *registry.CLASSICAL)

# No study needs more; beyond, lists of runs would fill the memory before anything trains.
_MOST_SEEDS, _MOST_VARIANTS, _MOST_RUNS, _MOST_TUNING_SEEDS = 10_000, 1_000, 100_000, 1_000
_USUAL_MOST = 20  # of "auto"


def check_plan(plan: "Plan") -> None:
    """Raise ValueError for the first thing that cannot be run."""
    check_types(plan)
    check_settings(plan)
    check_texts(plan)
    _check_size(plan)
    check_word("design", plan.design, DESIGNS, imports=False)
    _check_tuning(plan)
    check_search(plan)
    for v in plan.variants:
        if v.model:
            _check_classical(v)
            continue
        check_norm(plan.training_of(v), v.norm)
        check_word("loss", v.plain_loss, registry.LOSSES)
        check_word("sampler", v.sampler, registry.SAMPLERS)
    _check_alone(plan)
    check_metric(plan)
    check_word("on_other_environment", plan.on_other_environment, ("keep", "rerun"), imports=False)
    if plan.time:
        seconds_of(plan.time)
    if not plan.variants or len(set(plan.seeds)) < len(plan.seeds):
        raise ValueError(
            "a plan needs a norm, a loss and a sampler, or a classical model, and each seed once, "
            f"but got {shown(plan.norms)}, {shown(plan.losses)}, {shown(plan.samplers)} and "
            f"{shown(plan.seeds)}"
        )
    _check_seeds(plan.seeds)
    _check_more(plan)
    if plan.baseline and plan.baseline not in plan.labels:
        raise ValueError(unknown("baseline", plan.baseline, plan.labels))
    for own in {repr(v.imbalance): v.imbalance for v in plan.variants}.values():
        check_fields({f"imbalance.{k}": x for k, x in own.items()}, "a field of a variant")
        cut = replace(plan.imbalance, **own)
        check_kinds("imbalance.", cut)
        _check_imbalance(cut)
    _check_test(plan)
    for t in (plan.training, *trainings(plan)):
        check_kinds("training.", t)
        _check_training(plan, t)
        check_stages(plan, t)
    check_models(plan)
    check_same(plan)
    _check_choices(plan)
    check_engine(plan.engine)


def _check_classical(variant: Variant) -> None:
    """Refuse a model that is no classical one, and settings of which nothing can be tried."""
    if variant.model in registry.MODELS:
        raise ValueError(
            f"model {variant.model!r} is a net, and all nets of a plan have one model: set "
            "training.model (--model); classical has classical models alone"
        )
    check_word("classical model", variant.model, registry.CLASSICAL)
    lists = [key for key, value in variant.settings.items() if isinstance(value, list)]
    if len(lists) > 1:
        raise ValueError(
            f"a list in the settings of {variant.model} is what is tried, and one can be tried, "
            f"but got {', '.join(lists)}; fix all but one"
        )
    for key in lists:
        values = variant.settings[key]
        if not values or len(set(values)) < len(values) or not all(values):
            raise ValueError(
                f"what is tried of {key} must be numbers other than 0, each once, but got "
                f"{shown(values)}"
            )


def _check_alone(plan: "Plan") -> None:
    """Refuse what is said of nets where `training.model` is a classical model."""
    if any(not v.model for v in plan.variants) or plan.training.model not in registry.CLASSICAL:
        return
    fields = type(plan).__dataclass_fields__
    for key in ("norms", "losses", "samplers"):
        if getattr(plan, key) not in ((), fields[key].default, registry.DEFAULT_LOSSES):
            raise ValueError(
                f"{key} are of nets, and training.model {plan.training.model!r} is none; leave "
                f"them out, or name the model in classical (--classical), beside a net"
            )


def as_seeds(seeds: object) -> tuple[int, ...]:
    """Return which seeds there are: those of a list, or so many from 0 up.

    Raises:
        ValueError: neither, or more than anybody trains.
    """
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"seeds must be a seed at least, but got {shown(seeds)}; 5 is usual")
        found: Iterable[object] = range(int(seeds))
        number = int(seeds)
    elif isinstance(seeds, Iterable) and not isinstance(seeds, str | bytes):
        found = tuple(islice(seeds, _MOST_SEEDS + 1))
        number = len(found)
    else:
        raise ValueError(
            f"seeds must be of the kind of 5, how many, or [0, 1], which, but got {shown(seeds)}"
        )
    if number > _MOST_SEEDS:
        raise ValueError(f"a plan must have {_MOST_SEEDS} seeds at most, but got {shown(seeds)}")
    # What is no integer among them is refused by `check_plan`.
    return cast("tuple[int, ...]", tuple(int(s) if is_integer(s) else s for s in found))


def _check_seeds(seeds: tuple[int, ...]) -> None:
    if seeds and (min(seeds) < 0 or max(seeds) >= 2**63):
        raise ValueError(f"seeds must be >= 0 and below 2**63, but got {shown(seeds)}")
    beyond = TUNING_SEED + _MOST_TUNING_SEEDS
    taken = [seed for seed in seeds if TUNING_SEED <= seed < beyond]
    if taken:
        raise ValueError(
            f"seeds from {TUNING_SEED} up to {beyond - 1} are those that choose learning rates, "
            f"which are not reported, but got {taken[0]}; take others"
        )


def most_of(seeds: object) -> int:
    """Return N of "auto:N", 20 of "auto", and 0 of seeds that are numbers.

    Raises:
        ValueError: N is no number that `most_seeds` can be.
    """
    word, _, text = seeds.partition(":") if isinstance(seeds, str) else ("", "", "")
    if word != "auto":
        return 0
    most = _USUAL_MOST if seeds == "auto" else int(text) if re.fullmatch(r"[0-9]{1,4}", text) else 0
    if not SEEDS <= most <= MAX_SEEDS:
        raise ValueError(
            f"seeds must be auto, or auto:N with N from {SEEDS} to {MAX_SEEDS}, the most that may "
            f"be added, but got {shown(seeds)}"
        )
    return most


def _check_more(plan: "Plan") -> None:
    """Refuse seeds that are added without anything to compare, or beyond those planned for."""
    most, seeds = plan.most_seeds, len(plan.seeds)
    if most and not max(SEEDS, seeds) <= most <= MAX_SEEDS:
        raise ValueError(
            f"most_seeds must be 0, or from {SEEDS} to {MAX_SEEDS} and no fewer than seeds, but "
            f"got {shown(most)} and {seeds} seeds"
        )
    if most and len(plan.variants) == 1:
        raise ValueError(
            f"seeds are added (most_seeds = {most}, --seeds auto) while a verdict between variants "
            f"is open, but {plan.labels[0]} is the only variant; add another one, or name a number"
        )
    if plan.sequential and seeds > MAX_SEEDS:
        raise ValueError(f"sequential = true is for {MAX_SEEDS} seeds at most, but got {seeds}")


def _check_imbalance(i: Imbalance) -> None:
    check_word(
        "imbalance.profile", i.profile, ("none", "linear", "exponential", "step"), imports=False
    )
    check_word("imbalance.draw", i.draw, ("random", "first"), imports=False)
    most = 10**9
    if not 1 <= i.factor <= most or not all(0 <= n <= most for n in (i.largest, i.test_largest)):
        raise ValueError(
            f"imbalance needs factor >= 1 (1 is balanced), largest >= 0, and none above {most}, "
            f"but got {shown(i.factor)}, {shown(i.largest)} and {shown(i.test_largest)}"
        )


def _check_test(plan: "Plan") -> None:
    """Refuse a test split for each seed where the data say which one it is, or it is left whole."""
    d, i = plan.data, plan.imbalance
    if d.test != "per_seed":
        return
    if d.split:
        raise ValueError(
            f"data.test = 'per_seed' draws test splits, but data.split = {shown(d.split)} says "
            "which samples to test on; leave one of them out"
        )
    if i.profile != "none" and not i.test:
        raise ValueError(
            f"data.test = 'per_seed' draws test splits from all samples, but imbalance.profile = "
            f"{i.profile!r} cuts those to train on alone; set imbalance.test = true, or data.test "
            "= 'held_out'"
        )


def _check_training(plan: "Plan", t: Training) -> None:
    check_word("training.resize", t.resize, ("crop", "squash", "pad"), imports=False)
    sides = t.image_size if isinstance(t.image_size, tuple) else (t.image_size,)
    check_word("training.model", t.model.removesuffix(BALANCED), MODELS)
    check_augment(t.augment)
    check_word("training.optimizer", t.optimizer, ("auto", *registry.OPTIMIZERS), imports=False)
    check_pretrained(plan, t)
    check_word("training.head", t.head, HEADS, imports=False)
    check_word("training.precision", t.precision, ("auto", "float32", "bfloat16"), imports=False)
    check_word(
        "training.interpolation", t.interpolation, ("auto", "bilinear", "bicubic"), imports=False
    )
    check_word("training.mix", t.mix, registry.MIXES, imports=False)
    check_mix(t)
    check_word("training.retrain", t.retrain, registry.RETRAINS, imports=False)
    check_word("training.schedule", t.schedule, registry.SCHEDULES, imports=False)
    for split in t.watch:
        check_word("training.watch", split, ("train", "validation", "test"), imports=False)
    if isinstance(t.lr, str) and t.lr != "auto":
        raise ValueError(f"training.lr must be a number or 'auto', but got {shown(t.lr)}")
    check_devices(plan)
    bounds: list[tuple[str, object, float, float]] = [
        ("training.epochs", t.epochs, 0, 100_000),
        ("training.batch_size", t.batch_size, 0, 1_000_000),
        *(("training.image_size", n, 4 if t.image_size else 0, 4096) for n in sides),
        ("training.momentum", t.momentum, 0, 0.999999),
        ("training.weight_decay", t.weight_decay, 0, 1e6),
        ("training.warmup", t.warmup, 0, 0.999999),
        ("training.clip_norm", t.clip_norm, 0, 1e30),
        ("training.head_lr", t.head_lr, 1e-6, 1e6),
        ("training.layer_decay", t.layer_decay, 1e-6, 1),
        ("training.lora", t.lora, 0, 4096),
        ("training.accumulate", t.accumulate, 1, 100_000),
        ("training.patience", t.patience, 0, 100_000),
        ("training.mix_alpha", t.mix_alpha, 1e-3, 1e3),
        ("training.ema", t.ema, 0, 0.9999999),
        ("training.sam", t.sam, 0, 1e3),
        ("training.retrain_epochs", t.retrain_epochs, 1, 100_000),
        ("training.retrain_lr", t.retrain_lr, 1e-30, 1e30),
        ("training.retrain_weight_decay", t.retrain_weight_decay, 0, 1e6),
        ("training.deferred", t.deferred, 0, 1),
        ("training.validation", t.validation, 0, 0.9),
        *([("a learning rate", t.lr, 1e-30, 1e30)] if t.lr != "auto" else []),
    ]
    _check_bounds(bounds)


def _check_bounds(bounds: "list[tuple[str, object, float, float]]") -> None:
    for name, value, low, high in bounds:
        if not is_number(value) or not low <= value <= high:
            raise ValueError(f"{name} must be within {low} .. {high}, but got {shown(value)}")


def _check_tuning(plan: "Plan") -> None:
    grid = plan.tuning.grid
    _check_bounds(
        [
            ("tuning.seeds", plan.tuning.seeds, 1, _MOST_TUNING_SEEDS),
            ("tuning.epochs", plan.tuning.epochs, 0, 100_000),
            ("tuning.trials", plan.tuning.trials, 0, 10_000),
            *(("tuning.grid", lr, 1e-30, 1e30) for lr in grid),
        ]
    )
    if len(set(grid)) < len(grid):
        raise ValueError(f"tuning.grid must hold each learning rate once, but got {shown(grid)}")


def _check_choices(plan: "Plan") -> None:
    """Refuse what nothing can be chosen by, and words on reading that are none."""
    t, d = plan.training, plan.data
    check_word("data.small", d.small, ("refuse", "drop", "merge"), imports=False)
    check_word("data.missing_labels", d.missing_labels, ("refuse", "drop"), imports=False)
    _check_bounds([("data.min_samples", d.min_samples, 0, 10**9)])
    if not t.validation and (t.lr == "auto" or plan.tunes or "validation" in t.watch):
        raise ValueError(
            "training.validation must be above 0 where lr is 'auto' or watch holds 'validation': "
            "choices are made on it; set a share such as 0.1, or a fixed lr and another watch"
        )
    if "test" in t.watch and (t.lr == "auto" or plan.tuned):
        raise ValueError(
            "training.watch must not hold 'test' while lr is 'auto': the test split is read once, "
            "after all choices; watch 'validation', or give lr a number"
        )


def _check_size(plan: "Plan") -> None:
    """Refuse more than anybody trains, before the variants are written out."""
    variants = len(plan.norms) * len(plan.losses) * len(plan.samplers)
    variants *= math.prod(map(len, plan.axes.values())) if plan.design == "cross" else 1
    variants += len(plan.classical) + len(plan.variant)
    lists = [v for v in plan.tuning.search.values() if isinstance(v, list | tuple)]
    trials = plan.tuning.trials or math.prod(max(1, len(x)) for x in [plan.tuning.grid, *lists])
    each = max(len(plan.seeds), trials * plan.tuning.seeds)
    for what, number, most in (
        ("variants", variants, _MOST_VARIANTS),
        ("runs", variants * each, _MOST_RUNS),
    ):
        if number > most:
            raise ValueError(f"a plan must have {most} {what} at most, but got {shown(number)}")
