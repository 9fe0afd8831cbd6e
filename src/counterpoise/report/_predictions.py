"""The answers of one variant to every test sample, as a table."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoise import files
from counterpoise.findings import best_variant
from counterpoise.study import Record, Study
from counterpoise.text import printable

TABLE = "predictions.csv"
_MOST = 20_000_000  # probabilities: a table of more has none
_ROW = re.compile(r"row (\d+)")


def write_predictions(study: Study, label: str | None = None) -> Path | None:
    """Write predictions.csv into a study's folder: what a variant answers to each test sample.

    A row has the sample (its file, its row in a table, or its index in the test split), the true
    and the predicted class, the variant, the seed, and the probability of each class. The seed is
    that with the best score on validation, so that it is not chosen by the answers themselves.

    Args:
        study: the study.
        label: the variant; None for `findings.best_variant(study)`.

    Returns:
        The file; None where the variant has no finished run.

    Raises:
        OSError: the file cannot be written.
    """
    records = study.of(label or best_variant(study))
    if not records:
        return None
    path = study.folder / TABLE
    files.write(path, _table(study, max(records, key=lambda r: _on_validation(study, r))))
    return path


def _on_validation(study: Study, record: Record) -> float:
    return (record.run.get("validation") or {}).get(study.plan.metric) or 0.0


def _table(study: Study, record: Record) -> str:
    from scipy.special import softmax  # of what reports need, only this takes it

    logits, targets = (record.predictions[f"test_{what}"] for what in ("logits", "targets"))
    classes = [printable(name) for name in study.data["class_names"]]
    kind, samples = _samples(study.sample_names("test"), len(targets))
    shares = softmax(logits.astype(np.float64), 1) if logits.size <= _MOST else logits[:, :0]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [f"p_{name}" for name in classes[: shares.shape[1]]]
    table.writerow([kind, "true", "predicted", "variant", "seed", *names])
    who = printable(record.label), record.seed
    for sample, true, answer, row in zip(
        samples, targets.tolist(), logits.argmax(1).tolist(), shares, strict=True
    ):
        table.writerow([sample, classes[true], classes[answer], *who, *(f"{p:.6g}" for p in row)])
    return text.getvalue()


def _samples(names: Sequence[str] | None, count: int) -> tuple[str, Sequence[str | int]]:
    """Return what the samples are called by, and what they are called."""
    if not names or len(names) != count:
        return "index", range(count)
    rows = [_ROW.fullmatch(name) for name in names]
    if all(rows):
        return "row", [row[1] for row in rows if row]
    return "sample", [printable(name) for name in names]
