"""Runs of classical models: a fit, and its record."""

import time
from typing import cast

import torch
from torch import Tensor

from counterpoise.study import record
from counterpoise.study._classical_fits import classical_link, fit_classical, fit_reference
from counterpoise.study._scoring import score_splits
from counterpoise.study.environment import reference_environment
from counterpoise.study.process import peak_memory_mb
from counterpoise.study.spec import ClassicalSpec, Job, ReferenceSpec


def record_reference(job: Job, spec: ReferenceSpec) -> None:
    """Fit a reference, and write its record."""
    begin = time.perf_counter()
    model, read = fit_reference(job, spec)
    splits = read.splits
    counts = torch.bincount(splits["train"].targets, minlength=job.num_classes).tolist()
    logits = {
        name: model.log_probabilities(cast(Tensor, splits[name].inputs))
        for name in ("validation", "test")
        if name in splits
    }
    kept, scores = score_splits(splits, logits, counts, model.seen_counts, spec.measure)
    found = {"train_counts": counts, "seen_counts": model.seen_counts.tolist(), **scores}
    known = spec.reference == "always_the_largest_class"  # which answers the class shares
    word = spec.reference.replace("_", " ")
    found["link"] = {} if known else classical_link(model.model, word, model.seen_counts)
    run = {"spec": spec.to_json(), "environment": reference_environment(), **found}
    timing = {"seconds": time.perf_counter() - begin, "peak_memory_mb": peak_memory_mb()}
    contents = {"predictions.npz": record.npz(**kept, **read.rows), **read.features}
    record.finish(job.folder, contents, run, timing)


def record_classical(job: Job, spec: ClassicalSpec) -> None:
    """Fit a classical model that is a variant, and write its record; the model is not kept.

    skops would write it without pickle, but as other bytes each time, and asks to trust types that
    it does not know; a fit takes seconds, and the record says all that it was made with.
    """
    from counterpoise import classical

    begin, final = time.perf_counter(), spec.stage == "final"
    model, read = fit_classical(job, spec)
    splits = read.splits
    counts = torch.bincount(splits["train"].targets, minlength=job.num_classes)
    wanted = ("validation", "test") if final else ("validation",)
    logits = {
        name: classical.log_probabilities(model, splits[name].inputs, job.num_classes)
        for name in wanted
        if name in splits
    }
    kept, scores = score_splits(splits, logits, counts.tolist(), counts, spec.measure)
    found = {"train_counts": counts.tolist(), "seen_counts": counts.tolist(), **scores}
    found["link"] = classical_link(model, spec.variant.model, counts)
    run = {"spec": spec.to_json(), "environment": reference_environment(), **found}
    timing = {"seconds": time.perf_counter() - begin, "peak_memory_mb": peak_memory_mb()}
    contents = {"predictions.npz": record.npz(**kept, **read.rows), **read.features}
    record.finish(job.folder, contents if final else {}, run, timing)
