"""The numbers of a rule, chosen on validation data that were not trained on."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-9  # of share * (n + 1), which may be an integer


def threshold_for_recall(p: npt.ArrayLike, targets: npt.ArrayLike, k: int, recall: float) -> float:
    r"""Return the largest threshold with which a class is expected to have a recall.

    .. math::
        t = p_{(m)}, \qquad m = \lceil r \, (n + 1) \rceil

    the m-th largest probability of class k among its n validation samples, of which a share m / n
    then reaches t. That is a little more than r: a sample that was not among the n is the m-th or
    higher with a probability of at least m / (n + 1), so that r holds on average over validation
    splits on new samples, also where the class occurs more or less often. On one split it scatters
    about it, with the standard deviation :math:`\sqrt{r (1 - r) / (n + 2)}`. In a `Rule` it holds
    for a class that is the only one with a threshold.

    Source: the order statistic of split conformal prediction, Vovk 2012, arXiv 1209.2673, section
    2.

    Args:
        p: probabilities of validation data, (N, C).
        targets: their classes, int (N).
        k: the class.
        recall: r, above 0 and below 1.

    Raises:
        ValueError: r out of its range, or fewer samples of the class than r / (1 - r), with which
            no threshold is known to reach it.

    Example:
        >>> p = [[1 - x, x] for x in (0.1, 0.4, 0.6, 0.7, 0.9, 0.2)]
        >>> threshold_for_recall(p, [1, 1, 1, 1, 1, 0], 1, 0.6)
        0.4
    """
    q, t = _checked(p, targets)
    needed = samples_needed(recall, "recall")
    own = q[t == k, k]
    found = _quantile(own, recall)
    if found is None:
        raise ValueError(
            f"a recall of {recall:g} needs {needed:,} validation samples of the class or more, but "
            f"class {k} has {len(own):,}; hold out more, or ask for a recall of "
            f"{len(own) / (len(own) + 1):.3g} at most"
        )
    return found


def samples_needed(share: float, name: str = "share") -> int:
    r"""Return the least samples of a class that tell a threshold: n with n / (n + 1) ≥ share.

    Raises:
        ValueError: a share that is not above 0 and below 1.

    Example:
        >>> samples_needed(0.95)
        19
    """
    if not 0 < share < 1:
        raise ValueError(f"{name} must be above 0 and below 1, but got {share}")
    return max(1, math.ceil(share / (1 - share) - _ROUNDING))


def abstention_for_share(p: npt.ArrayLike, share: float) -> float:
    """Return the `abstain` of a rule that gives no class to a share of the samples at most.

    It is the largest one with which no more than that share of these samples has a lower top
    probability: the least certain ones are left out. On other data the share is near it, where the
    classes occur as often.

    Source: Chow 1970, "On optimum recognition error and reject tradeoff", IEEE Trans. Inf. Theory
    16, 41: for each share, this leaves the fewest errors.

    Args:
        p: probabilities of validation data, (N, C), at least one sample; classes are not needed.
        share: from 0 on, below 1.

    Raises:
        ValueError: a share out of its range, or no samples.

    Example:
        >>> abstention_for_share([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]], 0.25)
        0.7
    """
    q = np.asarray(p, np.float64)
    if not 0 <= share < 1:
        raise ValueError(f"share must be from 0 on and below 1, but got {share}")
    if q.ndim != 2 or not len(q):
        raise ValueError(f"p must be (N, C) with one sample at least, but got {q.shape}")
    top = np.sort(q.max(1))
    return float(top[math.floor(share * len(top) + _ROUNDING)]) if share else 0.0


def conformal_thresholds(
    p: npt.ArrayLike, targets: npt.ArrayLike, coverage: float
) -> tuple[float, ...]:
    r"""Return the `sets` of a rule: thresholds of class-conditional conformal sets.

    .. math::
        t_y = p_{(m)}, \qquad m = \lceil c \, (n_y + 1) \rceil

    the m-th largest probability of class y among its :math:`n_y` validation samples; where m is
    above n_y, 0. A new sample of class y has y in its set with a probability of at least c, and at
    most c + 1 / (n_y + 1) without ties, on average over validation splits: for each class, whatever
    the net, if its samples are exchangeable with those of validation. That does not depend on how
    often the classes occur.

    A class with fewer validation samples than c / (1 - c) (`samples_needed`) gets 0, and is in
    every set: too little is known of it to leave it out.

    Sources: label-conditional (Mondrian) split conformal prediction: Vovk 2012, arXiv 1209.2673,
    section 3; as thresholds of p: Sadinle, Lei and Wasserman 2019, arXiv 1609.00451, section 3.

    Args:
        p: probabilities of validation data, (N, C).
        targets: their classes, int (N).
        coverage: c, above 0 and below 1.

    Returns:
        One for each class, (C).

    Raises:
        ValueError: c out of its range, or shapes that do not fit.

    Example:
        >>> p = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
        >>> conformal_thresholds(p, [0, 0, 0, 1], 0.75)
        (0.6, 0.0)
    """
    q, t = _checked(p, targets)
    samples_needed(coverage, "coverage")  # for its range
    return tuple(_quantile(q[t == k, k], coverage) or 0.0 for k in range(q.shape[1]))


def _quantile(values: Floats, share: float) -> float | None:
    """Return the ⌈share (n + 1)⌉-th largest of n values; None where there are too few."""
    m = math.ceil(share * (len(values) + 1) - _ROUNDING)
    return float(np.sort(values)[len(values) - m]) if m <= len(values) else None


def _checked(p: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    q, t = np.asarray(p, np.float64), np.asarray(targets, np.int64)
    if q.ndim != 2 or t.shape != q.shape[:1]:
        raise ValueError(f"p must be (N, C) and targets (N), but got {q.shape} and {t.shape}")
    return q, t
