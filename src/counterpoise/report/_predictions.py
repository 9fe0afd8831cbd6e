"""The answers of one variant to every test sample, as a table."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
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

    Where each seed draws its test split, the rows are those of all seeds, one after the other: a
    sample has a row for each seed that tests on it, and its index counts the training split that is
    kept, and then the test split.

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
    best = max(records, key=lambda r: _on_validation(study, r))
    files.write(path, _table(study, records if study.resampled else [best]))
    return path


def _on_validation(study: Study, record: Record) -> float:
    found = (record.run.get("validation") or {}).get(study.metric.key)
    return -math.inf if found is None else study.metric.sign * found


def _table(study: Study, records: Sequence[Record]) -> str:
    classes = [printable(name) for name in study.data["class_names"]]
    total = sum(study.data["test_counts"])
    kind, samples = _samples(study.sample_names("test"), total)
    if study.resampled:
        total += sum(study.data["train_counts"])
        kind, samples = _samples(study.sample_names("pool"), total)
    tested = sum(sum(r.run["test"]["support"]) for r in records)
    known = classes if tested * len(classes) <= _MOST else []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([kind, "true", "predicted", "variant", "seed", *(f"p_{n}" for n in known)])
    for record in records:
        table.writerows(_rows(record, samples, classes, len(known)))
    return text.getvalue()


def _rows(
    record: Record, samples: Sequence[str | int], classes: Sequence[str], known: int
) -> Iterator[list[str | int]]:
    """Yield what one run answers to each of its test samples."""
    from scipy.special import softmax  # of what reports need, only this takes it

    logits, targets = (record.predictions[f"test_{what}"] for what in ("logits", "targets"))
    drawn = record.predictions.get("test_rows")
    called = samples if drawn is None else [samples[k] for k in drawn.tolist()]
    shares = softmax(logits.astype(np.float64), 1) if known else logits[:, :0]
    who = printable(record.label), record.seed
    for sample, true, answer, row in zip(
        called, targets.tolist(), logits.argmax(1).tolist(), shares, strict=True
    ):
        yield [sample, classes[true], classes[answer], *who, *(f"{p:.6g}" for p in row)]


def _samples(names: Sequence[str] | None, count: int) -> tuple[str, Sequence[str | int]]:
    """Return what the samples are called by, and what they are called."""
    if not names or len(names) != count:
        return "index", range(count)
    rows = [_ROW.fullmatch(name) for name in names]
    if all(rows):
        return "row", [row[1] for row in rows if row]
    return "sample", [printable(name) for name in names]
