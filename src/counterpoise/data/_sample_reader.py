"""Samples in memory: DataFrames, read as tables are, and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from counterpoise.data import _dates
from counterpoise.data._column_kinds import (
    RawColumn,
    ReadColumn,
    _text,
    find_decimal_commas,
    raw_column,
    read_column,
)
from counterpoise.data._columns import Column
from counterpoise.data._numbers import read_numbers
from counterpoise.data._remarks import Remarks
from counterpoise.data._table_file import Table

if TYPE_CHECKING:
    import pandas as pd

_FRAME = Path("the DataFrame")
_APART = (0.0, 11356.55)  # two times, beside which no part is left out for never changing


@dataclass(frozen=True)
class _Way:
    """Decisions on how a column is read.

    Attributes:
        kind: "number", "date", "category" or "text"; "empty" without a value.
        columns: what its cells hold.
        comma: of numbers that are text, whether 1,5 is less than two.
        form: of dates, as pandas takes it.
    """

    kind: str
    columns: tuple[Column, ...]
    comma: bool = False
    form: str = ""


class SampleReader:
    """Reader of samples in memory: each becomes what it would have become among the first ones.

    In a DataFrame numbers, dates, categories and text are told apart as in files (`data.load`), by
    a column's type where it has one; every column is kept, one without a value as gaps. An array
    (N, F) is a table of numbers, and one of four axes is images.

    Example:
        >>> import pandas as pd
        >>> from counterpoise.data import SampleReader
        >>> reader = SampleReader(pd.DataFrame({"age": [3, 5], "pet": ["cat", "dog"]}))
        >>> cells, columns = reader(pd.DataFrame({"age": [None, 4], "pet": ["dog", "eel"]}))
        >>> cells.tolist(), columns[1].values
        ([[nan, 1.0], [4.0, 2.0]], ('cat', 'dog', 'eel'))
    """

    def __init__(self, samples: pd.DataFrame | np.ndarray) -> None:
        """Decide how samples are read.

        Args:
            samples: a DataFrame, or an array (N, F) float64 or (N, C, H, W).

        Raises:
            ValueError: no samples; in a DataFrame, a number that is infinite or above 1e150.

        Warns:
            UserWarning: cells of a DataFrame that are no numbers or dates in columns of these.
        """
        self._form = _form(samples)
        self._ways: tuple[_Way, ...] = ()
        if isinstance(samples, np.ndarray):
            return
        if not len(samples):
            raise ValueError("a DataFrame must have samples, but has 0 sample(s)")
        table = _table(samples)
        remarks = Remarks(_FRAME)
        raw = [raw_column(table, k) for k in range(len(table.header))]
        comma = find_decimal_commas(raw, table.separator)
        read = [None if c.is_empty() else read_column(c, comma, table.rows, remarks) for c in raw]
        remarks.warn(stacklevel=4)
        self._ways = tuple(_way(*pair) for pair in zip(raw, read, strict=True))

    @property
    def of_frames(self) -> bool:
        """Whether the first samples were a DataFrame."""
        return bool(self._ways)

    def __call__(
        self, samples: pd.DataFrame | np.ndarray
    ) -> tuple[Tensor, tuple[Column, ...] | None]:
        """Return samples as a tensor; and what its cells hold, None for images.

        Columns are taken in order. A category's values that are new follow those that are known.

        Args:
            samples: as the first ones; an array of numbers in place of a DataFrame, too.

        Returns:
            Cells, float64 (N, columns), for a `TableEncoder`; or images in their dtype.

        Raises:
            ValueError: samples of another form.
        """
        if _form(samples) != self._form and not (self._ways and _form(samples)[0] == self._form[0]):
            shape, dtype = self._form
            raise ValueError(
                f"samples must be {dtype} of {shape} as the first ones, but are "
                f"{_form(samples)[1]} of {_form(samples)[0]}"
            )
        if self._ways:
            table = _table(samples)
            found = [_read_as(table, k, way) for k, way in enumerate(self._ways)]
            cells = torch.from_numpy(np.concatenate([cells for cells, _ in found], 1))
            return cells, tuple(column for _, columns in found for column in columns)
        tensor = torch.from_numpy(np.require(samples, requirements=["C", "W"]))
        if tensor.dim() != 2:
            return tensor, None
        return tensor, tuple(Column(f"x{k}", "number") for k in range(tensor.shape[1]))


def _form(samples: pd.DataFrame | np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return shape and kind of a sample; uint8 images are scaled otherwise than floating ones."""
    kind = str(samples.dtype) if isinstance(samples, np.ndarray) else "cells"
    return tuple(samples.shape[1:]), kind


