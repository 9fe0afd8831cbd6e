"""Accuracy by epoch."""

from collections.abc import Mapping, Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from counterpoise.plots._paper import (
    CAPTION,
    COLOURS,
    MARKERS,
    Record,
    column,
    need_some,
    new_figure,
    plain,
    plain_name,
)


def accuracy_curves(
    histories: Mapping[str, Sequence[Record]], chance: float = 0.1, title: str = "Accuracy by epoch"
) -> Figure:
    """Draw test accuracy (solid) and training accuracy (dashed) by epoch.

    Args:
        histories: per network one record per epoch with `epoch` (0 = before training),
            `test_accuracy` and `train_accuracy` (a share; None or absent where not measured).
        chance: accuracy of guessing, drawn as a line.
        title: stands above.

    Returns:
        The figure.

    Raises:
        ValueError: when there is no network or a network has no record.

    Example:
        >>> records = [{"epoch": e, "test_accuracy": 0.1 + e / 2} for e in (0, 1)]
        >>> len(accuracy_curves({"plain": records}).axes)
        1
    """
    need_some("accuracy_curves", histories)
    figure = new_figure(10.0, 5.6)
    axes = figure.subplots()
    ends = [
        _curve(axes, name, records, colour, marker)
        for (name, records), colour, marker in zip(
            histories.items(), cycle(COLOURS), cycle(MARKERS), strict=False
        )
    ]
    _label_ends(axes, ends)
    _label_curves(axes, chance, title)
    # An axis from epoch 0 to 0 would show fractions of an epoch.
    axes.set_xlim(right=max(axes.get_xlim()[1], 1.0))
    return figure


def _curve(
    axes: Axes, name: str, records: Sequence[Record], colour: str, marker: str
) -> tuple[float, float, str, str]:
    """Draw one network's two lines; return the end of the test line, its label and colour."""
    epochs = column(records, "epoch")
    test = 100 * column(records, "test_accuracy")
    style = {"color": colour, "marker": marker}
    axes.plot(epochs, test, linewidth=2.2, **style)
    train = 100 * column(records, "train_accuracy")
    axes.plot(epochs, train, linewidth=1.4, linestyle="--", markersize=4, alpha=0.8, **style)
    return float(epochs[-1]), float(test[-1]), f"{plain_name(name)}  {test[-1]:.1f}%", colour


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names to the right of the lines, moved apart where lines end close together."""
    heights = _apart([y for _, y, _, _ in ends], gap=6.0)
    for (x, y, text, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            text,
            xy=(x, y),
            xytext=(1.03, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontweight="bold",
            color="black",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour},
            arrowprops={"arrowstyle": "-", "color": colour, "shrinkB": 4, "relpos": (0, 0.5)},
            annotation_clip=False,
        )


def _apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights (0 to 100) until neighbours are at least `gap` apart and off the edges."""
    moved = list(heights)
    upwards = sorted(range(len(moved)), key=lambda i: moved[i])
    limit = 97.0
    for i in reversed(upwards):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    limit = 3.0
    for i in upwards:
        moved[i] = max(moved[i], limit)
        limit = moved[i] + gap
    return moved


def _label_curves(axes: Axes, chance: float, title: str) -> None:
    """Draw the chance level, the legend of line styles and the axes."""
    axes.axhline(100 * chance, color="#777777", linestyle=":", linewidth=1.5, zorder=1)
    axes.annotate(
        f"guessing: {chance:.0%}",
        xy=(0.11, 100 * chance),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4),
        textcoords="offset points",
        va="top",
        **CAPTION,
    )
    kinds = [Line2D([], [], color="#444444", linewidth=2.2, label="test images")]
    kinds.append(Line2D([], [], color="#444444", linestyle="--", label="training images"))
    axes.legend(handles=kinds, loc="upper left", frameon=False)
    axes.set(ylim=(0, 100), xlabel="epoch (0 = before training)", ylabel="accuracy (%)")
    axes.set_title(plain(title), loc="left", fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
