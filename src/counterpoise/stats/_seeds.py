"""How many seeds a study needs before it can tell."""

from functools import cache
from typing import Any

import numpy as np
from scipy.special import chdtri, ndtr

from counterpoise.stats._interval import Floats, check_confidence, check_margin, quantile_t

MIN_SEEDS = 5  # below it, no small difference is claimed, and from two seeds none: see `judge`
MAX_SEEDS = 200
LIKELY = 0.85  # asked of the prediction; what it comes to is measured in benchmarks/calibration.py
USUAL = 2.0  # margins: the standard deviation of the differences that are expected beforehand
SPREADS = 24  # values that stand for all the true spreads a pilot leaves possible
# Rounder the larger they are: no pilot tells 47 from 48.
SIZES = (*range(MIN_SEEDS, 20), *range(20, 40, 2), *range(40, 100, 5), *range(100, 201, 10))


def seeds_needed(
    n: int, difference: float, sd: float, *, margin: float = 0.01, confidence: float = 0.95
) -> int:
    """Return about how many seeds, in all, will likely be enough for a decisive verdict.

    The smallest N for which that is predicted with a chance of 0.85. From the n seeds so far, with
    mean difference d and standard deviation s of the differences, it is predicted that

        σ²    ~  s² (n - 1) / χ²(n - 1)                 the true spread, so little known at n = 3
        δ     ~  Normal(w d, w σ² / n),  w = v / (v + σ² / n),  v = max(4 margin², d² - σ² / n)
                                                        the true difference: a few margins at most,
                                                        unless the seeds show more than their noise
        d_N   =  (n d + sum of N - n draws of Normal(δ, σ²)) / N
        h_N   =  t(N - 1) √(((n - 1) s² + (N - n) σ²) / (N - 1) / N)      half the interval then

    and decided is |d_N| > h_N (better or worse) or |d_N| + h_N < margin (no difference that
    matters). Once h_N < margin / 2 one of them holds whatever d_N is. This is predictive power
    (Spiegelhalter, Freedman and Blackburn 1986, Control. Clin. Trials 7, 8), with the prior 1/σ for
    the spread, for which the promise holds on average over pilots, and Normal(0, v) for the
    difference.

    To look again after N seeds is a second chance to be wrong: docs/statistics.md has the figures.

    Args:
        n: Seeds so far, 2 or more.
        difference: Mean difference so far.
        sd: Standard deviation of the differences so far.
        margin: The smallest difference that matters.
        confidence: Of the interval that decides, 1 - 0.05 / m for m variants.

    Returns:
        From 5 to 200; 201 means more than 200.

    Raises:
        ValueError: If n < 2, sd < 0, or margin or confidence is out of its range.

    Example:
        >>> seeds_needed(5, difference=0.004, sd=0.008), seeds_needed(3, difference=0.0, sd=0.05)
        (14, 201)
    """
    check_margin(margin)
    check_confidence(confidence)
    if n < 2 or not sd >= 0:
        raise ValueError(
            f"seeds_needed needs two seeds or more and sd >= 0, but got n = {n}, sd = {sd}; the "
            "spread of one seed is unknown"
        )
    pilot = np.array([difference / margin]), np.array([sd / margin])
    return int(predict_seeds(n, *pilot, confidence)[0])


def predict_seeds(n: int, mean: Floats, sd: Floats, confidence: float) -> Any:
    """`seeds_needed` for many pilots of n seeds at a time, in units of the margin."""
    needed = np.full(mean.shape, MAX_SEEDS + 1)
    open_ = np.arange(mean.size)
    for size in SIZES:
        if size > n and open_.size:
            likely = _chance_to_decide(n, size, mean[open_], sd[open_], confidence) >= LIKELY
            needed[open_[likely]] = size
            open_ = open_[~likely]
    return needed


def _chance_to_decide(n: int, size: int, mean: Floats, sd: Floats, confidence: float) -> Floats:
    d, s = np.abs(mean)[:, None], np.maximum(sd, 1e-12)[:, None]
    sigma, more = s * _spread_factors(n - 1), size - n
    usual = np.maximum(USUAL**2, d**2 - sigma**2 / n)
    trust = usual / (usual + sigma**2 / n)
    centre = (n + more * trust) * d / size
    noise = more / size * sigma * np.sqrt(trust / n + 1 / more)
    sd_then = np.sqrt(((n - 1) * s**2 + more * sigma**2) / (size - 1))
    half = quantile_t(size - 1, confidence) * sd_then / np.sqrt(size)
    differs = ndtr((centre - half) / noise) + ndtr((-centre - half) / noise)
    alike = ndtr((1 - half - centre) / noise) - ndtr((half - 1 - centre) / noise)
    return np.where(half < 0.5, 1.0, differs + np.maximum(alike, 0.0)).mean(-1)


@cache
def _spread_factors(df: int) -> Floats:
    """Return σ / s at equally likely values of χ²(df), those in the middle of their share."""
    upper = (np.arange(SPREADS) + 0.5) / SPREADS
    return np.sqrt(df / chdtri(df, upper))
