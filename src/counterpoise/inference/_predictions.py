"""Predictions as a table, their scores where labels are there, and class shares from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from counterpoise import files
from counterpoise.arguments import Counts
from counterpoise.decisions import ABSTAINED, read_csv
from counterpoise.inference._model import Answers, Model
from counterpoise.metrics import score

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def table_of(model: Model, answers: Answers, prior: Counts | None = None) -> pd.DataFrame:
    """Return predictions, a row a sample that could be read.

    Args:
        model: whose they are.
        answers: of it.
        prior: shares of the classes where they are used, (C); None for the training data's.

    Returns:
        sample: its file or row; predicted: its class, empty where the rule gives none; set: the
        classes of its set, with " | " between them, of a rule with sets; label: its true class,
        where the data say it; p:CLASS: the probability of each class.
    """
    import pandas as pd

    read = answers.read
    p = np.exp(model.moved(answers, prior))[read]
    names = np.array([*model.classes, ""], object)
    columns: dict[str, Any] = {
        "sample": np.array(answers.names, object)[read],
        "predicted": names[model.decide(answers, prior)[read]],
    }
    if model.rule.sets:
        inside = model.rule.sets_of(np.exp(answers.log_p[read]))
        columns["set"] = [" | ".join(names[:-1][row]) for row in inside]
    if answers.labels is not None:
        columns["label"] = np.array([label or "" for label in answers.labels], object)[read]
    columns |= {f"p:{name}": p[:, k] for k, name in enumerate(model.classes)}
    return pd.DataFrame(columns)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write predictions as .csv or .parquet.

    Raises:
        ValueError: another ending, or a package is missing.
        OSError: the file cannot be written.
    """
    if path.suffix.lower() == ".csv":
        files.write(path, table.to_csv(index=False, lineterminator="\n"))
        return
    if path.suffix.lower() != ".parquet":
        raise ValueError(f"predictions must end in {' or '.join(SUFFIXES)}, but got {path}")
    try:
        content = table.to_parquet(index=False)
    except ImportError as error:
        raise ValueError(
            "Parquet must be installed (pip install 'counterpoise[tables]'), or take a .csv"
        ) from error
    files.write(path, content)


def scores_of(model: Model, answers: Answers, prior: Counts | None = None) -> dict[str, float]:
    """Return scores of the samples whose label is known; {} where none is.

    Args:
        model: whose they are.
        answers: of it.
        prior: shares of the classes where they are used, (C); None for the training data's.

    Returns:
        samples, accuracy and balanced_accuracy (without a class, a sample counts as wrong), nll
        (the mean negative log-likelihood, in nats), and abstained (the share without a class).
    """
    if answers.labels is None:
        return {}
    place = {name: k for k, name in enumerate(model.classes)}
    known = np.array([label is not None for label in answers.labels]) & answers.read
    if not known.any():
        return {}
    targets = np.array([place.get(label or "", -1) for label in answers.labels])[known]
    predicted = model.decide(answers, prior)[known]
    given = predicted != ABSTAINED
    filled = np.where(given, predicted, (targets + 1) % len(model.classes))
    found = score(targets, filled, len(model.classes))
    log_p = model.moved(answers, prior)[known]
    return {
        "samples": len(targets),
        "accuracy": found.accuracy,
        "balanced_accuracy": found.balanced_accuracy,
        "nll": float(-log_p[np.arange(len(targets)), targets].mean()),
        "abstained": float(1 - given.mean()),
    }


def read_shares(path: Path, class_names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Return shares of the classes from a CSV of two columns, class and count, (C).

    Args:
        path: the file, with a header or without; counts or shares.
        class_names: the classes, each of which must have a row; 0 rules it out.

    Raises:
        ValueError: another class, one that is missing or twice, or what is no count.
    """
    rows = list(read_csv(path).itertuples(index=False, name=None))
    if rows and len(rows[0]) == 2 and _number(rows[0][1]) is None:  # a header
        rows = rows[1:]
    names = {name.strip(): name for name in class_names}
    rows = [(names.get(row[0], row[0]), *row[1:]) for row in rows]
    found: dict[str, float] = {}
    for row in rows:
        number = _number(row[1]) if len(row) == 2 else None
        if row[0] not in class_names or row[0] in found or number is None:
            raise ValueError(
                f"{path} must have a row CLASS,COUNT for each of the classes "
                f"{', '.join(class_names[:3])}, ..., once, but has {','.join(row)!r}"
            )
        found[row[0]] = number
    missing = [name for name in class_names if name not in found]
    if missing or not any(found.values()):
        what = f"no row of {missing[0]!r}" if missing else "no count above 0"
        raise ValueError(f"{path} must say how often each class occurs, but has {what}")
    return np.array([found[name] for name in class_names])


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 <= value < np.inf else None
