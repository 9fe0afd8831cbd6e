"""The runs of a plan: of the references, of the values that are tried, and those reported."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from counterpoise import registry
from counterpoise.study._sources import digest_of, weights_of
from counterpoise.study.plan import Plan, reference_label
from counterpoise.study.settings import TUNING_SEED, Variant
from counterpoise.study.spec import (
    AnySpec,
    ClassicalSpec,
    ReferenceSpec,
    RunRow,
    RunSpec,
    Stage,
)


def row_of(spec: AnySpec, plan: Plan) -> RunRow:
    """Return a run in short."""
    if isinstance(spec, ReferenceSpec):
        label = reference_label(spec.reference)
        return {"label": label, "seed": spec.seed, "lr": 0.0, "stage": spec.stage}
    label = plan.label(spec.variant)
    if isinstance(spec, RunSpec):
        return {"label": label, "seed": spec.seed, "lr": spec.lr, "stage": spec.stage}
    row: RunRow = {"label": label, "seed": spec.seed, "lr": spec.value, "stage": spec.stage}
    return {**row, "tuned": spec.variant.tuned if spec.value else ""}


def reference_runs(plan: Plan, data: str, shape: Sequence[int]) -> list[ReferenceSpec]:
    """Return the fits of the classical models that there are for samples of a kind, seed by seed.

    Args:
        plan: the study.
        data: the fingerprint of its data.
        shape: of a sample.
    """
    kind = {1: "vectors", 3: "images"}.get(len(shape))
    if plan.training.head_alone and plan.nets:  # boosting on so many numbers takes minutes
        kind = "features"
    return [
        ReferenceSpec(word, seed, plan.training.validation, data, test=plan.test)
        for seed in plan.seeds
        for word, row in registry.REFERENCES.items()
        if plan.references and (not row.needs or kind in row.needs)
    ]


def tuning_runs(plan: Plan, data: str) -> list[RunSpec | ClassicalSpec]:
    """Return the runs that choose a value for each variant; none where it is fixed.

    Args:
        plan: the study.
        data: the fingerprint of its data.
    """
    epochs = plan.tuning.epochs or plan.training.epochs
    return [
        _spec(plan, data, "tuning", variant, TUNING_SEED + k, lr, epochs)
        for variant in plan.variants
        for lr in plan.trials(variant)
        for k in range(plan.tuning.seeds)
    ]


def final_runs(
    plan: Plan, data: str, choices: Mapping[str, float]
) -> list[RunSpec | ClassicalSpec]:
    """Return the runs that are reported, seed by seed; `choices` gives a label's value."""
    epochs = plan.training.epochs
    return [
        _spec(plan, data, "final", variant, seed, choices[plan.label(variant)], epochs)
        for seed in plan.seeds
        for variant in plan.variants
        if plan.label(variant) in choices
    ]


def _spec(
    plan: Plan, data: str, stage: Stage, variant: Variant, seed: int, lr: float, epochs: int
) -> RunSpec | ClassicalSpec:
    if variant.model:
        sources = {word: digest_of(word) for word in (variant.model,) if ":" in word}
        share = plan.training.validation
        return ClassicalSpec(variant, seed, stage, lr, share, sources, data, plan.test)
    training = replace(plan.training, lr=lr, epochs=epochs, optimizer=plan.optimizer)
    words = {variant.norm, variant.plain_loss, variant.sampler, training.augment}
    words |= set() if training.pretrained else {training.model}
    sources = {word: digest_of(word) for word in sorted(words) if ":" in word}
    if training.weights_file and not training.on_features:  # of which the data's digest knows
        path = Path(training.weights).expanduser().resolve()
        training = replace(training, weights=str(path))
        sources["weights"] = weights_of(training.weights)
    return RunSpec(variant, seed, stage, plan.metric, training, sources, data, plan.test)


def choose(plan: Plan, scores: Mapping[tuple[str, float], list[float]]) -> dict[str, float]:
    """Return the tried value with the best mean validation score, for each variant's label.

    Args:
        plan: the study.
        scores: of each label and value, one a tuning seed; without those that failed.

    Of equal ones the lower value is taken. A variant none of whose values worked is left out; one
    of which none is tried has the plan's learning rate, or 0 if it is a classical model.
    """
    chosen: dict[str, float] = {}
    for label, variant in zip(plan.labels, plan.variants, strict=True):
        trials = plan.trials(variant)
        means = {
            lr: math.fsum(found) / len(found)
            for lr in trials
            if len(found := scores.get((label, lr), [])) == plan.tuning.seeds
        }
        if not trials:
            chosen[label] = 0 if variant.model else float(plan.training.lr)
        elif means:
            chosen[label] = min(means, key=lambda lr: (-means[lr], lr))
    return chosen
