"""A data set in figures, before any study of it: sizes, classes, columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise.study._prepared import gather, with_test
from counterpoise.study.cautions import half_width, small_classes
from counterpoise.study.defaults import fill
from counterpoise.study.plan import Plan

if TYPE_CHECKING:
    from counterpoise.data import Column, Splits

_FREQUENT = 5  # values of a category that are named


@dataclass(frozen=True)
class ColumnFacts:
    """A column of a table, over its training split.

    Attributes:
        name: of the column.
        kind: "number" or "category".
        gaps: cells without a value.
        low: the smallest number; None of a category, or where all cells are gaps.
        middle: the median.
        high: the largest.
        values: how many different ones there are.
        frequent: the most frequent values of a category, with their numbers of cells.
    """

    name: str
    kind: str
    gaps: int
    low: float | None = None
    middle: float | None = None
    high: float | None = None
    values: int = 0
    frequent: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Overview:
    """A data set in figures.

    Attributes:
        name: of the data.
        source: where they come from.
        kind: "images", "table" or "arrays".
        shape: of a sample.
        notes: how they were read.
        left_out: what was not read, and why.
        class_names: of the classes.
        counts: samples of each class, by split.
        groups: how many groups each split has; empty without any.
        recall_within: of each class, half the 95% Wilson interval of a recall of one half on its
            test samples: how well its recall can be known; None without a test sample.
        columns: of a table; None for other data.
        cautions: what may be wrong with them, and classes too small to be judged, in sentences.
    """

    name: str
    source: str
    kind: str
    shape: tuple[int, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    class_names: tuple[str, ...]
    counts: Mapping[str, Sequence[int]]
    groups: Mapping[str, int]
    recall_within: tuple[float | None, ...]
    columns: tuple[ColumnFacts, ...] | None
    cautions: tuple[str, ...]

    @property
    def ratio(self) -> float | None:
        """The size of the largest class of the training split, over that of the smallest."""
        there = [n for n in self.counts["train"] if n]
        return max(there) / min(there) if there else None

    @property
    def order(self) -> list[int]:
        """The classes, the largest in training first."""
        counts = self.counts["train"]
        return sorted(range(len(counts)), key=lambda k: -counts[k])

    def lines(self) -> list[str]:
        """Return all but classes and columns in words, for people."""
        sizes = ", ".join(f"{sum(n):,} in {split}" for split, n in self.counts.items())
        what = f"{self.kind}, each of shape {' x '.join(map(str, self.shape))}"
        if self.columns is not None:
            kinds = [column.kind for column in self.columns]
            numbers, categories = kinds.count("number"), kinds.count("category")
            what = f"table of {len(kinds):,} columns: {numbers:,} of numbers"
            what += f", {categories:,} of categories" if categories else ""
        groups = ", ".join(f"{n:,} in {split}" for split, n in self.groups.items())
        number = len(self.class_names)
        ratio = f"; the largest is {self.ratio:.3g} times the smallest" if self.ratio else ""
        return [
            f"{what[0].upper()}{what[1:]}",
            f"Samples: {sizes}",
            *([f"Groups, none of which is in two splits: {groups}"] if groups else ()),
            f"{number:,} classes{ratio}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "ratio": self.ratio}


def of_plan(plan: Plan) -> "tuple[Overview, Splits]":
    """Read the data of a plan as a study would, with the test split that it would decide on.

    Raises:
        ValueError: data that cannot be read; the message says why.
    """
    data, left_out = gather(plan)
    plan, defaults = fill(plan, data)
    data = with_test(plan, data)
    tested = (f"test = {d.words}: {d.reason}" for d in defaults if d.setting == "data.test")
    data = replace(data, notes=(*data.notes, *tested))
    return overview(data, left_out, plan), data


def overview(data: "Splits", left_out: Sequence[str] = (), plan: Plan | None = None) -> Overview:
    """Count and measure a data set.

    Args:
        data: its splits.
        left_out: what was said of what could not be read.
        plan: of a study of them, if there is one.

    Example:
        >>> from counterpoise.data import load
        >>> found = overview(load("digits"))
        >>> found.kind, found.shape, sum(found.counts["train"])
        ('images', (1, 8, 8), 1198)
    """
    from counterpoise.data import count_classes

    shape = tuple(data.train.inputs.shape[1:])
    splits = data.named()
    counts = {k: count_classes(s.targets, data.num_classes).tolist() for k, s in splits.items()}
    test = counts.get("test", [0] * data.num_classes)
    return Overview(
        name=data.name,
        source=data.source,
        kind="table" if len(shape) == 1 else "images" if len(shape) == 3 else "arrays",
        shape=shape,
        notes=tuple(data.notes),
        left_out=tuple(left_out),
        class_names=data.class_names,
        counts=counts,
        groups={k: len(s.groups.unique()) for k, s in splits.items() if s.groups is not None},
        recall_within=tuple(half_width(n) if n else None for n in test),
        columns=tuple(_columns(data)) if len(shape) == 1 and not _is_unstored(data) else None,
        cautions=(*data.cautions, *small_classes(data, plan)),
    )


def _is_unstored(data: "Splits") -> bool:
    """Return whether samples are read anew each time, and not read through for a summary."""
    from counterpoise.data import Rows

    return isinstance(data.train.inputs, Rows) and data.train.inputs.unstored is not None


def _columns(data: "Splits") -> Iterator[ColumnFacts]:
    inputs = data.train.inputs
    known: Sequence[Column | None] = data.columns or [None] * inputs.shape[1]
    cells = inputs[:].numpy()
    for k, column in enumerate(known):
        found = cells[:, k].astype(np.float64)
        there = found[~np.isnan(found)]
        gaps = len(found) - len(there)
        if column is not None and column.kind == "category":
            numbers = np.bincount(there.astype(np.int64), minlength=len(column.values))
            most = np.argsort(-numbers, kind="stable")[:_FREQUENT]
            frequent = tuple((column.values[i], int(numbers[i])) for i in most if numbers[i])
            values = int((numbers > 0).sum())
            yield ColumnFacts(column.name, "category", gaps, values=values, frequent=frequent)
            continue
        low, middle, high = np.quantile(there, (0, 0.5, 1)).tolist() if len(there) else (None,) * 3
        name = column.name if column is not None else f"column {k + 1}"
        yield ColumnFacts(name, "number", gaps, low, middle, high, len(np.unique(there)))
