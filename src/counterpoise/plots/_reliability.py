"""Reliability diagrams: accuracy by confidence."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from counterpoise.plots._paper import axes_or_new, legend_name, need_some, variant_style

Bins = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]


def reliability(
    bins: Mapping[str, Bins | Sequence[npt.ArrayLike]], *, fewest: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw a reliability diagram; below the diagonal a net is overconfident.

    Source: Guo et al. 2017, arXiv 1706.04599.

    Args:
        bins: by variant, the bin_count, bin_confidence and bin_accuracy of `metrics.evaluate`.
        fewest: bins of fewer samples are left out, as their accuracy is uncertain.
        ax: where to draw; None for a new figure, `axes.figure`.

    Returns:
        The axes, in percent.

    Raises:
        ValueError: when there is no variant.

    Example:
        >>> axes = reliability({"focal": ([5, 40, 60], [0.2, 0.5, 0.9], [0.4, 0.5, 0.8])})
        >>> axes.lines[-1].get_xydata().tolist()
        [[50.0, 50.0], [90.0, 80.0]]
    """
    need_some("reliability", bins)
    axes = axes_or_new(ax, 4.8, 4.8)
    axes.plot([0, 100], [0, 100], color="#888888", linestyle="--", linewidth=1)
    for i, (name, three) in enumerate(bins.items()):
        count, confidence, accuracy = (np.asarray(a, np.float64) for a in three)
        used = count >= max(fewest, 1)
        x, y = 100 * confidence[used], 100 * accuracy[used]
        axes.plot(x, y, label=legend_name(name), markersize=5, **variant_style(i))
    axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
    axes.set(xlabel="confidence (%)", ylabel="right (%)")
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return axes
