"""Dates and times in a table's cells, and the numbers that they become."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from counterpoise.data._remarks import Remarks

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
_DIGITS = "%Y%m%d"
_COMPACT = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:\.\d*)?))?")
_EPOCHS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # units a second
_FIRST, _LAST = 1e8, 4.2e9  # seconds since 1970 that a time may be: from 1973 to 2103
_SAMPLE = 200
_ENOUGH = 0.95  # of the cells
_COUNTED = re.compile(r"\d{9,19}(\.\d*)?")  # since 1970
PARTS = ("year", "month", "day of month", "weekday", "hour")
_SECONDS = 86400.0
IN_DAYS = "in days"
_YEAR = 366.0  # days


@dataclass
class Dates:
    """A column's different cells, read as points in time.

    Attributes:
        days: since 1970, float64, NaN where a cell is none.
        form: in words.
        doubtful: whether day and month could be the other way round in every cell.
        short: whether the years are of two digits.
        pattern: the form as pandas takes it, or the unit of numbers since 1970.
        past: whether dates of two-digit years that would be to come are a century earlier.
        earlier: the first of those that are, in days since 1970 as if they were to come.
    """

    days: np.ndarray
    form: str
    doubtful: bool = False
    short: bool = False
    pattern: str = "ISO8601"
    past: bool = False
    earlier: float | None = None


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
        form, days = forms[0], found[forms[0]]
        if form.startswith("%d.%m.%y") and _are_versions(name, words, np.isfinite(days)):
            return None
        short = "%y" in form
        before = _brought_back(days) if short else days
        past = short and bool(np.nanmax(before) * _SECONDS <= time.time())
        if not past:
            before = days
        moved = days[before < days]
        earlier = float(moved.min()) if len(moved) else None
        return Dates(before, _in_words(form), differ, short, form, past, earlier)
    if _NAMED.search(name):
        if all(_COMPACT.fullmatch(w) for w in words):
            return Dates(_parsed(words, _DIGITS), "year, month, day", pattern=_DIGITS)
        return _read_epoch(words)
    return None


def read_dates_as(
    words: Sequence[str], pattern: str, past: bool, earlier: float | None
) -> np.ndarray:
    """Read cells as dates in the form in which a column was read before, each by itself.

    Args:
        words: the cells.
        pattern: of `Dates`.
        past: of `Dates`.
        earlier: of `Dates`.

    Returns:
        Days since 1970, float64 (N,), NaN where a cell is none.

    Raises:
        ValueError: there is no such form.
    """
    if pattern in _EPOCHS:
        numbers = np.array([float(w) if _COUNTED.fullmatch(w) else math.nan for w in words])
        return np.where(_is_epoch(numbers, _EPOCHS[pattern]), numbers, math.nan) / (
            _EPOCHS[pattern] * _SECONDS
        )
    if pattern not in (*_FORMATS, _DIGITS):
        raise ValueError(f"dates must be of a known form, got {pattern!r}")
    if pattern == _DIGITS:
        words = [w if _COMPACT.fullmatch(w) else "" for w in words]
    days = _parsed(words, pattern)
    return _brought_back(days, earlier) if past else days


def written(when: datetime, pattern: str) -> str:
    """Return a time as `read_dates_as` reads it."""
    if pattern in _EPOCHS:
        return str(int(when.replace(tzinfo=UTC).timestamp()) * _EPOCHS[pattern])
    return when.strftime("%Y-%m-%d" if pattern == "ISO8601" else pattern)


def say_doubts(name: str, words: Sequence[str], dates: Dates, remarks: Remarks) -> None:
    """Say what of a column's dates could be meant in another way."""
    if dates.doubtful:
        remarks.doubt(
            "dates whose day and month could be the other way round; write them as 2024-12-31",
            f"{words[0]!r} in {name!r} is read as {dates.form}",
        )
    if dates.short:
        k = int(np.nanargmin(dates.days))
        year = _years(dates.days)[k]
        last = _years(dates.days)[int(np.nanargmax(dates.days))]
        remarks.note("years of two digits", f"{name!r} is from {year} ({words[k]!r}) to {last}")


