"""Recall per class."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from counterpoise.metrics import Scores
from counterpoise.plots._paper import (
    Floats,
    check_classes,
    need_some,
    new_figure,
    plain_name,
    styles,
    swatches,
)


def recall_bars(scores_by_name: Mapping[str, Scores], class_names: Sequence[str]) -> Figure:
    """Draw the recall per class of all variants, and below it the differences to the first.

    Args:
        scores_by_name: scores by variant, on the same test samples; the first variant is the
            baseline.
        class_names: one name per class.

    Returns:
        The figure, classes from the smallest to the largest.

    Raises:
        ValueError: when there is no variant, or one does not have one entry per class name.

    Example:
        >>> from counterpoise.metrics import score
        >>> a, b = score([0, 1, 1], [0, 0, 1], 2), score([0, 1, 1], [0, 1, 1], 2)
        >>> len(recall_bars({"a": a, "b": b}, ["cat", "dog"]).axes)
        2
    """
    need_some("recall_bars", scores_by_name)
    for scores in scores_by_name.values():
        check_classes("recall_bars", scores.recall.shape, class_names, axes=1)
    first = next(iter(scores_by_name.values()))
    order = np.argsort(first.support, kind="stable")
    figure = new_figure(15.4, 8.4)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _bars(top, {name: 100 * s.recall[order] for name, s in scores_by_name.items()})
    changes = {name: 100 * (s.recall - first.recall)[order] for name, s in scores_by_name.items()}
    _bars(below, changes, written=True)
    _label_recall(top, below, next(iter(scores_by_name)))
    names = [f"{plain_name(class_names[k])}\nn={first.support[k]}" for k in order]
    below.set_xticks(np.arange(len(names)), names)
    top.tick_params(labelbottom=True)
    figure.legend(handles=swatches(scores_by_name), loc="outside upper center", ncols=6)
    return figure


def _bars(axes: Axes, heights: Mapping[str, Floats], written: bool = False) -> None:
    """Draw grouped bars; with `written`, leave out the first variant and write each height."""
    width = 0.8 / len(heights)
    for i, ((_, values), style) in enumerate(zip(heights.items(), styles(), strict=False)):
        if written and i == 0:
            continue
        centres = np.arange(len(values)) + (i - (len(heights) - 1) / 2) * width
        bars = axes.bar(centres, values, width, edgecolor="black", linewidth=0.6, **style)
        if written:
            axes.bar_label(bars, [_signed(v) for v in values], fontsize=8, padding=2)


def _signed(points: float) -> str:
    """Return a difference in points with one decimal, and a sign unless it is 0."""
    rounded = round(points, 1) + 0.0
    return f"{rounded:+.1f}" if rounded else "0"


def _label_recall(top: Axes, below: Axes, first: str) -> None:
    """Title both panels and set their scales."""
    top.set(ylim=(0, 103), ylabel="recall (%)")
    top.set_title("Recall per class, smallest class left (n = test images)", loc="left")
    below.set_title(f"Difference to {plain_name(first)}: above 0 is better", loc="left")
    below.set_ylabel("points")
    below.axhline(0.0, color="black", linewidth=1)
    below.margins(y=0.18)
    for axes in (top, below):
        axes.grid(axis="y", color="#dddddd")
        axes.set_axisbelow(True)
        axes.margins(x=0.01)
