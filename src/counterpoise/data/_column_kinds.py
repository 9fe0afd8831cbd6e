"""Columns of a table, each read as numbers, as dates, as a category or as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoise.data import _dates
from counterpoise.data._columns import Column
from counterpoise.data._encoder import MOST_VALUES
from counterpoise.data._numbers import (
    MOST,
    Numbers,
    has_points,
    is_beyond_float,
    is_code,
    is_infinite,
    is_missing,
    read_numbers,
)
from counterpoise.data._remarks import Remarks
from counterpoise.data._table_file import Table

_NEARLY_ALL = 0.95  # of the cells of a column of numbers are some
_FEW_WORDS, _HALF, _MANY_NUMBERS = 3, 0.5, 20  # of one with words such as "unknown" in between
_CODES = 0.005  # of the cells begin with a 0 as codes do
_REPEATS = 10  # times that a value of a category occurs on average, where there are many values
TEXT_COLUMNS = 32
IN_HOURS = " in hours"
_LONGEST = 60  # characters of a cell in a message


@dataclass
class RawColumn:
    """A column as a file has it, and each of its cells by the number of its word.

    Attributes:
        name: of the column.
        words: its different cells; those without a value are not among them.
        index: int64 (N), of each cell its word; -1 for a gap.
        numbers: float64 (N) of a column that the file declares as numbers, else None.
        read: its words as numbers.
    """

    name: str
    words: list[str]
    index: np.ndarray
    numbers: np.ndarray | None = None
    read: Numbers | None = None

    @property
    def counts(self) -> np.ndarray:
        """The number of cells of each word."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.words))

    def is_empty(self) -> bool:
        """Return whether there is no value."""
        return bool((self.index < 0).all())

    def is_constant(self) -> bool:
        """Return whether every row has the same value."""
        return bool((self.index == self.index[0]).all()) and not self.is_empty()


@dataclass
class ReadColumn:
    """Cells of a column, which may have become several.

    Attributes:
        name: of the column in the file.
        kind: how it was read.
        columns: what the cells hold.
        cells: float64 (N, columns).
        reading: all that was decided by looking at the whole column, by which `data.read_unseen`
            reads single cells of others alike; for JSON.
    """

    name: str
    kind: Literal["number", "date", "category", "text"]
    columns: list[Column]
    cells: np.ndarray
    reading: dict[str, Any]


def raw_column(table: Table, k: int) -> RawColumn:
    """Return column k as the file has it."""
    import pandas as pd

    name, numbers = table.header[k], table.numbers(k)
    if numbers is not None:
        codes, uniques = pd.factorize(numbers)
        return RawColumn(name, [_number_text(x) for x in uniques], codes.astype(np.int64), numbers)
    codes, uniques = pd.factorize(table.text(k))
    kept = np.array([not is_missing(word) for word in uniques], bool)
    place = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last one for -1
    words = [word for word, keep in zip(uniques, kept, strict=True) if keep]
    return RawColumn(name, words, place[codes])


def _number_text(x: float) -> str:
    return str(int(x)) if abs(x) < 2**53 and x == int(x) else repr(float(x))


def find_decimal_commas(columns: list[RawColumn], separator: str) -> bool:
    """Read all words as numbers, and return whether 1,037 is less than two in this file.

    The columns decide in which there is no doubt, and where there is none, the separator. A point,
    as in 1.037, is then a decimal one.
    """
    votes, in_doubt = 0, []
    for column in columns:
        if column.numbers is not None or not column.words:
            continue
        column.read = read_numbers(column.words)
        if column.read.continental is None:
            votes -= column.read.points
            continue
        counts = column.counts
        english, continental = (
            int(counts[np.isfinite(values)].sum())
            for values in (column.read.english, column.read.continental)
        )
        votes += (continental > english) - (continental < english)
        if not any("," in word for word in column.words):
            in_doubt.append(column)
    if votes == 0:
        for column in in_doubt:
            assert column.read is not None
            column.read = replace(column.read, continental=None, grouped=False, points=True)
    return votes > 0 or (votes == 0 and separator == ";")


