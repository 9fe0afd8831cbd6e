"""Tables of new data: each cell becomes the number that it would have become in training."""

from __future__ import annotations

import datetime
import difflib
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from counterpoise.data import _dates
from counterpoise.data._column_kinds import (
    IN_HOURS,
    RawColumn,
    hashed,
    raw_column,
    text_columns,
)
from counterpoise.data._columns import Column
from counterpoise.data._table_file import TEXTS, TYPED, Like, Table, is_table, read_file
from counterpoise.data._table_splits import check_names
from counterpoise.data._unseen_cells import measured
from counterpoise.data.memory import check_memory
from counterpoise.text import listed, printable

if TYPE_CHECKING:
    import pandas as pd

_DAY = float | int | None
_FIELDS: dict[str, dict[str, Any]] = {
    "number": {"comma": bool, "points": bool},
    "date": {"form": str, "past": bool, "earlier": _DAY, "parts": list},
    "hours": {},
    "category": {},
    "text": {},
}
_TOP = {"target": str, "typed": bool, "separator": str, "quotes": bool, "columns": list}
_COPIES = 3  # of the cells
_SHOWN = 60  # characters of a cell in a message
_NAMED = 3  # cells of a column, and columns in an error
_REMARKS = 8  # columns of which a note is made
_ENOUGH = 20  # cells with a value, from which on a column is refused if most of them are none
_EXAMPLE = datetime.datetime(2024, 12, 31, 12, 30)  # of a date as training had them
_KINDS = {"number": "numbers", "hours": "times of a day", "date": "dates"}


@dataclass(frozen=True)
class Cells:
    """A table's cells as numbers.

    Attributes:
        names: of the rows.
        cells: float64 (N, columns).
        columns: what they hold; categories have the values of training first, then those of theirs.
        labels: the cells of the column of the classes, as text; None without one.
        notes: sentences on how they were read.
        strays: those of them on cells that are none of what training held, and taken as missing.
    """

    names: tuple[str, ...]
    cells: torch.Tensor
    columns: tuple[Column, ...]
    labels: list[str] | None
    notes: list[str]
    strays: list[str]


def read_cells(
    source: object, reading: Mapping[str, Any], columns: Sequence[Column] | None, target: str
) -> Cells:
    """Read a file, a DataFrame, rows as dictionaries or an array of the columns of training.

    Args:
        source: the table.
        reading: that of `data.Splits`.
        columns: those of training; None where they are not known.
        target: the column of the classes; "" for that of training, if it is there.

    Raises:
        ValueError: it cannot be read, lacks a column, or most cells of a column are none of what
            training held.
    """
    _check_reading(reading, columns)
    wanted = [how["name"] for how in reading["columns"]]
    table, notes = _table(source, reading, wanted)
    place = _places(table, wanted, {reading["target"], *reading.get("unused", ())})
    if target:
        check_names(table.path, [target], table.header)
    target = target or reading["target"]
    labels = None
    if target in table.header:
        labels = table.text(table.header.index(target), strip=False).astype(str).tolist()
    known = {*wanted, target, *reading.get("unused", ()), ""}
    if new := [repr(name[:_SHOWN]) for name in table.header if name not in known]:
        one = len(new) == 1
        notes.append(
            f"column{'' if one else 's'} {listed(new)}, which {'was' if one else 'were'} not there "
            f"in training: not read"
        )
    strays: list[str] = []
    unreadable: dict[str, str] = {}
    others: list[str] = []
    found: list[Column] = []
    cells: list[np.ndarray] = []
    for how in reading["columns"]:
        k = place[how["name"]]
        raw, first = raw_column(table, k), len(found)
        made = _made(how)
        if how["read"] == "category":
            before = columns[first].values if columns is not None else None
            made, values = _category(raw, before, table, others)
        elif how["read"] == "text":
            values = hashed(raw)
        else:
            numbers = measured(raw, how, table, k)
            _say_lost(raw, np.isnan(numbers), how, table, strays, unreadable)
            values = numbers[:, None]
            if how["read"] == "date":
                values = np.stack(list(_dates.parts(numbers, how["parts"]).values()), 1)
        found += made
        cells.append(values)
    if unreadable:
        first, *more = unreadable
        same = f"; the same of {listed(map(repr, more))}" if more else ""
        raise ValueError(unreadable[first] + same)
    check_memory(table.path, _COPIES * 8 * len(found) * len(table.rows))
    strays = _some(strays)
    notes += [*strays, *_some(others)]
    return Cells(
        tuple(f"row {row}" for row in table.rows.tolist()),
        torch.from_numpy(np.concatenate(cells, 1)),
        tuple(found),
        labels,
        notes,
        strays,
    )


