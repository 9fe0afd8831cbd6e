"""Defaults that depend on the data, each with its reason; and a plan cut to a budget of time."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise import registry
from counterpoise.metrics import least_constant_cost
from counterpoise.study._check_variants import trainings
from counterpoise.study._measure import costs_of
from counterpoise.study._nets import reading_of
from counterpoise.study.plan import Plan
from counterpoise.study.settings import SEEDS, seconds_of
from counterpoise.study.variant import Variant

if TYPE_CHECKING:
    from counterpoise.data import Splits

STEPS = 40  # times the square root of the number of samples
_FEWEST_STEPS, _MOST_STEPS, _MOST_EPOCHS = 1_000, 20_000, 200
_SMALLEST_BATCH, _LARGEST_BATCH = 16, 128
_FINE_BATCH, _FINE_EPOCHS = 32, 10  # to fine-tune a pretrained net
_LONG, _TUNING = 15, 3  # from so many epochs on, learning rates are tried in a third of them
_BATCHES = 16  # the rarest class is in one of so many, or in more
_SMALLEST_IMAGE = 8  # pixels a side that a convolutional net needs
_FEWEST_TESTED = 10  # of a class: with fewer, which ones they are decides too much
_OF_COST = 0.01  # of what answering without looking costs: the margin
_SMALL = 16  # pixels: digits and other tiny images are not shifted or mirrored

_NAMES = {
    "data.test": "test split",
    "training.batch_size": "batch size",
    "training.image_size": "image size",
    "tuning.epochs": "epochs to try a learning rate",
    "tuning.grid": "learning rates to try",
}

# What gives way to a budget of time, one after the other.
_FEWER_RATES, _FEWER_SEEDS, _FEWEST_SHARE = 2, 3, 0.5


@dataclass(frozen=True)
class Default:
    """A setting that was decided by the data, and why.

    Attributes:
        setting: its name in a plan, such as "training.epochs".
        value: what was decided.
        reason: in a clause.
    """

    setting: str
    value: object
    reason: str

    @property
    def name(self) -> str:
        """Return the setting as people say it: "epochs", "epochs to try a learning rate"."""
        return _NAMES.get(self.setting, self.setting.partition(".")[2] or self.setting)

    @property
    def words(self) -> str:
        """Return the value in words."""
        return ", ".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)


def fill(plan: Plan, data: "Splits") -> tuple[Plan, tuple[Default, ...]]:
    r"""Decide all that a plan leaves to the data; what it says itself stays.

    With N training samples left after validation, and n the smallest class among them:

    ============ =================================================================================
    norms        batch for images, none for vectors
    model        resnet8 for images of 8 x 8 pixels or more, else mlp
    batch_size   the power of two nearest to :math:`\sqrt N`, from 16 to 128; doubled, up to 128,
                 while the smallest class would be in fewer than one batch of 16
    epochs       as many as :math:`40 \sqrt N` steps take, which are at least 1,000 and at most
                 20,000; 200 epochs at most
    augment      flip+crop for images of more than 16 pixels, but crop where the class names are
                 numbers or single characters, which are others when mirrored; none for the rest
    image_size   the files' own where all are equal and of 64 pixels a side or fewer; else the
                 median of the shorter sides, 32 at most
    seeds        five
    pretrained   nets of timm and torchvision keep their norm and get images as they were trained
                 on; fine-tuned: AdamW, 10 epochs, batches of 32; on frozen features: SGD, as above
    test         per_seed, where the data have no test split of their own and a fixed fifth would
                 hold fewer than 10 samples of the smallest class
    variant      for nets of sharpness-aware steps the same with half the epochs, at equal time
    tuning       a third of the epochs for each learning rate that is tried
    margin       the metric's own; of costs, 1% of what the cheapest answer costs that is always
                 the same
    ============ =================================================================================

    Args:
        plan: the study, with settings that are 0, "auto" or empty.
        data: its splits, after the imbalance profile.

    Returns:
        The plan with nothing left open, and what was decided.

    Example:
        >>> from counterpoise.data import load
        >>> plan, defaults = fill(Plan("digits"), load("digits"))
        >>> plan.norms, plan.training.batch_size, plan.training.epochs
        (('batch',), 32, 39)
    """
    images = data.train.inputs.dim() == 4
    if plan.training.weights_file:  # wherever the study is opened
        path = str(Path(plan.training.weights).expanduser().resolve())
        plan = replace(plan, training=replace(plan.training, weights=path))
    plan = _with_metric(plan, data)
    t, found = plan.training, []

    def decide(setting: str, value: object, reason: str) -> None:
        found.append(Default(setting, value, reason))

    fine = t.pretrained and not t.on_features
    if t.pretrained:
        own = _reading(plan)
        for key in ("image_size", "interpolation"):
            if getattr(t, key) != own[key]:
                decide(f"training.{key}", own[key], f"that of {t.model}")
    elif not t.image_size and images and Path(plan.data.source).is_dir():
        sides = tuple(data.train.inputs.shape[2:])
        own = any("kept as they are" in note for note in data.notes)
        why = "the files' own" if own else "the median of the files' shorter sides, 32 at most"
        value = sides[0] if sides[0] == sides[1] else sides
        decide("training.image_size", value, f"{why}; the plan can take more")
    if not plan.seeds:
        why = "the fewest from which a small difference can be believed"
        more = f"; then more, up to {plan.most_seeds}, while a verdict is open"
        decide("seeds", SEEDS, why + more * bool(plan.most_seeds))
    if not plan.nets:  # the rest is theirs
        return _with(plan, found), tuple(found)
    counts = np.bincount(data.train.targets.numpy(), minlength=data.num_classes)
    draws = t.validation and data.validation is None
    held = np.maximum(1, np.round(t.validation * counts)) if draws else 0
    kept = counts - held * (counts > 0)
    samples, rarest = max(2, int(kept.sum())), max(1, int(kept[counts > 0].min()))
    kind = "images" if images else "vectors"
    if t.model == "auto":
        large = images and min(data.train.inputs.shape[2:]) >= _SMALLEST_IMAGE
        why = f"the samples are {kind}" + ("" if large or not images else " of few pixels")
        decide("training.model", "resnet8" if large else "mlp", why)
    if "auto" in (*plan.norms, *(v.norm for v in plan.variant if not v.model)):
        norm = "keep" if t.pretrained else "batch" if images else "none"
        why = "usual for images" if images else "usual for a small MLP"
        decide("norms", norm, "the net's own" if t.pretrained else why)
    if t.optimizer == "auto" and t.pretrained:
        why = "usual for fine-tuning" if fine else "for heads on features"
        decide("training.optimizer", plan.optimizer, why)
    batch = t.batch_size or (_FINE_BATCH if fine else _batch_size(samples, rarest))
    if not t.batch_size:
        why = f"for {samples:,} samples, {rarest:,} of them in the smallest class"
        why = "usual for fine-tuning" if fine else why
        decide("training.batch_size", batch, why)
    epochs, steps = _epochs(samples, batch)
    if fine:
        epochs, steps = _FINE_EPOCHS, _FINE_EPOCHS * math.ceil(samples / batch)
    if not t.epochs:
        decide("training.epochs", epochs, f"{steps:,} steps in all")
    epochs = t.epochs or epochs
    if plan.tuned and not plan.tuning.epochs and (short := _tuning_epochs(epochs)):
        decide("tuning.epochs", short, "a third, for each learning rate that is tried")
    halved = tuple(_at_equal_time(plan, epochs))
    if halved:
        why = "a sharpness-aware step takes twice the time: with half the epochs, at equal time"
        decide("variant", halved, why)
    if t.augment == "auto":
        once = ("none", "features are computed once") if t.on_features else None
        decide("training.augment", *(once or _augment(data)))
    if plan.data.test == "auto" and (fewest := _fewest_tested(plan, data)):
        why = (
            f"a fixed fifth holds {fewest} sample{'s' * (fewest != 1)} of the smallest class, and "
            "which these are would decide too much"
        )
        decide("data.test", "per_seed", why)
    return _with(plan, found), tuple(found)


def _reading(plan: Plan) -> dict[str, Any]:
    """Return how the images of all pretrained nets of a plan are read.

    Raises:
        ValueError: they were trained on images of different kinds.
    """
    found = {x.model: reading_of(x) for x in trainings(plan)}
    first, own = next(iter(found.items()))
    for model, other in found.items():
        if other != own:
            differ = ", ".join(f"{k} {own[k]} and {other[k]}" for k in own if own[k] != other[k])
            raise ValueError(
                f"the nets of a study are given the same images, but {first} and {model} were "
                f"trained on others: {differ}; set training.image_size and interpolation"
            )
    return own


def _at_equal_time(plan: Plan, epochs: int) -> Iterator[Variant]:
    """Yield each net of sharpness-aware steps with half the epochs, unless it is there."""
    for v in plan.nets:
        half = replace(v, training={**v.training, "epochs": math.ceil(epochs / 2)})
        if plan.training_of(v).sam and "epochs" not in v.training and half not in plan.variants:
            yield half


def _with_metric(plan: Plan, data: "Splits") -> Plan:
    """Return the plan with its metric's margin, and the path of its costs from anywhere."""
    margin = plan.margin or registry.metric(plan.metric).margin
    if not plan.costs:
        return replace(plan, margin=margin)
    if not plan.margin:
        counts = np.bincount(data.train.targets.numpy(), minlength=data.num_classes)
        least = least_constant_cost(costs_of(plan, data.class_names), counts)
        margin = abs(float(f"{_OF_COST * least:.2g}")) or margin
    return replace(plan, costs=str(Path(plan.costs).expanduser().resolve()), margin=margin)


