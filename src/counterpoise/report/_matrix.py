"""Confusion matrices and their differences, as rows of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise import stats
from counterpoise.metrics import dense_confusion
from counterpoise.report._numbers import cell_points, cut, percent, points, whole_percent
from counterpoise.study import Record, Study

MOST_CLASSES = 24  # of more, those with the most errors are shown and the rest is summed
_SHOWN = 20
_LEVELS, _FULL = 9, 0.3  # number of shades; the difference with the deepest
Counts = np.ndarray
Folded = Mapping[int, Counts]  # by seed, of the classes that are shown


@dataclass(frozen=True)
class Classes:
    """Classes of a confusion matrix in order; the others are summed.

    Attributes:
        order: indices of the classes, the largest in training first.
        names: their names, followed by one for all others, if there are any.
        rest: indices of the classes that are summed.
    """

    order: tuple[int, ...]
    names: tuple[str, ...]
    rest: tuple[int, ...] = ()

    def fold(self, cells: Counts) -> Counts:
        """Return the dense matrix of sparse cells in this order, the rest summed at the end."""
        row = np.empty(len(self.order) + len(self.rest), np.int64)
        row[list(self.order)] = np.arange(len(self.order))
        row[list(self.rest)] = len(self.order)
        true, predicted, count = cells.T
        folded = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(folded, (row[true], row[predicted]), count)
        return folded


@dataclass(frozen=True)
class Cell:
    """Cell of a confusion matrix."""

    css: str
    words: tuple[str, ...]
    hint: str
    link: str = ""


@dataclass(frozen=True)
class Row:
    """Row of a confusion matrix: a true class."""

    name: str
    support: str
    cells: list[Cell]


@dataclass(frozen=True)
class Matrix:
    """Confusion matrix of a variant, by index, or the difference of another one to it."""

    variant: int
    rows: list[Row]
    other: int | None = None


def confusions(records: Sequence[Record]) -> Counts:
    """Return the dense confusion matrices of the test split, (seeds, true, predicted)."""
    tests = [r.run["test"] for r in records]
    return np.array([dense_confusion(t["confusion_cells"], len(t["support"])) for t in tests])


def cells_of(record: Record) -> Counts:
    """Return the confusion matrix of the test split as rows [true, predicted, count]."""
    return np.array(record.run["test"]["confusion_cells"], np.int64).reshape(-1, 3)


def most_errors(study: Study, most: int) -> set[int]:
    """Return the classes with the most errors, as truth or as answer, over all runs."""
    errors = np.zeros(len(study.data["class_names"]), np.int64)
    for record in study.records:
        true, predicted, count = cells_of(record).T
        wrong = true != predicted
        for classes in (true, predicted):
            np.add.at(errors, classes[wrong], count[wrong])
    return set(np.argsort(-errors, kind="stable")[:most].tolist())


def choose_classes(study: Study) -> Classes:
    """Return the classes by size; of very many, those with the most errors."""
    counts, names = study.data["train_counts"], study.data["class_names"]
    order = sorted(range(len(names)), key=lambda k: -counts[k])
    if len(names) <= MOST_CLASSES or not study.records:
        return Classes(tuple(order), tuple(names[k] for k in order))
    worst = most_errors(study, _SHOWN)
    shown = tuple(k for k in order if k in worst)
    rest = tuple(k for k in order if k not in worst)
    return Classes(shown, (*(names[k] for k in shown), f"{len(rest)} others"), rest)


def matrix(index: int, folded: Folded, classes: Classes, links: set[str]) -> Matrix:
    """Return a variant's confusion matrix, summed over its seeds."""
    n = np.sum(list(folded.values()), 0)
    support, answers = n.sum(1), n.sum(0)
    rows = []
    for i, name in enumerate(classes.names):
        cells = [
            _count_cell(int(n[i, j]), int(support[i]), int(answers[j]), int(n.max()), i == j)
            for j in range(len(n))
        ]
        cells = [_named(c, classes, i, j, links) for j, c in enumerate(cells)]
        rows.append(Row(name, f"{support[i]:,}", cells))
    return Matrix(index, rows)


def _count_cell(n: int, support: int, answers: int, most: int, diagonal: bool) -> Cell:
    recall, precision = n / max(support, 1), n / max(answers, 1)
    levels = (("c", n / max(most, 1)), ("r", recall), ("p", precision))
    css = " ".join(f"{kind}{_level(share, diagonal)}" for kind, share in levels)
    words = (f"{n:,}", whole_percent(recall), whole_percent(precision)) if n else ()
    hint = (
        f"{n:,} of {support:,} of the true class ({percent(recall)}), "
        f"of {answers:,} such answers ({percent(precision)})"
    )
    return Cell(("hit " if diagonal else "") + css, words, hint)