def _years(days: np.ndarray) -> np.ndarray:
    return 1970 + np.where(np.isfinite(days), days, 0).astype("datetime64[D]").astype(
        "datetime64[Y]"
    ).astype(int)


def _brought_back(days: np.ndarray, earlier: float | None = None) -> np.ndarray:
    """Return dates of two-digit years, those to come a century earlier.

    A cell is to come where it is more than a year ahead, or from a day `earlier` on.
    """
    latest = time.time() / _SECONDS + _YEAR
    ahead = np.flatnonzero((days > latest) | (days >= (math.inf if earlier is None else earlier)))
    past = days.copy()
    whole = np.floor(days[ahead])
    dates = whole.astype("datetime64[D]").astype(object)
    before = [date.replace(year=date.year - 100) for date in dates]
    past[ahead] += np.array(before, "datetime64[D]").astype(np.float64) - whole
    return past


def _are_versions(name: str, words: Sequence[str], known: np.ndarray) -> bool:
    """Return whether three numbers apart by points, such as 3.10.12, are more like versions.

    One that is no date decides, and so does it if none has a 0 in front or a year from 20 on.
    """
    parts = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", word) for word in words]
    if any(match and not date for match, date in zip(parts, known, strict=True)):
        return True
    like = [m and not any(p[0] == "0" for p in m.groups()) and int(m[3]) < 20 for m in parts]
    return all(like) and not _NAMED.search(name)


def read_hours(words: Sequence[str]) -> np.ndarray | None:
    """Read different cells as times of a day, or durations, in hours; None where they are none."""
    found = read_hours_as(words)
    return None if np.isfinite(found).sum() < _ENOUGH * len(words) else found


def read_hours_as(words: Sequence[str]) -> np.ndarray:
    """Return different cells in hours, NaN where one is no time."""
    found = [_CLOCK.fullmatch(word) for word in words]
    return np.array(
        [
            int(m[1]) + int(m[2]) / 60 + float(m[3] or 0) / 3600 if m is not None else np.nan
            for m in found
        ],
        np.float64,
    )


def _read_epoch(words: Sequence[str]) -> Dates | None:
    """Read whole numbers of seconds, or of thousandths, since 1970."""
    if not all(_COUNTED.fullmatch(w) for w in words):
        return None
    numbers = np.array([float(w) for w in words])
    for unit, a_second in _EPOCHS.items():
        if _is_epoch(numbers, a_second).all():
            return Dates(numbers / (a_second * _SECONDS), f"{unit} since 1970", pattern=unit)
    return None


def _is_epoch(numbers: np.ndarray, a_second: int) -> np.ndarray:
    return (numbers >= _FIRST * a_second) & (numbers <= _LAST * a_second)


def parts(days: np.ndarray, kept: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return a point in time as numbers by what they are of it, such as "month" or "in days".

    Args:
        days: since 1970, float64 (N,), NaN for a gap.
        kept: those wanted, of the ones but "in days"; None for those that change.
    """
    import pandas as pd

    with np.errstate(invalid="ignore"):
        micros = np.where(np.isfinite(days), np.round(days * _SECONDS * 1e6), 0).astype(np.int64)
    times = pd.DatetimeIndex(micros.view("datetime64[us]"))
    found = (times.year, times.month, times.day, times.day_of_week, times.hour)
    every = {
        part: np.where(np.isfinite(days), np.asarray(values, np.float64), np.nan)
        for part, values in zip(PARTS, found, strict=True)
    }
    if kept is None:
        kept = [part for part, cells in every.items() if np.nanmin(cells) < np.nanmax(cells)]
    return {**{part: every[part] for part in kept}, IN_DAYS: days}


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
