"""Two classes: ROC, precision-recall and cost curves, and a threshold chosen on validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise.metrics import rarer_class
from counterpoise.report._numbers import mean, percent
from counterpoise.report._panels import banded
from counterpoise.report._probabilities import RunProbabilities
from counterpoise.study import Study

Floats = npt.NDArray[np.float64]
_GRID = np.linspace(0, 1, 51)
_RECALLS_IN_TABLE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_ROUNDING = 1e-9
_BY_THRESHOLD = ("balanced_accuracy", "accuracy", "macro_f1", "worst_recall")
_RATIOS = (1, 5, 20)  # of the cost of a missed rare sample to that of a false alarm


def rare_class(study: Study) -> int:
    """Return the smaller one of two classes."""
    return rarer_class(study.data["train_counts"])


def chosen_by(study: Study) -> str:
    """Return the metric that a threshold is chosen by: the study's, if a threshold changes it."""
    return study.plan.metric if study.plan.metric in _BY_THRESHOLD else "balanced_accuracy"


def choose_threshold(study: Study, run: RunProbabilities) -> float:
    """Return the threshold with the best metric on validation, the middle one of equal ones."""
    rare = rare_class(study)
    y, own = run.validation_targets == rare, run.held[:, rare]
    every = np.unique(own)
    called = len(own) - np.searchsorted(np.sort(own), every)  # samples at or above
    tp = y.sum() - np.searchsorted(np.sort(own[y]), every)
    positive, negative = y.sum(), (~y).sum()
    fp, fn = called - tp, positive - tp
    tn = negative - fp
    recalls = np.stack([tp / max(positive, 1), tn / max(negative, 1)])
    scores = {
        "balanced_accuracy": recalls.mean(0),
        "worst_recall": recalls.min(0),
        "accuracy": (tp + tn) / len(y),
        "macro_f1": tp / (2 * tp + fp + fn) + tn / np.maximum(2 * tn + fp + fn, 1),
    }[chosen_by(study)]
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(every[best[len(best) // 2]])


def section(
    study: Study,
    variant: int,
    runs: Sequence[RunProbabilities],
    beside: Sequence[RunProbabilities],
    name: str,
    chosen: Sequence[float],
) -> dict[str, object]:
    """Return ROC, precision-recall and cost curves, with their numbers and the chosen point.

    Args:
        study: with two classes.
        variant: index of the one that is shown.
        runs: its runs.
        beside: those of another, drawn dashed; may be none.
        name: label of that.
        chosen: thresholds of the runs; none without a validation split.
    """
    rare = rare_class(study)
    own, other = ([_curves(m, rare) for m in some] for some in (runs, beside))
    points = np.array([_point(m, rare, t) for m, t in zip(runs, chosen, strict=False)])
    recall, rate, precision = points.mean(0).tolist() if len(points) else (0.0, 0.0, 0.0)
    charts = []
    for key, x, y, area, at in (
        ("ROC", "false positive rate", "recall", "area", (rate, recall)),
        ("precision", "recall", "precision", "average precision", (recall, precision)),
    ):
        said = f"{area} {mean([c[area] for c in own]):.3f}"
        said += f", {name} {mean([c[area] for c in other]):.3f}" if other else ""
        lines = np.array([c[key] for c in own]), np.array([c[key] for c in other])
        point = at if len(points) else None
        words = (x, f"{y} by {x}", said)
        picture = banded(variant, _GRID, lines, (0, 1), (0, 1), words, point)
        charts.append({"name": f"{y} by {x}".capitalize(), "meaning": said, "picture": picture})
    rows = [
        [percent(_GRID[k], 0)]
        + [
            percent(mean([c[key][k] for c in some]))
            for some in (own, other)
            if some
            for key in ("rate", "precision")
        ]
        for k in (int(np.abs(_GRID - r).argmin()) for r in _RECALLS_IN_TABLE)
    ]
    costs = [_cost(variant, runs, beside, rare, ratio) for ratio in _RATIOS]
    threshold = f"{np.median(chosen):.2g}" if len(points) else ""
    said = [percent(x) for x in (recall, rate, precision)]
    return {
        "charts": charts,
        "costs": costs,
        "rows": rows,
        "point": [threshold, *said] if len(points) else None,
    }


def _point(m: RunProbabilities, rare: int, t: float) -> tuple[float, float, float]:
    """Return recall, false positive rate and precision at a threshold."""
    y, called = m.targets == rare, m.p[:, rare] >= t
    right, all_called = m.weights @ (y & called), m.weights @ called
    return (
        float((y & called).sum() / max(y.sum(), 1)),
        float((~y & called).sum() / max((~y).sum(), 1)),
        float(right / all_called) if all_called else 0.0,
    )


def _curves(m: RunProbabilities, rare: int) -> dict[str, Any]:
    """Return recall, precision and false positive rate at the points of `_GRID`, and areas.

    "ROC" is the recall at a false positive rate, "precision" and "rate" those at the highest
    threshold with a recall or more.
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    y, p = m.targets == rare, m.p[:, rare]
    rate, recall, _ = roc_curve(y, p, drop_intermediate=False)
    precision, found, _ = precision_recall_curve(y, p, sample_weight=m.weights)
    last = len(found) - 1 - np.searchsorted(found[::-1], _GRID - _ROUNDING)  # they fall
    last = np.minimum(last, len(found) - 2)  # not the added end of no sample
    return {
        "ROC": np.interp(_GRID, rate, recall),
        "precision": precision[last],
        "rate": rate[np.searchsorted(recall, _GRID - _ROUNDING)],
        "area": float(auc(rate, recall)),
        "average precision": float(average_precision_score(y, p, sample_weight=m.weights)),
    }


def _cost(
    variant: int,
    runs: Sequence[RunProbabilities],
    beside: Sequence[RunProbabilities],
    rare: int,
    ratio: int,
) -> dict[str, object]:
    """Return the chart and the row of one ratio of costs."""
    at, end = 1 / (1 + ratio), min(1.0, 4 / (1 + ratio))
    grid = np.linspace(0, end, 121)
    own, other = (np.array([_costs(m, rare, ratio, grid) for m in some]) for some in (runs, beside))
    here, there = (
        [float(_costs(m, rare, ratio, np.array([at]))[0]) for m in some] for some in (runs, beside)
    )
    every, point = own.mean(0), (at, float(np.mean(here)))
    top = max(1.5, 1.1 * point[1])  # of more it is clear that it is too much
    said = f"{point[1]:.2f} at the threshold {at:.2g}"
    words = ("threshold", f"cost by threshold, {ratio} : 1", said)
    return {
        "ratio": ratio,
        "picture": banded(variant, grid, (own, other), (0, end), (0, top), words, point),
        "row": [
            f"{at:.2g}",
            f"{point[1]:.2f}",
            f"{min(here):.2f} to {max(here):.2f}",
            f"{every.min():.2f}",
            f"{grid[every.argmin()]:.2g}",
            *([f"{np.mean(there):.2f}"] if there else []),
        ],
    }


def _costs(m: RunProbabilities, rare: int, ratio: int, thresholds: Floats) -> Floats:
    """Return the mean cost at the training data's shares, over that of the better constant one."""
    y, w = m.targets == rare, m.weights
    called = m.p[:, rare, None] >= thresholds
    cost = (w * ratio * y) @ ~called + (w * ~y) @ called
    return cost / max(min(ratio * (w @ y), w @ ~y), _ROUNDING)
