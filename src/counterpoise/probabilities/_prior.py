"""Probabilities for data whose classes occur more or less often than where they were learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from counterpoise.arguments import Counts, read_counts

Floats = npt.NDArray[np.float64]


def move_prior(log_p: Floats, old: Counts, new: Counts) -> Floats:
    r"""Return log-probabilities under other class shares, by Bayes' rule.

    .. math::
        p'(y \mid x) \propto p(y \mid x) \, \frac{\pi'_y}{\pi_y}

    It holds where each class looks as before and only occurs more or less often (label shift).

    Source: Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a
    priori probabilities", eq. 2.4; Elkan 2001, theorem 2.

    Args:
        log_p: log-probabilities, float64 (N, C).
        old: shares or counts of the classes where they hold, (C); an empty class counts as the
            rarest of the others.
        new: the same where they are used; a class of 0 is ruled out.

    Returns:
        Float64 (N, C).

    Raises:
        ValueError: shares that are not one number per class.

    Example:
        >>> import numpy as np
        >>> np.exp(move_prior(np.log([[0.5, 0.5]]), [1, 1], [9, 1])).round(4)
        array([[0.9, 0.1]])
    """
    return log_softmax(
        log_p + log_shares(new, log_p.shape[1], zeros=True) - log_shares(old, log_p.shape[1]),
        axis=1,
    )


def log_shares(counts: Counts, classes: int, zeros: bool = False) -> Floats:
    """Return the log of each class's share; an empty class counts as the rarest of the others.

    Args:
        counts: shares or counts, (C).
        classes: C.
        zeros: whether an empty class has the share 0 instead.
    """
    n = read_counts(counts, "shares of classes")
    if len(n) != classes:
        raise ValueError(
            f"shares of classes must be one number for each of {classes} classes, but got {len(n)}"
        )
    n = n if zeros else np.maximum(n, n[n > 0].min())
    with np.errstate(divide="ignore"):
        return np.log(n / n.sum())


@dataclass(frozen=True)
class PriorEstimate:
    """The result of `estimate_prior`.

    Attributes:
        shares: of the classes, (C).
        iterations: of the EM algorithm.
        samples: that it was estimated from.
    """

    shares: tuple[float, ...]
    iterations: int
    samples: int


def estimate_prior(
    log_p: Floats, prior: Counts, *, tolerance: float = 1e-6, most: int = 10_000
) -> PriorEstimate:
    r"""Estimate the class shares of unlabelled data from their predicted probabilities.

    .. math::
        \pi^{(k+1)}_y = \frac{\pi_y + \sum_i p^{(k)}(y \mid x_i)}{1 + N}, \qquad
        p^{(k)}(y \mid x) \propto p(y \mid x) \, \frac{\pi^{(k)}_y}{\pi_y}

    This is the EM algorithm for the maximum likelihood, with one more sample at the old shares, so
    that no class is ruled out. It assumes that each class looks as in
    training (label shift) and that the probabilities are calibrated (Alexandari et al. 2020, arXiv
    1901.06852); where the classes look otherwise, as with another camera, the estimate is wrong.
    Where probabilities hardly tell classes apart it is far off, and says nothing of it: an exported
    model tries it on the study's test samples first.

    Source: Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a
    priori probabilities", eq. 2.9.

    Args:
        log_p: log-probabilities of the new data, float64 (N, C), under `prior`.
        prior: shares or counts of the classes, (C).
        tolerance: the largest change of a share at which it ends.
        most: iterations.

    Raises:
        ValueError: no samples, or shares that are not one number per class.

    Example:
        >>> import numpy as np
        >>> log_p = np.log([[0.9, 0.1]] * 30 + [[0.1, 0.9]] * 70)
        >>> np.round(estimate_prior(log_p, [1, 1]).shares, 2).tolist()
        [0.25, 0.75]
    """
    if not len(log_p):
        raise ValueError("class shares must be estimated from one sample at least, but got none")
    old = log_shares(prior, log_p.shape[1])
    likelihood = np.exp(log_p - old - (log_p - old).max(1, keepdims=True))
    shares, iterations, change = np.exp(old), 0, np.inf
    while change > tolerance and iterations < most:
        joint = likelihood * shares
        found = (np.exp(old) + (joint / joint.sum(1, keepdims=True)).sum(0)) / (1 + len(log_p))
        change, shares, iterations = np.abs(found - shares).max(), found, iterations + 1
    return PriorEstimate(tuple(shares.tolist()), iterations, len(log_p))
