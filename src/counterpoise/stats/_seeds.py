"""Sample size: the number of seeds that a decisive verdict needs."""

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, ndtr

from counterpoise.stats._interval import (
    Floats,
    check_confidence,
    check_margin,
    check_test_to_train,
    quantile_t,
    widening,
)

MIN_SEEDS = (
    5  # below it, no small difference is claimed, and from two seeds none: see `compare_variants`
)
MAX_SEEDS = 200
# Required of the prediction, up to 10 seeds and from 60 on; what comes of it is measured in
# benchmarks/calibration.py. A small number that proves too small costs little.
LIKELY = {10: 0.7, 60: 0.85}
EARLY = 0.25  # the same, at the lower end of a range
USUAL = 2.0  # margins: prior standard deviation of the true difference
SPREADS = 24  # quadrature points over the true spread given the pilot's
ENDLESS = 10**9  # seeds, as good as infinitely many
# Coarser the larger they are: no pilot can distinguish 87 from 88.
SIZES = (*range(MIN_SEEDS, 40), *range(40, 80, 2), *range(80, 201, 5))


def seeds_needed(
    n: int,
    difference: float,
    sd: float,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
    test_to_train: float = 0.0,
) -> int:
    r"""Return the approximate total number of seeds for a decisive verdict.

    It is the smallest N at which one is predicted with probability 0.7, rising to 0.85 between 10
    and 60 seeds, given the n seeds so far, with mean difference d and standard deviation s of the
    differences:

    .. math::
        \sigma^2 &\sim \frac{(n - 1) \, s^2}{\chi^2_{n-1}} \\
        \delta &\sim N\left(w d, \frac{w \sigma^2}{n}\right), \qquad
        w = \frac{v}{v + \sigma^2 / n}, \qquad
        v = \max\left(4 \, \text{margin}^2, d^2 - \frac{\sigma^2}{n}\right) \\
        d_N &= \frac{1}{N} \left(n d + \sum_{i=n+1}^{N} x_i\right), \qquad
        x_i \sim N(\delta, \sigma^2) \\
        h_N &= t_{N-1} \sqrt{\frac{(n - 1) s^2 + (N - n) \sigma^2}{N - 1}}
            \sqrt{\frac{1}{N} + r}

    where σ is the true spread, δ the true difference, d_N the mean difference of N seeds, h_N half
    the width of its interval, and r is `test_to_train`. The verdict is decisive if |d_N| > h_N
    (better or worse) or |d_N| + h_N < margin (no difference that matters); for h_N < margin / 2 one
    of them always holds. This is predictive power, with the prior 1/σ for the spread, under which
    the probability holds on average over pilots, and Normal(0, v) for the difference: a few margins
    at most, unless the seeds show more than their noise.

    Testing again after N seeds is a second chance of a false claim, unless the rule allows for it:
    see `Looks`.

    Source: Spiegelhalter, Freedman and Blackburn 1986, Control. Clin. Trials 7, 8.

    Args:
        n: Seeds so far, 2 or more.
        difference: Mean difference so far.
        sd: Standard deviation of the differences so far.
        margin: The smallest difference that matters.
        confidence: Confidence of the interval that decides, 1 - 0.05 / m for m variants.
        test_to_train: Test samples a training sample where each seed draws its own test split, as
            for `compare_paired`. δ is then the difference on these samples, of which σ √r remains
            unknown whatever N is: see `seeds_can_tell`.

    Returns:
        The number of seeds, from 5 to 200; 201 means more than 200, if any number would do.

    Raises:
        ValueError: If n < 2, sd < 0, or margin, confidence or test_to_train is out of its range.

    Example:
        >>> seeds_needed(5, difference=0.004, sd=0.008), seeds_needed(3, difference=0.0, sd=0.05)
        (11, 201)
    """
    _check(n, sd, margin, confidence, test_to_train)
    pilot = np.array([difference / margin]), np.array([sd / margin])
    return int(predict_seeds(n, *pilot, confidence, test_to_train)[0])


