"""Dates and times in a table's cells, and the numbers that they become."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_NAMED = re.compile(r"date|time|stamp|epoch|(^|_)(at|ts|dt)$|^(dt|ts)$|day$", re.IGNORECASE)
_LOOKS = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}.*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*"
    r"|\d{1,2}[- ][A-Za-z]{3,9}\.?[- ,]+\d{2,4}\b.*|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}\b.*"
)
_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y",
    "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y",
    "%m/%d/%y", "%d/%m/%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y",
    "%B %d, %Y", "%b %d %Y",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M")
_FORMATS = ("ISO8601", *map("".join, product(_DAYS, _TIMES)))
_COMPACT = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:\.\d*)?))?")
_EPOCHS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # units a second
_FIRST, _LAST = 1e8, 4.2e9  # seconds since 1970 that a time may be: from 1973 to 2103
_SAMPLE = 200
_ENOUGH = 0.95  # of the cells
_PARTS = ("year", "month", "day of month", "weekday", "hour")
_SECONDS = 86400.0


@dataclass
class Dates:
    """A column's different cells, read as points in time.

    Attributes:
        days: since 1970, float64, NaN where a cell is none.
        form: in words.
        doubtful: whether day and month could be the other way round in every cell.
    """

    days: np.ndarray
    form: str
    doubtful: bool = False


def read_dates(name: str, words: Sequence[str]) -> Dates | None:
    """Read different cells as dates; None where fewer than 95% of them are in one form."""
    sample = words[:: math.ceil(len(words) / _SAMPLE)]
    if sum(_LOOKS.fullmatch(w) is not None for w in sample) >= _ENOUGH * len(sample):
        scores = {form: _share(sample, form) for form in _FORMATS}
        best = max(scores.values())
        if best < _ENOUGH:
            return None
        forms = [form for form, share in scores.items() if share == best]
        found = {form: _parsed(words, form) for form in forms}
        counts = {form: int(np.isfinite(days).sum()) for form, days in found.items()}
        most = max(counts.values())
        forms = [form for form in forms if counts[form] == most]
        if most < _ENOUGH * len(words):
            return None
        differ = any(
            not np.array_equal(found[forms[0]], found[f], equal_nan=True) for f in forms[1:]
        )
        return Dates(found[forms[0]], _in_words(forms[0]), differ)
    if _NAMED.search(name):
        if all(_COMPACT.fullmatch(w) for w in words):
            return Dates(_parsed(words, "%Y%m%d"), "year, month, day")
        return _read_epoch(words)
    return None


def read_hours(words: Sequence[str]) -> np.ndarray | None:
    """Read different cells as times of a day, or durations, in hours; None where they are none."""
    found = [_CLOCK.fullmatch(word) for word in words]
    if sum(match is not None for match in found) < _ENOUGH * len(words):
        return None
    return np.array(
        [
            int(m[1]) + int(m[2]) / 60 + float(m[3] or 0) / 3600 if m is not None else np.nan
            for m in found
        ]
    )


def _read_epoch(words: Sequence[str]) -> Dates | None:
    """Read whole numbers of seconds, or of thousandths, since 1970."""
    if not all(re.fullmatch(r"\d{9,19}(\.\d*)?", w) for w in words):
        return None
    numbers = np.array([float(w) for w in words])
    for unit, a_second in _EPOCHS.items():
        if (numbers >= _FIRST * a_second).all() and (numbers <= _LAST * a_second).all():
            return Dates(numbers / (a_second * _SECONDS), f"{unit} since 1970")
    return None


def parts(name: str, days: np.ndarray) -> dict[str, np.ndarray]:
    """Return a point in time as numbers, each of its own name; parts that never change are none."""
    import pandas as pd

    with np.errstate(invalid="ignore"):
        micros = np.where(np.isfinite(days), np.round(days * _SECONDS * 1e6), 0).astype(np.int64)
    times = pd.DatetimeIndex(micros.view("datetime64[us]"))
    found = (times.year, times.month, times.day, times.day_of_week, times.hour)
    kept = {
        f"{name} {part}": np.where(np.isfinite(days), np.asarray(values, np.float64), np.nan)
        for part, values in zip(_PARTS, found, strict=True)
    }
    kept = {part: cells for part, cells in kept.items() if np.nanmin(cells) < np.nanmax(cells)}
    return {**kept, f"{name} in days": days}


def as_days(times: pd.Series) -> np.ndarray:
    """Return pandas' times as days since 1970, NaN where there is none."""
    if getattr(times.dt, "tz", None) is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    micros = times.to_numpy("datetime64[us]")
    days = micros.astype(np.int64) / (1e6 * _SECONDS)
    return np.where(np.isnat(micros), np.nan, days)


def _share(words: Sequence[str], form: str) -> float:
    return float(np.isfinite(_parsed(words, form)).mean())


def _parsed(words: Sequence[str], form: str) -> np.ndarray:
    import pandas as pd

    try:
        times = pd.to_datetime(
            pd.Series(words, dtype=object), format=form, errors="coerce", utc=True
        )
    except (ValueError, OverflowError):
        return np.full(len(words), np.nan)
    return as_days(times)


def _in_words(form: str) -> str:
    if form == "ISO8601":
        return "year-month-day"
    words = {"%Y": "year", "%y": "year", "%m": "month", "%b": "month", "%B": "month", "%d": "day"}
    return re.sub(r"%[A-Za-z]", lambda f: words.get(f[0], f[0]), re.split(r",? %[HI]", form)[0])
