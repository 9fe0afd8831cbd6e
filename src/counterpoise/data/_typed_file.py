"""Files of tables that declare what their columns are: Parquet, Feather, Excel."""

from __future__ import annotations

import re
import warnings
import zipfile
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.data.memory import check_memory
from counterpoise.files import open_ordinary
from counterpoise.text import one_line

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 200  # characters of an error
_COPIES = 3
_GROWTH = 9  # times that a workbook's XML becomes larger as objects, about


def read_typed(path: Path, notes: list[str]) -> tuple[list[str], pd.DataFrame]:
    """Return the names of a file's columns, and its cells in columns numbered from 0.

    Args:
        path: the file.
        notes: gets a sentence on what of it was read.

    Raises:
        ValueError: it is damaged, does not fit into memory, or a package is missing.
    """
    kind = path.suffix.lower()
    try:
        with open_ordinary(path) as file:
            frame = _excel(path, file, notes) if kind == ".xlsx" else _arrow(path, file, kind)
    except ImportError as error:
        raise ValueError(
            f"{path} is read by a package that is not installed ({one_line(error)[:_SHOWN]}); "
            "install it with: pip install 'counterpoise[tables]'"
        ) from error
    except (MemoryError, _TooLarge):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreadable(path, error) from error
    except Exception as error:  # pyarrow, zipfile and openpyxl raise whatever damage leads to
        raise _unreadable(path, error) from error
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    header = ["" if is_gap(name) else str(name).strip() for name in frame.columns]
    if kind == ".xlsx":  # pandas' own name for a first row's empty cell
        header = ["" if re.fullmatch(r"Unnamed: \d+", name) else name for name in header]
    frame.columns = list(range(len(header)))
    return header, frame


class _TooLarge(ValueError):
    """A file that does not fit into memory."""


def _check_size(path: Path, size: int) -> None:
    try:
        check_memory(path, size)
    except ValueError as error:
        raise _TooLarge(str(error)) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    why = one_line(error)[:_SHOWN] or type(error).__name__
    return ValueError(f"{path} must be a table, but: {why}; write it again, or as .csv")


def _arrow(path: Path, file: BufferedReader, kind: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet

    _check_size(path, _COPIES * path.stat().st_size)
    if kind == ".feather":
        return pd.read_feather(file)
    known = pyarrow.parquet.ParquetFile(file).metadata
    size = sum(known.row_group(k).total_byte_size for k in range(known.num_row_groups))
    _check_size(path, _COPIES * size)
    file.seek(0)
    return pd.read_parquet(file, engine="pyarrow")


def _excel(path: Path, file: BufferedReader, notes: list[str]) -> pd.DataFrame:
    import pandas as pd

    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    _check_size(path, _GROWTH * size)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of styles that openpyxl does not know
        with pd.ExcelFile(file, engine="openpyxl") as book:
            names = book.sheet_names
            if len(names) > 1:
                notes.append(f"the first of {len(names)} sheets, {names[0]!r}, was read")
            return pd.read_excel(
                book, sheet_name=names[0], dtype=object, keep_default_na=False, na_values=[""]
            )


def is_gap(value: Any) -> bool:
    """Return whether a cell is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, str | bytes | list | tuple | dict | np.ndarray):
        return False
    try:
        return bool(value != value)
    except TypeError:  # pandas' NA has no truth
        return True
