"""Tables: CSV with any separator, Parquet, JSON and JSON lines, recognised by their content."""

import csv
import io
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.judgement._record import Table
from counterpoise.judgement._words import rank
from counterpoise.text import one_line

STDIN = "-"
_SUFFIXES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson")
_SEPARATORS = "\t;|,"
_PARTS = {
    "config",
    "params",
    "args",
    "hparams",
    "metrics",
    "results",
    "scores",
    "test",
    "val",
    "train",
}
_MUST = "must be a table: CSV, TSV, Parquet, or records of JSON"


def find(files: Sequence[Path]) -> list[Path]:
    """Return files with the name of a table."""
    return [path for path in files if path.suffix.lower() in _SUFFIXES]


def read(paths: Sequence[Path]) -> list[Table]:
    """Return the cells of each file.

    Raises:
        ValueError: a file is empty or no table.
    """
    found = []
    for path in paths:
        found.append(as_table(path.read_bytes(), str(path), path.with_suffix("").as_posix()))
    return found


def read_stdin() -> Table:
    """Return the cells that standard input holds."""
    return as_table(sys.stdin.buffer.read(), "standard input")


def as_table(content: bytes, where: str, name: str = "") -> Table:
    """Return the cells of a file's content.

    Raises:
        ValueError: it is empty or no table.
    """
    if content.startswith(b"PAR1"):
        try:
            return Table(_counted(pd.read_parquet(io.BytesIO(content))), where, name)
        except ImportError:
            raise ValueError(
                f"{where} needs pyarrow: pip install 'counterpoise[tables]', or save it as CSV"
            ) from None
        except Exception as error:  # pyarrow's, which need not be installed
            raise ValueError(f"{where} {_MUST}, but: {one_line(error)}") from None
    text, encoding = _decoded(content, where)
    if not text.strip():
        raise ValueError(f"{where} {_MUST}, but is empty; give a file with a row a run")
    try:
        content_of = _parsed(text) if text.lstrip()[0] in "[{" else None
        frame, title = (None, "") if content_of is not None else _from_text(text)
    except (ValueError, RecursionError, csv.Error, pd.errors.ParserError) as error:
        raise ValueError(f"{where} {_MUST}, but: {one_line(error)}") from None
    if frame is None:
        return from_object(content_of, where, name)
    notes = [f"{where}: read as {encoding}, as it is no UTF-8"] if encoding else []
    notes += [f"{where}: what stands above the header is left out: {title!r}"] if title else []
    return Table(frame, where, name, tuple(notes))


def _decoded(content: bytes, where: str) -> tuple[str, str]:
    """Return the text of a file, and its encoding where that is none of Unicode's."""
    try:
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text, encoding = content.decode("utf-16" if wide else "utf-8-sig"), ""
    except UnicodeDecodeError:
        text, encoding = content.decode("cp1252", "replace"), "cp1252"
    odd = encoding and any(c < " " and c not in "\t\r\n" for c in text)
    if odd or "\0" in text or (encoding and "\ufffd" in text):
        raise ValueError(f"{where} {_MUST}, but is no text in UTF-8; save it as CSV")
    return text, encoding


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) == 1 or text.lstrip()[0] == "[":
            raise
        return [json.loads(line) for line in lines]


def _from_text(text: str) -> tuple[pd.DataFrame, str]:
    """Return the cells of a table, and the first line of what stands above its header."""
    lines = text.splitlines()
    sizes = [_cells_of(line) for line in lines]
    plain = next((n for n, line in zip(sizes, lines, strict=True) if n > 1 and line[0] != "#"), 0)
    above = next(
        (k for k, n in enumerate(sizes) if n > 1 and (lines[k][0] != "#" or n == plain)), 0
    )
    title = next(filter(None, map(str.strip, lines[:above])), "")
    header = next(filter(str.strip, lines[above:]))
    separator = max(_SEPARATORS, key=header.count)
    if separator not in header:
        raise ValueError(f"its first line has no comma, semicolon or tab: {header[:60]!r}")
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator))]
    if twice := next((name for name in names if name and names.count(name) > 1), ""):
        raise ValueError(f"its header names {twice!r} twice; rename one")
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            cells = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                dtype=str,
                index_col=False,
                keep_default_na=False,
                skipinitialspace=True,
                skiprows=above,
            )
        except pd.errors.ParserWarning:
            raise ValueError(
                f"rows have more cells than its header; where {separator!r} is in numbers, it "
                "cannot be between them, too"
            ) from None
    return _counted(cells.map(str.strip), above), title


def _cells_of(line: str) -> int:
    """Return how many cells of a line are not empty."""
    return sum(bool(cell.strip()) for cell in line.split(max(_SEPARATORS, key=line.count)))


def from_object(content: Any, where: str, name: str = "") -> Table:
    """Return the cells of a frame of pandas or polars, of columns, records or scores by variant.

    Args:
        content: a frame, a series by variant and seed, records, or columns by name; or, by variant,
            its scores, `{seed: score}` or `{metric: score}`.
        where: its source, for messages.
        name: of `Table`.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(content, Mapping) and content:
        values = list(content.values())
        nested = all(isinstance(v, Mapping) and _all_numbers(v.values()) for v in values)
        if nested and any(rank(str(name)) is not None for v in values for name in v):
            content = (
                [content]
                if _PARTS & set(content)
                else [{"variant": name, **scores} for name, scores in content.items()]
            )
        elif nested:
            rows = [(v, s, x) for v, scores in content.items() for s, x in scores.items()]
            content = pd.DataFrame(rows, columns=["variant", "seed", "score"])
        elif not any(isinstance(v, (list, tuple)) or hasattr(v, "shape") for v in values):
            content = [content]
        else:
            sizes = {len(v) for v in values if hasattr(v, "__len__") and not isinstance(v, str)}
            if len(sizes) > 1 and all(_all_numbers(v) for v in values):
                rows = [(v, x) for v, scores in content.items() for x in scores]
                content = pd.DataFrame(rows, columns=["variant", "score"])
    if isinstance(content, pd.Series):
        levels = content.index.nlevels
        unnamed = levels == 2 and not any(content.index.names)
        names = ["variant", "seed"] if unnamed else list(content.index.names)
        content = content.rename_axis(names).to_frame(content.name or "score")
    if hasattr(content, "to_dict") and not isinstance(content, pd.DataFrame):
        content = content.to_dict(as_series=False)  # polars
    if isinstance(content, list):
        if not content or not all(isinstance(row, Mapping) for row in content):
            raise ValueError(f"{where} {_MUST}, but is a list of other things; give records")
        content = pd.json_normalize([dict(row) for row in content])
    try:
        return Table(_counted(pd.DataFrame(content)), where, name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} {_MUST}, but: {one_line(error)}") from None


def _all_numbers(values: Any) -> bool:
    return all(
        x is None
        or (isinstance(x, (int, float)) and not isinstance(x, bool))
        or getattr(getattr(x, "dtype", None), "kind", "") in "iuf"
        for x in values
    )


def _counted(frame: pd.DataFrame, above: int = 0) -> pd.DataFrame:
    """Return a frame with rows counted as a spreadsheet does, and names of columns as text."""
    frame = frame.reset_index(drop=isinstance(frame.index, pd.RangeIndex))
    frame.index = pd.RangeIndex(2 + above, len(frame) + 2 + above)
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame
