"""Files of tables, read into cells: text as it stands there, or the types that a file declares."""

from __future__ import annotations

import csv
import io
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.data import _typed_file
from counterpoise.data._table_records import find_stray_quote, fits_without_quotes, records
from counterpoise.data._unpack import PACKED, unpacked
from counterpoise.text import one_line

if TYPE_CHECKING:
    import pandas as pd

TEXTS = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab")
TYPED = (".parquet", ".feather", ".xlsx")
_SHOWN, _NAMED = 80, 8  # characters of a name in a message, and names
_SAMPLE, _RECORDS = 2**16, 200  # characters and rows by which the separator is found
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_SEP_LINE = re.compile(r"sep=(.)\r?\n")  # as Excel writes and reads
_COPIES = 10  # of a file: its bytes, their text, the cells as objects, their words
_FEW_NUMBERED = 3  # columns called 0, 1, 2: names and not a first row of data
_NOT_IN_1252 = b"\x81\x8d\x8f\x90\x9d"


@dataclass
class Table:
    """The cells of a file.

    Attributes:
        path: of the file.
        header: the names of the columns.
        frame: the cells, its columns numbered from 0; text, unless the file declares types.
        rows: the number of each row as a spreadsheet counts them; the header is row 1.
        separator: between cells of text; empty where the file has types.
        notes: sentences on how it was read.
        typed: whether cells may be other than text.
        quotes: whether double quotes enclose cells, and are no characters of them.
    """

    path: Path
    header: list[str]
    frame: pd.DataFrame
    rows: np.ndarray
    separator: str = ""
    notes: list[str] = field(default_factory=list)
    typed: bool = False
    quotes: bool = True

    def text(self, k: int, strip: bool = True) -> np.ndarray:
        """Return column k's cells as text, empty where there is none; blanks around it or not."""
        values = self.frame.iloc[:, k].to_numpy(object).tolist()
        texts = [_as_text(value) for value in values] if self.typed else values
        return np.array([t.strip() for t in texts] if strip else texts, object)

    def numbers(self, k: int) -> np.ndarray | None:
        """Return column k in float64, if the file declares it as numbers; None for others.

        Whole numbers that float64 has not are text.
        """
        column = self.frame.iloc[:, k]
        kind = column.dtype.kind
        if kind not in "iuf":
            return None
        known = column.dropna() if kind in "iu" else column[:0]
        if len(known) and max(abs(int(known.min())), abs(int(known.max()))) >= 2**53:
            return None
        return column.to_numpy(np.float64, na_value=np.nan)


@dataclass(frozen=True)
class Like:
    """A table that was read before, which another one is read like.

    Attributes:
        names: columns that both have.
        separator: of `Table`; it is taken where it makes these columns.
        quotes: of `Table`.
    """

    names: frozenset[str]
    separator: str
    quotes: bool


