"""A difference between two losses on the same test images, and its noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from counterpoise.findings._finding import Evidence, percent, shown

if TYPE_CHECKING:
    from counterpoise.metrics import Scores

Floats = npt.NDArray[np.float64]

FEWEST_IMAGES = 10  # below it, a standard error of a share is no guide
RESAMPLES = 400
ALIKE = 1.25  # gradient norms within this factor count as alike


def check_pair(baseline: Scores, other: Scores, class_names: Sequence[str] | None) -> None:
    """Refuse scores that cannot be compared."""
    if not np.array_equal(baseline.support, other.support):
        raise ValueError(
            f"a comparison needs scores on the same test images, but the images per class are "
            f"{baseline.support.tolist()} and {other.support.tolist()}; score both on one set"
        )
    if class_names is not None and len(class_names) != len(baseline.support):
        raise ValueError(
            f"compare_losses needs one name per class, but got {len(class_names)} names for "
            f"{len(baseline.support)} classes; pass the names of all classes"
        )


def variances(scores: Scores) -> Floats:
    """Return p (1 - p) / n of each class's recall; 0 for classes without images."""
    return scores.recall * (1.0 - scores.recall) / np.maximum(scores.support, 1)


def _accuracy_variance(scores: Scores) -> float:
    return scores.accuracy * (1.0 - scores.accuracy) / int(scores.support.sum())


def _balanced_variance(scores: Scores) -> float:
    asked = scores.support > 0
    return float(variances(scores)[asked].sum() / asked.sum() ** 2)


def _macro_f1_variance(scores: Scores) -> float:
    """Return the variance of macro-F1 over confusion matrices redrawn row by row."""
    generator = np.random.default_rng(0)  # fixed: the same numbers give the same sentence
    classes = len(scores.support)
    right, answers = np.zeros((2, RESAMPLES, classes), np.int64)
    for true, row in _rows(scores):
        # With the last class, which takes what is left, whether or not its cell is 0.
        columns = np.union1d(row[:, 1], [classes - 1])
        shares = np.zeros(len(columns))
        shares[np.searchsorted(columns, row[:, 1])] = row[:, 2] / scores.support[true]
        drawn = generator.multinomial(scores.support[true], shares, size=RESAMPLES)
        answers[:, columns] += drawn
        right[:, true] = drawn[:, columns == true].sum(1)
    sizes = answers + scores.support
    f1 = 2.0 * right / np.maximum(sizes, 1)
    return float((f1.sum(axis=1) / (sizes > 0).sum(axis=1)).var())


def _rows(scores: Scores) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield each class that occurs and its cells of the confusion matrix."""
    cells = scores.confusion_cells
    true, starts = np.unique(cells[:, 0], return_index=True)
    yield from zip(true.tolist(), np.split(cells, starts[1:]), strict=True)


@dataclass(frozen=True)
class Measure:
    """A summary of scores and the variance of it that comes from the finite test set."""

    code: str
    words: str
    value: Callable[[Scores], float]
    variance: Callable[[Scores], float]


MEASURES = (
    Measure("CP301", "accuracy", lambda s: s.accuracy, _accuracy_variance),
    Measure("CP302", "balanced accuracy", lambda s: s.balanced_accuracy, _balanced_variance),
    Measure("CP303", "macro-F1", lambda s: s.macro_f1, _macro_f1_variance),
)


@dataclass(frozen=True)
class Change:
    """A difference, and what to make of it.

    `direction` is 1 or -1 where the difference exceeds the noise, and 0 otherwise.
    """

    before: float
    after: float
    noise: float
    images: int

    @property
    def points(self) -> float:
        return percent(self.after - self.before)

    @property
    def direction(self) -> int:
        difference = self.after - self.before
        # What rounds to no difference is told as none: a text must not claim what it shows as 0.0.
        clear = self.points != 0 and self.images >= FEWEST_IMAGES
        return int(np.sign(difference)) if clear and abs(difference) >= self.noise else 0

    def evidence(self) -> Evidence:
        return {
            "before": percent(self.before),
            "after": percent(self.after),
            "points": self.points,
            "noise": percent(self.noise),
            "images": self.images,
        }


def change_of(measure: Measure, baseline: Scores, other: Scores) -> Change:
    noise = 2.0 * math.sqrt(measure.variance(baseline) + measure.variance(other))
    images = int(baseline.support.sum())
    return Change(measure.value(baseline), measure.value(other), noise, images)


def times(ratio: float) -> tuple[str, str]:
    """Word a ratio of gradient norms, reference / own; the factor is empty where they are alike."""
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(
            f"a ratio of gradient norms must be finite and above 0, but it is {ratio}; measure the "
            f"gradient norms at the first step, before it is taken"
        )
    if ratio > ALIKE:
        return "{factor} times smaller than", shown(ratio)
    if ratio < 1.0 / ALIKE:
        return "{factor} times as large as", shown(1.0 / ratio)
    return "about as large as", ""
