"""Confidence intervals of one variant: of a mean over seeds, of a share of test samples."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Confidence interval: an estimate between two bounds.

    Attributes:
        low: lower bound, None where nothing bounds it.
        estimate: the value estimated.
        high: upper bound, None where nothing bounds it.
    """

    low: float | None
    estimate: float
    high: float | None


def t_interval(
    values: Iterable[float], confidence: float = 0.95, *, test_to_train: float = 0.0
) -> Interval:
    r"""Return the mean over seeds with Student's t interval.

    .. math::
        \bar{x} \pm t_{n-1} \, s \sqrt{\frac{1}{n} + r}, \qquad
        s^2 = \frac{1}{n - 1} \sum_i (x_i - \bar{x})^2

    where r is `test_to_train`.

    Args:
        values: One score per seed, at least one, all finite.
        confidence: Share of studies whose interval holds the true mean.
        test_to_train: Test samples a training sample where each seed draws its own test split, as
            for `compare_paired`; 0 where all seeds share one.

    Returns:
        The interval. Of one value the bounds are None, as its spread is unknown.

    Raises:
        ValueError: If there is no value, one is not finite, or confidence or test_to_train is out
            of its range.

    Example:
        >>> found = t_interval([0.80, 0.82, 0.84])
        >>> round(found.low, 3), round(found.estimate, 3), round(found.high, 3)
        (0.77, 0.82, 0.87)
    """
    array = np.asarray(list(values), dtype=np.float64)
    check_confidence(confidence)
    check_test_to_train(test_to_train)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"t_interval needs at least one value, all finite, but got {array.tolist()}; leave out "
            "the runs that failed"
        )
    mean, n = float(array.mean()), array.size
    if n == 1:
        return Interval(None, mean, None)
    half = float(quantile_t(n - 1, confidence) * array.std(ddof=1)) / math.sqrt(n)
    half *= float(widening(n, test_to_train))
    return Interval(mean - half, mean, mean + half)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    r"""Return a share with Wilson's score interval, as for a recall from n test samples.

    .. math::
        \frac{k + z^2 / 2}{n + z^2} \pm
        \frac{z}{n + z^2} \sqrt{\frac{k (n - k)}{n} + \frac{z^2}{4}}

    where k is `successes` and z the quantile of the normal distribution. The interval is never
    empty, never outside [0, 1], and its coverage is near the confidence for small n too.

    Sources: Wilson 1927, J. Am. Stat. Assoc. 22, 209; coverage: Brown, Cai and DasGupta 2001,
    Stat. Sci. 16, 101.

    Args:
        successes: Number of successes, from 0 to n.
        n: Number of samples, 1 or more.
        confidence: Share of studies whose interval holds the true share.

    Returns:
        The interval around successes / n.

    Raises:
        ValueError: If n < 1, successes is not from 0 to n, or confidence not inside (0, 1).

    Example:
        >>> found = wilson(16, 20)
        >>> round(found.low, 2), found.estimate, round(found.high, 2)
        (0.58, 0.8, 0.92)
    """
    check_confidence(confidence)
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(
            f"wilson needs 0 <= successes <= n and n >= 1, but got {successes} of {n}; leave out "
            "classes without test samples"
        )
    z = float(ndtri(0.5 + confidence / 2))
    centre = (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(successes * (n - successes) / n + z * z / 4)
    share = successes / n  # at 0 and 1 it is a bound itself, which rounding may miss
    return Interval(max(min(centre - half, share), 0.0), share, min(max(centre + half, share), 1.0))


def quantile_t(df: npt.ArrayLike, confidence: float) -> Floats:
    """Return half the width of a two-sided t interval, in standard errors."""
    return stdtrit(df, 0.5 + confidence / 2)


def widening(n: npt.ArrayLike, test_to_train: float) -> Floats:
    """Return by what the standard error s / √n is multiplied where seeds draw their test splits."""
    return np.sqrt(1 + np.asarray(n, dtype=float) * test_to_train)


def check_test_to_train(test_to_train: float) -> None:
    if not (test_to_train >= 0 and math.isfinite(test_to_train)):
        raise ValueError(
            "test_to_train must be the number of test samples a training sample, from 0 on and "
            f"finite, but got {test_to_train}; give 0 where all seeds share one test split"
        )


def check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(
            f"confidence must be inside (0, 1), but got {confidence}; 0.95 is the usual one"
        )


def check_margin(margin: float) -> None:
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(
            f"margin must be above 0 and finite, but got {margin}; it is the smallest difference "
            "that matters to you, in units of the metric: 0.01 is one point"
        )
