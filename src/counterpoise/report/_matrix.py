"""Confusion matrices and their differences, as the rows of tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise import stats
from counterpoise.report._numbers import cell_points, cut, percent, points, whole_percent
from counterpoise.report._variants import Entry
from counterpoise.study import Record, Study

MOST_CLASSES = 24  # of more, those with the most errors are shown and the rest is summed
_SHOWN = 20
_LEVELS, _FULL = 9, 0.3  # shades; the difference that gets the deepest
Counts = np.ndarray


@dataclass(frozen=True)
class Classes:
    """Which classes are shown, in which order.

    Attributes:
        order: their indices, the largest in training first.
        names: their names; behind them one for all others, if there are any.
        rest: the indices of those that are summed.
    """

    order: tuple[int, ...]
    names: tuple[str, ...]
    rest: tuple[int, ...] = ()

    def fold(self, confusion: Counts) -> Counts:
        """Return the matrix in this order, with what is not shown summed at the end."""
        for axis in (0, 1):
            shown = np.take(confusion, self.order, axis)
            if self.rest:
                others = np.take(confusion, self.rest, axis).sum(axis, keepdims=True)
                shown = np.concatenate([shown, others], axis)
            confusion = shown
        return confusion


@dataclass(frozen=True)
class Cell:
    """What one cell shows."""

    css: str
    words: tuple[str, ...]
    hint: str
    link: str = ""


@dataclass(frozen=True)
class Row:
    """One true class."""

    name: str
    support: str
    cells: list[Cell]


@dataclass(frozen=True)
class Matrix:
    """One table: of the variant in that place, or of the difference of another one to it."""

    variant: int
    rows: list[Row]
    other: int | None = None


def confusions(records: Sequence[Record]) -> Counts:
    """Return the test part's confusion matrices (seeds, true, predicted)."""
    return np.array([r.run["test"]["confusion"] for r in records], dtype=np.int64)


def choose_classes(study: Study) -> Classes:
    """Order the classes by size; of very many, take those with the most errors."""
    counts, names = study.data["train_counts"], study.data["class_names"]
    order = sorted(range(len(names)), key=lambda k: -counts[k])
    if len(names) <= MOST_CLASSES or not study.records:
        return Classes(tuple(order), tuple(names[k] for k in order))
    total = confusions(study.records).sum(0)
    errors = total.sum(0) + total.sum(1) - 2 * total.diagonal()
    worst = set(np.argsort(-errors, kind="stable")[:_SHOWN].tolist())
    shown = tuple(k for k in order if k in worst)
    rest = tuple(k for k in order if k not in worst)
    return Classes(shown, (*(names[k] for k in shown), f"{len(rest)} others"), rest)


def matrix(place: int, records: Sequence[Record], classes: Classes, links: set[str]) -> Matrix:
    """Return a variant's confusion matrix, summed over its seeds."""
    n = classes.fold(confusions(records).sum(0))
    support, answers = n.sum(1), n.sum(0)
    rows = []
    for i, name in enumerate(classes.names):
        cells = [
            _count_cell(int(n[i, j]), int(support[i]), int(answers[j]), int(n.max()), i == j)
            for j in range(len(n))
        ]
        cells = [_named(c, classes, i, j, links) for j, c in enumerate(cells)]
        rows.append(Row(name, f"{support[i]:,}", cells))
    return Matrix(place, rows)


def _count_cell(n: int, support: int, answers: int, most: int, hit: bool) -> Cell:
    recall, precision = n / max(support, 1), n / max(answers, 1)
    levels = (("c", n / max(most, 1)), ("r", recall), ("p", precision))
    css = " ".join(f"{kind}{_level(share, hit)}" for kind, share in levels)
    words = (f"{n:,}", whole_percent(recall), whole_percent(precision)) if n else ()
    hint = (
        f"{n:,} of {support:,} of the true class ({percent(recall)}), "
        f"of {answers:,} such answers ({percent(precision)})"
    )
    return Cell(("hit " if hit else "") + css, words, hint)


def _named(cell: Cell, classes: Classes, i: int, j: int, links: set[str]) -> Cell:
    """Say in the hint which classes, and link to the samples if some are shown."""
    link = ""
    if i < len(classes.order) and j < len(classes.order):
        link = f"e-{classes.order[i]}-{classes.order[j]}"
    hint = f"true {cut(classes.names[i])}, predicted {cut(classes.names[j])}: {cell.hint}"
    return Cell(cell.css, cell.words, hint, link if cell.words and link in links else "")


def _level(share: float, linear: bool) -> int:
    """Return a shade, 0 to 9; errors, being small, are told apart by their root."""
    return min(_LEVELS, int(np.ceil(_LEVELS * (share if linear else share**0.5))))


def difference(one: Entry, other: Entry, classes: Classes) -> Matrix | None:
    """Return how the second variant's shares differ from the first's, by the seeds both have."""
    seeds = {r.seed for r in one.records} & {r.seed for r in other.records}
    if not seeds:
        return None
    counts = [
        np.array([classes.fold(m) for m in confusions([r for r in v.records if r.seed in seeds])])
        for v in (one, other)
    ]
    before, after = map(_shares, counts)
    rows = []
    for i, name in enumerate(classes.names):
        cells = [
            _named(_difference_cell(before[:, i, j], after[:, i, j], i == j), classes, i, j, set())
            for j in range(len(classes.names))
        ]
        rows.append(Row(name, f"{counts[0][0, i].sum():,}", cells))
    return Matrix(one.place, rows, other.place)


def _shares(counts: Counts) -> np.ndarray:
    return counts / np.maximum(counts.sum(2, keepdims=True), 1)


def _difference_cell(before: np.ndarray, after: np.ndarray, hit: bool) -> Cell:
    css = "hit " if hit else ""
    if (before == after).all():
        return Cell(css + "noise", (), "no difference")
    found = stats.compare_paired(*(dict(enumerate(x.tolist())) for x in (before, after)))
    low, mean, high = found.difference.low, found.difference.estimate, found.difference.high
    noise = low is None or high is None or low <= 0 <= high
    level = min(_LEVELS, int(np.ceil(_LEVELS * (abs(mean) / _FULL) ** 0.5)))
    css += "noise" if noise else f"{'better' if (mean > 0) == hit else 'worse'} d{level}"
    known = "one seed" if low is None else f"95% interval {points(low)} to {points(high)}"
    hint = f"{points(mean)} points, {known}" + (", within seed noise" if noise else "")
    return Cell(css, (cell_points(mean),), hint)


def worst_pairs(total: Counts, most: int = 8) -> list[tuple[int, int]]:
    """Return the confusions with the largest mean share of the true class, worst first.

    Args:
        total: the matrices (variants, true, predicted).
        most: how many.
    """
    shares = _shares(total).mean(0)
    np.fill_diagonal(shares, 0.0)
    ranked = np.argsort(-shares, axis=None, kind="stable")[:most]
    places = [tuple(map(int, np.unravel_index(k, shares.shape))) for k in ranked]
    return [(i, j) for i, j in places if shares[i, j] > 0]