def _check_reading(reading: Mapping[str, Any], columns: Sequence[Column] | None) -> None:
    """Refuse what is not `data.Splits.reading` of a table, or that of another one."""

    def has(content: Any, fields: Mapping[str, Any]) -> bool:
        return isinstance(content, Mapping) and all(
            isinstance(content.get(key), kind) for key, kind in fields.items()
        )

    def is_column(how: Any) -> bool:
        known = has(how, {"name": str, "read": str}) and how["read"] in _FIELDS
        parts = how.get("parts", ()) if known else ()
        return known and has(how, _FIELDS[how["read"]]) and all(p in _dates.PARTS for p in parts)

    whole = has(reading, _TOP) and reading["columns"] and all(map(is_column, reading["columns"]))
    made = [column for how in reading["columns"] for column in _made(how)] if whole else []
    given = made if columns is None else columns
    if not made or [(c.name, c.kind) for c in given] != [(c.name, c.kind) for c in made]:
        raise ValueError(
            "reading and columns must be those of the same data.Splits of a table, but they do "
            "not fit together; give both as they were kept in training"
        )


def _made(how: Mapping[str, Any]) -> list[Column]:
    """Return the columns of cells that a column of a file becomes; no category has its values."""
    name, read = how["name"], how["read"]
    if read == "date":
        return [Column(f"{name} {part}", "number") for part in (*how["parts"], _dates.IN_DAYS)]
    if read == "text":
        return text_columns(name)
    if read == "category":
        return [Column(name, "category")]
    return [Column(name + IN_HOURS * (read == "hours"), "number")]


def _table(
    source: Any, reading: Mapping[str, Any], wanted: Sequence[str]
) -> tuple[Table, list[str]]:
    """Return the table, and what there is to say of how it was read."""
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        if not path.is_file() or not is_table(path):
            raise ValueError(
                f"new data must be a table ({', '.join((*TEXTS, *TYPED))}), as the model was "
                f"trained on one, got {printable(path)}, which is "
                f"{'none' if path.exists() else 'not there'}; give a file with the columns "
                f"{listed(map(repr, wanted))}"
            )
        like = Like(frozenset(wanted), reading["separator"], reading["quotes"])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            table = read_file(path, like)
        return table, [*table.notes, *(str(w.message) for w in said if w.category is UserWarning)]
    return _from_objects(source, wanted)


def _from_objects(source: Any, wanted: Sequence[str]) -> tuple[Table, list[str]]:
    import pandas as pd

    notes: list[str] = []
    what = Path(f"the {type(source).__name__}")
    if not isinstance(source, pd.DataFrame) and hasattr(source, "to_pandas"):  # polars, pyarrow
        source = source.to_pandas()
    if not isinstance(source, pd.DataFrame):
        if isinstance(source, torch.Tensor):
            source = source.detach().cpu().numpy()
        if isinstance(source, Mapping) and all(map(pd.api.types.is_scalar, source.values())):
            source = [source]
        rows = source if isinstance(source, list) else [source]
        if rows and all(isinstance(row, Mapping) for row in rows):
            names = None
        elif isinstance(source, np.ndarray) and source.shape[1:] == (len(wanted),):
            names = list(wanted)
            notes.append(f"columns without names taken for {listed(map(repr, wanted))}, in order")
        else:
            raise ValueError(
                "new data must be a table, as the model was trained on one: a file, a DataFrame, "
                f"dictionaries, or an array of the {len(wanted):,} columns of training in their "
                f"order; got a {type(source).__name__}"
                + (f" of shape {source.shape}" if isinstance(source, np.ndarray) else "")
            )
        try:
            source = pd.DataFrame(source, columns=names)
        except ValueError as error:  # lists of unequal lengths
            raise ValueError(f"{what} must be a table, but: {error}") from error
    frame = cast("pd.DataFrame", source)
    names = [name for name in frame.index.names if name is not None]
    if set(names) & set(wanted) and not set(names) & set(frame.columns):
        frame = frame.reset_index()
    header = [str(name).strip() for name in frame.columns]
    rows = np.array([printable(label) for label in frame.index], object)
    if not len(rows):
        raise ValueError(f"{what} must hold samples, but holds none")
    frame = frame.set_axis(range(len(header)), axis=1).infer_objects()
    return Table(what, header, frame, rows, typed=True), notes


