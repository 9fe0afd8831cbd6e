"""Cautions before a study begins: few steps, small classes, nets that will not learn."""

import math
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from counterpoise import stats
from counterpoise.study.plan import Plan, optimizer_of
from counterpoise.study.settings import is_number
from counterpoise.study.variant import Trial

if TYPE_CHECKING:
    from counterpoise.data import Splits

_FEW = 0.5  # of the steps that are usual for data of that size
_WIDE = 0.15  # off which a class's recall may be, at most
_FEW_HELD = 3  # validation samples of a class
_NAMED = 3
_LOOKED_AT, _MOST_VALUES = 128, 2**21  # samples that the doctor trains on, and their pixels
_STEPS = 20
_SECONDS = 2.0  # of steps for each net


def foresee(plan: Plan, data: "Splits") -> Iterator[str]:
    """Yield what can be told from the data and the plan alone, in sentences with a remedy.

    Args:
        plan: the study, with nothing left open.
        data: its splits.
    """
    yield from data.cautions
    yield from _pretrained(plan)
    yield from _few_steps(plan, data)
    yield from small_classes(data, plan)
    yield from _small_validation(plan, data)


def _pretrained(plan: Plan) -> Iterator[str]:
    t = plan.training
    if not (plan.nets and t.pretrained):
        return
    from counterpoise.models import input_config

    if t.on_features and t.weights == "none":
        yield (
            f"the features are those of {t.model} with random weights, which tell little: leave "
            "--weights out for pretrained ones, or name a file"
        )
    own = input_config(t.model).size
    size = (t.image_size, t.image_size) if isinstance(t.image_size, int) else t.image_size
    if t.weights != "none" and 2 * min(size) < min(own):
        yield (
            f"images of {size[0]} x {size[1]} pixels are small for {t.model}, which was trained on "
            f"{own[0]} x {own[1]}: expect far less of it; leave --image-size out, or, where that "
            "takes too long, train heads on its features alone (--features)"
        )


def _few_steps(plan: Plan, data: "Splits") -> Iterator[str]:
    from counterpoise.study.defaults import usual_steps

    t = plan.training
    if not plan.nets or (t.pretrained and not t.on_features):  # fine-tuning takes few
        return
    drawn = t.validation * (data.validation is None)
    samples = max(1, round((1 - drawn) * len(data.train)))
    an_epoch = math.ceil(samples / t.batch_size)
    steps, usual = t.epochs * an_epoch, usual_steps(samples)
    if steps < _FEW * usual:
        yield (
            f"{t.epochs} epochs are {steps:,} steps, and nets need about {usual:,} on "
            f"{samples:,} samples: expect undertrained nets, or take about "
            f"{math.ceil(usual / an_epoch)} epochs"
        )


def small_classes(data: "Splits", plan: Plan | None = None) -> Iterator[str]:
    """Yield a sentence on classes whose recall cannot be known well, if there are any.

    Args:
        data: the splits.
        plan: of the study, if there is one yet.
    """
    from counterpoise.data import count_classes

    counts = count_classes(data.test.targets, data.num_classes).tolist()
    off = {k: half_width(n) for k, n in enumerate(counts) if n}
    wide = sorted((k for k in off if off[k] > _WIDE), key=lambda k: counts[k])
    if wide:
        said = ", ".join(
            f"{counts[k]} of {data.class_names[k]} (±{100 * off[k]:.0f} points)"
            for k in wide[:_NAMED]
        )
        more = f" and as few of {len(wide) - _NAMED} more" if len(wide) > _NAMED else ""
        if plan is not None and plan.test == "per_seed":
            yield (
                f"few test samples in each seed: {said}{more}; a seed's recall of such a class is "
                "known no better: believe means over the seeds alone, and add samples where you can"
            )
            return
        yield (
            f"few test samples: {said}{more}; the recall of such a class is known no better, "
            "whatever is trained: add test samples where you can"
        )


