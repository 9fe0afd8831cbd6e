"""Metrics of predicted probabilities: Brier score, calibration, average precision."""

import numpy as np
import numpy.typing as npt

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


def reliability(probabilities: Floats, targets: Ints) -> tuple[Ints, Floats, Floats]:
    """Bin the predictions by confidence, into ((m - 1) / 15, m / 15].

    Returns:
        The number of samples, the mean confidence and the accuracy of each bin; the last two are
        NaN where a bin is empty.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    index = np.searchsorted(np.linspace(0, 1, BINS + 1), confidence) - 1
    count, sure, found = (
        np.bincount(index, weights, minlength=BINS) for weights in (None, confidence, right)
    )
    filled = np.where(count > 0, count, np.nan)
    return count.astype(np.int64), sure / filled, found / filled


def calibration_error(count: Ints, confidence: Floats, accuracy: Floats) -> float:
    """Return the mean over the samples of |accuracy - confidence| of their bin."""
    return float(np.nansum(count * np.abs(accuracy - confidence)) / count.sum())


def average_precision(log_probabilities: Floats, targets: Ints) -> Floats:
    """Return scikit-learn's average precision of each class against the rest; NaN if it is absent.

    Log-probabilities rank as probabilities do, without the ties of those that underflow to 0.
    """
    # Imported here because it takes a second that reading finished scores should not cost.
    from sklearn.metrics import average_precision_score

    found = np.full(log_probabilities.shape[1], np.nan)
    for k in np.unique(targets):
        found[k] = average_precision_score(targets == k, log_probabilities[:, k])
    return found
