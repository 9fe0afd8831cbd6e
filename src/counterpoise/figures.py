"""The pictures of the study, drawn from plain numbers.

Every function returns a matplotlib `Figure` of its own and touches no global state, so pictures can
be drawn in any thread and without a display. Colours are those of Okabe and Ito, which people with
any common colour blindness can tell apart; hatches and markers tell the same without colour.
"""

import math
import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from counterpoise.metrics import Scores

__all__ = [
    "accuracy_curves",
    "confusion_pair",
    "draw_confusion",
    "layer_flow",
    "readable_on",
    "recall_bars",
    "save",
]

Floats = npt.NDArray[np.float64]
Record = Mapping[str, Any]

DPI = 130
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")
MARKERS = ("o", "s", "^", "D", "v", "P")
CAPTION = {"fontsize": 9, "color": "#444444"}

FLOW_PANELS = {
    "visible_share": (
        "What the activation still says about the image",
        "variance over images / second moment",
        "1: all of the activation differs from image to image.\n"
        "Near 0: every image gives nearly the same activation.",
    ),
    "grad_norm": (
        "How strongly the loss pulls at the weights",
        "gradient norm of the weight, first step",
        "Level: all layers are pulled alike.\n"
        "Rising to the right: the first layers get less gradient.",
    ),
    "activation_rms": (
        "Size of the activation",
        "root mean square",
        "Level: sizes are kept.\nA slope: each layer shrinks or grows them.",
    ),
}


def readable_on(background: Sequence[float] | str) -> str:
    """Choose the text colour, black or white, with the higher contrast to a background.

    Contrast is WCAG's (L1 + 0.05) / (L2 + 0.05) with the relative luminances L1 > L2; the better of
    the two is never below 4.58.

    Args:
        background: any matplotlib colour; transparency is ignored.

    Returns:
        "black" or "white".

    Example:
        >>> readable_on("navy"), readable_on("#ffffe0")
        ('white', 'black')
    """
    channels = np.array(to_rgb(background))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def draw_confusion(
    axes: Axes,
    confusion: npt.NDArray[np.int64],
    class_names: Sequence[str],
    title: str,
    cmap: str = "Blues",
) -> AxesImage:
    """Draw one confusion matrix: shade = share of the true class, text = count and that share.

    Args:
        axes: where to draw.
        confusion: counts [true, predicted].
        class_names: one name per class.
        title: stands above the matrix.
        cmap: name of a matplotlib colour map.

    Returns:
        The image, for a colour bar. Its scale is always 0 to 1.

    Raises:
        ValueError: when the matrix is not square with one row per class name.

    Example:
        >>> axes = Figure().subplots()
        >>> draw_confusion(axes, np.array([[9, 1], [2, 8]]), ["cat", "dog"], "all").get_clim()
        (0.0, 1.0)
    """
    counts = np.asarray(confusion)
    _check_classes("draw_confusion", counts.shape, class_names, axes=2)
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support, 1)[:, None]
    image = axes.imshow(shares, cmap=cmap, vmin=0.0, vmax=1.0)
    for true, predicted in np.argwhere(counts > 0):
        _write_cell(axes, image, int(true), int(predicted), counts, shares)
    _label_matrix(axes, class_names, support)
    axes.set_title(title, fontsize=13, fontweight="bold", pad=10)
    return image


def _write_cell(
    axes: Axes, image: AxesImage, true: int, predicted: int, counts: np.ndarray, shares: Floats
) -> None:
    """Write the count in the middle of a cell and, smaller, the share below it."""
    share = float(shares[true, predicted])
    colour = readable_on(image.cmap(image.norm(share)))
    place = {"ha": "center", "color": colour}
    count = axes.text(predicted, true - 0.08, f"{counts[true, predicted]}", va="center", **place)
    count.set(fontsize=10, gid="count")
    percent = axes.text(predicted, true + 0.27, _percent(share), va="center", **place)
    percent.set(fontsize=7.5, gid="percent")


def _percent(share: float) -> str:
    """Round to whole percent, without calling a trace nothing or nearly all all."""
    if 0.0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1.0 else f"{share:.0%}"


