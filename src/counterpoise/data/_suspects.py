"""Columns of a table that are no features: row numbers, ids, constants; and what tells a class."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from counterpoise.data._column_kinds import RawColumn, ReadColumn
from counterpoise.data._dates import read_dates
from counterpoise.data._numbers import is_beyond_float
from counterpoise.data._remarks import Remarks
from counterpoise.data._table_labels import UNNAMED
from counterpoise.data._table_splits import SPLIT_WORDS
from counterpoise.text import listed

_FEWEST = 3  # rows that are numbered, and not three values by chance
_WORDS = {
    "id",
    "ids",
    "uuid",
    "guid",
    "idx",
    "index",
    "key",
    "rownames",
    "rowid",
    "row",
    "nr",
    "no",
}
_FORM = re.compile(
    r"[A-Za-z]{0,8}[-_ #:]?\d+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|[0-9a-fA-F]{12,}|(?=[^\d]*\d)(?=[\d-]*[A-Za-z])[A-Za-z0-9]+([-_][A-Za-z0-9]+)+"
)
_MANY = 0.5  # of the rows have a value of their own
GIVEN_AWAY = 0.999  # balanced accuracy of one column, on rows that it was not fitted on
_EACH = 5  # rows of a class at least, on either side
_ROWS, _FEW_ROWS, _WIDE = 4_000, 1_000, 500  # rows that are looked at; of a table that wide, fewer


def why_no_feature(raw: RawColumn, rows: int) -> tuple[str, str, bool] | None:
    """Return why a column is left out, of one and of several, and whether its name says so too.

    Args:
        raw: the column.
        rows: how many of its rows, from the first one, the training file has.
    """
    if raw.is_empty():
        return "is empty", "are empty", True
    if not raw.name:
        both = "no name, as line numbers often have that give the class away"
        return f"has {both}", f"have {both}", True
    index = raw.index[:rows]
    if UNNAMED.fullmatch(raw.name):
        return "is the row number that pandas writes", "are row numbers that pandas writes", True
    says_id = _says_id(raw.name)
    if rows >= _FEWEST and (index >= 0).all():
        if all(re.fullmatch(r"\d{1,18}", word) for word in raw.words):
            in_order = np.array([int(word) for word in raw.words], np.int64)[index]
            if in_order[0] in (0, 1) and (np.diff(in_order) == 1).all():
                return "numbers the rows", "number the rows", says_id
        if (
            len(raw.words) >= rows
            and len(np.unique(index)) == rows
            and (says_id or _has_form_of_id(raw, index))
        ):
            why = "another value in every row, as an id has"
            return f"has {why}", f"have {why}", True
    if raw.is_constant():
        return "has the same value in every row", "have the same value in every row", False
    return None


def _says_id(name: str) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return any(word.lower() in _WORDS for word in words) or name.lower() in ("s.no", "sno", "srno")


def _has_form_of_id(raw: RawColumn, index: np.ndarray) -> bool:
    """Return whether all words, which are no numbers or too large for one, are made as ids are."""
    words = [raw.words[k] for k in np.unique(index)]
    if all(map(is_beyond_float, words)):
        return read_dates(raw.name, words) is None
    if raw.numbers is not None or any(re.fullmatch(r"[+-]?[\d.,]+", w) for w in words):
        return False
    return all(_FORM.fullmatch(word) for word in words)


def caution_of_splits(raw: Sequence[RawColumn], remarks: Remarks) -> None:
    """Say which columns look like the splits that somebody made, and were not asked for."""
    for column in raw:
        few = 0 < len(column.words) <= len(SPLIT_WORDS)
        if few and {word.lower() for word in column.words} <= SPLIT_WORDS:
            remarks.cautions.append(
                f"column {column.name!r} of {remarks.path} says {listed(column.words)}, and is a "
                "feature: name it as split to train and test as it says, or drop it"
            )


def caution_of_ids(raw: Sequence[RawColumn], remarks: Remarks) -> None:
    """Say which columns look like the id of a person or thing that is in several rows."""
    names = [
        repr(column.name)
        for column in raw
        if _says_id(column.name) and len(column.words) > _MANY * len(column.index) / 2
    ]
    if names:
        one = len(names) == 1
        remarks.cautions.append(
            f"column{'' if one else 's'} {listed(names)} of {remarks.path} "
            f"{'looks like an id' if one else 'look like ids'}: drop {'it' if one else 'them'}, or "
            "name one as group if its rows belong together"
        )


def caution_of_giveaways(
    columns: Sequence[ReadColumn], targets: np.ndarray, classes: int, remarks: Remarks
) -> None:
    """Say which columns alone tell the class of held-out rows.

    A tree of as many leaves as separate intervals of all classes need is fitted to half of the rows
    of one column at a time, and tried on the other half.
    """
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(0)
    most = _ROWS if len(columns) <= _WIDE else _FEW_ROWS
    halves: list[list[np.ndarray]] = [[], []]
    for k in range(classes):
        members = rng.permutation(np.flatnonzero(targets == k))[: max(most // classes, 2 * _EACH)]
        if len(members) < 2 * _EACH:
            return
        for half in (0, 1):
            halves[half].append(members[half::2])
    fit, held = map(np.concatenate, halves)
    names = []
    for column in columns:
        cells = column.cells[np.concatenate([fit, held])]
        if column.kind == "category" and len(column.columns[0].values) > 2:
            cells = np.nan_to_num(cells[:, 0], nan=-1.0)
            right = _lookup(cells[: len(fit)], targets[fit], cells[len(fit) :])
        else:
            tree = DecisionTreeClassifier(
                max_leaf_nodes=max(2, 2 * classes), class_weight="balanced", random_state=0
            )
            cells = _scaled(cells)
            right = tree.fit(cells[: len(fit)], targets[fit]).predict(cells[len(fit) :])
        recalls = [(right[targets[held] == k] == k).mean() for k in range(classes)]
        if np.mean(recalls) >= GIVEN_AWAY:
            names.append(repr(column.name))
    if names:
        one = len(names) == 1
        remarks.cautions.append(
            f"column{'' if one else 's'} {listed(names)} of {remarks.path} alone "
            f"{'gives' if one else 'give'} the class away on rows held out: drop "
            f"{'it' if one else 'them'}, unless {'it is' if one else 'they are'} known when a "
            "class is to be predicted"
        )


def _lookup(values: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the most frequent class of each value; -1 for a value that is new."""
    pairs, counts = np.unique(np.stack([values, targets]), axis=1, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the most frequent last, which stays
    best = dict(zip(pairs[0, order].tolist(), pairs[1, order].tolist(), strict=True))
    return np.array([best.get(value, -1) for value in asked.tolist()])


def _scaled(cells: np.ndarray) -> np.ndarray:
    """Return cells on one scale, as trees compare them in float32; a gap is below all else."""
    known = np.ma.masked_invalid(cells)
    scaled = (known - known.mean(0)) / np.maximum(known.std(0), 1e-300)
    return scaled.filled(-1e6)