def _with(plan: Plan, found: Iterable[Default]) -> Plan:
    """Return the plan with what was decided in place of what was open."""
    chosen: dict[str, Any] = {d.setting: d.value for d in found}
    norm = chosen.get("norms", "auto")
    norms = tuple(norm if n == "auto" else n for n in plan.norms)
    every = (*plan.variant, *chosen.get("variant", ()))
    single = tuple(v if v.norm != "auto" or v.model else replace(v, norm=norm) for v in every)
    tables = {
        name: replace(
            getattr(plan, name),
            **{k.partition(".")[2]: chosen[k] for k in chosen if k.startswith(f"{name}.")},
        )
        for name in ("data", "training", "tuning")
    }
    seeds = plan.seeds or tuple(range(SEEDS))
    return replace(plan, norms=norms, variant=single, seeds=seeds, **tables)


def _fewest_tested(plan: Plan, data: "Splits") -> int:
    """Return the test samples of the smallest class, if they are few and others can be drawn."""
    i = plan.imbalance
    whole = i.profile != "none" and not i.test
    if not data.held_out or data.validation is not None or plan.data.split or whole:
        return 0
    counts = np.bincount(data.test.targets.numpy(), minlength=data.num_classes)
    fewest = int(counts[counts > 0].min())
    return fewest if fewest < _FEWEST_TESTED else 0


