"""Descriptions of a table's columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A column of a table's cells, in which every cell is a float64.

    Attributes:
        name: of the column.
        kind: "number"; or "category", whose cells are positions in `values`. A gap is NaN.
        values: the texts of a category, in order.
    """

    name: str
    kind: Literal["number", "category"]
    values: tuple[str, ...] = ()
