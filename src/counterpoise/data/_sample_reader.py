"""Samples in memory: DataFrames, read as tables are, and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from counterpoise.data._column_kinds import find_decimal_commas, raw_column, read_column
from counterpoise.data._columns import Column
from counterpoise.data._remarks import Remarks
from counterpoise.data._table_file import Table
from counterpoise.data._unseen import read_unseen

if TYPE_CHECKING:
    import pandas as pd

_FRAME = Path("the DataFrame")


class SampleReader:
    """Reader of samples in memory: each becomes what it would have become among the first ones.

    In a DataFrame numbers, dates, categories and text are told apart as in files (`data.load`), by
    a column's type where it has one; every column with a value is kept. An array (N, F) is a table
    of numbers, and one of four axes is images.

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
        self._form = _form(samples)
        self._columns: tuple[Column, ...] = ()
        self._names: list[str] = []
        if isinstance(samples, np.ndarray):
            return
        self._names = [str(name).strip() for name in samples.columns]
        frame = samples.set_axis(range(len(self._names)), axis=1)
        table = Table(_FRAME, self._names, frame, np.arange(len(frame)), typed=True)
        remarks = Remarks(_FRAME)
        raw = [raw_column(table, k) for k in range(len(self._names))]
        comma = find_decimal_commas(raw, table.separator)
        read = [read_column(c, comma, table.rows, remarks) for c in raw if not c.is_empty()]
        if not read:
            raise ValueError("a DataFrame must have values, but has 0 sample(s) or gaps alone")
        remarks.warn(stacklevel=4)
        self._columns = tuple(column for one in read for column in one.columns)
        self._reading = {
            "kind": "table",
            "target": "",
            "comma": comma,
            "typed": True,
            "separator": "",
            "quotes": True,
            "columns": [column.reading for column in read],
            "unused": self._names,
        }

    @property
    def of_frames(self) -> bool:
        """Whether the first samples were a DataFrame."""
        return bool(self._names)

    def __call__(
        self, samples: pd.DataFrame | np.ndarray
    ) -> tuple[Tensor, tuple[Column, ...] | None]:
        """Return samples as a tensor; and what its cells hold, None for images.

        Columns are taken in order. A category's values that are new follow those that are known.

        Args:
            samples: as the first ones; an array of numbers in place of a DataFrame, too.

        Returns:
            Cells, float64 (N, columns), for a `TableEncoder`; or images in their dtype.

        Raises:
            ValueError: samples of another form.
        """
        form = _form(samples)
        if form[0] != self._form[0] or (form != self._form and not self._names):
            words = [f"{kind} of {shape}" for shape, kind in (self._form, form)]
            raise ValueError(f"samples must be {words[0]} as the first ones, but are {words[1]}")
        if self._names:
            import pandas as pd

            frame = pd.DataFrame(samples).set_axis(self._names, axis=1).reset_index(drop=True)
            found = read_unseen(frame, self._reading, self._columns, batch_size=len(frame))
            (batch,) = found.batches()
            return batch.inputs, found.columns
        tensor = torch.from_numpy(np.require(samples, requirements=["C", "W"]))
        if tensor.dim() != 2:
            return tensor, None
        return tensor, tuple(Column(f"x{k}", "number") for k in range(tensor.shape[1]))


def _form(samples: pd.DataFrame | np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return shape and kind of a sample; uint8 images are scaled otherwise than floating ones."""
    kind = str(samples.dtype) if isinstance(samples, np.ndarray) else "cells"
    return tuple(samples.shape[1:]), kind