def _batch_size(samples: int, rarest: int) -> int:
    size = 2 ** round(math.log2(math.sqrt(samples)))
    size = min(max(size, _SMALLEST_BATCH), _LARGEST_BATCH)
    while size < _LARGEST_BATCH and samples > _BATCHES * rarest * size:
        size *= 2
    return size


def usual_steps(samples: int) -> int:
    """Return how many steps a training takes by default, on so many training samples."""
    return round(min(max(STEPS * math.sqrt(samples), _FEWEST_STEPS), _MOST_STEPS))


def _epochs(samples: int, batch: int) -> tuple[int, int]:
    an_epoch = math.ceil(samples / batch)
    epochs = min(math.ceil(usual_steps(samples) / an_epoch), _MOST_EPOCHS)
    return epochs, epochs * an_epoch


def _tuning_epochs(epochs: int) -> int:
    """Return the epochs of a run that tries a learning rate; 0 for as many as the real ones."""
    return math.ceil(epochs / _TUNING) if epochs >= _LONG else 0


def _augment(data: "Splits") -> tuple[str, str]:
    shape = data.train.inputs.shape[1:]
    if len(shape) != 3:
        return "none", "the samples are vectors"
    if min(shape[1:]) <= _SMALL:
        return "none", f"the images have only {shape[1]} x {shape[2]} pixels"
    if all(re.fullmatch(r"\d+|[^\W\d_]", name) for name in data.class_names):
        return "crop", "classes named by numbers or single characters: mirrored, they may be others"
    return "flip+crop", "usual for photographs; none, if left and right have a meaning"


