"""Training curves over several seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from counterpoise.plots._paper import (
    Record,
    axes_or_new,
    column,
    legend_name,
    need_some,
    plain,
    variant_style,
)


def training_curves(
    histories: Mapping[str, Sequence[Sequence[Record]]],
    key: str,
    *,
    ylabel: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a quantity by epoch: the mean over the seeds, and a band from lowest to highest.

    Args:
        histories: by variant one history per seed, each with one record per epoch from the
            same one on; some may end earlier. `epoch` is among the keys.
        key: the quantity, say "loss" or "validation_balanced_accuracy"; None or absent in a record
            where it was not measured.
        ylabel: label of the axis; None for the key.
        ax: where to draw; None for a new figure, `axes.figure`.

    Returns:
        The axes.

    Raises:
        ValueError: when there is no variant, or one has no history.

    Example:
        >>> seeds = [[{"epoch": e, "loss": 1 / (e + s)} for e in (0, 1)] for s in (1, 2)]
        >>> axes = training_curves({"focal": seeds}, "loss")
        >>> axes.lines[0].get_ydata().tolist() == [0.75, (1 / 2 + 1 / 3) / 2]
        True
    """
    need_some("training_curves", histories)
    axes = axes_or_new(ax)
    for i, (name, seeds) in enumerate(histories.items()):
        longest = max(seeds, key=len)
        epochs, values = column(longest, "epoch"), np.full((len(seeds), len(longest)), np.nan)
        for row, records in zip(values, seeds, strict=True):
            row[: len(records)] = column(records, key)
        known = ~np.isnan(values).all(0)
        epochs, values = epochs[known], values[:, known]
        style = variant_style(i)
        ends = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(epochs, *ends, color=style["color"], alpha=0.15, linewidth=0)
        every = max(1, len(epochs) // 8)
        axes.plot(epochs, np.nanmean(values, 0), label=legend_name(name), markevery=every, **style)
    axes.set(xlabel="epoch", ylabel=plain(key.replace("_", " ") if ylabel is None else ylabel))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return axes