def _named(cell: Cell, classes: Classes, i: int, j: int, links: set[str]) -> Cell:
    """Return the cell with its classes in the hint, and a link to its samples if there are any."""
    link = ""
    if i < len(classes.order) and j < len(classes.order):
        link = f"e-{classes.order[i]}-{classes.order[j]}"
    hint = f"true {cut(classes.names[i])}, predicted {cut(classes.names[j])}: {cell.hint}"
    return Cell(cell.css, cell.words, hint, link if cell.words and link in links else "")


def _level(share: float, linear: bool) -> int:
    """Return a shade, 0 to 9; for errors, which are small, on a square-root scale."""
    return min(_LEVELS, int(np.ceil(_LEVELS * (share if linear else share**0.5))))


def difference(
    indices: tuple[int, int],
    one: Folded,
    other: Folded,
    classes: Classes,
    test_to_train: float = 0.0,
) -> Matrix | None:
    """Return the difference of the second variant's shares to the first's, on common seeds."""
    seeds = [seed for seed in one if seed in other]
    if not seeds:
        return None
    counts = [np.array([folded[seed] for seed in seeds]) for folded in (one, other)]
    before, after = map(_shares, counts)
    rows = []
    for i, name in enumerate(classes.names):
        cells = [
            _named(
                _difference_cell(before[:, i, j], after[:, i, j], i == j, test_to_train),
                classes,
                i,
                j,
                set(),
            )
            for j in range(len(classes.names))
        ]
        rows.append(Row(name, f"{counts[0][0, i].sum():,}", cells))
    return Matrix(indices[0], rows, indices[1])


def _shares(counts: Counts) -> np.ndarray:
    return counts / np.maximum(counts.sum(2, keepdims=True), 1)


def _difference_cell(
    before: np.ndarray, after: np.ndarray, diagonal: bool, test_to_train: float
) -> Cell:
    css = "hit " if diagonal else ""
    if (before == after).all():
        return Cell(css + "noise", (), "no difference")
    pair = (dict(enumerate(x.tolist())) for x in (before, after))
    found = stats.compare_paired(*pair, test_to_train=test_to_train)
    low, mean, high = found.difference.low, found.difference.estimate, found.difference.high
    noise = low is None or high is None or low <= 0 <= high
    level = min(_LEVELS, int(np.ceil(_LEVELS * (abs(mean) / _FULL) ** 0.5)))
    css += "noise" if noise else f"{'better' if (mean > 0) == diagonal else 'worse'} d{level}"
    known = "one seed" if low is None else f"95% interval {points(low)} to {points(high)}"
    hint = f"{points(mean)} points, {known}" + (", within seed noise" if noise else "")
    return Cell(css, (cell_points(mean),), hint)


def worst_pairs(variants: Sequence[Counts], num_classes: int) -> Counts:
    """Return all confusions as rows [true, predicted], by the mean share, worst first.

    Args:
        variants: the cells of each variant, of all its seeds.
        num_classes: the number of classes.
    """
    found = [_wrong_shares(counts, num_classes) for counts in variants]
    cells = np.unique(np.concatenate([flat for flat, _ in found]))
    total = np.zeros(len(cells))
    for flat, shares in found:
        total[np.searchsorted(cells, flat)] += shares
    ranked = cells[np.argsort(-(total / len(found)), kind="stable")]
    return np.stack(np.divmod(ranked, num_classes), axis=1)


def _wrong_shares(cells: Counts, num_classes: int) -> tuple[Counts, np.ndarray]:
    """Return the errors as indices true * num_classes + predicted, and their shares."""
    true, predicted, count = cells.T
    support = np.zeros(num_classes, np.int64)
    np.add.at(support, true, count)
    wrong = true != predicted
    flat, inverse = np.unique((true * num_classes + predicted)[wrong], return_inverse=True)
    total = np.zeros(len(flat), np.int64)
    np.add.at(total, inverse, count[wrong])
    return flat, total / support[flat // num_classes]


def share_of(cells: Counts, true: int, predicted: int) -> float:
    """Return the share of a true class with this prediction."""
    row = cells[cells[:, 0] == true]
    return float(row[row[:, 1] == predicted, 2].sum() / max(row[:, 2].sum(), 1))
