"""The labels of a table: which column they are in, and what is the same class."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoise.data._numbers import is_plain_number
from counterpoise.data._options import Options
from counterpoise.data._remarks import Remarks
from counterpoise.text import listed

UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)?|__index_level_\d+__")  # as pandas names columns
TARGETS = ("target", "label", "class")
_FEW = 50  # different numbers that are still classes
_NEVER_A_CLASS = ("", "nan", "#n/a", "<na>", "nat", "?")
_NOT_A_NUMBER = (*_NEVER_A_CLASS, "na", "n/a", "null", "none", "-")
_POINT_ZERO = re.compile(r"([+-]?\d+)\.0*")


def target_of(header: Sequence[str], taken: Sequence[str]) -> str:
    """Return the column of the classes where none is named: by its name, or else the last one."""
    free = [name for name in header if name not in taken and not UNNAMED.fullmatch(name)]
    lower = [name.lower() for name in free]
    found = next((free[lower.index(word)] for word in TARGETS if word in lower), "")
    return found or (free[-1] if free else "")


def without_blanks(word: str) -> str:
    """Return a name without blanks around it, its accents composed (NFC)."""
    return unicodedata.normalize("NFC", word.strip())


def without_point_zero(word: str) -> str:
    """Return a whole number without the .0 that makes a float of it; other words as they are."""
    found = _POINT_ZERO.fullmatch(word)
    return found[1] if found else word


def read_labels(
    name: str, cells: np.ndarray, rows: np.ndarray, options: Options, remarks: Remarks
) -> tuple[np.ndarray, np.ndarray]:
    """Return the name of each row's class, and which rows have one.

    Blanks around a label, and the .0 behind a whole number, make no other class; case does.

    Args:
        name: of the column.
        cells: its text, as it stands in the file.
        rows: the number of each row.
        options: `missing_labels` says what becomes of rows without a class.
        remarks: get what there is to say.

    Raises:
        ValueError: rows have no class, and are to be refused; or the classes are measured numbers.
    """
    path = remarks.path
    uniques, index = np.unique(cells.astype(str), return_inverse=True)
    kinds: list[str] = uniques.tolist()
    found = [without_blanks(word) for word in kinds]
    numbers = all(is_plain_number(w) for w in found if w.lower() not in _NOT_A_NUMBER)
    gaps = [w.lower() in (_NOT_A_NUMBER if numbers else _NEVER_A_CLASS) for w in found]
    known = ~np.array(gaps)[index]
    _check_missing(path, name, known, rows, options)
    kept = [w for w, gap in zip(found, gaps, strict=True) if not gap]
    _check_classes(path, name, kept, len(cells))
    padded = [k for k, word in enumerate(kinds) if word != word.strip() and not gaps[k]]
    others = {word.strip() for word in kinds if word == word.strip()}
    if any(found[k] in others for k in padded):
        number = int(np.isin(index, padded).sum())
        remarks.doubt(
            "labels with blanks around them, taken for those without",
            f"{number:,} in {name!r} such as {kinds[padded[0]]!r}",
        )
    whole = [(w, without_point_zero(w)) for w in found]
    changed = next((pair for pair in whole if pair[0] != pair[1]), None)
    if changed and numbers:
        say = remarks.doubt if changed[1] in found else remarks.note
        say("labels that are whole numbers", f"{changed[0]!r} is class {changed[1]!r}")
        found = [word for _, word in whole]
    _say_odd(name, {w for w, gap in zip(found, gaps, strict=True) if not gap}, remarks)
    return np.array(found)[index], known


def _check_missing(
    path: Path, name: str, known: np.ndarray, rows: np.ndarray, options: Options
) -> None:
    without = rows[~known]
    if not len(without):
        return
    some = listed([str(row) for row in without])
    rows_in_words = f"row{'s' if len(without) > 1 else ''} {some}"
    if not known.any():
        raise ValueError(
            f"{path} must have classes in its target column {name!r}, but it is empty; name "
            "another column as target"
        )
    if options.missing_labels != "drop":
        raise ValueError(
            f"each row of {path} must have a class in its target column {name!r}, but "
            f"{len(without):,} of {len(known):,} have none: {rows_in_words}; fill them in, or "
            "leave these rows out by missing_labels = drop"
        )
    warnings.warn(
        f"{len(without):,} rows of {path} have no class in column {name!r}, {rows_in_words}: left "
        "out",
        stacklevel=4,
    )


def _check_classes(path: Path, name: str, kinds: Sequence[str], rows: int) -> None:
    """Refuse measured numbers, which are no classes: fractions, or most rows another one."""
    if len(kinds) <= _FEW or not all(map(is_plain_number, kinds)):
        return
    if len(kinds) > rows / 2 or any(not float(kind).is_integer() for kind in kinds):
        raise ValueError(
            f"the target column of {path} must hold classes, but {name!r} holds {len(kinds):,} "
            f"different numbers such as {kinds[0]}; name the column of the classes by "
            f"{path}:COLUMN, or put the numbers into ranges"
        )


def _say_odd(name: str, classes: set[str], remarks: Remarks) -> None:
    """Say which classes differ in case alone, or may be meant as gaps."""
    alike: dict[str, list[str]] = {}
    for word in sorted(classes):
        alike.setdefault(" ".join(word.casefold().split()), []).append(word)
    same = [" and ".join(map(repr, words)) for words in alike.values() if len(words) > 1]
    if same:
        remarks.cautions.append(
            f"classes of column {name!r} differ only in case or inner blanks, and stay apart: "
            f"{listed(same, between='; ')}; write them alike in the table if they are one"
        )
    gaps = sorted(word for word in classes if word.lower() in _NOT_A_NUMBER)
    if gaps:
        remarks.doubt("words that are taken for a class and not for a gap", ", ".join(gaps))