def read_column(
    raw: RawColumn, decimal_comma: bool, rows: np.ndarray, remarks: Remarks
) -> ReadColumn:
    """Return a column's cells, and say what is not plain about them.

    Args:
        raw: the column, with a value at least.
        decimal_comma: from `find_decimal_commas`.
        rows: the number of each row, by which people find it.
        remarks: get what there is to say.

    Raises:
        ValueError: a number is infinite.
    """
    cells, how = raw.numbers, {"name": raw.name, "read": "number", "comma": False, "points": False}
    if cells is not None:
        _check_finite(raw, np.array([float(word) for word in raw.words]), rows, remarks.path)
    elif (known := _as_numbers(raw, decimal_comma, rows, remarks)) is not None:
        cells = np.append(known[0], np.nan)[raw.index]
        how |= known[1]
    if cells is None or all(word.isdigit() for word in raw.words):
        found = _dates.read_dates(raw.name, raw.words)
        if found is not None:
            return _date(raw, found, rows, remarks)
    if cells is None and (hours := _dates.read_hours(raw.words)) is not None:
        _say_gaps(raw, ~np.isnan(hours), "times", rows, remarks)
        how = {"name": raw.name, "read": "hours"}
        raw.name += IN_HOURS
        return _number(raw, np.append(hours, np.nan)[raw.index], how)
    if cells is not None and not _lose_digits(raw, remarks):
        return _number(raw, cells, how)
    if len(raw.words) <= MOST_VALUES or len(raw.words) * _REPEATS <= (raw.index >= 0).sum():
        return _category(raw, remarks)
    return _text(raw, remarks)