def _small_validation(plan: Plan, data: "Splits") -> Iterator[str]:
    from counterpoise.data import count_classes

    share = plan.training.validation
    counts = count_classes(data.train.targets, data.num_classes).tolist()
    held = {k: max(1, int(share * n + 0.5)) for k, n in enumerate(counts) if n and share}
    if data.validation is not None:
        held = dict(enumerate(count_classes(data.validation.targets, data.num_classes).tolist()))
    few = sorted((k for k, n in held.items() if n < _FEW_HELD), key=lambda k: counts[k])
    if few and plan.tunes:
        said = ", ".join(f"{held[k]} of {data.class_names[k]}" for k in few[:_NAMED])
        more = f" and as few of {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        yield (
            f"few validation samples: {said}{more}; learning rates and the τ of the adjustment are "
            "chosen on them: a larger training.validation, or a fixed --lr, is surer"
        )


def edges(plan: Plan, choices: Mapping[str, Trial]) -> Iterator[str]:
    """Yield a sentence for each end of a tuned field's values that was chosen for nets.

    Args:
        plan: the study.
        choices: the values chosen for each label.
    """
    for field, end, beyond, value, labels in at_edges(plan, choices):
        place = "tuning.grid" if field == "lr" else f"tuning.search.{field}"
        what = "learning rate" if field == "lr" else field
        yield (
            f"{value:g} is the {end} {what} that was tried, and was chosen for "
            f"{'; '.join(labels)}: a {beyond} one may do better; add it to {place}"
        )


def at_edges(
    plan: Plan, choices: Mapping[str, Trial]
) -> Iterator[tuple[str, str, str, float, list[str]]]:
    """Yield what was chosen at an end of what was tried: field, end, beyond, value, labels."""
    for field in plan.tuned:
        chosen: dict[tuple[str, str, float], list[str]] = {}
        for v in plan.nets:
            label = plan.label(v)
            values = sorted({t[field] for t in plan.trials(v) if is_number(t.get(field))})
            value = choices.get(label, {}).get(field)
            if len(values) < 2 or not value or value not in (values[0], values[-1]):
                continue  # none is below 0
            end, beyond = ("lowest", "lower") if value == values[0] else ("highest", "higher")
            chosen.setdefault((end, beyond, float(value)), []).append(label)
        for (end, beyond, value), labels in sorted(chosen.items(), key=lambda found: found[0][2]):
            yield field, end, beyond, value, labels


def half_width(n: int) -> float:
    """Return half the 95% Wilson interval of a recall of one half, where it is widest.

    Args:
        n: test samples of a class.
    """
    found = stats.wilson(n // 2, n)
    return ((found.high or 1.0) - (found.low or 0.0)) / 2


def ask_doctor(plan: Plan, data: "Splits") -> Iterator[str]:
    """Train each norm's net for a few steps, and yield a sentence on those that will not learn.

    Args:
        plan: the study, with nothing left open.
        data: its splits.
    """
    import torch

    from counterpoise.doctor import diagnose
    from counterpoise.study._nets import make_net

    shape = tuple(data.train.inputs.shape[1:])
    some = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    some = some[: max(16, min(_LOOKED_AT, _MOST_VALUES // math.prod(shape)))]
    inputs, targets = data.train.inputs[some], data.train.targets[some]
    nets = {(plan.training_of(v).model, v.norm): v for v in reversed(plan.nets)}
    for (model, norm), v in reversed(nets.items()):
        t, rates = plan.training_of(v), sorted(plan.grids(v).get("lr", ()))
        if t.pretrained and not t.on_features and t.weights != "none":  # it has learned already
            continue
        tuned = t.lr == "auto"
        lr = rates[len(rates) // 2] if tuned else float(t.lr)
        sgd = partial(torch.optim.SGD, momentum=t.momentum)
        try:
            with torch.random.fork_rng(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.manual_seed(plan.seeds[0])
                net = make_net(t, v, shape, data.num_classes)
                found = diagnose(
                    net,
                    torch.nn.functional.cross_entropy,
                    inputs,
                    targets,
                    lr=lr,
                    optimizer="adamw" if optimizer_of(t) == "adamw" else sgd,
                    steps=_STEPS,
                    remedies=False,
                    seconds=_SECONDS,
                )
        except Exception:  # a user's own net may raise anything; its runs report it
            continue
        too_high = found.cause == "the learning rate is too high"
        if found.verdict == "will learn" or not found.sure or (too_high and tuned):
            continue  # lower rates are tried as well
        remedy = "lower it" if too_high else "try --norms batch or group"
        yield (
            f"{model} with norm {norm} {found.verdict}: {found.cause or found.why}; {remedy}, or "
            "see counterpoise doctor"
        )