def _table(samples: pd.DataFrame | np.ndarray) -> Table:
    import pandas as pd

    frame = pd.DataFrame(samples)
    header = [str(name).strip() for name in frame.columns]
    numbered = frame.set_axis(range(len(header)), axis=1)
    return Table(_FRAME, header, numbered, np.arange(len(frame)), typed=True)


def _way(raw: RawColumn, read: ReadColumn | None) -> _Way:
    """Return how a column was read."""
    if read is None:
        return _Way("empty", (Column(raw.name, "number"),))
    columns, comma, form = tuple(read.columns), False, ""
    if read.kind == "number" and raw.read is not None and raw.read.continental is not None:
        english = np.append(raw.read.english, np.nan)[raw.index]
        comma = not np.array_equal(english, read.cells[:, 0], equal_nan=True)
    if read.kind == "date":
        days = _dates.read_dates(raw.name, raw.words)
        assert days is not None
        same = (
            f
            for f in _dates._FORMATS
            if np.array_equal(_dates._parsed(raw.words, f), days.days, equal_nan=True)
        )
        form = next(same, "")
    return _Way(read.kind, columns, comma, form)


def _read_as(table: Table, k: int, way: _Way) -> tuple[np.ndarray, Sequence[Column]]:
    """Return the cells of column k, read as one was before, and what they hold."""
    first, numbers = way.columns[0], table.numbers(k)
    if way.kind == "number" and numbers is not None:
        return numbers[:, None], way.columns
    raw = raw_column(table, k)
    if way.kind == "category":
        place = {value: k for k, value in enumerate(first.values)}
        values = [*first.values, *(w for w in raw.words if w not in place)]
        place = {value: k for k, value in enumerate(values)}
        cells = np.array([*(place[w] for w in raw.words), np.nan])[raw.index]
        return cells[:, None], (Column(first.name, "category", tuple(values)),)
    if way.kind == "text":
        if raw.words:
            return _text(raw, Remarks(_FRAME)).cells, way.columns
        return np.zeros((len(raw.index), len(way.columns))), way.columns
    if way.kind == "date":
        return _dates_as(raw, way), way.columns
    if way.kind == "empty":
        return np.full((len(raw.index), 1), np.nan), way.columns
    if first.name != raw.name:  # in hours
        hours = [_dates.read_hours([word]) for word in raw.words]
        values = np.array([np.nan if h is None else h[0] for h in hours] + [np.nan])
        return values[raw.index][:, None], way.columns
    read = read_numbers(raw.words)
    plain = read.english if read.continental is None or not way.comma else read.continental
    return np.append(plain, np.nan)[raw.index][:, None], way.columns


def _dates_as(raw: RawColumn, way: _Way) -> np.ndarray:
    if way.form:
        days = _dates._parsed(raw.words, way.form)
    else:
        read = _dates.read_dates(raw.name, raw.words)
        days = np.full(len(raw.words), np.nan) if read is None else read.days
    made = _dates.parts(raw.name, np.append(np.append(days, np.nan)[raw.index], _APART))
    return np.stack([made[column.name][:-2] for column in way.columns], 1)
