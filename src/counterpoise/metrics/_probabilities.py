"""Metrics of predicted probabilities: Brier score, calibration, average precision."""

import numpy as np
import numpy.typing as npt

from counterpoise.arguments import Counts, read_counts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 15


def log_softmax(logits: npt.NDArray[np.floating]) -> Floats:
    """Return log(exp(z_j) / sum of exp(z)) in float64, shifted so that nothing overflows."""
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def brier(probabilities: Floats, targets: Ints) -> float:
    """Return the mean over the samples of sum_j (p_j - [j = target])^2."""
    gap = probabilities.copy()
    gap[np.arange(len(targets)), targets] -= 1
    return float((gap**2).sum(1).mean())


def share_weights(targets: npt.ArrayLike, shares: Counts) -> Floats:
    r"""Return weights with which samples stand for data of other class shares, of mean 1.

    .. math::
        w_i \propto \frac{\pi_{t_i}}{n_{t_i}}

    with the shares π and the numbers n of the samples of each class.

    Args:
        targets: true class per sample, integers from 0 to C - 1, (N).
        shares: shares or counts of the classes, (C); those of classes without samples are left out.

    Raises:
        ValueError: samples whose class has no share, or none at all.

    Example:
        >>> share_weights([0, 0, 0, 1], [1, 1]).round(3).tolist()
        [0.667, 0.667, 0.667, 2.0]
    """
    t, pi = np.asarray(targets, np.int64), read_counts(shares, "shares")
    n = np.bincount(t, minlength=len(pi))
    if len(n) > len(pi) or not (pi[n > 0] > 0).any():
        raise ValueError(
            f"shares must be one number for each class of the targets, some of them above 0, but "
            f"got {len(pi)} for {len(n)} classes"
        )
    weights = (pi / np.maximum(n, 1))[t]
    return weights / weights.mean()


def log_loss_at(log_p: npt.ArrayLike, targets: npt.ArrayLike, shares: Counts) -> float:
    r"""Return the log-loss at given class shares, in nats.

    .. math::
        -\sum_y \pi_y \, \frac{1}{n_y} \sum_{i : t_i = y} \log p_{i,y}

    the mean of the classes' mean log-losses, weighted by the shares π. Where the samples have these
    shares themselves it is the mean over the samples. So probabilities at the training data's
    shares can be judged on a test split that is balanced.

    Args:
        log_p: log-probabilities, (N, C).
        targets: true class per sample, integers from 0 to C - 1, (N).
        shares: shares or counts of the classes, (C); those of classes without samples are left out.

    Raises:
        ValueError: as `share_weights`.

    Example:
        >>> import numpy as np
        >>> log_p = np.log([[0.9, 0.1], [0.8, 0.2], [0.5, 0.5]])
        >>> round(log_loss_at(log_p, [0, 0, 1], [2, 1]), 4)  # the shares of the samples
        0.3406
        >>> round(log_loss_at(log_p, [0, 0, 1], [9, 1]), 4)
        0.2171
    """
    t = np.asarray(targets, np.int64)
    own = np.asarray(log_p, np.float64)[np.arange(len(t)), t]
    return float(0 - (share_weights(t, shares) * own).mean())


def reliability(
    probabilities: Floats, targets: Ints, weights: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Bin the predictions by confidence, into ((m - 1) / 15, m / 15].

    Args:
        probabilities: of the classes, (N, C).
        targets: true class per sample, (N).
        weights: of the samples, (N), as of `share_weights`; None for 1 each.

    Returns:
        The weight of the samples (their number), the mean confidence and the accuracy of each bin,
        float64 (15); the last two are NaN where a bin is empty.

    Example:
        >>> import numpy as np
        >>> count, sure, right = reliability(np.array([[0.9, 0.1], [0.94, 0.06]]), np.array([0, 1]))
        >>> count[13:].tolist(), float(sure[13]), float(right[14])
        ([1.0, 1.0], 0.9, 0.0)
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    w = np.ones(len(right)) if weights is None else weights
    index = np.searchsorted(np.linspace(0, 1, BINS + 1), np.minimum(confidence, 1)) - 1
    count, sure, found = (
        np.bincount(index, w * x, minlength=BINS).astype(np.float64) for x in (1, confidence, right)
    )
    filled = np.where(count > 0, count, np.nan)
    return count, sure / filled, found / filled


def calibration_error(count: npt.ArrayLike, confidence: Floats, accuracy: Floats) -> float:
    """Return the mean over the samples of |accuracy - confidence| of their bin: `reliability`."""
    n = np.asarray(count)
    return float(np.nansum(n * np.abs(accuracy - confidence)) / n.sum())


def ranking(log_probabilities: Floats, targets: Ints) -> tuple[Floats, Floats]:
    r"""Return the average precision and the area under ROC of each class against the rest.

    .. math::
        \text{AP} &= \sum_n (R_n - R_{n-1}) \, P_n \\
        \text{AUROC} &= \sum_n (F_n - F_{n-1}) \, \frac{R_n + R_{n-1}}{2}

    with precision P, recall R and false positive rate F of all samples from the n-th highest
    distinct score up. They are scikit-learn's `average_precision_score` and `roc_auc_score`, whose
    checks take most of their time. Log-probabilities rank as probabilities do, without the ties of
    those that underflow to 0.

    Returns:
        Both float64 (C), NaN where the targets do not hold the class; the second also where they
        hold no other.
    """
    precision, area = np.full((2, log_probabilities.shape[1]), np.nan)
    for k in np.unique(targets):
        order = np.argsort(-log_probabilities[:, k], kind="stable")
        ranked = log_probabilities[order, k]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each distinct score
        right = np.append(0, np.cumsum(targets[order] == k)[last])
        wrong = np.append(0, last + 1) - right
        recall = right / right[-1]
        precision[k] = np.sum(np.diff(recall) * (right[1:] / (last + 1)))
        if wrong[-1]:
            area[k] = np.sum(np.diff(wrong) * (recall[1:] + recall[:-1])) / (2 * wrong[-1])
    return precision, area
