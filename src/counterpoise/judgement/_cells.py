"""Scores in cells: numbers, percents, decimal commas, and the words for a score that is missing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

_MISSING = {
    *("", "-", "--", "?", "na", "n/a", "nan", "none", "null", "<na>", "failed", "diverged", "oom"),
    *("crashed", "killed", "timeout", "cancelled", "canceled", "aborted"),
}
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
LARGEST = 1e300  # from here on a score is infinite: MLflow keeps infinity as 1.797e308
_SPREAD = re.compile(r"\d\s*(?:±|\+/?[-−]|\\pm)\s*\.?\d|\d\s*\(\s*[\d.,]+\s*\)\s*%?$")


@dataclass(frozen=True)
class Scores:
    """Cells of a column, read as scores.

    Attributes:
        values: float64, NaN where a cell says that there is none.
        bad: the place of the first cell that is no number; None without one.
        numbers: how many cells are numbers.
        percents: how many are written with %, and divided by 100.
        commas: how many have a decimal comma.
    """

    values: np.ndarray
    bad: int | None
    numbers: int
    percents: int
    commas: int


def read_scores(cells: Sequence[object]) -> Scores:
    """Read cells as scores.

    Example:
        >>> read_scores(["81.2%", "0,8", "nan"]).values
        array([0.812, 0.8  ,   nan])
    """
    values, bad, percents, commas, numbers = np.full(len(cells), np.nan), None, 0, 0, 0
    for k, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip().replace("\u2212", "-")
        share = text.endswith("%")
        text = text.removesuffix("%").rstrip()
        if text.lower() in _MISSING or _INFINITE.fullmatch(text):
            continue
        if _NUMBER.fullmatch(text) is None:
            bad = k if bad is None else bad
            continue
        value = float(text.replace(",", "."))
        values[k] = value / 100 if share else value
        numbers, percents, commas = numbers + 1, percents + share, commas + ("," in text)
    values[np.abs(values) >= LARGEST] = np.nan
    return Scores(values, bad, numbers, percents, commas)


def doubtful_comma(cells: Sequence[object]) -> str:
    """Return a cell whose comma may be one of thousands, as that of 1,300; "" without one.

    It is one of decimals where a cell of the column has other than three digits behind it, or 0
    alone before it.
    """
    parts = [str(cell).strip().lstrip("+-").removesuffix("%").split(",") for cell in cells]
    pairs = [p for p in parts if len(p) == 2 and all(x.isdecimal() for x in p)]
    sure = any(len(after) != 3 or not before.strip("0") for before, after in pairs)
    return "" if sure or not pairs else ",".join(pairs[0])


def is_spread(cell: object) -> bool:
    """Return whether a cell is a mean with its spread, as 0.81 ± 0.02 and 81.2 (0.4) are."""
    return _SPREAD.search(str(cell)) is not None


def as_text(cell: object) -> str:
    """Return a cell as the text of a name: 1.0, the 1 of a column with gaps, as 1."""
    if cell is None or cell is pd.NA or cell != cell:
        return ""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()
