"""Variants over several data sets: mean ranks, Friedman's test, and Wilcoxon's with Holm."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import f, friedmanchisquare, permutation_test, rankdata, wilcoxon

from counterpoise.stats import holm

LEAST = 6  # data sets: with five, Wilcoxon's two-sided p is 2/2^5 = 0.06 at least
_EXACT = 13  # data sets, up to which all patterns of signs are counted
_ROUNDING = 9  # digits of the largest difference; what is below is a tie


@dataclass(frozen=True)
class AgainstBaseline:
    """A variant and the baseline over the data sets that both have.

    Attributes:
        variant: its name.
        better: data sets on which its mean is better.
        worse: data sets on which it is worse.
        equal: data sets on which they are equal.
        p: of Wilcoxon's signed-rank test, two-sided; None with fewer than 6 data sets.
        p_holm: the same, adjusted by Holm for all variants.
        direction: 1 where it tends to be better, -1 worse, 0 where that cannot be told.
    """

    variant: str
    better: int
    worse: int
    equal: int
    p: float | None
    p_holm: float | None
    direction: int

    @property
    def words(self) -> str:
        """Return what can be claimed."""
        n = self.better + self.worse + self.equal
        if self.p is None:
            return f"cannot tell from {n} data set{'s' * (n != 1)}: it takes {LEAST} or more"
        if not self.direction:
            return f"cannot tell over these {n} data sets"
        side = "better" if self.direction > 0 else "worse"
        return f"tends to be {side} over these {n} data sets"


@dataclass(frozen=True)
class OverDatasets:
    """All variants over several data sets.

    Attributes:
        datasets: those on which every variant has a score, by which variants are ranked.
        ranks: mean rank of each variant over them, 1 the best; empty without such a data set.
        p_friedman: of all variants being alike, by Iman and Davenport's F; None with fewer than
            three variants or 6 data sets.
        against: each variant against the baseline.
    """

    datasets: tuple[str, ...]
    ranks: Mapping[str, float]
    p_friedman: float | None
    against: tuple[AgainstBaseline, ...]


def over_datasets(
    means: Mapping[str, Mapping[str, float]],
    baseline: str,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> OverDatasets:
    r"""Compare variants with the baseline over data sets, of each of which one mean counts.

    .. math::
        F = \frac{(N - 1) \, \chi^2}{N (k - 1) - \chi^2}, \qquad \text{df}\; k - 1,\; (k - 1)(N - 1)

    with Friedman's χ² of k variants on N data sets, corrected for ties. Each variant is compared
    with the baseline by Wilcoxon's signed-rank test (zeros as Pratt's; exact up to 13 data sets,
    also with ties) with Holm's correction, and not by differences of mean ranks, which depend on
    what other variants there are.

    Sources: Demšar 2006, JMLR 7, 1; Benavoli, Corani and Mangili 2016, JMLR 17(5), 1.

    Args:
        means: by variant and data set; a data set is left out where a variant has no mean.
        baseline: one of the variants.
        higher_is_better: False for losses and errors.
        confidence: of all claims together.

    Returns:
        The comparison. Nothing is claimed with fewer than 6 data sets.

    Example:
        >>> plain = {f"set {k}": 0.7 + 0.01 * k for k in range(8)}
        >>> other = {name: x + 0.02 for name, x in plain.items()}
        >>> found = over_datasets({"plain": plain, "other": other}, "plain")
        >>> found.ranks["other"], found.against[0].p, found.against[0].words
        (1.0, 0.0078125, 'tends to be better over these 8 data sets')
    """
    sign = 1 if higher_is_better else -1
    names = list(means)
    first = means[baseline]
    common = [d for d in first if all(d in means[name] for name in names)]
    table = np.array([[sign * means[name][d] for name in names] for d in common])
    ranks = rankdata(-_rounded(table), axis=1).mean(0) if common else []
    others = [name for name in names if name != baseline]
    differences = [
        _rounded(np.array([sign * (means[name][d] - first[d]) for d in first if d in means[name]]))
        for name in others
    ]
    p = [_wilcoxon(d) if len(d) >= LEAST else None for d in differences]
    adjusted = iter(holm([x for x in p if x is not None]))
    against = []
    for name, d, raw in zip(others, differences, p, strict=True):
        p_holm = None if raw is None else float(next(adjusted))
        settled = p_holm is not None and p_holm <= 1 - confidence
        better, worse = int((d > 0).sum()), int((d < 0).sum())
        side = int(np.sign(_signed_ranks(d).sum())) if settled else 0
        rest = len(d) - better - worse
        against.append(AgainstBaseline(name, better, worse, rest, raw, p_holm, side))
    return OverDatasets(
        tuple(common),
        dict(zip(names, map(float, ranks), strict=True)) if common else {},
        _friedman(table) if len(common) >= LEAST and len(names) > 2 else None,
        tuple(against),
    )


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return values without rounding errors, which would break ties."""
    largest = np.abs(values).max(initial=0.0) or 1.0
    return np.round(values / largest, _ROUNDING)


def _signed_ranks(d: np.ndarray) -> np.ndarray:
    return np.sign(d) * rankdata(np.abs(d))


def _wilcoxon(d: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test."""
    if not d.any():
        return 1.0
    if len(d) > _EXACT:
        return float(wilcoxon(d, zero_method="pratt").pvalue)
    every = permutation_test(
        (_signed_ranks(d),), np.sum, permutation_type="samples", n_resamples=2**_EXACT
    )
    return float(every.pvalue)


def _friedman(table: np.ndarray) -> float:
    """Return Iman and Davenport's p; where all data sets agree, so that F is infinite, χ²'s."""
    rounded, (n, k) = _rounded(table), table.shape
    if (rounded == rounded[:, :1]).all():
        return 1.0
    chi2, p = friedmanchisquare(*rounded.T)
    rest = n * (k - 1) - chi2
    return float(f.sf((n - 1) * chi2 / rest, k - 1, (k - 1) * (n - 1)) if rest > 1e-9 else p)
