"""Recall by class size."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from counterpoise.plots._paper import (
    axes_or_new,
    check_classes,
    legend_name,
    need_some,
    plain_name,
    variant_style,
)


def recall_by_class_size(
    recalls: Mapping[str, npt.ArrayLike],
    train_counts: Sequence[int],
    class_names: Sequence[str],
    *,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the recall of every class and variant, the largest class in training on the left.

    Args:
        recalls: by variant, (seeds, C) or (C); a marker is the mean over the seeds, and a line
            spans them from the lowest to the highest. NaN where a class has no test samples.
        train_counts: training samples of each class.
        class_names: one name per class.
        ax: where to draw; None for a new figure, `axes.figure`.

    Returns:
        The axes, in percent.

    Raises:
        ValueError: when there is no variant, or numbers do not have one entry per class name.

    Example:
        >>> axes = recall_by_class_size({"focal": [0.9, 0.5]}, [10, 90], ["cat", "dog"])
        >>> [label.get_text() for label in axes.get_xticklabels()]
        ['dog\n90', 'cat\n10']
    """
    need_some("recall_by_class_size", recalls)
    check_classes("recall_by_class_size", np.shape(train_counts), class_names, axes=1)
    order = np.argsort(-np.asarray(train_counts), kind="stable")
    axes = axes_or_new(ax, 2.4 + 0.8 * len(order), 4.6)
    step = 0.7 / len(recalls)
    for i, (name, values) in enumerate(recalls.items()):
        seeds = np.atleast_2d(np.asarray(values, np.float64))
        check_classes("recall_by_class_size", seeds.shape[1:], class_names, axes=1)
        seeds = 100 * seeds[:, order]
        x = np.arange(len(order)) + (i - (len(recalls) - 1) / 2) * step
        style = variant_style(i)
        axes.vlines(x, seeds.min(0), seeds.max(0), color=style["color"], alpha=0.5)
        axes.plot(x, seeds.mean(0), linestyle="", markersize=5, label=legend_name(name), **style)
    names = [f"{plain_name(class_names[k])}\n{train_counts[k]:,}" for k in order]
    axes.set_xticks(range(len(order)), names)
    axes.set(ylim=(0, 103), ylabel="recall (%)", xlabel="class, training samples")
    axes.grid(axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best", fontsize=9)
    return axes
