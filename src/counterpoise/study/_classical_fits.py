"""Fits of classical models, as a run makes them, and as an export makes them again."""

from typing import TYPE_CHECKING, cast

from torch import Tensor

from counterpoise.study import record
from counterpoise.study._run_data import RunData, read_data
from counterpoise.study.spec import ClassicalSpec, Job, ReferenceSpec

if TYPE_CHECKING:
    from counterpoise.references import Reference


def fit_reference(job: Job, spec: ReferenceSpec) -> tuple["Reference", RunData]:
    """Return a fitted reference, and the data that it was fitted on."""
    from counterpoise.references import Reference  # no other run needs what it imports

    read = read_data(job, spec.validation)
    train = read.splits["train"]
    inputs = cast(Tensor, train.inputs)
    return Reference(spec.reference, inputs, train.targets, job.num_classes, spec.seed), read


def classical_link(model: object, word: str, counts: Tensor) -> record.Content:
    """Return what `run.json` says of a classical model's probabilities."""
    from counterpoise import classical
    from counterpoise.probabilities import Link

    weight = classical.class_weights(model, counts.tolist())
    return Link(weight=weight, approximate=f"no formula is known for {word}").to_json()


def fit_classical(job: Job, spec: ClassicalSpec) -> tuple[object, RunData]:
    """Return a fitted classical model, and the data that it was fitted on."""
    from counterpoise import classical  # no other run needs what it imports

    model, read = classical.make(spec.variant.model, spec.settings, spec.seed), None
    read = read_data(job, spec.validation)
    classical.fit(model, read.splits["train"].inputs, read.splits["train"].targets)
    return model, read
