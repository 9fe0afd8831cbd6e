"""Sample size: the number of seeds that a decisive verdict needs."""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, ndtr

from counterpoise.stats._interval import Floats, check_confidence, check_margin, quantile_t

MIN_SEEDS = (
    5  # below it, no small difference is claimed, and from two seeds none: see `compare_variants`
)
MAX_SEEDS = 200
LIKELY = (
    0.85  # required of the prediction; the resulting rate is measured in benchmarks/calibration.py
)
USUAL = 2.0  # margins: prior standard deviation of the true difference
SPREADS = 24  # quadrature points over the true spread given the pilot's
# Coarser the larger they are: no pilot can distinguish 47 from 48.
SIZES = (*range(MIN_SEEDS, 20), *range(20, 40, 2), *range(40, 100, 5), *range(100, 201, 10))


def seeds_needed(
    n: int, difference: float, sd: float, *, margin: float = 0.01, confidence: float = 0.95
) -> int:
    r"""Return the approximate total number of seeds for a decisive verdict.

    It is the smallest N at which one is predicted with probability 0.85, given the n seeds so far,
    with mean difference d and standard deviation s of the differences:

    .. math::
        \sigma^2 &\sim \frac{(n - 1) \, s^2}{\chi^2_{n-1}} \\
        \delta &\sim N\left(w d, \frac{w \sigma^2}{n}\right), \qquad
        w = \frac{v}{v + \sigma^2 / n}, \qquad
        v = \max\left(4 \, \text{margin}^2, d^2 - \frac{\sigma^2}{n}\right) \\
        d_N &= \frac{1}{N} \left(n d + \sum_{i=n+1}^{N} x_i\right), \qquad
        x_i \sim N(\delta, \sigma^2) \\
        h_N &= t_{N-1} \sqrt{\frac{(n - 1) s^2 + (N - n) \sigma^2}{(N - 1) \, N}}

    where σ is the true spread, δ the true difference, d_N the mean difference of N seeds, and h_N
    half the width of its interval. The verdict is decisive if |d_N| > h_N (better or worse) or
    |d_N| + h_N < margin (no difference that matters); for h_N < margin / 2 one of them always
    holds. This is predictive power, with the prior 1/σ for the spread, under which the probability
    holds on average over pilots, and Normal(0, v) for the difference: a few margins at most, unless
    the seeds show more than their noise.

    Testing again after N seeds is a second chance of a false claim: figures in docs/statistics.md.

    Source: Spiegelhalter, Freedman and Blackburn 1986, Control. Clin. Trials 7, 8.

    Args:
        n: Seeds so far, 2 or more.
        difference: Mean difference so far.
        sd: Standard deviation of the differences so far.
        margin: The smallest difference that matters.
        confidence: Confidence of the interval that decides, 1 - 0.05 / m for m variants.

    Returns:
        The number of seeds, from 5 to 200; 201 means more than 200.

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


def predict_seeds(n: int, mean: Floats, sd: Floats, confidence: float) -> npt.NDArray[np.int64]:
    """Return `seeds_needed` of many pilots of n seeds each, in units of the margin."""
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
    """Return σ / s at equally probable values of χ²(df): the midpoints of quantile bins."""
    upper = (np.arange(SPREADS) + 0.5) / SPREADS
    return np.sqrt(df / chdtri(df, upper))