def fit_into(
    plan: Plan, asked: Plan, cost: Callable[[Plan], float]
) -> tuple[Plan, tuple[Default, ...]]:
    """Cut a filled plan until it costs no more than its `time`, and say what gave way.

    First fewer learning rates are tried, then there are fewer seeds, then fewer epochs, down to
    half. What was asked for by name stays as it is, so that a plan may cost more in the end.

    Args:
        plan: from `fill`.
        asked: the same as it was asked for, with what is open.
        cost: the seconds that a plan will take.

    Returns:
        The plan, and what gave way.
    """
    budget, found = seconds_of(plan.time), []
    why = f"to end within {plan.time}"
    rates = tuple(plan.grids().get("lr", ()))
    if cost(plan) > budget and rates and not asked.tuning.grid and not asked.tuning.trials:
        first = (len(rates) - _FEWER_RATES) // 2
        middle = rates[first : first + _FEWER_RATES]
        plan = replace(plan, tuning=replace(plan.tuning, grid=middle))
        found.append(Default("tuning.grid", middle, why))
    if cost(plan) > budget and not asked.seeds and not asked.most_seeds:
        plan = replace(plan, seeds=tuple(range(_FEWER_SEEDS)))
        found.append(Default("seeds", _FEWER_SEEDS, f"{why}; only large differences will be told"))
    if cost(plan) > budget and not asked.training.epochs:
        whole = plan.training.epochs
        least = max(1, math.floor(_FEWEST_SHARE * whole))
        shorter = (_with_epochs(plan, asked, n) for n in range(whole, least, -1))
        plan = next((p for p in shorter if cost(p) <= budget), _with_epochs(plan, asked, least))
        epochs, tried = plan.training.epochs, plan.tuning.epochs
        found.append(Default("training.epochs", epochs, f"{why}; the nets may be undertrained"))
        if not asked.tuning.epochs and tried:
            found.append(Default("tuning.epochs", tried, why))
    return plan, tuple(found)


def _with_epochs(plan: Plan, asked: Plan, epochs: int) -> Plan:
    tried = plan.tuning.epochs
    if tried and not asked.tuning.epochs:
        tried = math.ceil(epochs / _TUNING)
    return replace(
        plan,
        training=replace(plan.training, epochs=epochs),
        tuning=replace(plan.tuning, epochs=tried),
    )


def carry_over(asked: Plan, before: Plan, decided: Plan) -> Plan:
    """Return what is asked for with what was decided before, where it is asked for as before.

    So a study that was begun goes on: with more seeds, another loss or its own plan.toml it keeps
    the settings of the runs that are there.

    Args:
        asked: the plan that is asked for now.
        before: the plan that was asked for when the study was run last.
        decided: that one with nothing left open.
    """
    if asked == decided:
        return asked
    if asked.time != before.time:
        return asked
    same = {k: getattr(decided, k) for k in ("norms", "variant") if _equal(asked, before, k)}
    if _equal(asked, before, "seeds") and _equal(asked, before, "most_seeds"):
        same["seeds"] = decided.seeds
    for name in ("data", "training", "tuning"):
        now, then, found = (getattr(plan, name) for plan in (asked, before, decided))
        keys = (k for k in now.__dataclass_fields__ if _equal(now, then, k))
        same[name] = replace(now, **{k: getattr(found, k) for k in keys})
    return replace(asked, **same)


def _equal(one: object, other: object, key: str) -> bool:
    return bool(getattr(one, key) == getattr(other, key))
