"""Signal and gradient by layer."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from counterpoise.plots._paper import (
    CAPTION,
    COLOURS,
    MARKERS,
    Floats,
    Record,
    column,
    legend_name,
    need_some,
    new_figure,
)

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


def layer_flow(flows: Mapping[str, Sequence[Record]]) -> Figure:
    """Draw signal and gradient by layer, on logarithmic axes.

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
    need_some("layer_flow", flows)
    figure = new_figure(15.4, 5.6)
    panels = figure.subplots(1, 3, width_ratios=[4, 4, 3])
    for axes, (key, words) in zip(panels, FLOW_PANELS.items(), strict=True):
        columns = {name: column(r, key) for name, r in flows.items()}
        _flow_panel(axes, columns)
        _label_flow(axes, *words, zeros=any((c == 0).any() for c in columns.values()))
    marks = zip(flows, cycle(COLOURS), cycle(MARKERS), strict=False)
    handles = [Line2D([], [], color=c, marker=m, label=legend_name(name)) for name, c, m in marks]
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
    """Set ticks such as 0.02, 0.05, 0.1 where the axis is too short for powers of ten."""
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _floor(values: Floats) -> float:
    """Return the power of ten drawn for 0, at least tenfold below every positive value."""
    positive = values[np.isfinite(values) & (values > 0)]
    return 10.0 ** (math.floor(math.log10(positive.min())) - 1) if positive.size else 1e-12


def _label_flow(axes: Axes, title: str, quantity: str, caption: str, zeros: bool) -> None:
    """Write the title of a panel, and the caption below it."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(quantity)
    axes.set_xlabel("layer, first to last")
    text = caption + ("\n▽ exactly 0, which a logarithmic axis cannot show." if zeros else "")
    style = {"xycoords": "axes fraction", "va": "top", "annotation_clip": False}
    axes.annotate(text, (0.0, -0.15), **style, **CAPTION)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
