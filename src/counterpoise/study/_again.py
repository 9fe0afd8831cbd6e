"""Finished runs, done once more for what a record does not keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise import files
from counterpoise.metrics import Measure
from counterpoise.study import record
from counterpoise.study._finished import Record
from counterpoise.study._runs import final_runs, reference_runs
from counterpoise.study._study import Study
from counterpoise.study.engines import local
from counterpoise.study.engines.worker import do
from counterpoise.study.events import Failed, OfRun
from counterpoise.study.spec import AnySpec, Job, ReferenceSpec, RunSpec, run_id

if TYPE_CHECKING:
    from counterpoise.data import Split

_FOLDER = "refits"
_OFF = 1e-3  # of log p: another processor


@dataclass(frozen=True)
class Again:
    """A training, or a fit, that was done once more.

    Attributes:
        weights: the content of `weights.safetensors`; empty of a classical model.
        features: how samples are scaled or encoded, as `features.json` has it; {} for not at all.
        model: the fitted classical model; None of a net.
        checked: samples on which the model answers as its run recorded; 0 for none.
        run: train_counts, seen_counts and link, as a `run.json` has them, of what was trained on
            other samples than its run; {} for the same.
    """

    weights: bytes
    features: record.Content
    model: Any = None
    checked: int = 0
    run: record.Content = field(default_factory=dict)


def refit(study: Study, finished: Record, on_event: Callable[[OfRun], None]) -> Again:
    """Train a run's net once more, on its training and validation samples together.

    It goes on where it was, if it was killed, and is not trained again, once it is finished.

    Args:
        study: the run's.
        finished: the run, of a net.
        on_event: called with the training's events.

    Raises:
        ValueError: code, or a sample, that is no longer what it was; or the training failed.
    """
    spec = _spec(study, finished)
    assert isinstance(spec, RunSpec)
    # With nothing to choose an epoch on, it ends where the best one was.
    best = max(row.get("best_epoch", 0) for row in finished.history) or spec.training.epochs
    training = replace(spec.training, validation=0.0, watch=(), patience=0, epochs=best)
    spec = replace(spec, stage="refit", training=training)
    job = _job(study, spec, study.folder / _FOLDER / run_id(spec.to_json()))
    for event in local.run_all(do, {job.folder.name: job}, workers=1):
        on_event(event)
        if isinstance(event, Failed):
            raise ValueError(f"the refit must train to its end, but: {event.reason}")
    kept = job.folder / "features.json"
    features = json.loads(files.read(kept)) if kept.exists() else {}
    run = record.read(job.folder)
    return Again(files.read(job.folder / "weights.safetensors"), features, run=run or {})


def fit_classical(study: Study, finished: Record, whole: bool) -> Again:
    """Fit a run's classical model, a variant or a reference, which its record does not keep.

    Args:
        study: the run's.
        finished: the run.
        whole: whether the validation samples are among those to fit it on; else it must answer as
            the run recorded.

    Raises:
        ValueError: code, or a sample, that is no longer what it was; or a model that answers
            otherwise than it did.
    """
    from counterpoise.study._classical_fits import classical_link, fit_classical, fit_reference

    spec = _spec(study, finished)
    assert not isinstance(spec, RunSpec)
    if whole:
        spec = replace(spec, stage="refit", validation=0.0)
    job = _job(study, spec, finished.folder)
    try:
        if isinstance(spec, ReferenceSpec):
            reference, read = fit_reference(job, spec)
            model = reference.model
        else:
            model, read = fit_classical(job, spec)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    features = read.features.get("features.json")
    made = Again(b"", json.loads(features) if features else {}, model)
    if not whole:
        return replace(made, checked=_check(finished, model, read.splits))
    counts = read.splits["train"].targets.bincount(minlength=job.num_classes)
    link = classical_link(model, finished.label, counts)
    both = dict.fromkeys(("train_counts", "seen_counts"), counts.tolist())
    return replace(made, run={**both, "link": link})


def _check(finished: Record, model: Any, splits: Mapping[str, Split]) -> int:
    """Compare a model's log-probabilities with those recorded; return on how many samples."""
    from counterpoise import classical

    name = "validation" if "validation" in splits else "test"
    recorded = finished.predictions[f"{name}_logits"]
    found = classical.log_probabilities(model, splits[name].inputs, recorded.shape[1])
    if not np.allclose(found, recorded, atol=_OFF):
        raise ValueError(
            f"{finished.label}, fitted again, must answer as in the study, but its "
            f"log-probabilities differ by up to {np.abs(found - recorded).max():.1e}; use the "
            "versions that the study was run with (counterpoise show lists them)"
        )
    return len(recorded)


def _spec(study: Study, finished: Record) -> AnySpec:
    """Return what a run was asked for."""
    fingerprint, kept = study.data["fingerprint"], finished.run["spec"].get("measure")
    measure = Measure.from_json(kept) if kept else None
    for _, _, spec in (
        *final_runs(study.plan, fingerprint, study.choices, measure),
        *reference_runs(study.plan, fingerprint, study.data["shape"], measure),
    ):
        if run_id(spec.to_json()) == finished.folder.name:
            return spec
    raise ValueError(
        f"the code of {finished.label} must be what it was, but has changed since "
        f"{finished.folder} was trained; counterpoise compare with the same plan trains it again"
    )


def _job(study: Study, spec: AnySpec, folder: Path) -> Job:
    entry = study.data["entry"]
    samples = Path(entry).resolve() if entry else study.data["source"]
    classes = len(study.data["class_names"])
    return Job(spec, folder.resolve(), study.folder.resolve(), samples, classes)