def seeds_can_tell(
    n: int,
    difference: float,
    sd: float,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
    test_to_train: float = 0.0,
) -> bool:
    """Return whether a decisive verdict is predicted for any number of seeds.

    With one test split for all seeds it always is, as the interval shrinks to nothing. Where each
    seed draws its own, it shrinks to ± 1.96 σ √r: of the samples that there are, more draws say no
    more, and it takes more samples.

    Args:
        n: Seeds so far, 2 or more.
        difference: As for `seeds_needed`, as is all that follows.
        sd: Standard deviation of the differences so far.
        margin: The smallest difference that matters.
        confidence: Confidence of the interval that decides.
        test_to_train: Test samples a training sample where each seed draws its own test split.

    Returns:
        False if neither `seeds_needed` nor infinitely many seeds are predicted to decide.

    Raises:
        ValueError: As `seeds_needed`.

    Example:
        >>> seeds_can_tell(10, 0.0, 0.05), seeds_can_tell(10, 0.0, 0.05, test_to_train=0.25)
        (True, False)
    """
    _check(n, sd, margin, confidence, test_to_train)
    if not test_to_train:
        return True
    pilot = np.array([difference / margin]), np.array([sd / margin])
    likely = _chance_to_decide(n, ENDLESS, *pilot, confidence, test_to_train)[0] >= LIKELY[60]
    return bool(likely or predict_seeds(n, *pilot, confidence, test_to_train)[0] <= MAX_SEEDS)


def _check(n: int, sd: float, margin: float, confidence: float, test_to_train: float) -> None:
    check_margin(margin)
    check_confidence(confidence)
    check_test_to_train(test_to_train)
    if n < 2 or not sd >= 0:
        raise ValueError(
            f"seeds_needed needs two seeds or more and sd >= 0, but got n = {n}, sd = {sd}; the "
            "spread of one seed is unknown"
        )


def seeds_range(
    n: int,
    difference: float,
    sd: float,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
    test_to_train: float = 0.0,
) -> tuple[int, int]:
    """Return the numbers of seeds between which a decisive verdict is to be expected.

    At the lower one a verdict is predicted with probability 0.25, the upper one is
    `seeds_needed`: after three or four seeds their spread is not known well enough for one number.

    Args:
        n: Seeds so far, 2 or more.
        difference: As for `seeds_needed`, as is all that follows.
        sd: Standard deviation of the differences so far.
        margin: The smallest difference that matters.
        confidence: Confidence of the interval that decides.
        test_to_train: Test samples a training sample where each seed draws its own test split.

    Returns:
        Both numbers, from 5 to 200; 201 means more than 200.

    Raises:
        ValueError: As `seeds_needed`.

    Example:
        >>> seeds_range(3, difference=0.004, sd=0.01)
        (8, 18)
    """
    _check(n, sd, margin, confidence, test_to_train)
    pilot = np.array([difference / margin]), np.array([sd / margin])
    low, high = (
        int(predict_seeds(n, *pilot, confidence, test_to_train, likely)[0])
        for likely in (EARLY, None)
    )
    return low, high


def predict_seeds(
    n: int,
    mean: Floats,
    sd: Floats,
    confidence: float,
    test_to_train: float = 0.0,
    likely: float | None = None,
) -> npt.NDArray[np.int64]:
    """Return `seeds_needed` of many pilots of n seeds each, in units of the margin.

    `likely` is the chance that is required; None for that of `seeds_needed`.
    """
    needed = np.full(mean.shape, MAX_SEEDS + 1)
    open_ = np.arange(mean.size)
    for size in SIZES:
        if size > n and open_.size:
            chance = _chance_to_decide(n, size, mean[open_], sd[open_], confidence, test_to_train)
            required = np.interp(size, list(LIKELY), list(LIKELY.values()))
            enough = chance >= (required if likely is None else likely)
            needed[open_[enough]] = size
            open_ = open_[~enough]
    return needed


def _chance_to_decide(
    n: int, size: int, mean: Floats, sd: Floats, confidence: float, test_to_train: float
) -> Floats:
    d, s = np.abs(mean)[:, None], np.maximum(sd, 1e-12)[:, None]
    sigma, more = s * _spread_factors(n - 1), size - n
    usual = np.maximum(USUAL**2, d**2 - sigma**2 / n)
    trust = usual / (usual + sigma**2 / n)
    centre = (n + more * trust) * d / size
    noise = more / size * sigma * np.sqrt(trust / n + 1 / more)
    sd_then = np.sqrt(((n - 1) * s**2 + more * sigma**2) / (size - 1))
    half = quantile_t(size - 1, confidence) * sd_then / np.sqrt(size)
    half = half * widening(size, test_to_train)
    differs = ndtr((centre - half) / noise) + ndtr((-centre - half) / noise)
    alike = ndtr((1 - half - centre) / noise) - ndtr((half - 1 - centre) / noise)
    return np.where(half < 0.5, 1.0, differs + np.maximum(alike, 0.0)).mean(-1)


@cache
def _spread_factors(df: int) -> Floats:
    """Return σ / s at equally probable values of χ²(df): the midpoints of quantile bins."""
    upper = (np.arange(SPREADS) + 0.5) / SPREADS
    return np.sqrt(df / chdtri(df, upper))
