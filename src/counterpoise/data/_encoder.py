"""Cells of a table as the numbers that a net is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from counterpoise.data._columns import Column
from counterpoise.data._rows import Rows
from counterpoise.data.splits import Splits

MOST_VALUES = 50  # of a category that get a column each
_FEWEST = 2  # training samples of such a value
_FAR = 1e6  # standard deviations; the square of it still has its digits in float32


@dataclass(frozen=True)
class EncodedColumn:
    """A column of a table, and what the training split says about it.

    Attributes:
        name: the column's.
        kind: "number" or "category".
        gaps: whether the training split has gaps, so that a feature marks them.
        mean: of a number.
        std: of a number, biased; 0 for one that is constant.
        values: of a category, those that are a feature each.
        other: of a category, whether there are rarer ones, which share a feature.
        empty: whether the training split has no value, so that it becomes no feature.
    """

    name: str
    kind: Literal["number", "category"]
    gaps: bool
    mean: float = 0.0
    std: float = 0.0
    values: tuple[str, ...] = ()
    other: bool = False
    empty: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that it becomes."""
        if self.empty:
            return ()
        own = [self.name] if self.kind == "number" else [f"{self.name}={v}" for v in self.values]
        marks = (f"{self.name}: other",) * self.other + (f"{self.name}: missing",) * self.gaps
        return (*own, *marks)


