"""Tables: a sample a row, a feature a column, the class in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from counterpoise.data import _suspects, _table_splits
from counterpoise.data._arrays import as_classes
from counterpoise.data._column_kinds import (
    RawColumn,
    ReadColumn,
    find_decimal_commas,
    raw_column,
    read_column,
)
from counterpoise.data._groups import check_apart
from counterpoise.data._hold_out import as_splits
from counterpoise.data._numbers import is_missing
from counterpoise.data._options import TEST_WORDS, Options
from counterpoise.data._remarks import Remarks
from counterpoise.data._small_classes import settle_small_classes
from counterpoise.data._table_file import Table, read_file
from counterpoise.data._table_labels import (
    read_labels,
    target_of,
    without_blanks,
    without_point_zero,
)
from counterpoise.data._table_splits import TEST, TIME, TRAIN, VALIDATION, check_names
from counterpoise.data._unpack import PACKED
from counterpoise.data.memory import check_memory
from counterpoise.data.splits import Split, Splits
from counterpoise.text import listed

_ORDER = (TRAIN, TEST, VALIDATION)
_COPIES = 3  # of the cells
_NAMED = 8
_KINDS = {
    "number": "of numbers",
    "category": "of text, each value a column of 0 and 1",
    "date": "of dates, read as year, month, day, weekday, hour and days",
    "text": "of free text",
}


def read_table(path: Path, options: Options) -> Splits:
    """Read a table as cells, of which each training makes features by its own training split.

    In this order: the file, a second one to test on, the target, split and group columns and the
    rest; labels; columns that are no features; kinds of the others; the splits; cautions. What is
    left out is warned of, how the rest was read stands in the notes.
    """
    return read_cells(read_file(path), options)


def read_cells(table: Table, options: Options) -> Splits:
    """Do the same with the cells of a file."""
    path = table.path
    every = ("target", "drop", "keep", "group", "split", "missing_labels", "test")
    options.check("a table", *every)
    target, split = options.target, options.split.removeprefix(TIME)
    named = [n for n in (target, split, options.group) if n]
    check_names(path, [*named, *options.drop, *options.keep], table.header)
    target = target or target_of(table.header, [split, options.group, *options.drop])
    remarks, first = Remarks(path), len(table.rows)
    if options.split and options.test != "auto":
        raise ValueError(
            f"a table must be split by split, which is {options.split!r}, or by test, which is "
            f"{options.test!r}, not by both; leave one out"
        )
    if options.test not in TEST_WORDS:
        table = _with_test(table, target, options)
    where = table.header.index(target) if target else 0
    labels, known = read_labels(
        target, table.text(where, strip=False), table.rows, options, remarks
    )
    parts = np.where(np.arange(len(known)) < first, TRAIN, TEST)
    if not known.all():
        first = int(known[:first].sum())
        parts, labels = parts[known], labels[known]
        table = replace(table, frame=table.frame[known], rows=table.rows[known])
    away = {target, *options.drop} | ({split, options.group} - set(options.keep) - {""})
    chosen = [k for k, name in enumerate(table.header) if name not in away]
    raw = [raw_column(table, k) for k in chosen]
    comma = find_decimal_commas(raw, table.separator)
    raw = _features(raw, first, target, options.keep, remarks)
    read = [read_column(column, comma, table.rows, remarks) for column in raw]
    for column in [column for column in read if np.isnan(column.cells).any()]:
        gaps = int(np.isnan(column.cells).any(1).sum())
        remarks.note("columns with gaps", f"{column.name} ({gaps:,})")
    size = sum(column.cells.shape[1] for column in read)
    check_memory(path, _COPIES * 8 * size * len(labels))
    cells = torch.from_numpy(np.concatenate([column.cells for column in read], 1))
    if options.split:
        column = table.text(table.header.index(split))
        timed = options.split.startswith(TIME)
        parts = (
            _table_splits.by_time(split, column, table.rows, comma, remarks)
            if timed
            else _table_splits.by_column(path, split, column)
        )
    own = bool(options.split) or options.test not in TEST_WORDS
    groups = _groups(table, options.group, remarks)
    class_names, (targets,) = as_classes(labels)
    if not own:
        _suspects.caution_of_splits(raw, remarks)
    _suspects.caution_of_ids(raw, remarks)
    _suspects.caution_of_giveaways(read, targets.numpy(), len(class_names), remarks)
    names = tuple(f"row {number}" for number in table.rows)
    whole = Split(cells, targets, names, groups)
    given = [whole.take(torch.from_numpy(np.flatnonzero(parts == k))) for k in _ORDER]
    held = [split for split in given[1:] if own and len(split)]
    (train, *held), class_names = settle_small_classes(
        given[0] if own else whole, held, class_names, options
    )
    test, validation = (*held, None, None)[:2]
    remarks.warn(stacklevel=4)
    source = f"{path}:{options.target}" if options.target else str(path)
    by = f"column {options.group!r}" if options.group else ""
    data = as_splits(_name(path), source, train, test, class_names, options.seed, by)
    found = [column for one in read for column in one.columns]
    used = {column.reading["name"] for column in read}
    reading = {
        "kind": "table",
        "target": target,
        "comma": bool(comma),
        "typed": table.typed,
        "separator": table.separator,
        "quotes": table.quotes,
        "columns": [column.reading for column in read],
        "unused": [name for name in table.header if name not in used],
    }
    notes = (
        f"{first:,} rows"
        + (f", and {len(labels) - first:,} of {options.test} to test on" * (first < len(labels)))
        + f"; the class is in column {target!r}",
        *table.notes,
        *_kinds(read),
        *remarks.lines(),
    )
    data = replace(
        data,
        notes=(*notes, *data.notes),
        validation=validation,
        columns=tuple(found),
        reading=reading,
        cautions=(*data.cautions, *remarks.all_cautions()),
    )
    check_apart(data)
    return data


def _name(path: Path) -> str:
    """Return a file's name without its endings."""
    return path.with_suffix("").stem if path.suffix.lower() in PACKED else path.stem


