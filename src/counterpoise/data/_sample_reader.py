"""Samples in memory: DataFrames, read as tables are, and arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from counterpoise.data._column_kinds import find_decimal_commas, raw_column, read_column
from counterpoise.data._columns import Column
from counterpoise.data._remarks import Remarks
from counterpoise.data._table_file import Table
from counterpoise.data._unseen_table import read_cells

if TYPE_CHECKING:
    import pandas as pd

_FRAME = Path("the DataFrame")


class SampleReader:
    """Reader of samples in memory: each becomes what it would have become among the first ones.

    In a DataFrame numbers, dates, categories and text are told apart as in files (`data.load`), by
    a column's type where it has one; every column is kept, one without a value as gaps. An array
    (N, F) is a table of numbers, and one of four axes is images.

    Example:
        >>> import pandas as pd
        >>> from counterpoise.data import SampleReader
        >>> reader = SampleReader(pd.DataFrame({"age": [3, 5], "pet": ["cat", "dog"]}))
        >>> cells, columns = reader(pd.DataFrame({"age": [None, 4], "pet": ["dog", "eel"]}))
        >>> cells.tolist(), columns[1].values
        ([[nan, 1.0], [4.0, 2.0]], ('cat', 'dog', 'eel'))
    """

    def __init__(self, samples: pd.DataFrame | np.ndarray) -> None:
        """Decide how samples are read.

        Args:
            samples: a DataFrame, or an array (N, F) float64 or (N, C, H, W).

        Raises:
            ValueError: no samples; in a DataFrame, a number that is infinite or above 1e150.

        Warns:
            UserWarning: cells of a DataFrame that are no numbers or dates in columns of these.
        """
        self._form, self._columns = _form(samples), list[Column]()
        self._reading: dict[str, Any] = {}
        if isinstance(samples, np.ndarray):
            return
        if not len(samples):
            raise ValueError("a DataFrame must have samples, but has 0 sample(s)")
        header = [str(name).strip() for name in samples.columns]
        numbered = samples.set_axis(range(len(header)), axis=1)
        table = Table(_FRAME, header, numbered, np.arange(len(samples)), typed=True)
        remarks, known = Remarks(_FRAME), []
        raw = [raw_column(table, k) for k in range(len(header))]
        comma = find_decimal_commas(raw, table.separator)
        for column in raw:
            if column.is_empty():
                known.append({"name": column.name, "read": "number", "comma": False})
                known[-1] |= {"points": False, "empty": True}
                self._columns.append(Column(column.name, "number"))
            else:
                read = read_column(column, comma, table.rows, remarks)
                known.append(read.reading)
                self._columns += read.columns
        remarks.warn(stacklevel=4)
        self._reading = {"target": "", "typed": True, "separator": "", "quotes": True}
        self._reading["columns"] = known

    @property
    def of_frames(self) -> bool:
        """Whether the first samples were a DataFrame."""
        return bool(self._reading)

    def __call__(
        self, samples: pd.DataFrame | np.ndarray
    ) -> tuple[Tensor, tuple[Column, ...] | None]:
        """Return samples as a tensor; and what its cells hold, None for images.

        A category's values that are new follow those that are known.

        Args:
            samples: as the first ones; in place of a DataFrame also an array of its columns.

        Returns:
            Cells, float64 (N, columns), for a `TableEncoder`; or images in their dtype.

        Raises:
            ValueError: samples of another form, or a column most of whose cells are none of what it
                held.

        Warns:
            UserWarning: cells that are none of what a column held, and are taken as missing.
        """
        if self._reading:
            found = read_cells(samples, self._reading, self._columns, "")
            for said in found.strays:
                warnings.warn(said, stacklevel=5)
            return found.cells, found.columns
        if _form(samples) != self._form:
            shape, dtype = self._form
            raise ValueError(
                f"samples must be {dtype} of {shape} as the first ones, but are "
                f"{_form(samples)[1]} of {_form(samples)[0]}"
            )
        tensor = torch.from_numpy(np.require(samples, requirements=["C", "W"]))
        if tensor.dim() != 2:
            return tensor, None
        return tensor, tuple(Column(f"x{k}", "number") for k in range(tensor.shape[1]))


def _form(samples: pd.DataFrame | np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return shape and kind of a sample; uint8 images are scaled otherwise than floating ones."""
    kind = str(samples.dtype) if isinstance(samples, np.ndarray) else "cells"
    return tuple(samples.shape[1:]), kind
