"""Comparison of two variants: paired by seed, or of runs that have no seeds in common."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from counterpoise.stats._interval import (
    Floats,
    Interval,
    check_confidence,
    check_margin,
    check_test_to_train,
    quantile_t,
    widening,
)

Scores = Mapping[Any, float | None]  # by seed; None where the run failed or is not there yet

SIGN_FLIP_SEEDS = range(8, 17)  # below, p cannot be small; above, there are too many sign patterns
ROUNDING = 1e-9  # differences below this share of the scores are rounding errors


@dataclass(frozen=True)
class Comparison:
    """Comparison of two variants; a difference is other - baseline.

    Attributes:
        n: number of common seeds; of an unpaired comparison the smaller number of runs.
        seeds: the common seeds, in the order of the baseline's; empty if unpaired.
        difference: the mean difference with its t interval.
        sd: of the differences; see `compare_paired` for equal ones. Of an unpaired comparison √n
            times its standard error: the spread of n pairs that would say as much. None for one
            seed, and for scores that are all one number.
        df: degrees of freedom of the t test; None for one seed.
        p_different: two-sided p of the t test. None for one seed.
        p_equivalent: p of the two one-sided tests against ± margin. None for one seed.
        wins: seeds in which the other is better; None if unpaired.
        losses: seeds in which it is worse; None if unpaired.
        p_sign_flip: exact two-sided p of the sign-flip test, which assumes no normal distribution;
            for 8 to 16 paired seeds that share a test split, else None.
        margin: the smallest difference that matters.
        confidence: confidence of the interval.
        paired: whether seeds are compared one by one.
    """

    n: int
    seeds: tuple[Hashable, ...]
    difference: Interval
    sd: float | None
    df: float | None
    p_different: float | None
    p_equivalent: float | None
    wins: int | None
    losses: int | None
    p_sign_flip: float | None
    margin: float
    confidence: float
    paired: bool = True


def compare_paired(
    baseline: Scores,
    other: Scores,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
    higher_is_better: bool = True,
    test_to_train: float = 0.0,
) -> Comparison:
    r"""Compare two variants on their common seeds, by a paired t test and an equivalence test.

    .. math::
        \text{interval} &= \bar{d} \pm t_{n-1} \, e, \qquad e = s \sqrt{\frac{1}{n} + r} \\
        p_\text{different} &= 2 P\left(T > \frac{|\bar{d}|}{e}\right), \qquad
        p_\text{equivalent} = P\left(T > \frac{\text{margin} - |\bar{d}|}{e}\right)

    where d are the n differences by seed, with a bar their mean, s their standard deviation, and T
    has Student's t distribution with n - 1 degrees of freedom. The second p is the larger of two
    one-sided tests.

    r is `test_to_train`: 0 where all seeds share one test split. Where each seed draws its own out
    of the same samples, the differences are not independent, as training and test splits overlap,
    and their spread over √n is too small. r, test samples a training sample, is the correction of
    Nadeau and Bengio, with which e does not go to 0 however many seeds there are.

    Where all differences are equal, as from scores rounded to a few test samples, s = 0 would be
    certainty from two seeds. s is then taken as h / √6, the spread of a difference of two scores
    that are rounded to steps of h: |d|, or the smallest difference between any two of the scores if
    that is larger. So a difference is significant from four seeds on. Scores that are all one
    number tell nothing: the interval has no bounds.

    Sources: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657, for equivalence; Nadeau and
    Bengio 2003, Machine Learning 52, 239, for r.

    Args:
        baseline: Score by seed. None, NaN or infinity is no score: the seed is left out.
        other: Score by seed of the variant that is compared with the baseline.
        margin: The smallest difference that matters, above 0.
        confidence: Confidence of the interval.
        higher_is_better: False for losses and errors; used for `wins` and `losses` only.
        test_to_train: Test samples a training sample where each seed draws its own test split.

    Returns:
        The comparison.

    Raises:
        ValueError: If no seed has both scores, or margin, confidence or test_to_train is out of its
            range.

    Example:
        >>> plain = {0: 0.80, 1: 0.83, 2: 0.79, 3: 0.81}
        >>> found = compare_paired(plain, {0: 0.84, 1: 0.86, 2: 0.84, 3: 0.85})
        >>> found.wins, round(found.difference.estimate, 3), round(found.p_different, 4)
        (4, 0.04, 0.0023)
    """
    check_margin(margin)
    check_confidence(confidence)
    check_test_to_train(test_to_train)
    seeds = common_seeds(baseline, other)
    if not seeds:
        raise ValueError(
            "compare_paired needs a seed for which both variants have a score, but found none "
            f"among {list(baseline)} and {list(other)}; run both with the same seeds"
        )
    before, after = (np.asarray([s[k] for k in seeds], dtype=float) for s in (baseline, other))
    mean, sd = summarize(before, after)
    d = after - before
    gain = np.where(np.abs(d) <= tiny(before, after), 0.0, d) * (1 if higher_is_better else -1)
    n, enough = len(seeds), len(seeds) > 1
    se, df = float(standard_error(n, sd, test_to_train)), max(n - 1, 1)
    p, half = t_test(df, mean, se, confidence)
    exact = n in SIGN_FLIP_SEEDS and not test_to_train
    return Comparison(
        n=n,
        seeds=seeds,
        difference=bounded(float(mean), float(half)),
        sd=float(sd) if enough and np.isfinite(sd) else None,
        df=df if enough else None,
        p_different=float(p) if enough else None,
        p_equivalent=_p_equivalent(df, float(mean), se, margin) if enough else None,
        wins=int((gain > 0).sum()),
        losses=int((gain < 0).sum()),
        p_sign_flip=_p_sign_flip(d) if exact else None,
        margin=margin,
        confidence=confidence,
    )


def compare_unpaired(
    baseline: Scores,
    other: Scores,
    *,
    margin: float = 0.01,
    confidence: float = 0.95,
) -> Comparison:
    r"""Compare two variants whose runs have no seeds in common, by Welch's t test.

    .. math::
        \text{interval} = \bar{y} - \bar{x} \pm t_\nu \, e, \qquad
        e^2 = \frac{s_x^2}{n_x} + \frac{s_y^2}{n_y}, \qquad
        \nu = \frac{e^4}{\frac{(s_x^2 / n_x)^2}{n_x - 1} + \frac{(s_y^2 / n_y)^2}{n_y - 1}}

    with mean, standard deviation and number of the scores x and y. The spreads may differ. What
    runs of one seed share is not taken out, so that it takes more of them than if they were paired.
    Where all scores of either are equal, e is taken as in `compare_paired`.

    Source: Welch 1947, Biometrika 34, 28.

    Args:
        baseline: Score by run. None, NaN or infinity is no score.
        other: Score by run of the variant that is compared with the baseline.
        margin: The smallest difference that matters, above 0.
        confidence: Confidence of the interval.

    Returns:
        The comparison.

    Raises:
        ValueError: If one of them has no score, or margin or confidence is out of its range.

    Example:
        >>> found = compare_unpaired({0: 0.80, 1: 0.83, 2: 0.79}, {7: 0.84, 8: 0.86, 9: 0.84})
        >>> found.n, round(found.difference.estimate, 3), round(found.p_different, 3)
        (3, 0.04, 0.059)
    """
    check_margin(margin)
    check_confidence(confidence)
    x, y = (
        np.asarray([s[k] for k in s if has_score(s, k)], dtype=float) for s in (baseline, other)
    )
    n = min(len(x), len(y))
    if n == 0:
        raise ValueError(
            "compare_unpaired needs a score of each, but found "
            f"{len(x)} of the baseline and {len(y)} of the other; give one run at least"
        )
    least, enough = float(tiny(x, y)), n > 1
    mean = float(y.mean() - x.mean())
    mean = 0.0 if abs(mean) <= least and enough else mean
    se, df = np.inf, 1.0
    if enough:
        parts = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
        se = float(np.sqrt(parts.sum()))
        if se <= least:
            k = max(len(x), len(y))
            spread = rounding_sd(np.resize(x, k), np.resize(y, k), np.asarray(mean))
            se = float(spread) / np.sqrt(n)
            df = n - 1.0
        else:
            df = float(parts.sum() ** 2 / (parts**2 / [len(x) - 1, len(y) - 1]).sum())
    p, half = t_test(df, np.asarray(mean), se, confidence)
    return Comparison(
        n=n,
        seeds=(),
        difference=bounded(mean, float(half)),
        sd=se * n**0.5 if enough and np.isfinite(se) else None,
        df=df if enough else None,
        p_different=float(p) if enough else None,
        p_equivalent=_p_equivalent(df, mean, se, margin) if enough else None,
        wins=None,
        losses=None,
        p_sign_flip=None,
        margin=margin,
        confidence=confidence,
        paired=False,
    )


def common_seeds(baseline: Scores, other: Scores) -> tuple[Hashable, ...]:
    """Return the seeds for which both have a finite score."""
    return tuple(s for s in baseline if has_score(baseline, s) and has_score(other, s))


def has_score(scores: Scores, seed: Hashable) -> bool:
    value = scores.get(seed)
    return value is not None and bool(np.isfinite(value))


def bounded(estimate: float, half: float) -> Interval:
    """Return the interval estimate ± half; its bounds are None where half is infinite."""
    if np.isinf(half):
        return Interval(None, estimate, None)
    return Interval(estimate - half, estimate, estimate + half)


def tiny(before: Floats, after: Floats) -> Floats:
    """Return the size, along the last axis, below which a difference is a rounding error."""
    return ROUNDING * np.maximum(np.abs(before).max(-1), np.abs(after).max(-1))


def summarize(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Return mean and sd of paired differences along the last axis; sd as in `compare_paired`."""
    d = after - before
    least = tiny(before, after)
    mean = d.mean(-1)
    mean = np.where(np.abs(mean) <= least, 0.0, mean) if d.shape[-1] > 1 else mean
    sd = d.std(-1, ddof=1) if d.shape[-1] > 1 else np.full(d.shape[:-1], np.inf)
    return mean, np.where(sd <= least, rounding_sd(before, after, mean), sd)