def _with_test(table: Table, target: str, options: Options) -> Table:
    """Return the table with the rows of the file to test on below its own."""
    path = Path(options.test).expanduser()
    if not path.is_file():
        raise ValueError(
            f"test must be {', '.join(TEST_WORDS)} or a file with the columns of {table.path}, got "
            f"{options.test!r}, and there is no such file"
        )
    return _table_splits.joined(table, read_file(path), target)


def _features(
    raw: Sequence[RawColumn], rows: int, target: str, keep: Sequence[str], remarks: Remarks
) -> list[RawColumn]:
    """Return the columns that are features, and say which others are left out.

    Where nothing else is left, columns that only look odd are features.
    """
    why = {c.name: _suspects.why_no_feature(c, rows) for c in raw}
    odd = {name: w for name, w in why.items() if w is not None and name not in keep}
    found = [c for c in raw if c.name not in odd]
    if not found and (found := [c for c in raw if not odd[c.name][2]]):
        (one, several, _), names = odd[found[0].name], [repr(c.name) for c in found]
        remarks.cautions.append(
            f"column {names[0]} of {remarks.path} {one}, and no other is left: kept"
            if len(found) == 1
            else f"columns {listed(names)} of {remarks.path} {several}, and none is left: kept"
        )
    for column in raw:
        if not any(column is c for c in found):
            one, several, _ = odd[column.name]
            remarks.leave_out(column.name, one, several)
    if not found:
        remarks.warn(stacklevel=5)
        raise ValueError(
            f"{remarks.path} must have a feature, a column with a name and values beside the "
            f"target column {target!r}, but has none; add one, or name in keep a column that "
            "is one"
        )
    return found


def _groups(table: Table, name: str, remarks: Remarks) -> torch.Tensor | None:
    """Return the number of each row's group; a row without one is a group of its own.

    Names are made alike as labels are, so that 1 and 1.0, as two files have them, are one group.
    """
    if not name:
        return None
    cells, of = np.unique(table.text(table.header.index(name)).astype(str), return_inverse=True)
    names = [without_point_zero(without_blanks(cell)) for cell in cells.tolist()]
    words, number = np.unique(names, return_inverse=True)
    index = number[of]
    alone = np.array([is_missing(cell) for cell in names])[of]
    index = np.where(alone, len(words) + np.arange(len(index)), index)
    if alone.any():
        remarks.note("rows without a group, each one of its own", f"{alone.sum():,}")
    return torch.from_numpy(index.astype(np.int64))


def _kinds(read: Sequence[ReadColumn]) -> list[str]:
    """Say which columns were read as what."""
    names: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for column in read:
        values = len(column.columns[0].values)
        some = f" ({values:,} {'value' if values == 1 else 'values'})" if values else ""
        names[column.kind].append(f"{column.name[:80]}{some}")
    return [
        f"{len(found):,} {'column' if len(found) == 1 else 'columns'} {_KINDS[kind]}: "
        f"{listed(found, most=_NAMED)}"
        for kind, found in names.items()
        if found
    ]
