"""Records of a text of cells, and quotes in it that are meant as quotes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LOOKED_AT = 9  # lines of a cell that csv does not read to its end
_SURE = ";|\t"  # separators that sentences have not


def records(
    path: Path, text: str, separator: str, quotes: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a text that is not blank, after the number of its last line.

    Args:
        path: of the text, for messages.
        text: the whole of it.
        separator: between cells.
        quotes: whether double quotes may enclose a cell, with separators and line breaks in it.

    Raises:
        ValueError: a cell is longer than csv takes.
    """
    lines: Any = io.StringIO(text, newline="")
    if separator == " ":
        lines = (line.strip(" \r\n") for line in lines)
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, quoting=quoting)
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise ValueError(f"{path} must be a table, but: {error}; export it so") from error


def find_stray_quote(path: Path, text: str, separator: str, width: int) -> int:
    """Return the line of a quote behind which rows disappear in a cell; 0 where there is none.

    A cell of several lines is legal. It is none where its closing quote is followed by more of the
    cell, or where each of its lines has as many cells as the header: in sentences, that happens by
    chance in two columns apart by commas, so that a cell of two lines is legal there.

    Args:
        path: of the text, for messages.
        text: the whole of it.
        separator: between cells.
        width: the number of cells of the header.
    """
    if '"' not in text:
        return 0
    lines = list(io.StringIO(text, newline=""))
    least = 2 if width > 2 or separator in _SURE else 3
    last = 0
    try:
        for end, _ in records(path, text, separator):
            while last < end and not lines[last].strip():
                last += 1
            part, begin = lines[last:end], last + 1
            if len(part) > 1 and (
                not _is_closed(part, separator)
                or (len(part) >= least and _widths_fit(part, separator, width))
            ):
                return begin
            last = end
    except ValueError:  # a cell longer than csv takes
        while last < len(lines) and not lines[last].strip():
            last += 1
        return last + 1 if _widths_fit(lines[last : last + _LOOKED_AT], separator, width) else 0
    return 0


def fits_without_quotes(path: Path, text: str, separator: str, width: int) -> bool:
    """Return whether each row has the header's number of cells where a quote is a character."""
    try:
        return all(
            len(row) == width or row[width:] == [""]
            for _, row in records(path, text, separator, quotes=False)
        )
    except ValueError:
        return False


def _is_closed(lines: list[str], separator: str) -> bool:
    """Return whether a quoted cell ends at its closing quote."""
    try:
        list(csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error:
        return False
    return True


def _widths_fit(lines: list[str], separator: str, width: int) -> bool:
    return all(
        (len(line.split()) if separator == " " else line.count(separator) + 1) == width
        for line in lines
        if line.strip()
    )
