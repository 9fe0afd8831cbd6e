"""The splits that a table has of its own: a second file, a column, or the order of time."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoise.data._dates import read_dates, say_doubts
from counterpoise.data._numbers import read_numbers
from counterpoise.data._remarks import Remarks
from counterpoise.data._table_file import Table
from counterpoise.text import listed

TIME = "time:"
TRAIN, VALIDATION, TEST = 0, 1, 2
_WORDS = {
    **dict.fromkeys(("train", "training", "tr", "train_set", "training_set"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "validation_set"), VALIDATION),
    **dict.fromkeys(("test", "testing", "test_set", "holdout", "held_out"), TEST),
}
SPLIT_WORDS = frozenset(_WORDS)
_FLAGS = {**dict.fromkeys(("true", "1", "yes"), True), **dict.fromkeys(("false", "0", "no"), False)}
_LAST, _BEFORE = 0.2, 0.1  # shares of the rows to test on, and before these to validate on


def check_names(path: Path, wanted: Sequence[str], header: Sequence[str]) -> None:
    """Refuse names of columns that a table has not."""
    for name in wanted:
        if name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            raise ValueError(
                f"{path} must have the column {name!r} that is asked for, but has "
                f"{listed(header, most=20)}" + (f"; did you mean {near[0]!r}?" if near else "")
            )


def joined(train: Table, test: Table, target: str) -> Table:
    """Return two files as one table, in the order of the first one's columns.

    Raises:
        ValueError: the second has no class column, or lacks another one.
    """
    import pandas as pd

    if target not in test.header:
        raise ValueError(
            f"{test.path} must have the column {target!r} of the classes, as it is to test on, but "
            f"has {listed(test.header)}; without the classes it cannot be scored"
        )
    missing = [repr(name) for name in train.header if name and name not in test.header]
    if missing:
        raise ValueError(
            f"{test.path} must have the columns of {train.path}, but lacks {listed(missing)}; add "
            "or drop them"
        )
    more = [repr(name) for name in test.header if name and name not in train.header]
    if more:
        warnings.warn(
            f"{test.path} also has the column{'' if len(more) == 1 else 's'} {listed(more)}, "
            f"which {train.path} has not: left out",
            stacklevel=4,
        )
    order = [test.header.index(name) for name in train.header if name]
    kept = [k for k, name in enumerate(train.header) if name]
    frames = [train.frame.iloc[:, kept], test.frame.iloc[:, order]]
    for frame in frames:
        frame.columns = list(range(len(kept)))
    frame = pd.concat([f.astype(object) if _differ(*frames) else f for f in frames])
    names = [train.header[k] for k in kept]
    rows = np.concatenate([train.rows, test.rows])
    notes = [*train.notes, *(f"{test.path}: {note}" for note in test.notes)]
    typed, quotes = train.typed or test.typed, train.quotes
    return Table(train.path, names, frame, rows, train.separator, notes, typed, quotes)


def _differ(one: object, other: object) -> bool:
    return list(one.dtypes) != list(other.dtypes)  # type: ignore[attr-defined]


def by_column(path: Path, name: str, cells: np.ndarray) -> np.ndarray:
    """Return of each row the split that a column's word stands for.

    Raises:
        ValueError: a word is not understood, or there are no rows to train or to test on.
    """
    kinds = sorted(set(cells.tolist()))
    words = {kind: re.sub(r"[\s-]+", "_", kind.lower()) for kind in kinds}
    flagged = next((k for k in (TRAIN, TEST) if ("train", "", "test")[k] in name.lower()), None)
    if all(word in _WORDS for word in words.values()):
        meaning = {kind: _WORDS[word] for kind, word in words.items()}
    elif flagged is not None and all(word in _FLAGS for word in words.values()):
        meaning = {
            kind: flagged if _FLAGS[word] else TRAIN + TEST - flagged
            for kind, word in words.items()
        }
    else:
        odd = [repr(kind) for kind in kinds if words[kind] not in _WORDS]
        raise ValueError(
            f"the split column {name!r} of {path} must say train, validation or test (or True and "
            f"False, in a column called is_train), but holds {listed(odd)}; write it so"
        )
    found = np.array([meaning[cell] for cell in cells.tolist()])
    for split, word in ((TRAIN, "train"), (TEST, "test")):
        if not (found == split).any():
            raise ValueError(
                f"the split column {name!r} of {path} must have rows to {word} on, but holds "
                f"{listed(list(map(repr, kinds)))} alone; name the rows, or leave the split out"
            )
    return found


def by_time(
    name: str, cells: np.ndarray, rows: np.ndarray, decimal_comma: bool, remarks: Remarks
) -> np.ndarray:
    """Return of each row the split by its time: the last fifth to test on, a tenth before it.

    Rows of the same time are in the same split.

    Raises:
        ValueError: a cell is no time and no number, or all are at the same time.
    """
    words, index = np.unique(cells.astype(str), return_inverse=True)
    dates = read_dates(name, words.tolist())
    if dates is not None:
        times = dates.days
        say_doubts(name, words.tolist(), dates, remarks)
    else:
        numbers = read_numbers(words.tolist())
        comma = decimal_comma and numbers.continental is not None
        times = numbers.continental if comma else numbers.english
    assert times is not None
    times = times[index]
    wrong = np.flatnonzero(np.isnan(times))
    if len(wrong):
        raise ValueError(
            f"the column {name!r} of {remarks.path} must hold a time or a number in each row to "
            f"split by it, but {len(wrong):,} are none, the first {cells[wrong[0]]!r} in row "
            f"{rows[wrong[0]]}; correct or remove these rows"
        )
    in_order = np.sort(times)
    first_test = _cut(in_order, 1 - _LAST)
    first_held = _cut(in_order[: int((in_order < first_test).sum())], 1 - _BEFORE / (1 - _LAST))
    if not first_held < first_test:
        raise ValueError(
            f"the column {name!r} of {remarks.path} must hold three different times at least to "
            f"split by it, but holds {listed(words.tolist())}; name another column"
        )
    found = np.full(len(times), TRAIN)
    found[times >= first_held], found[times >= first_test] = VALIDATION, TEST
    held, test = (cells[times == cut][0] for cut in (first_held, first_test))
    remarks.note(
        f"split by the time in column {name!r}",
        f"trained on what is before {held!r}, chosen on what is before {test!r}, tested on the "
        "rest",
    )
    return found


def _cut(in_order: np.ndarray, share: float) -> float:
    """Return the time from which on rows are beyond a share, as near as equal times allow."""
    if not len(in_order):
        return np.inf
    starts = np.flatnonzero(np.diff(in_order) > 0) + 1  # of other times than those before
    if not len(starts):
        return float(in_order[0])
    return float(in_order[starts[np.argmin(np.abs(starts - share * len(in_order)))]])
