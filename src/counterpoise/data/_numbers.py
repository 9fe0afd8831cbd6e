"""Numbers as people write them: 1,037 and 1.037,50, $12, 12%, (3)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MISSING = frozenset(
    ("", "?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "none", "nat", "<na>", "missing")
)
_LONGEST = max(map(len, MISSING))
_EXPONENT = r"(?:[eE][+-]?\d{1,3})?"
_WHOLE = r"(?:0|[1-9]\d*)"  # 007 is a code
_ENGLISH = re.compile(
    rf"(?:{_WHOLE}(?:\.\d*)?{_EXPONENT}|\.\d+{_EXPONENT}"
    r"|[1-9]\d{0,2}(?:(?:,\d{3})+|(?:,\d\d)+,\d{3}|(?:[ '’]\d{3})+)(?:\.\d*)?)"
)
_CONTINENTAL = re.compile(
    rf"(?:{_WHOLE}(?:,\d*)?{_EXPONENT}|,\d+{_EXPONENT}"
    r"|[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?|[1-9]\d{0,2}(?:[ '’]\d{3})+(?:,\d*)?)"
)
_GROUPED = re.compile(r"[1-9]\d{0,2}(?P<mark>[.,])\d{3}(?:(?P=mark)\d{3})*")  # 1,037 or 1.037
_PLAIN = re.compile(rf"[+-]?(?:{_WHOLE}(?:\.\d*)?|\.\d+){_EXPONENT}")
_CODE = re.compile(r"[+-]?0\d+")
_CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|US\$)"
_WRAPPED = re.compile(
    rf"(?P<a>[+-]?)\s?(?:{_CURRENCY})?\s?(?P<b>[+-]?)(?P<core>[\d.,' ’eE+-]+?)"
    rf"\s?(?:{_CURRENCY}|%)?",
    re.IGNORECASE,
)
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-"})
MOST = 1e150  # above, the square of a number is infinite
_LARGE = re.compile(r"[+-]?[1-9]\d{15,29}")  # longer than that is a measurement or no number
_INFINITE = re.compile(r"[+-]?(inf|infinity)", re.IGNORECASE)


@dataclass
class Numbers:
    """A column's different cells, read as numbers in the ways that they can be meant.

    Attributes:
        english: values with a decimal point, NaN where a cell is none.
        continental: values with a decimal comma; None where no cell could be meant so.
        plain: whether all that are numbers are written as programs write them.
        grouped: whether a cell such as 1,037 or 1.037 is a number in both, and another one.
        points: whether cells have decimal points for sure, as 8.1 and 0.125 do; asked only where
            `continental` is None.
    """

    english: np.ndarray
    continental: np.ndarray | None = None
    plain: bool = True
    grouped: bool = False
    points: bool = False


def read_numbers(words: Sequence[str]) -> Numbers:
    """Read different cells as numbers; words that say that a value is missing are none."""
    plain = [float(w) if _PLAIN.fullmatch(w) else math.nan for w in words]
    english = np.array(plain)
    rest = [k for k, value in enumerate(plain) if value != value]
    # A point that is no thousands mark in one cell is none in the others.
    dotted = any("." in w for w in words) and all(
        "." not in w or _GROUPED.fullmatch(w.lstrip("+-")) for w in words if _PLAIN.fullmatch(w)
    )
    if not rest and not dotted:
        return Numbers(english, points=any("." in word for word in words))
    continental = english.copy()
    written = False  # in another way than programs write
    for k in range(len(words)) if dotted else rest:
        core, sign = _unwrapped(words[k])
        english[k] = sign * _value(core, _ENGLISH, ",")
        continental[k] = sign * _value(core, _CONTINENTAL, ".")
        written |= plain[k] != plain[k] and (
            english[k] == english[k] or continental[k] == continental[k]
        )
    both = ~np.isnan(english) & ~np.isnan(continental)
    grouped = bool((english[both] != continental[both]).any())
    if np.array_equal(english, continental, equal_nan=True):
        return Numbers(english, None, not written)
    return Numbers(english, continental, not written, grouped)


def read_numbers_as(words: Sequence[str], comma: bool, points: bool) -> np.ndarray:
    """Read cells as numbers in the way that a column was read before, each by itself.

    Args:
        words: the cells.
        comma: whether a comma is a decimal one.
        points: whether a plain number such as 8.125 has a decimal point nevertheless.

    Returns:
        float64 (N,), NaN where a cell is none.
    """
    form, thousands = (_CONTINENTAL, ".") if comma else (_ENGLISH, ",")
    found = np.full(len(words), math.nan)
    for k, word in enumerate(words):
        if _PLAIN.fullmatch(word) and (not comma or points or "." not in word):
            found[k] = float(word)
        else:
            core, sign = _unwrapped(word)
            found[k] = sign * _value(core, form, thousands)
    return found


def has_points(words: Sequence[str]) -> bool:
    """Return whether plain numbers among cells have decimal points for sure, as 8.1 has."""
    return any(
        "." in w and _PLAIN.fullmatch(w) and not _GROUPED.fullmatch(w.lstrip("+-")) for w in words
    )


def _unwrapped(word: str) -> tuple[str, float]:
    """Return what is within currency, percent, sign and the brackets of a negative amount."""
    word = word.translate(_SPACES).strip()
    sign = 1.0
    if word.startswith("(") and word.endswith(")"):
        word, sign = word[1:-1].strip(), -1.0
    found = _WRAPPED.fullmatch(word)
    if found is None or (found["a"] and found["b"]):
        return "", math.nan
    return found["core"].strip(), -sign if "-" in (found["a"], found["b"]) else sign


def _value(core: str, form: re.Pattern[str], thousands: str) -> float:
    if not form.fullmatch(core):
        return math.nan
    for mark in (thousands, " ", "'", "’"):
        core = core.replace(mark, "")
    return float(core.replace(",", "."))


def is_missing(word: str) -> bool:
    """Return whether a cell says that there is no value."""
    return len(word) <= _LONGEST and word.lower() in MISSING


def is_code(word: str) -> bool:
    """Return whether digits begin with a 0 that a number would not have, as 007 or 01234 do."""
    return _CODE.fullmatch(word) is not None


def is_beyond_float(word: str) -> bool:
    """Return whether a cell is a whole number so large that float64 has not every one there."""
    return _LARGE.fullmatch(word) is not None and abs(int(word)) >= 2**53


def is_infinite(word: str) -> bool:
    """Return whether a cell is the word for an infinity."""
    return _INFINITE.fullmatch(word) is not None


def is_plain_number(word: str) -> bool:
    """Return whether a program would read a cell as a number."""
    return _PLAIN.fullmatch(word) is not None or is_code(word)
