"""Tables of text: a sample a line, a feature a column, the class in one of them."""

from __future__ import annotations

import csv
import difflib
import os
import re
import warnings
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

import numpy as np
import torch

from counterpoise.data._arrays import as_classes
from counterpoise.data._hold_out import as_splits
from counterpoise.data._options import Options
from counterpoise.data.memory import check_memory
from counterpoise.data.splits import Split, Splits
from counterpoise.files import open_ordinary

_TARGETS = ("target", "label", "class")
_MISSING = ("", "?", "na", "n/a", "nan", "null", "none")
_FEW = 50
_SHOWN = 80  # characters of a name in a message
_NAMED = 8
_COPIES = 2
_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")


def read_table(path: Path, options: Options) -> Splits:
    """Read a .csv or .tsv file with a header.

    Columns of numbers are kept, of others each value becomes a column of 0 and 1. A missing number
    becomes the mean of its column in the training split, and a further column says where. A column
    without a name is left out. `options.target` names the column of the classes.
    """
    target = options.target
    header, rows, numbers = _read(path)
    target_index = _target_column(path, header, target)
    labels = [row[target_index] for row in rows]
    _check_classes(path, header[target_index], labels)
    empty = [k for k, label in enumerate(labels) if not label.strip()]
    if empty:
        raise ValueError(
            f"each line of {path} must have a value in its target column {header[target_index]!r}, "
            f"but {len(empty)} have none, the first being sample {empty[0] + 1}; fill or remove "
            "them"
        )
    if "" in header[:target_index] + header[target_index + 1 :]:
        warnings.warn(
            f"a column of {path} has no name and was left out: it is often a line number, which "
            "may give the class away",
            stacklevel=3,
        )
    names = [name for k, name in enumerate(header) if k != target_index and name]
    found = [_features(path, n, [row[header.index(n)].strip() for row in rows]) for n in names]
    columns, texts = [column for column, _ in found], [text for _, text in found]
    if not any(column.size for column in columns):
        raise ValueError(
            f"{path} must have a feature, a column with a name and values beside the target column "
            f"{header[target_index]!r}, but has none; add one"
        )
    check_memory(path, _COPIES * sum(column.nbytes for column in columns))
    inputs = torch.from_numpy(np.concatenate(columns, axis=1))
    class_names, (targets,) = as_classes(labels)
    source = f"{path}:{target}" if target else str(path)
    whole = Split(inputs, targets, tuple(f"row {number}" for number in numbers))
    data = as_splits(path.stem, source, whole, None, class_names, options.seed)
    note = f"{len(labels):,} rows; the class is in column {header[target_index]!r}"
    return replace(_filled(data), notes=(note, *_notes(names, columns, texts)))


def _notes(names: list[str], columns: list[np.ndarray], texts: list[bool]) -> list[str]:
    """Say which columns were read as numbers and as text, and where values are missing."""
    kinds: dict[bool, list[str]] = {False: [], True: []}
    for name, column, text in zip(names, columns, texts, strict=True):
        if column.size:
            kinds[text].append(f"{name} ({_count(column.shape[1], 'value')})" if text else name)
    gaps = {n: int(np.isnan(c).sum()) for n, c in zip(names, columns, strict=True)}
    holed = [f"{name} ({number})" for name, number in gaps.items() if number]
    said = {
        "of numbers": kinds[False],
        "of text, each value a column of 0 and 1": kinds[True],
        "with gaps, filled with the mean of the training split and marked": holed,
    }
    return [f"{_count(len(f), 'column')} {what}: {_listed(f)}" for what, f in said.items() if f]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name[:_SHOWN] for name in names[:_NAMED]) + more


