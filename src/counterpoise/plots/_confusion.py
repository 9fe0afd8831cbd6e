"""Confusion matrices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import PercentFormatter

from counterpoise.metrics import Scores
from counterpoise.plots._paper import (
    Floats,
    axes_or_new,
    check_classes,
    new_figure,
    plain,
    plain_name,
)

MOST_WRITTEN = 40  # classes whose cells have numbers
_SIDE, _BESIDE, _NAMED = 9.0, 5.0, 25  # of a larger matrix: inches, and confusions by name


def readable_on(background: Any) -> str:
    """Return the text colour, black or white, with the higher contrast to a background.

    The contrast is WCAG's (L1 + 0.05) / (L2 + 0.05) with the relative luminances L1 > L2; that of
    the returned colour is at least 4.58.

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
    cmap: str | Colormap = "Blues",
) -> AxesImage:
    """Draw a confusion matrix on axes: shade and percentage are shares of the true class.

    Of more than `MOST_WRITTEN` classes no cell has numbers and no row a name: the largest
    confusions stand beside it by name.

    Args:
        axes: where to draw.
        confusion: counts [true, predicted].
        class_names: one name per class.
        title: stands above the matrix.
        cmap: a matplotlib colour map, or its name.

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
    check_classes("draw_confusion", counts.shape, class_names, axes=2)
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support, 1)[:, None]
    image = axes.imshow(shares, cmap=cmap, vmin=0.0, vmax=1.0)
    if len(class_names) > MOST_WRITTEN:
        _name_largest(axes, counts, shares, class_names)
    else:
        for true, predicted in np.argwhere(counts > 0):
            _write_cell(axes, image, int(true), int(predicted), counts, shares)
        _label_matrix(axes, class_names, support)
    axes.set_title(plain(title), fontsize=13, fontweight="bold", pad=10)
    return image


def confusion_matrix(
    confusion: npt.NDArray[np.int64],
    class_names: Sequence[str],
    *,
    ax: Axes | None = None,
    title: str = "",
    cmap: str | Colormap = "Blues",
) -> Axes:
    """Draw a confusion matrix as `draw_confusion` does, on your own axes or on new ones.

    Args:
        confusion: counts [true, predicted].
        class_names: one name per class.
        ax: where to draw; None for a new figure, `axes.figure`.
        title: stands above the matrix.
        cmap: a matplotlib colour map, or its name.

    Returns:
        The axes.

    Raises:
        ValueError: when the matrix is not square with one row per class name.

    Example:
        >>> confusion_matrix(np.array([[9, 1], [2, 8]]), ["cat", "dog"]).get_ylabel()
        'true'
    """
    many = len(class_names) > MOST_WRITTEN
    size = _SIDE if many else 2.2 + 0.56 * len(class_names)
    axes = axes_or_new(ax, size + (_BESIDE if many else 0.6), size)
    draw_confusion(axes, confusion, class_names, title, cmap)
    return axes


def _write_cell(
    axes: Axes, image: AxesImage, true: int, predicted: int, counts: np.ndarray, shares: Floats
) -> None:
    """Write the count in the middle of a cell and, smaller, the share below it."""
    share = float(shares[true, predicted])
    colour = readable_on(image.to_rgba(np.array(share)))
    style = {"ha": "center", "color": colour}
    count = axes.text(predicted, true - 0.08, f"{counts[true, predicted]}", va="center", **style)
    count.set(fontsize=10, gid="count")
    percent = axes.text(predicted, true + 0.27, _percent(share), va="center", **style)
    percent.set(fontsize=7.5, gid="percent")


def _name_largest(
    axes: Axes, counts: np.ndarray, shares: Floats, class_names: Sequence[str]
) -> None:
    """Write the largest confusions beside a matrix whose classes are too many to be named."""
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_NAMED]
    pairs = [divmod(int(k), len(counts)) for k in order if wrong.flat[k]]
    lines = [
        f"{plain_name(class_names[true])}, taken for {plain_name(class_names[predicted])}: "
        f"{counts[true, predicted]} ({_percent(float(shares[true, predicted]))})"
        for true, predicted in pairs
    ]
    said = "\n".join([f"Largest confusions of {len(counts)} classes", "", *lines])
    note = axes.text(1.03, 1.0, said, transform=axes.transAxes, va="top", fontsize=8, wrap=False)
    note.set(gid="largest", linespacing=1.6)
    axes.set_ylabel("true, number of the class", fontsize=11)
    axes.set_xlabel("predicted, number of the class\nshade = share of the true class", fontsize=11)


def _percent(share: float) -> str:
    """Return a share in whole percent, with <1% and >99% next to the ends."""
    if 0.0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1.0 else f"{share:.0%}"


def _label_matrix(axes: Axes, class_names: Sequence[str], support: np.ndarray) -> None:
    """Label rows, columns and the shade, and separate the cells."""
    ticks = np.arange(len(class_names))
    names = [plain_name(name) for name in class_names]
    rows = [f"{name} (n={n})" for name, n in zip(names, support, strict=True)]
    axes.set_yticks(ticks, rows)
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("true", fontsize=11)
    axes.set_xlabel("predicted\nshade and % = share of the true class", fontsize=11)
    axes.set_xticks(ticks[:-1] + 0.5, minor=True)
    axes.set_yticks(ticks[:-1] + 0.5, minor=True)
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
    figure = new_figure(16.2, 7.9)
    panels = figure.subplots(1, 2)
    images = [
        draw_confusion(
            axes,
            scores.confusion,
            class_names,
            f"{title}\naccuracy {scores.accuracy:.1%}, balanced {scores.balanced_accuracy:.1%}",
        )
        for axes, scores, title in zip(panels, (left, right), titles, strict=True)
    ]
    bar = figure.colorbar(
        images[0], ax=panels, fraction=0.02, pad=0.01, format=PercentFormatter(1.0)
    )
    bar.set_label("share of the true class")
    return figure
