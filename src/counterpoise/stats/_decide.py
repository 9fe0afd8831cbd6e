"""The decision rule: from means and standard deviations to decisions, vectorized over studies."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from counterpoise.stats._comparison import t_test
from counterpoise.stats._holm import holm_adjusted
from counterpoise.stats._interval import Floats
from counterpoise.stats._looks import Looks
from counterpoise.stats._seeds import MIN_SEEDS


class Decision(NamedTuple):
    """Decisions as arrays, one entry per comparison; the last axis is the family."""

    low: Any
    high: Any
    p_holm: Any
    direction: Any
    by_margin: Any
    inside: Any


def decide(
    n: npt.ArrayLike,
    mean: Floats,
    se: npt.ArrayLike,
    df: npt.ArrayLike,
    margin: float,
    confidence: float,
    looks: Looks | None = None,
) -> Decision:
    """Decide the comparisons of a family, along the last axis; the other axes are studies."""
    p, _ = t_test(df, mean, se, confidence)
    level = (1 - confidence) / max(p.shape[-1], 1)
    _, half = t_test(df, mean, se, 1 - (looks.nominal(level) if looks else level))
    p_holm = holm_adjusted(looks.adjusted(p) if looks else p)
    read = np.asarray(n) >= (looks.first if looks else 2)
    by_margin = read & (np.abs(mean) - half > margin)
    inside = read & (np.asarray(n) > 2) & (np.abs(mean) + half < margin)
    enough = (np.asarray(n) >= MIN_SEEDS) | ((np.asarray(n) > 2) & by_margin)
    settled = read & enough & (p_holm <= 1 - confidence)
    direction = np.where(settled, np.sign(mean), 0).astype(int)
    low = np.where(direction > 0, np.maximum(mean - half, 0.0), mean - half)
    high = np.where(direction < 0, np.minimum(mean + half, 0.0), mean + half)
    return Decision(low, high, p_holm, direction, by_margin, inside)