def is_table(path: Path) -> bool:
    """Return whether a file's name is that of a table, packed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in PACKED:
        return len(suffixes) == 2 and suffixes[0] in TEXTS
    return bool(suffixes) and suffixes[-1] in TEXTS + TYPED


def read_file(path: Path, like: Like | None = None) -> Table:
    """Return the cells of a file of text, Parquet, Feather or Excel.

    Args:
        path: the file.
        like: how another file of these columns was read; the caller then looks at the header.

    Raises:
        ValueError: it is no table, a row has more or fewer cells than the header, the names of the
            columns are missing, or the package that reads it is.
    """
    if path.suffix.lower() in TYPED:
        notes: list[str] = []
        header, frame = _typed_file.read_typed(path, notes)
        blank = frame.isna().all(axis=1).to_numpy() if header else np.zeros(len(frame), bool)
        rows = np.arange(len(frame)) + 2
        _say_blank(blank, like, notes)
        table = Table(path, header, frame[~blank], rows[~blank], "", notes, True)
    else:
        table = _read_text(path, like)
    if like is None:
        _check_header(path, table.header, table.separator)
    if not len(table.frame):
        raise ValueError(f"{path} must hold samples below its header, but holds none")
    return table


def _read_text(path: Path, like: Like | None) -> Table:
    import pandas as pd

    notes: list[str] = []
    text = _decoded(path, unpacked(path, _COPIES), notes)
    first = _SEP_LINE.match(text)
    body = text[first.end() :] if first else text
    text = body.lstrip("\r\n")
    above = body[: len(body) - len(text)].count("\n") + (1 if first else 0)  # the names
    known = like.separator if like and _makes(like, path, text) else ""
    separator = first[1] if first else known or _separator(text, path, notes)
    header = [name.strip() for name in next(records(path, text, separator), (0, []))[1]]
    width = len(header)
    frame, line = pd.DataFrame(columns=range(width + 1), dtype=str), 0
    bare = bool(like and known and not like.quotes)
    bare = bare and fits_without_quotes(path, text, separator, width)
    try:
        frame = _frame(text, separator, width, quotes=not bare)
        if len(frame) < text.count("\n") and not bare:
            line = find_stray_quote(path, text, separator, width)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        line = find_stray_quote(path, text, separator, width)
        if not line:
            _check_widths(path, text, separator, width, above)
            raise ValueError(f"{path} must be a table, but: {one_line(error)}") from error
    except pd.errors.EmptyDataError:
        pass
    if line:
        if not fits_without_quotes(path, text, separator, width):
            raise ValueError(
                f"{path} must close each double quote that opens a cell, but behind the one in "
                f"line {line + above} whole rows would be one cell; remove it, or write it twice "
                "within a cell in double quotes"
            )
        notes.append(
            f"double quotes read as characters of the cells, as behind the one in line "
            f"{line + above} whole rows would be one cell"
        )
        frame, bare = _frame(text, separator, width, quotes=False), True
    if bare:
        header = [_unquoted(name) for name in next(records(path, text, separator, quotes=False))[1]]
        frame = frame.map(_unquoted)
    empty = (frame == "").to_numpy()
    if not empty[:, width].all() or empty[1:, max(0, width - 1)].any():
        _check_widths(path, text, separator, width, above)  # pandas fills short rows up
    frame, blank = frame.iloc[1:, :width], empty[1:].all(1)
    rows = np.arange(len(frame)) + above + 2
    again = _repeated(frame, header)
    if again.any():
        warnings.warn(
            f"{again.sum()} rows of {path} repeat the header, the first in row {rows[again][0]}: "
            "left out",
            stacklevel=5,
        )
    _say_blank(np.asarray(blank), like, notes)
    kept = ~(blank | again)
    return Table(path, header, frame[kept], rows[kept], separator, notes, quotes=not bare)


def _say_blank(blank: np.ndarray, like: Like | None, notes: list[str]) -> None:
    """Note how many rows without a cell are left out, where somebody waits for each of them."""
    number = int(blank.sum())
    if like is not None and number:
        notes.append(f"{number:,} empty row{'' if number == 1 else 's'}: not read")


def _makes(like: Like, path: Path, text: str) -> bool:
    """Return whether a table's separator makes its columns of another text."""
    try:
        found = next(records(path, text, like.separator), (0, []))[1] if like.separator else []
    except ValueError:  # a cell longer than csv takes
        return False
    return like.names <= {name.strip() for name in found}