def _as_numbers(
    raw: RawColumn, decimal_comma: bool, rows: np.ndarray, remarks: Remarks
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return the words as numbers, and how they were read; None where too few of them are some."""
    read = raw.read or read_numbers(raw.words)
    counts, values = raw.counts, read.english
    comma = False
    if read.continental is not None:
        sums = [counts[np.isfinite(v)].sum() for v in (read.english, read.continental)]
        comma = sums[1] > sums[0] or (sums[0] == sums[1] and decimal_comma)
        values = read.continental if comma else read.english
    rest = np.flatnonzero(np.isnan(values))
    codes = [k for k in rest if is_code(raw.words[k])]
    values = values.copy()
    values[[k for k in rest if is_infinite(raw.words[k])]] = np.inf
    known = ~np.isnan(values)
    share = counts[known].sum() / counts.sum()
    if counts[codes].sum() > _CODES * counts.sum():
        if share + counts[codes].sum() / counts.sum() >= _NEARLY_ALL:
            item = f"{raw.name!r} ({raw.words[codes[0]]})"
            remarks.note("digits with a 0 before them, read as codes and not as numbers", item)
        return None
    strays = np.flatnonzero(~known)
    mixed = len(strays) <= _FEW_WORDS and share >= _HALF and known.sum() > _MANY_NUMBERS
    if share < _NEARLY_ALL and not mixed:
        return None
    _check_finite(raw, values, rows, remarks.path)
    _say_gaps(raw, known, "numbers", rows, remarks)
    if not read.plain or (read.grouped and comma):
        k = next((k for k in np.flatnonzero(known) if not _is_plain(raw.words[k])), None)
        if k is None:
            k = next(k for k in np.flatnonzero(known) if values[k] != read.english[k])
        item = f"{raw.words[k]!r} is {values[k]:.15g} in {raw.name!r}"
        remarks.note("numbers that are not written plainly", item)
    points = has_points(raw.words)
    # A column without a sign of its own takes commas as the rest of the file has them.
    open_to_commas = read.continental is None and not (read.points or points) and decimal_comma
    return values, {"comma": bool(comma) or open_to_commas, "points": bool(comma) and points}


def _lose_digits(raw: RawColumn, remarks: Remarks) -> bool:
    """Return whether words are whole numbers that float64 would make others, and say so.

    Where all of them are as large, they are names of something, and no quantity.
    """
    if raw.numbers is not None:
        return False
    large = [word for word in raw.words if is_beyond_float(word)]
    names = len(large) == len(raw.words)
    if large:
        remarks.doubt(
            "whole numbers of 2^53 and more, read as names"
            if names
            else "whole numbers of 2^53 and more among smaller ones, rounded to 16 digits",
            f"{raw.name!r} such as {large[0][:_LONGEST]}",
        )
    return names


def _say_gaps(
    raw: RawColumn, known: np.ndarray, what: str, rows: np.ndarray, remarks: Remarks
) -> None:
    """Say how many cells became gaps, as their words are none of what is known, and the first."""
    if known.all():
        return
    at = int(np.flatnonzero(np.append(~known, False)[raw.index])[0])
    number = int(raw.counts[~known].sum())
    word = raw.words[raw.index[at]][:_LONGEST]
    remarks.make_gap(what, f"{raw.name!r} ({number:,}, the first {word!r} in row {rows[at]})")


def _is_plain(word: str) -> bool:
    try:
        return float(word) == float(word)
    except ValueError:
        return False


def _check_finite(raw: RawColumn, values: np.ndarray, rows: np.ndarray, path: Path) -> None:
    """Refuse infinities, and numbers whose square would be one; `values` are those of the words."""
    large = np.abs(np.where(np.isnan(values), 0, values)) > MOST
    wrong = np.flatnonzero(np.append(large, False)[raw.index])
    if len(wrong):
        raise ValueError(
            f"column {raw.name!r} of {path} must be finite, and below 1e150, but {len(wrong):,} of "
            f"its cells are not, the first in row {rows[wrong[0]]}; correct them"
        )


def _number(raw: RawColumn, cells: np.ndarray, how: dict[str, Any]) -> ReadColumn:
    return ReadColumn(raw.name, "number", [Column(raw.name, "number")], cells[:, None], how)


def _date(raw: RawColumn, found: _dates.Dates, rows: np.ndarray, remarks: Remarks) -> ReadColumn:
    _say_gaps(raw, np.isfinite(found.days), "dates", rows, remarks)
    _dates.say_doubts(raw.name, raw.words, found, remarks)
    made = _dates.parts(np.append(found.days, np.nan)[raw.index])
    how = {
        "name": raw.name,
        "read": "date",
        "form": found.pattern,
        "past": found.past,
        "earlier": found.earlier,
        "parts": [part for part in made if part != _dates.IN_DAYS],
    }
    columns = [Column(f"{raw.name} {part}", "number") for part in made]
    return ReadColumn(raw.name, "date", columns, np.stack(list(made.values()), 1), how)


def _category(raw: RawColumn, remarks: Remarks) -> ReadColumn:
    if len(raw.words) > MOST_VALUES:
        remarks.doubt(
            f"categories of more than {MOST_VALUES} values, of which the {MOST_VALUES} most "
            "frequent of the training split are a column each and the others share one",
            f"{raw.name!r} ({len(raw.words):,})",
        )
    order = sorted(range(len(raw.words)), key=raw.words.__getitem__)
    place = np.full(len(order) + 1, np.nan)  # the last one for a gap
    place[order] = np.arange(len(order))
    cells = place[raw.index]
    columns = [Column(raw.name, "category", tuple(raw.words[k] for k in order))]
    how = {"name": raw.name, "read": "category"}
    return ReadColumn(raw.name, "category", columns, cells[:, None], how)


def _text(raw: RawColumn, remarks: Remarks) -> ReadColumn:
    """Read a column as text, so that no word of it needs a place."""
    remarks.doubt(
        f"text of too many kinds for a category, read as {TEXT_COLUMNS} columns of pieces of words",
        f"{raw.name!r} ({len(raw.words):,} kinds such as {raw.words[0][:_LONGEST]!r})",
    )
    if gaps := int((raw.index < 0).sum()):
        remarks.note("gaps in text, read as text without words", f"{raw.name} ({gaps:,})")
    how = {"name": raw.name, "read": "text"}
    return ReadColumn(raw.name, "text", text_columns(raw.name), hashed(raw), how)


def text_columns(name: str) -> list[Column]:
    """Return what a column of text becomes."""
    return [Column(f"{name} text {k + 1}", "number") for k in range(TEXT_COLUMNS)]


def hashed(raw: RawColumn) -> np.ndarray:
    """Hash the pieces of words of three and four characters; of a gap there are none."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), n_features=TEXT_COLUMNS)
    by_word = np.zeros((len(raw.words) + 1, TEXT_COLUMNS))  # the last one for a gap
    if raw.words:
        found: Any = hashing.transform(raw.words)
        by_word[:-1] = found.toarray()
    return by_word[raw.index]
