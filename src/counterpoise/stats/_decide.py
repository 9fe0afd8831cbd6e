"""The decision rule: from means and standard deviations to decisions, vectorized over studies."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from counterpoise.stats._holm import holm_adjusted
from counterpoise.stats._interval import Floats
from counterpoise.stats._paired import t_test
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
    sd: Floats,
    margin: float,
    confidence: float,
    test_to_train: float = 0.0,
) -> Decision:
    """Decide the comparisons of a family, along the last axis; the other axes are studies."""
    p, _ = t_test(n, mean, sd, confidence, test_to_train)
    level = 1 - (1 - confidence) / max(p.shape[-1], 1)
    _, half = t_test(n, mean, sd, level, test_to_train)
    p_holm = holm_adjusted(p)
    by_margin = np.abs(mean) - half > margin
    inside = np.abs(mean) + half < margin
    enough = (np.asarray(n) >= MIN_SEEDS) | ((np.asarray(n) > 2) & by_margin)
    settled = (p_holm <= 1 - confidence) & enough
    direction = np.where(settled, np.sign(mean), 0).astype(int)
    low = np.where(direction > 0, np.maximum(mean - half, 0.0), mean - half)
    high = np.where(direction < 0, np.minimum(mean + half, 0.0), mean + half)
    return Decision(low, high, p_holm, direction, by_margin, inside)
