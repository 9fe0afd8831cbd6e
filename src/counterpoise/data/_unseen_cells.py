"""Cells of new data as numbers, hours or days, by their type, or their text as in training."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from counterpoise.data import _dates
from counterpoise.data._column_kinds import RawColumn
from counterpoise.data._numbers import MOST, read_numbers_as
from counterpoise.data._table_file import Table

_Type = type | tuple[type, ...]
_NUMBER: _Type = (Real, Decimal)
_TIME: _Type = (datetime.date, np.datetime64)
_DURATION: _Type = datetime.timedelta
_ISO = ("ISO8601", False, None)


def measured(raw: RawColumn, how: Mapping[str, Any], table: Table, k: int) -> np.ndarray:
    """Return the numbers, hours or days since 1970 of column k; NaN where a cell is none.

    Cells that are numbers or times by type are taken as these, however training wrote them.
    """
    if how["read"] == "number":
        values = read_numbers_as(raw.words, how["comma"], how["points"])
        given = _numbers_by_type(table, k) if raw.numbers is None else raw.numbers
        cells = np.where(np.isnan(given), _by_row(values, raw), given)
        return np.where(np.abs(cells) <= MOST, cells, np.nan)
    if how["read"] == "hours":
        cells = _by_row(_dates.read_hours_as(raw.words), raw)
        given = [c.total_seconds() / 3600 if t else np.nan for c, t in _typed(table, k, _DURATION)]
        return np.where(np.isnan(cells) & (raw.index >= 0), given, cells)
    cells = _by_row(_dates.read_dates_as(raw.words, how["form"], how["past"], how["earlier"]), raw)
    times = np.array([t for _, t in _typed(table, k, _TIME)])
    if times.any():
        cells = np.where(times, _by_row(_dates.read_dates_as(raw.words, *_ISO), raw), cells)
    return cells


def _by_row(values: np.ndarray, raw: RawColumn) -> np.ndarray:
    """Return the values of words as those of cells, NaN of a gap."""
    return np.append(values, np.nan)[raw.index]


def _typed(table: Table, k: int, kind: _Type) -> list[tuple[Any, bool]]:
    """Return column k's cells, each with whether it is of a type."""
    if not table.typed:
        return [(None, False)] * len(table.rows)
    cells = table.frame.iloc[:, k].to_numpy(object).tolist()
    return [(cell, isinstance(cell, kind) and not isinstance(cell, bool)) for cell in cells]


def _numbers_by_type(table: Table, k: int) -> np.ndarray:
    """Return the numbers among column k's cells, NaN where one is text or anything else."""
    found = np.full(len(table.rows), np.nan)
    for row, (cell, is_number) in enumerate(_typed(table, k, _NUMBER)):
        if is_number:
            try:
                found[row] = float(cell)
            except OverflowError:
                found[row] = np.inf
    return found
