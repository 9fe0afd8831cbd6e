"""The sections on recall by class size and on the data."""

from collections.abc import Collection, Sequence
from typing import Any

from counterpoise.report._matrix import most_errors
from counterpoise.report._numbers import count, mean, percent, points
from counterpoise.report._strips import across, axis, bars, dots
from counterpoise.report._thumbnails import of_each_class
from counterpoise.report._variants import Entry
from counterpoise.study import Study

_IN_FIGURE = 40  # of more classes the figure shows the largest and the smallest
_WHOLE = 100  # of more classes a table sums those that it does not show
_MOST = 50  # classes with the most errors in that table


def by_size(study: Study) -> list[int]:
    """Return the classes, the largest in training first."""
    counts = study.data["train_counts"]
    return sorted(range(len(counts)), key=lambda k: -counts[k])


def groups(study: Study) -> dict[str, list[int]]:
    """Return the many-, medium- and few-shot classes, as in `metrics.Evaluation`.

    Where all classes fall into one of these, the classes of the smallest third that are smaller
    than the largest by a factor of three form a group of their own.
    """
    counts, order = study.data["train_counts"], by_size(study)
    seen = study.records[0].run["train_counts"] if study.records else counts
    found = {
        "many-shot, over 100": [k for k in order if seen[k] > 100],
        "medium-shot, 20 to 100": [k for k in order if 20 <= seen[k] <= 100],
        "few-shot, under 20": [k for k in order if seen[k] < 20],
    }
    found = {name: classes for name, classes in found.items() if classes}
    third = order[len(order) - max(1, len(order) // 3) :]
    small = [k for k in third if 3 * counts[k] < counts[order[0]]]
    if len(found) == 1 and small:
        return {"the larger classes": order[: len(order) - len(small)], "the tail": small}
    return found


def tail(study: Study) -> set[int]:
    """Return the rare classes: the group of the smallest ones, if there are several groups."""
    found = list(groups(study).values())
    return set(found[-1]) if len(found) > 1 else set()


def recalls(study: Study, variants: Sequence[Entry]) -> dict[str, object] | None:
    """Return one row per class: its size, a chart of all variants, and their numbers."""
    ran = [v for v in variants if v.records]
    if not ran:
        return None
    found = {v.index: v.recalls() for v in ran}
    rare, order = tail(study), by_size(study)
    scale = across((0.0, 1.0), width=480)
    rows = []
    for k in _shown(order):
        seeds = {p: [x for r in every if (x := r[k]) is not None] for p, every in found.items()}
        spans = [(p, sum(v) / len(v), min(v), max(v)) for p, v in seeds.items() if v]
        rows.append(_row(study, k, rare) | {"strip": dots(scale, spans)})
    numbers = [
        row | {"cells": _cells([_mean(e, classes) for e in found.values()])}
        for row, classes in _table(study, rare, most_errors(study, _MOST))
    ]
    by_group = [
        {"name": name, "cells": _cells([_mean(e, members) for e in found.values()])}
        for name, members in (groups(study) if rare else {}).items()
    ]
    return {
        "rows": rows,
        "numbers": numbers,
        "groups": by_group,
        "axis": axis(scale, lambda x: percent(x, 0)),
        "variants": ran,
        "left_out": _left_out(len(order), len(rows)),
        "rare": len(rare),
    }


def _shown(order: Sequence[int]) -> list[int]:
    if len(order) <= _IN_FIGURE:
        return list(order)
    return [*order[: _IN_FIGURE // 4], *order[-3 * _IN_FIGURE // 4 :]]


def _left_out(classes: int, drawn: int) -> str:
    """Return a sentence on the classes that the figure leaves out."""
    between = count(classes - drawn, "class", "classes") + " between the largest and the smallest"
    if classes > _WHOLE:
        return (
            f"{between} {'is' if classes - drawn == 1 else 'are'} not drawn; the table has the "
            f"{_MOST} with the most errors, and the mean of the others."
        )
    stand = "stands" if classes - drawn == 1 else "stand"
    return f"{between} {stand} in the table only." if classes > drawn else ""


def _table(
    study: Study, rare: set[int], chosen: Collection[int]
) -> list[tuple[dict[str, Any], list[int]]]:
    """Return one row per class, the largest first; of very many, the chosen ones and their rest.

    Returns:
        Each row with the classes that it summarizes.
    """
    order, data = by_size(study), study.data
    shown = order if len(order) <= _WHOLE else [k for k in order if k in chosen]
    rows = [(_row(study, k, rare), [k]) for k in shown]
    if len(shown) < len(order):
        rest = [k for k in order if k not in chosen]
        train, test = (sum(data[key][k] for k in rest) for key in ("train_counts", "test_counts"))
        others = {"name": f"{len(rest):,} others", "train": f"{train:,}", "test": f"{test:,}"}
        rows.append((others | {"rare": False}, rest))
    return rows


def _row(study: Study, k: int, rare: set[int]) -> dict[str, Any]:
    data = study.data
    return {
        "name": data["class_names"][k],
        "train": f"{data['train_counts'][k]:,}",
        "test": f"{data['test_counts'][k]:,}",
        "rare": k in rare,
    }


def _cells(means: Sequence[float | None]) -> list[tuple[str, str]]:
    """Return each variant's value and its difference to the first variant's."""
    first = means[0]
    return [
        (percent(m), "" if not k or m is None or first is None else points(m - first))
        for k, m in enumerate(means)
    ]


def _mean(seeds: Sequence[Sequence[float | None]], classes: Sequence[int]) -> float | None:
    return mean([x for r in seeds for k in classes if (x := r[k]) is not None])


def sizes(study: Study) -> dict[str, object]:
    """Return the classes' sizes, with samples where the data are images."""
    train, test = study.data["train_counts"], study.data["test_counts"]
    order, pictures, rare = by_size(study), of_each_class(study), tail(study)
    scale = across((*train, *test), low=0)
    rows = []
    for row, classes in _table(study, rare, set(_shown(order))):
        k = classes[0]
        drawn = {
            "bars": bars(scale, (train[k], test[k])),
            "pictures": pictures[k] if pictures else [],
        }
        rows.append(row | (drawn if len(classes) == 1 else {}))
    said = f"{sum(train):,} training and {sum(test):,} test samples in "
    said += count(len(train), "class", "classes")
    said += ", divided anew by each seed" if study.resampled else ""
    if min(train):
        said += f"; the largest is {max(train) / min(train):.3g} times the smallest in training"
    if len(train) > _WHOLE:
        said += f"; the {_IN_FIGURE} largest and smallest are shown"
    return {"rows": rows, "pictures": bool(pictures), "said": said}