def _frame(text: str, separator: str, width: int, quotes: bool = True) -> pd.DataFrame:
    """Return the cells of a text, with a column more than the header has."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            io.StringIO(text),
            sep=r"\s+" if separator == " " else separator,
            header=None,
            names=range(width + 1),  # one more, for rows that are too long
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        )


def _unquoted(cell: str) -> str:
    """Return a cell without blanks around it and the quotes that enclose the whole of it."""
    cell = cell.strip()
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"').strip() if whole else cell


def _repeated(frame: pd.DataFrame, header: list[str]) -> np.ndarray:
    """Return which rows are the header once more, as where files were put together."""
    found = np.zeros(len(frame), bool)
    for k in np.flatnonzero(frame[0].str.strip() == header[0]) if len(header) > 1 else ():
        found[k] = [cell.strip() for cell in frame.iloc[k]] == header
    return found


def _decoded(path: Path, content: bytes, notes: list[str]) -> str:
    """Return the text of a file in UTF-8, UTF-16 or, said in a note, Windows-1252."""
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise ValueError(f"{path} must be text, but its UTF-16 is damaged") from error
        windows = content.translate(None, _NOT_IN_1252) == content
        text = content.decode("cp1252" if windows else "latin-1")
        word = next((w for w in re.findall(r"\w+", text) if not w.isascii()), "")
        notes.append(
            f"text read as {'Windows-1252' if windows else 'Latin-1'}, as it is not UTF-8"
            + (f": {word[:_SHOWN]!r} is the first word that shows it" if word else "")
        )
    if "\0" in text:
        number = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{path} must be a table of text, but line {number} holds a NUL; export it in UTF-8"
        )
    return text


def _separator(text: str, path: Path, notes: list[str]) -> str:
    """Return what stands between the names, and between as many cells of the rows below.

    Of several, the one that makes more columns; of these, commas last, as numbers have them too.
    """
    sample = text[:_SAMPLE]
    sample = sample[: sample.rfind("\n") + 1] or sample
    found = {}
    for separator in _SEPARATORS:
        try:
            rows = zip(range(_RECORDS), records(path, sample, separator), strict=False)
            counts = [len(row) for _, (_, row) in rows]
        except ValueError:  # one field, longer than csv takes: it is another separator
            continue
        if counts and counts[0] > 1:
            same = sum(n == counts[0] for n in counts) / len(counts)
            if separator != " " or same == 1.0:
                found[separator] = (
                    separator != " ",
                    same == 1.0,
                    counts[0],
                    same,
                    separator != ",",
                )
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    best = max(found, key=lambda separator: found[separator], default=usual)
    others = [
        f"{_SEPARATORS[separator]} would make {columns}"
        for separator, (visible, all_same, columns, _, _) in found.items()
        if visible and all_same and columns != found[best][2]
    ]
    if others:
        notes.append(
            f"read as {found[best][2]} columns, separated by {_SEPARATORS[best]}; "
            + " and ".join(others)
        )
    return best


def _check_widths(path: Path, text: str, separator: str, width: int, above: int) -> None:
    """Refuse a row with more or fewer cells than the header has; one empty cell more is none."""
    for line, row in records(path, text, separator):
        if len(row) != width and row[width:] != [""]:
            raise ValueError(
                f"line {line + above} of {path} must have {width} values as the header has, but "
                f"has {len(row)}; put values that hold the separator in double quotes"
            )


def _check_header(path: Path, header: list[str], separator: str) -> None:
    if len(header) < 2:
        by = _SEPARATORS.get(separator, "commas")
        by = f"{by} or semicolons" if by == "commas" else by
        raise ValueError(
            f"{path} must have a feature and a target column, but its first line is "
            f"{[name[:_SHOWN] for name in header]}; separate the columns by {by}"
        )
    named = [name for name in header if name]
    numbers = [name for name in named if _is_number(name)]
    if len(set(named)) < len(named) or (numbers and not _are_numbered(numbers, named)):
        raise ValueError(
            f"{path} must begin with the columns' names, each of its own, but its first line is "
            f"{[name[:_SHOWN] for name in header[:_NAMED]]}; write a name above each column"
        )


def _are_numbered(numbers: list[str], named: list[str]) -> bool:
    """Return whether columns are called by consecutive numbers, as pixels or years are."""
    if not all(re.fullmatch(r"\d{1,9}", name) for name in numbers) or numbers == named:
        return False
    first = int(numbers[0])
    consecutive = [int(name) - first for name in numbers] == list(range(len(numbers)))
    return consecutive and len(numbers) >= _FEW_NUMBERED


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if _typed_file.is_gap(value):
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
