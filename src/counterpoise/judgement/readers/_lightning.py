"""Runs of Lightning's CSVLogger: `metrics.csv`, with `hparams.yaml` beside it."""

import csv
from collections.abc import Sequence
from pathlib import Path

from counterpoise.judgement import _words
from counterpoise.judgement._cells import read_scores
from counterpoise.judgement._record import Record
from counterpoise.judgement.readers._settings_file import read_settings

_FILE, _STEP, _EPOCH = "metrics.csv", "step", "epoch"


def find(files: Sequence[Path]) -> list[Path]:
    """Return the files of the logger: they have steps, and columns of scores alone."""
    named = (path for path in files if path.name == _FILE)
    headers = {path: _header(path) for path in named}
    others = (*_words.STRONG, "model", *_words.SEEDS)
    return [
        p for p, names in headers.items() if _STEP in names and not _words.first_of(others, names)
    ]


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def read(paths: Sequence[Path]) -> list[Record]:
    """Return a record of each file; an empty cell is a score that was not logged in that row.

    Raises:
        ValueError: a row has no step.
    """
    records = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        scores: dict[str, list[tuple[float, float]]] = {}
        for number, row in enumerate(rows, 2):
            try:
                step = float(row[_STEP])
            except (ValueError, TypeError):
                raise ValueError(
                    f"{path} must have a step in each row, but row {number} has {row[_STEP]!r}; "
                    "leave the row out"
                ) from None
            for name, cell in row.items():
                if name not in (_STEP, _EPOCH, None) and cell:
                    value = float(read_scores([cell]).values[0])
                    scores.setdefault(name, []).append((step, value))
        folder = path.parent
        records.append(Record(str(folder), scores, read_settings(folder), folder.as_posix()))
    return records