def _read(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Return the header, the lines, all of the same length, and their numbers in a spreadsheet."""
    tab = path.suffix.lower() == ".tsv"
    try:
        with open_ordinary(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            check_memory(path, os.fstat(raw.fileno()).st_size * _COPIES)
            separator = "\t" if tab else _separator(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            rows, numbers = [], []
            for number, row in enumerate(reader, 2):  # the header is row 1
                if row and len(row) != len(header):
                    raise ValueError(
                        f"line {reader.line_num} of {path} must have {len(header)} values as the "
                        f"header has, but has {len(row)}; put values that hold the separator in "
                        "double quotes"
                    )
                if any("\0" in cell for cell in row):
                    raise csv.Error(f"line {reader.line_num} holds a NUL")
                if row:
                    rows.append(row)
                    numbers.append(number)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a table in UTF-8, but: {error}; export it so") from error
    if separator == ";":  # of countries that write 0,5
        rows = [[c.replace(",", ".") if _COMMA.fullmatch(c) else c for c in row] for row in rows]
    _check_header(path, header, tab)
    if not rows:
        raise ValueError(f"{path} must hold samples below its header, but holds none")
    return header, rows, numbers


def _check_header(path: Path, header: list[str], tab: bool) -> None:
    if len(header) < 2:
        raise ValueError(
            f"{path} must have a feature and a target column, but its first line is "
            f"{[name[:_SHOWN] for name in header]}; "
            f"separate the columns by {'tabs' if tab else 'commas or semicolons'}"
        )
    if any(_is_number(name) for name in header) or len(set(header)) < len(header):
        raise ValueError(
            f"{path} must begin with the columns' names, each of its own, but its first line is "
            f"{[name[:_SHOWN] for name in header[:8]]}; write a name above each column"
        )


def _separator(line: str) -> str:
    """Comma, or semicolon where the names stand apart by these."""
    return max((",", ";"), key=lambda separator: _fields(line, separator))


def _fields(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:  # one field, longer than csv takes: it is another separator
        return 1


def _target_column(path: Path, header: list[str], target: str) -> int:
    if target:
        if target not in header:
            near = difflib.get_close_matches(target, header, n=1)
            raise ValueError(
                f"{path} must have the column {target!r} that is asked for, but has "
                f"{', '.join(header[:20])}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return header.index(target)
    lower = [name.lower() for name in header]
    return next((lower.index(word) for word in _TARGETS if word in lower), len(header) - 1)


def _check_classes(path: Path, name: str, labels: list[str]) -> None:
    """Refuse measured numbers, which are no classes."""
    kinds = set(labels)
    if len(kinds) > _FEW and all(map(_is_number, kinds)) and any(map(_has_fraction, kinds)):
        raise ValueError(
            f"the target column of {path} must hold classes, but {name!r} holds {len(kinds)} "
            f"different numbers such as {labels[0]}; name the column of the classes by "
            f"{path}:COLUMN, or put the numbers into ranges"
        )


def _features(path: Path, name: str, cells: list[str]) -> tuple[np.ndarray, bool]:
    """Return a column as one of numbers, NaN where missing, or as one of 0 and 1 a value of text.

    The second value is True for text.
    """
    missing = [cell.lower() in _MISSING for cell in cells]
    if all(missing):
        warnings.warn(f"column {name!r} of {path} is empty: left out", stacklevel=4)
        return np.zeros((len(cells), 0), np.float32), True
    try:
        numbers = [np.nan if m else float(c) for c, m in zip(cells, missing, strict=True)]
    except ValueError:
        return _one_hot(path, name, cells, missing), True
    with np.errstate(over="ignore"):  # reported below
        column = np.array(numbers)[:, None].astype(np.float32)
    if np.isinf(column).any():
        raise ValueError(
            f"column {name!r} of {path} must be finite in float32, but line "
            f"{int(np.isinf(column).argmax()) + 1} below the header is not; correct it"
        )
    return column, False


def _one_hot(path: Path, name: str, cells: list[str], missing: list[bool]) -> np.ndarray:
    values = sorted({cell for cell, m in zip(cells, missing, strict=True) if not m})
    if len(values) > max(_FEW, len(cells) // 2):
        raise ValueError(
            f"column {name!r} of {path} must be numbers or few kinds of text, but holds "
            f"{len(values)} kinds in {len(cells)} lines, such as {values[0]!r}; remove it if it "
            "names the samples, or group its values"
        )
    width = len(values) + any(missing)
    check_memory(path, 4 * width * (width + len(cells)))
    position = {value: k for k, value in enumerate(values)}
    index = [len(values) if m else position[c] for c, m in zip(cells, missing, strict=True)]
    return np.eye(width, dtype=np.float32)[index]


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _has_fraction(text: str) -> bool:
    return not float(text).is_integer()


def _filled(data: Splits) -> Splits:
    """Fill in missing values, and add the columns that mark them."""
    gaps = [split.inputs.isnan() for split in (data.train, data.test)]
    holed = gaps[0].any(0) | gaps[1].any(0)
    means = data.train.inputs.double().nanmean(0).nan_to_num(0).float()
    splits = [
        replace(
            split, inputs=torch.cat([split.inputs.where(~gap, means), gap[:, holed].float()], 1)
        )
        for split, gap in zip((data.train, data.test), gaps, strict=True)
    ]
    return replace(data, train=splits[0], test=splits[1])