def rounding_sd(before: Floats, after: Floats, mean: Floats) -> Floats:
    """Return the spread of differences that are equal only because scores are rounded.

    Scores are taken as rounded to steps of the difference, or of the smallest one between any two
    of them, if that is larger; it is infinite where all scores are one number.
    """
    scores = np.sort(np.concatenate([*np.broadcast_arrays(before, after)], -1), -1)
    gaps = np.diff(scores, axis=-1)
    gaps = np.where(gaps > tiny(before, after)[..., None], gaps, np.inf).min(-1)
    step = np.where(np.isfinite(gaps), np.maximum(gaps, np.abs(mean)), np.inf)
    return step / np.sqrt(6)


def standard_error(n: npt.ArrayLike, sd: npt.ArrayLike, test_to_train: float = 0.0) -> Floats:
    """Return the standard error of the mean of n differences; infinite for one."""
    n = np.asarray(n)
    return np.where(n > 1, sd, np.inf) / np.sqrt(n) * widening(n, test_to_train)


def t_test(
    df: npt.ArrayLike, mean: Floats, se: npt.ArrayLike, confidence: float
) -> tuple[Floats, Floats]:
    """Return the two-sided p of mean 0, and half the width of the interval; arrays broadcast."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(mean == 0, 0.0, np.abs(mean) / se)
    return 2 * stdtr(df, -ratio), quantile_t(df, confidence) * np.asarray(se)


def _p_equivalent(df: float, mean: float, se: float, margin: float) -> float:
    if se == 0:  # and so the mean: the two are the same
        return 0.0
    return float(stdtr(df, -(margin - abs(mean)) / se))


def _p_sign_flip(d: Floats) -> float:
    """Return the share of all sign patterns whose sum is at least as far from 0 as the observed."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    seen = abs(float(d.sum())) - ROUNDING * float(np.abs(d).sum())  # ties must count as ties
    return float((np.abs(sums) >= seen).mean())