def _label_matrix(axes: Axes, class_names: Sequence[str], support: np.ndarray) -> None:
    """Name rows and columns, say what the shade means, and separate the cells."""
    places = np.arange(len(class_names))
    rows = [f"{name} (n={n})" for name, n in zip(class_names, support, strict=True)]
    axes.set_yticks(places, rows)
    axes.set_xticks(places, class_names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("true", fontsize=11)
    axes.set_xlabel("predicted\nshade and % = share of the true class", fontsize=11)
    axes.set_xticks(places[:-1] + 0.5, minor=True)
    axes.set_yticks(places[:-1] + 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def confusion_pair(
    left: Scores, right: Scores, class_names: Sequence[str], titles: Sequence[str]
) -> Figure:
    """Draw two confusion matrices side by side on one scale.

    Args:
        left: drawn left.
        right: drawn right.
        class_names: one name per class.
        titles: two titles; accuracy and balanced accuracy are written below each.

    Returns:
        The figure, about 2000 pixels wide when saved with `save`.

    Raises:
        ValueError: when there are not two titles or not one name per class.

    Example:
        >>> from counterpoise.metrics import score
        >>> scores = score([0, 1], [0, 1], 2)
        >>> len(confusion_pair(scores, scores, ["cat", "dog"], ["a", "b"]).axes)
        3
    """
    if len(titles) != 2:
        raise ValueError(f"confusion_pair needs 2 titles, but got {len(titles)}; pass one per side")
    figure = _new_figure(16.2, 7.9)
    panels = figure.subplots(1, 2)
    for axes, scores, title in zip(panels, (left, right), titles, strict=True):
        means = f"accuracy {scores.accuracy:.1%}, balanced {scores.balanced_accuracy:.1%}"
        image = draw_confusion(axes, scores.confusion, class_names, f"{title}\n{means}")
    bar = figure.colorbar(image, ax=panels, fraction=0.02, pad=0.01, format=PercentFormatter(1.0))
    bar.set_label("share of the true class")
    return figure


def recall_bars(scores_by_name: Mapping[str, Scores], class_names: Sequence[str]) -> Figure:
    """Draw the recall per class of all variants, and below it the difference to the first.

    Args:
        scores_by_name: variants with the scores on the same test images; the first one is what the
            others are compared with.
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
    _need_some("recall_bars", scores_by_name)
    for scores in scores_by_name.values():
        _check_classes("recall_bars", scores.recall.shape, class_names, axes=1)
    first = next(iter(scores_by_name.values()))
    order = np.argsort(first.support, kind="stable")
    figure = _new_figure(15.4, 8.4)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _bars(top, {name: 100 * s.recall[order] for name, s in scores_by_name.items()})
    changes = {name: 100 * (s.recall - first.recall)[order] for name, s in scores_by_name.items()}
    _bars(below, changes, written=True)
    _label_recall(top, below, next(iter(scores_by_name)))
    names = [f"{class_names[k]}\nn={first.support[k]}" for k in order]
    below.set_xticks(np.arange(len(names)), names)
    top.tick_params(labelbottom=True)
    figure.legend(handles=_swatches(scores_by_name), loc="outside upper center", ncols=6)
    return figure


def _bars(axes: Axes, heights: Mapping[str, Floats], written: bool = False) -> None:
    """Draw grouped bars; with `written`, leave out the first variant and write each height."""
    width = 0.8 / len(heights)
    for place, ((_, values), style) in enumerate(zip(heights.items(), _styles(), strict=False)):
        if written and place == 0:
            continue
        centres = np.arange(len(values)) + (place - (len(heights) - 1) / 2) * width
        bars = axes.bar(centres, values, width, edgecolor="black", linewidth=0.6, **style)
        if written:
            axes.bar_label(bars, [_signed(v) for v in values], fontsize=8, padding=2)


def _signed(points: float) -> str:
    """Write a difference in points: one decimal, a sign unless it is 0."""
    rounded = round(points, 1) + 0.0
    return f"{rounded:+.1f}" if rounded else "0"


def _label_recall(top: Axes, below: Axes, first: str) -> None:
    """Title both panels and set their scales."""
    top.set(ylim=(0, 103), ylabel="recall (%)")
    top.set_title("Recall per class, smallest class left (n = test images)", loc="left")
    below.set_title(f"Difference to {first}: above 0 is better", loc="left")
    below.set_ylabel("points")
    below.axhline(0.0, color="black", linewidth=1)
    below.margins(y=0.18)
    for axes in (top, below):
        axes.grid(axis="y", color="#dddddd")
        axes.set_axisbelow(True)
        axes.margins(x=0.01)


def _styles() -> list[dict[str, str]]:
    """Return fill and hatch per variant, more than anyone needs."""
    return [{"facecolor": c, "hatch": h} for c, h in zip(COLOURS, HATCHES, strict=True)] * 4


def _swatches(names: Mapping[str, Any]) -> list[Patch]:
    """Return the legend's handles for bars."""
    return [
        Patch(label=name, edgecolor="black", linewidth=0.6, **style)
        for name, style in zip(names, _styles(), strict=False)
    ]


def accuracy_curves(
    histories: Mapping[str, Sequence[Record]], chance: float = 0.1, title: str = "Accuracy by epoch"
) -> Figure:
    """Draw test accuracy (solid) and training accuracy (dashed) by epoch, named at the line ends.

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
    _need_some("accuracy_curves", histories)
    figure = _new_figure(10.0, 5.6)
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
    epochs = _column(records, "epoch")
    test = 100 * _column(records, "test_accuracy")
    style = {"color": colour, "marker": marker}
    axes.plot(epochs, test, linewidth=2.2, **style)
    train = 100 * _column(records, "train_accuracy")
    axes.plot(epochs, train, linewidth=1.4, linestyle="--", markersize=4, alpha=0.8, **style)
    return float(epochs[-1]), float(test[-1]), f"{name}  {test[-1]:.1f}%", colour


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write names right of the lines, moved apart where lines end close together."""
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
    for place in reversed(upwards):
        moved[place] = min(moved[place], limit)
        limit = moved[place] - gap
    limit = 3.0
    for place in upwards:
        moved[place] = max(moved[place], limit)
        limit = moved[place] + gap
    return moved


def _label_curves(axes: Axes, chance: float, title: str) -> None:
    """Draw the chance level, explain the line styles, set the scales."""
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
    axes.set_title(title, loc="left", fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def layer_flow(flows: Mapping[str, Sequence[Record]]) -> Figure:
    """Draw what becomes of signal and gradient on the way through the layers.

    Args:
        flows: per network one record per layer, first to last, with `visible_share` (variance of
            the activation over the images, divided by its second moment), `grad_norm` (of the
            layer's weight at the first step) and `activation_rms`; None, absent or NaN where a
            layer has none.

    Returns:
        The figure. Zeros, which a logarithmic axis cannot show, are drawn as hollow triangles at
        the lower edge.

    Raises:
        ValueError: when there is no network or a network has no record.

    Example:
        >>> layer = {"visible_share": 0.5, "grad_norm": 0.1, "activation_rms": 1.0}
        >>> len(layer_flow({"plain": [layer, layer]}).axes)
        3
    """
    _need_some("layer_flow", flows)
    figure = _new_figure(15.4, 5.6)
    panels = figure.subplots(1, 3, width_ratios=[4, 4, 3])
    for axes, (key, words) in zip(panels, FLOW_PANELS.items(), strict=True):
        columns = {name: _column(r, key) for name, r in flows.items()}
        _flow_panel(axes, columns)
        _label_flow(axes, *words, zeros=any((c == 0).any() for c in columns.values()))
    marks = zip(flows, cycle(COLOURS), cycle(MARKERS), strict=False)
    handles = [Line2D([], [], color=c, marker=m, label=name) for name, c, m in marks]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=11)
    return figure


def _flow_panel(axes: Axes, columns: Mapping[str, Floats]) -> None:
    """Draw one quantity of all networks against depth, on a logarithmic axis."""
    floor = _floor(np.concatenate(list(columns.values())))
    for values, colour, marker in zip(
        columns.values(), cycle(COLOURS), cycle(MARKERS), strict=False
    ):
        depth = np.arange(1, len(values) + 1)
        known = np.isfinite(values)
        shown = np.maximum(values, floor)
        axes.plot(depth[known], shown[known], color=colour, marker=marker, markersize=5)
        none = known & (values == 0)
        hollow = {"marker": "v", "markersize": 11, "markerfacecolor": "none", "linestyle": ""}
        axes.plot(depth[none], shown[none], color=colour, **hollow)
    axes.set_yscale("log")
    axes.set_xlim(0.4, max(len(values) for values in columns.values()) + 0.6)
    if not any(np.isfinite(values).any() for values in columns.values()):
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", **CAPTION)
    _plain_ticks(axes)


def _plain_ticks(axes: Axes) -> None:
    """Write 0.02, 0.05, 0.1 where the axis is too short for powers of ten."""
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _floor(values: Floats) -> float:
    """Return the power of ten, at least tenfold below every positive value, that stands for 0."""
    positive = values[np.isfinite(values) & (values > 0)]
    return 10.0 ** (math.floor(math.log10(positive.min())) - 1) if positive.size else 1e-12


def _label_flow(axes: Axes, title: str, quantity: str, caption: str, zeros: bool) -> None:
    """Title one panel and write below it how to read it."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(quantity)
    axes.set_xlabel("layer, first to last")
    text = caption + ("\n▽ exactly 0, which a logarithmic axis cannot show." if zeros else "")
    place = {"xycoords": "axes fraction", "va": "top", "annotation_clip": False}
    axes.annotate(text, (0.0, -0.15), **place, **CAPTION)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a PNG; the file is there whole or not at all.

    Args:
        figure: what to write.
        path: where to, ending in .png; missing folders are made, an older file is replaced.

    Returns:
        The path.

    Raises:
        ValueError: when the name does not end in .png.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Figure(), Path(folder) / "empty.png").name
        'empty.png'
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(f"save needs a name ending in .png, but got {target.name!r}; rename it")
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a rename is only atomic within one file system.
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, dpi=DPI, format="png")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that lays itself out and draws with Agg."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _column(records: Sequence[Record], key: str) -> Floats:
    """Return one key of all records; NaN where it is absent or None."""
    values = [record.get(key) for record in records]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _need_some(function: str, named: Mapping[str, Any]) -> None:
    """Refuse an empty mapping and empty lists in it."""
    if not named:
        raise ValueError(f"{function} needs at least one entry, but got none; pass name: numbers")
    for name, value in named.items():
        if isinstance(value, Sequence) and not value:
            raise ValueError(f"{function} needs records for {name!r}, but got none; leave it out")


def _check_classes(
    function: str, shape: tuple[int, ...], class_names: Sequence[str], axes: int
) -> None:
    """Refuse numbers that do not have one entry per class name on each axis."""
    if shape != (len(class_names),) * axes:
        raise ValueError(
            f"{function} needs one entry per class on each axis, but got shape {shape} and "
            f"{len(class_names)} class names; pass the names of all classes"
        )
