"""The runs of a plan: of the references, of the values that are tried, and those reported."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from counterpoise import registry
from counterpoise.metrics import Measure
from counterpoise.study._sources import digest_of, weights_of
from counterpoise.study.plan import Plan, optimizer_of, reference_label
from counterpoise.study.settings import TUNING_SEED
from counterpoise.study.spec import (
    AnySpec,
    ClassicalSpec,
    ReferenceSpec,
    RunSpec,
    Stage,
)
from counterpoise.study.variant import Trial, Variant


class Run(NamedTuple):
    """A run of a plan.

    Attributes:
        label: of the variant or reference that it is of.
        trial: the values of its tuned fields.
        spec: all that is asked for.
    """

    label: str
    trial: Trial
    spec: AnySpec


def reference_runs(
    plan: Plan, data: str, shape: Sequence[int], measure: Measure | None = None
) -> list[Run]:
    """Return the fits of the classical models that there are for samples of a kind, seed by seed.

    Args:
        plan: the study.
        data: the fingerprint of its data.
        shape: of a sample.
        measure: of `measure_of`.
    """
    kind = {1: "vectors", 3: "images"}.get(len(shape))
    if plan.training.head_alone and plan.nets:  # boosting on so many numbers takes minutes
        kind = "features"
    cut, share = imbalance_of(plan, plan.variants[0]), plan.training.validation
    return [
        Run(
            reference_label(word),
            {},
            ReferenceSpec(
                word, seed, share, data, "reference", plan.test, cut, measure, _code(measure)
            ),
        )
        for seed in plan.seeds
        for word, row in registry.REFERENCES.items()
        if plan.references and (not row.needs or kind in row.needs)
    ]


def tuning_runs(plan: Plan, data: str, measure: Measure | None = None) -> list[Run]:
    """Return the runs that choose values for each variant; none where they are fixed.

    Args:
        plan: the study.
        data: the fingerprint of the data.
        measure: of `measure_of`.
    """
    return [
        Run(label, trial, _spec(plan, data, "tuning", variant, TUNING_SEED + k, trial, measure))
        for label, variant in zip(plan.labels, plan.variants, strict=True)
        for trial in plan.trials(variant)
        for k in range(plan.tuning.seeds)
    ]


def final_runs(
    plan: Plan, data: str, choices: Mapping[str, Trial], measure: Measure | None = None
) -> list[Run]:
    """Return the runs that are reported, seed by seed; `choices` gives a label's values."""
    return [
        Run(label, chosen, _spec(plan, data, "final", variant, seed, chosen, measure))
        for seed in plan.seeds
        for label, variant in zip(plan.labels, plan.variants, strict=True)
        if (chosen := choices.get(label)) is not None
    ]


def epochs_of(plan: Plan, variant: Variant, stage: Stage) -> int:
    """Return the epochs of a net's run: to try values, its share of the plan's own number."""
    whole, tried = plan.training_of(variant).epochs, plan.tuning.epochs
    if stage != "tuning" or not tried:
        return whole
    return max(1, round(tried * whole / plan.training.epochs)) if plan.training.epochs else tried


def imbalance_of(plan: Plan, variant: Variant) -> dict[str, Any] | None:
    """Return the profile that a variant's runs lay over the data; None where none has its own."""
    if not any(v.imbalance for v in plan.variants):
        return None
    return asdict(replace(plan.imbalance, **variant.imbalance))


def _code(measure: Measure | None) -> dict[str, str | None]:
    """Return the digest of a function of the user's own that measures."""
    return {measure.word: digest_of(measure.word)} if measure and measure.own else {}


def _spec(
    plan: Plan,
    data: str,
    stage: Stage,
    variant: Variant,
    seed: int,
    trial: Trial,
    measure: Measure | None,
) -> RunSpec | ClassicalSpec:
    cut = imbalance_of(plan, variant)
    if variant.model:
        sources = {word: digest_of(word) for word in (variant.model,) if ":" in word}
        sources |= _code(measure)
        share, value = plan.training.validation, trial.get(variant.tuned, 0)
        own = replace(variant, imbalance={})
        return ClassicalSpec(own, seed, stage, value, share, sources, data, plan.test, cut, measure)
    variant = variant.having(trial)
    epochs = epochs_of(plan, variant, stage)
    training = plan.training_of(variant)
    training = replace(training, epochs=epochs, optimizer=optimizer_of(training))
    words = {variant.norm, variant.plain_loss, variant.sampler, training.augment}
    words |= set() if training.pretrained else {training.model}
    sources = {word: digest_of(word) for word in sorted(words) if ":" in word} | _code(measure)
    if training.weights_file and not training.on_features:  # of which the data's digest knows
        path = Path(training.weights).expanduser().resolve()
        training = replace(training, weights=str(path))
        sources["weights"] = weights_of(training.weights)
    variant = replace(variant, training={}, imbalance={})
    return RunSpec(
        variant, seed, stage, plan.metric, training, sources, data, plan.test, cut, measure
    )


def choose(plan: Plan, scores: Mapping[tuple[str, str], list[float]]) -> dict[str, Trial]:
    """Return what has the best mean validation score of what was tried, for each variant's label.

    Args:
        plan: the study.
        scores: of each label and trial (its `repr`), one a tuning seed; without those that failed.

    Of equal ones the first is taken, which has the lower values. A variant none of whose trials
    worked is left out.
    """
    chosen: dict[str, Trial] = {}
    sign = registry.metric(plan.metric).sign
    for label, variant in zip(plan.labels, plan.variants, strict=True):
        trials = plan.trials(variant)
        means = [
            (math.fsum(found) / len(found), trial)
            for trial in trials
            if len(found := scores.get((label, repr(trial)), [])) == plan.tuning.seeds
        ]
        lr = "auto" if variant.model else plan.training_of(variant).lr
        fixed: Trial = {} if lr == "auto" else {"lr": float(lr)}
        if not trials:
            chosen[label] = fixed
        elif means:
            chosen[label] = {**fixed, **max(means, key=lambda found: sign * found[0])[1]}
    return chosen
