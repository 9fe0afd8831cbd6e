"""Forest plot: differences to a baseline with their intervals."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from counterpoise.plots._paper import axes_or_new, need_some, plain_name, variant_style
from counterpoise.stats import Interval


def forest(
    differences: Mapping[str, Interval],
    *,
    margin: float = 0.0,
    baseline: str = "the baseline",
    unit: str = "%",
    higher_is_better: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a forest plot of differences to a baseline, one row per variant, the first on top.

    Args:
        differences: by variant; of shares 0.01 is one point; an interval without bounds is drawn
            as its estimate alone.
        margin: differences within ± margin do not matter, and a band shows them; 0 for none.
        baseline: name of the baseline, for the label of the axis.
        unit: of the metric: "%" for shares, else such as "nats", or "" for none.
        higher_is_better: which side is better, which the label of the axis says.
        ax: where to draw; None for a new figure, `axes.figure`.

    Returns:
        The axes, in percentage points or the unit.

    Raises:
        ValueError: when there is no variant.

    Example:
        >>> axes = forest({"focal": Interval(-0.01, 0.02, 0.05)}, margin=0.01)
        >>> [round(float(x), 1) for x in axes.lines[-1].get_xdata()]
        [2.0]
    """
    need_some("forest", differences)
    axes = axes_or_new(ax, 6.4, 1.3 + 0.38 * len(differences))
    scale = 100 if unit == "%" else 1
    axes.axvspan(-scale * margin, scale * margin, color="#dde7ef", zorder=0, linewidth=0)
    axes.axvline(0.0, color="#555555", linewidth=1, zorder=1)
    for row, interval in enumerate(differences.values()):
        style = variant_style(row + 1)  # 0 is the baseline's
        if interval.low is not None and interval.high is not None:
            ends = [scale * interval.low, scale * interval.high]
            axes.plot(ends, [row, row], color=style["color"], linewidth=1.8)
        axes.plot([scale * interval.estimate], [row], markersize=7, **style)
    axes.set_yticks(range(len(differences)), [plain_name(name) for name in differences])
    axes.set_ylim(len(differences) - 0.5, -0.5)
    words = f" ({'percentage points' if unit == '%' else unit})" if unit else ""
    side = "right" if higher_is_better else "left"
    axes.set_xlabel(f"difference to {plain_name(baseline)}{words}; better to the {side}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return axes