def _places(table: Table, wanted: Sequence[str], others: Collection[str]) -> dict[str, int]:
    """Return the position of each column; `others` are those of training that are no features."""
    place = dict(zip(reversed(table.header), reversed(range(len(table.header))), strict=True))
    if missing := [name for name in wanted if name not in place]:
        new = [name for name in table.header if name not in {*wanted, *others}]
        near = difflib.get_close_matches(missing[0], new, n=1)
        hint = f"; is {missing[0]!r} called {near[0]!r} there?" if near else ""
        raise ValueError(
            f"{table.path} must have the {len(wanted):,} columns that the model was trained on, "
            f"but lacks {listed(map(repr, missing))}; it begins with "
            f"{listed([repr(name[:_SHOWN]) for name in table.header])}{hint}"
        )
    count: dict[str, int] = {}
    for name in table.header:
        count[name] = count.get(name, 0) + 1
    if doubled := [repr(name) for name in wanted if count[name] > 1]:
        raise ValueError(
            f"{table.path} must have each column once, but has {listed(doubled)} several times; "
            "rename or remove the others"
        )
    return place


def _say_lost(
    raw: RawColumn,
    missing: np.ndarray,
    how: Mapping[str, Any],
    table: Table,
    strays: list[str],
    unreadable: dict[str, str],
) -> None:
    """Say which cells with a value are none of what training held, or that most of them are."""
    there = raw.index >= 0
    lost = there & missing
    if not lost.any() or how.get("empty"):
        return
    some, one = _examples(raw, lost, table)
    kind, number = _KINDS[how["read"]], int(there.sum())
    if number < _ENOUGH or 2 * lost.sum() <= number:
        strays.append(
            f"column {raw.name!r} held {kind} in training, but {some} "
            f"{'is' if one else 'are'} none: taken as missing"
        )
        return
    unreadable[raw.name] = (
        f"column {raw.name!r} of {table.path} must hold {kind} as in training, {_written(how)}, "
        f"but {lost.sum():,} of the {number:,} cells that are not empty hold none: {some}; write "
        "them so, or leave cells without a value empty"
    )


def _written(how: Mapping[str, Any]) -> str:
    """Return how training wrote a column, with an example."""
    if how["read"] == "number":
        return f"with a decimal {'comma, such as 1,5' if how['comma'] else 'point, such as 1.5'}"
    return f"such as {_dates.written(_EXAMPLE, how['form']) if how['read'] == 'date' else '12:30'}"


def _category(
    raw: RawColumn, before: Sequence[str] | None, table: Table, others: list[str]
) -> tuple[list[Column], np.ndarray]:
    """Return a category's cells: the values of training keep their positions, new ones follow."""
    known = dict.fromkeys(before or ())
    new = np.array([word not in known for word in raw.words], bool)
    if before is not None and new.any():
        some, one = _examples(raw, np.append(new, False)[raw.index], table)
        others.append(
            f"column {raw.name!r} holds {some}, {'a value' if one else 'values'} that training had "
            "not: taken as other"
        )
    values = (*known, *sorted(word for word in raw.words if word not in known))
    position = {value: float(k) for k, value in enumerate(values)}
    cells = np.array([*(position[word] for word in raw.words), np.nan])[raw.index]
    return [Column(raw.name, "category", values)], cells[:, None]


def _examples(raw: RawColumn, which: np.ndarray, table: Table) -> tuple[str, bool]:
    """Name some of the cells chosen, each of another word; and whether it is one alone."""
    at = np.flatnonzero(which)
    _, first = np.unique(raw.index[at], return_index=True)
    chosen = [
        f"{raw.words[raw.index[k]][:_SHOWN]!r} in row {table.rows[k]}"
        for k in at[np.sort(first)[:_NAMED]]
    ]
    more = len(at) - len(chosen)
    return ", ".join(chosen) + (f" and {more:,} more" if more else ""), len(at) == 1


def _some(remarks: Sequence[str]) -> list[str]:
    """Return remarks on some columns, and on how many more there are such."""
    more = len(remarks) - _REMARKS
    return [*remarks[:_REMARKS], *([f"the same of {more:,} more columns"] if more > 0 else [])]
