"""Verdicts that are read again and again while seeds are added."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.optimize import brentq
from scipy.special import gammaln, stdtr, stdtrit

from counterpoise.stats._interval import Floats

_SHARES = np.linspace(0, 1, 48)  # of the boundary
_NODES, _WEIGHTS = (x[:, None] / 2 for x in np.polynomial.legendre.leggauss(24))
_FEW = 5  # looks; K of 3 to 200 seeds is above 8 p where p <= 0.05
MOST_LOOKED_AT = 1000  # up to which K is computed with an error of 1% at most
_TAIL = 7.0  # standard deviations beyond which nothing is left of a new value
_NOMINAL = np.geomspace(1e-7, 1.0, 22)  # p of which K is computed; it is smooth between them


@dataclass(frozen=True)
class Looks:
    r"""Rule for verdicts that are read while seeds are added: all claims hold together.

    Whoever adds a seed, looks, and stops at the first difference finds one where there is none: 20
    looks at p < 0.05 find it in a quarter of studies. Here p is replaced by the chance that equal
    variants show such a p at any look,

    .. math::
        K(p) = P\left(\min_{\text{first} \le n \le \text{last}} p_n \le p\right)

    where p_n is the p of the paired t test on the first n seeds. Differences that are normal are
    assumed, nothing else: K does not depend on their spread. An interval has the nominal confidence
    1 - q with K(q) = 1 - confidence, and so holds the truth at all looks together. This is Pocock's
    constant nominal level, for t statistics with a look after every seed; other dates of looking
    within these bounds are a part of it, and err less.

    K is computed, not simulated. By Basu's theorem the direction of n values (t, in other words) is
    independent of their length, so that t is a Markov chain, through which the chance not to cross
    is integrated backwards.

    Sources: Pocock 1977, Biometrika 64, 191, for the constant level; Armitage, McPherson and Rowe
    1969, J. R. Stat. Soc. A 132, 235, for the integration.

    Args:
        first: Seeds at the first look, 2 or more.
        last: Seeds at the last one that may be.
        at_most: Number of looks that there are at most; None for one after every seed. The smaller
            of at_most · p (Bonferroni) and K(p) counts; of five looks or fewer the first alone.

    Raises:
        ValueError: If 2 <= first <= last <= 1000, or at_most >= 1, does not hold.

    Example:
        >>> looks = Looks(first=5, last=25)
        >>> round(float(looks.adjusted(0.01)), 3), round(looks.nominal(0.05), 4)
        (0.057, 0.0085)
    """

    first: int = 3
    last: int = 200
    at_most: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.last <= MOST_LOOKED_AT:
            raise ValueError(
                f"looks need 2 <= first <= last <= {MOST_LOOKED_AT}, seeds at the first and the "
                f"last look, but got {self.first} and {self.last}"
            )
        if self.at_most is not None and self.at_most < 1:
            raise ValueError(f"at_most must be 1 look or more, but got {self.at_most}")

    def adjusted(self, p: npt.ArrayLike) -> Floats:
        """Return K(p), the p of a t test corrected for all the looks."""
        p = np.asarray(p, dtype=np.float64)
        if self._few:
            return np.minimum(self._most * p, 1.0)
        known = np.maximum(p, _NOMINAL[0])
        at_all = np.exp(_log_any(self.first, self.last)(np.log(known)))
        return np.clip(np.minimum(at_all, self._most * p), p, 1.0)

    def nominal(self, level: float) -> float:
        """Return q with K(q) = level: the p up to which one of the looks makes a claim."""
        least = level / self._most
        if self._few or self.adjusted(_NOMINAL[0]) >= level:
            return least
        log_any, goal = _log_any(self.first, self.last), np.log(level)
        q = brentq(lambda q: float(log_any(q)) - goal, np.log(_NOMINAL[0]), 0.0)
        return max(float(np.exp(q)), least)

    @property
    def _few(self) -> bool:
        return self.at_most is not None and self.at_most <= _FEW

    @property
    def _most(self) -> int:
        every = self.last - self.first + 1
        return every if self.at_most is None else min(every, self.at_most)


@cache
def _log_any(first: int, last: int) -> PchipInterpolator:
    """Return log K as a function of log p, of which it is an increasing one."""
    any_ = [_any_crossing(p, first, last) for p in _NOMINAL[:-1].tolist()]
    return PchipInterpolator(np.log(_NOMINAL), np.log([*any_, 1.0]))


def _any_crossing(p: float, first: int, last: int) -> float:
    r"""Return K(p), integrated backwards from the last look.

    u = t / √(n - 1 + t²) is the cosine of the angle between the n differences, as a vector, and
    (1, .., 1). A new difference turns the vector by φ with density ∝ cos^(n-1) φ, and u becomes

        u' = (√n u cos φ + sin φ) / √(n+1) = A cos(φ - φ₀)

    which, for u >= 0, is beyond the boundary where |φ - φ₀| < δ, and nowhere else. What follows is
    a smooth function of artanh u = arsinh(t / √(n - 1)).
    """
    n = np.arange(first, last + 1)
    edges = dict(zip(n.tolist(), np.arcsinh(-stdtrit(n - 1, p / 2) / np.sqrt(n - 1)), strict=True))
    later = np.zeros_like(_SHARES)  # the chance to cross after n seeds, from share · edge
    for n in range(last - 1, first - 1, -1):
        root, then = np.sqrt(n), edges[n + 1]
        u = np.tanh(_SHARES * edges[n])
        middle = np.arctan2(1, root * u)
        delta = np.arccos(np.minimum(np.tanh(then) * np.sqrt((n + 1) / (n * u**2 + 1)), 1))
        low, high = middle - delta, np.minimum(middle + delta, np.pi / 2)
        now = stdtr(n, -root * np.tan(low)) - stdtr(n, -root * np.tan(high))
        far = np.pi / 2 if n < _TAIL**2 else _TAIL / root
        later_at = _even_spline(later)
        for start, end in ((-far, np.clip(low, -far, far)), (np.clip(high, -far, far), far)):
            if np.all(start == end):
                continue
            phi, weight = _nodes(start, end)
            turned = np.abs(root * u * np.cos(phi) + np.sin(phi)) / np.sqrt(n + 1)
            share = np.arctanh(np.minimum(turned, np.tanh(then))) / then
            now = now + (weight * _density(phi, n) * later_at(np.minimum(share, 1))).sum(0)
        later = now
    v, weight = _nodes(0.0, edges[first])
    density = _density(np.arctan(np.sinh(v)), first - 1) / np.cosh(v)
    return p + 2 * float((weight * density * _even_spline(later)(v / edges[first])).sum())


def _nodes(low: npt.ArrayLike, high: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return points between two bounds and their weights in an integral, in a first axis."""
    width = np.asarray(high) - np.asarray(low)
    return np.asarray(low) + width * (0.5 + _NODES), width * _WEIGHTS


def _density(phi: Floats, n: int) -> Floats:
    """Return the density of the angle by which one value turns a vector of n."""
    constant = gammaln((n + 1) / 2) - gammaln(n / 2) - np.log(np.pi) / 2
    return np.exp((n - 1) * np.log(np.maximum(np.cos(phi), 1e-300)) + constant)


def _even_spline(values: Floats) -> CubicSpline:
    return CubicSpline(_SHARES, values, bc_type=((1, 0.0), "not-a-knot"))