class TableEncoder:
    r"""Features of a table's cells, fitted on a training split alone.

    A number becomes :math:`(x - \mathrm{mean}) / \mathrm{std}`, computed in float64, and a gap the
    mean; beyond a million of these it is cut, so that 1e60 in a test row is finite in float32; a
    category becomes a 0 or 1 for each of its values in the training split, of which the 50
    most frequent that occur twice or more have a feature each, and the rest, with values that come
    later, share one. Where the training split has gaps in a column, a further feature marks them;
    where it has nothing else, the column becomes no feature.

    scikit-learn's ColumnTransformer of StandardScaler and OneHotEncoder, and skrub's
    TableVectorizer, do the same. Neither can be kept without pickle so that every version reads it;
    this is a few numbers in JSON.

    Args:
        columns: those of the table, from `fit` or `from_json`.
        given: what the cells hold that it was fitted on; None where that is not known.

    Example:
        >>> import torch
        >>> from counterpoise.data import Column, TableEncoder
        >>> columns = Column("age", "number"), Column("pet", "category", ("cat", "dog"))
        >>> cells = torch.tensor([[1, 0], [3, 1], [float("nan"), 1], [2, 0]], dtype=torch.float64)
        >>> encoder = TableEncoder.fit(cells, columns)
        >>> encoder.features
        ('age', 'age: missing', 'pet=cat', 'pet=dog')
        >>> encoder(cells[2:])
        tensor([[0., 1., 0., 1.],
                [0., 0., 1., 0.]])
    """

    def __init__(
        self, columns: Sequence[EncodedColumn], given: Sequence[Column] | None = None
    ) -> None:
        self.columns, self.given = tuple(columns), given
        self.features = tuple(name for column in self.columns for name in column.features)

    @classmethod
    def fit(cls, cells: Tensor | Rows, columns: Sequence[Column]) -> TableEncoder:
        """Learn scales and values from the cells of a training split.

        Args:
            cells: float64 (N, columns), NaN for a gap.
            columns: what they hold.

        Raises:
            ValueError: the numbers of columns differ, or all cells are gaps.
        """
        table = np.asarray(cells, np.float64)
        if table.ndim != 2 or table.shape[1] != len(columns):
            raise ValueError(
                f"cells must be of {len(columns)} columns, got {tuple(table.shape)}; give those of "
                "the same table"
            )
        fits = {"number": _fit_number, "category": _fit_category}
        found = [fits[c.kind](c, cell) for c, cell in zip(columns, table.T, strict=True)]
        if found and all(column.empty for column in found):
            raise ValueError(
                f"cells must have a value in the training split, but all of {columns[0].name!r}"
                f"{' and the other columns' if len(found) > 1 else ''} are gaps there; train on "
                "other rows"
            )
        return cls(found, tuple(columns))

    def __call__(self, cells: Tensor | Rows, columns: Sequence[Column] | None = None) -> Tensor:
        """Return features of cells.

        Args:
            cells: float64 (N, columns).
            columns: what they hold: the same columns, a category perhaps with other values; None
                for those that it was fitted on.

        Returns:
            float32 (N, F), F being the number of `features`.

        Raises:
            ValueError: they are others, or `columns` is missing after `from_json`.
        """
        columns = self.given if columns is None else columns
        if columns is None:
            raise ValueError("columns must be given to an encoder that was read from JSON")
        table = np.asarray(cells, np.float64)
        names, wanted = [c.name for c in columns], [c.name for c in self.columns]
        if names != wanted or table.ndim != 2 or table.shape[1] != len(names):
            raise ValueError(
                f"cells must be of the columns {wanted[:3]} and so on, {len(wanted)} in all, got "
                f"{names[:3]} and {tuple(table.shape)}; give those of the same table"
            )
        found = np.zeros((len(table), len(self.features)), np.float32)
        begin = 0
        for column, now, cell in zip(self.columns, columns, table.T, strict=True):
            end = begin + len(column.features)
            _fill(found[:, begin:end], column, now, cell)
            begin = end
        return torch.from_numpy(found)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data, ready for `json.dumps`."""
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TableEncoder:
        """Return the encoder that `to_json` wrote.

        Raises:
            ValueError: it did not write that.
        """
        try:
            return cls([_column(row) for row in content["columns"]])
        except (LookupError, TypeError) as error:
            raise ValueError(
                f"features must be as TableEncoder writes them, but: {error}"
            ) from error


def encoded(data: Splits) -> Splits:
    """Return splits in numbers: those of a table by an encoder that is fitted on their train.

    Args:
        data: of any kind; inputs that are numbers already stay as they are.

    Returns:
        The same splits, `columns` None.

    Example:
        >>> from counterpoise.data import digits, encoded
        >>> data = digits()
        >>> encoded(data) is data
        True
    """
    if data.columns is None:
        return data
    encode = TableEncoder.fit(data.train.inputs, data.columns)
    splits = {k: replace(s, inputs=encode(s.inputs)) for k, s in data.named().items()}
    train, test, validation = splits["train"], splits["test"], splits.get("validation")
    return replace(data, columns=None, train=train, test=test, validation=validation)


def _fit_number(column: Column, cells: np.ndarray) -> EncodedColumn:
    known = cells[~np.isnan(cells)]
    gaps = len(known) < len(cells)
    if not len(known):
        return EncodedColumn(column.name, "number", gaps, empty=True)
    # Not std == 0: the rounded mean of equal numbers can differ from them.
    std = 0.0 if known.min() == known.max() else float(known.std())
    return EncodedColumn(column.name, "number", gaps, float(known.mean()), std)


def _fit_category(column: Column, cells: np.ndarray) -> EncodedColumn:
    known = cells[~np.isnan(cells)].astype(np.int64)
    counts = np.bincount(known, minlength=len(column.values))
    by_size = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    kept = np.sort(by_size[counts[by_size] >= _FEWEST])
    return EncodedColumn(
        column.name,
        "category",
        len(known) < len(cells),
        values=tuple(column.values[k] for k in kept),
        other=len(kept) < int((counts > 0).sum()),
        empty=not len(known),
    )


def _fill(found: np.ndarray, column: EncodedColumn, now: Column, cells: np.ndarray) -> None:
    """Write the features of a column."""
    if column.empty:
        return
    gap = np.isnan(cells)
    if column.gaps:
        found[gap, -1] = 1
    if column.kind == "number":
        if column.std:
            with np.errstate(over="ignore"):
                scaled = np.clip((cells - column.mean) / column.std, -_FAR, _FAR)
            found[:, 0] = np.where(gap, 0, scaled)
        return
    place = {value: k for k, value in enumerate(column.values)}
    other = len(column.values) if column.other else -1
    places = np.array([place.get(value, other) for value in now.values] or [-1])
    at = np.where(gap, -1, places[np.where(gap, 0, cells).astype(np.int64)])
    rows = np.flatnonzero(at >= 0)
    found[rows, at[rows]] = 1


def _column(row: Mapping[str, Any]) -> EncodedColumn:
    known: dict[str, Any] = {**row, "values": tuple(row["values"])}
    column = EncodedColumn(**known)
    fits = (
        isinstance(column.name, str)
        and column.kind in ("number", "category")
        and all(isinstance(value, str) for value in column.values)
        and all(isinstance(flag, bool) for flag in (column.gaps, column.other, column.empty))
        and all(isinstance(x, int | float) for x in (column.mean, column.std))
    )
    if not fits or not all(map(np.isfinite, (column.mean, column.std))):
        raise ValueError(f"features must be as TableEncoder writes them, but one is {dict(row)}")
    return column
