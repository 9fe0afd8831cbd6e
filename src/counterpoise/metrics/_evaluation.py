"""All metrics of one set of logits."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from counterpoise.arguments import Counts
from counterpoise.metrics._adjust import check_counts, check_logits
from counterpoise.metrics._probabilities import (
    brier,
    calibration_error,
    log_softmax,
    ranking,
    reliability,
)
from counterpoise.metrics._scores import Floats, Ints, Scores, score


@dataclass(frozen=True, eq=False)
class Evaluation(Scores):
    r"""All metrics of `evaluate`: `Scores`, probabilistic metrics, and recall by class size.

    .. math::
        \text{nll} &= -\frac{1}{N} \sum_i \log p_{i,t_i} \\
        \text{brier} &= \frac{1}{N} \sum_i \sum_j (p_{ij} - [j = t_i])^2 \\
        \text{expected calibration error} &= \sum_{m=1}^{15} \frac{|B_m|}{N}
            \, |\text{acc}(B_m) - \text{conf}(B_m)|

    where p = softmax(logits), t_i is the true class of sample i, and N the number of samples. The
    predicted class is the most probable one, its probability the confidence, and B_m holds the
    samples whose confidence lies in ((m - 1) / 15, m / 15].

    Sources: the groups Liu et al. 2019, arXiv 1904.05160; the calibration error Guo et al. 2017,
    arXiv 1706.04599, eq. 3; the Brier score Brier 1950.

    Attributes:
        worst_recall: the lowest recall of the classes that occur in the targets.
        worst_class: index of that class, the first of several.
        many_shot_recall: mean recall of the classes with more than 100 training samples; None if
            no class with test samples is in the group.
        medium_shot_recall: mean recall of the classes with 20 to 100 training samples, or None.
        few_shot_recall: mean recall of the classes with fewer than 20 training samples, or None.
        nll: negative log-likelihood, in nats.
        brier: Brier score, 0 to 2.
        expected_calibration_error: mean distance of the confidence from the accuracy, 0 to 1.
        bin_count: samples in each bin, int64 (15): with the next two, a reliability diagram.
        bin_confidence: their mean confidence, float64; NaN in empty bins.
        bin_accuracy: the share of them that is right, float64; NaN in empty bins.
        average_precision: of each class against the rest, ranked by its probability, float64; NaN
            where the targets do not hold the class.
        mean_average_precision: its mean over the classes that they do hold.
        auroc: area under ROC of each class against the rest, float64; NaN where the targets do not
            hold the class, or no other.
        macro_auroc: its mean over the rest; NaN where there is none.
    """

    worst_recall: float
    worst_class: int
    many_shot_recall: float | None
    medium_shot_recall: float | None
    few_shot_recall: float | None
    nll: float
    brier: float
    expected_calibration_error: float
    bin_count: Ints
    bin_confidence: Floats
    bin_accuracy: Floats
    average_precision: Floats
    mean_average_precision: float
    auroc: Floats
    macro_auroc: float


def evaluate(targets: npt.ArrayLike, logits: npt.ArrayLike, train_counts: Counts) -> Evaluation:
    """Compute all metrics of logits against the true classes.

    Formulas: `Evaluation` and `Scores`. The predicted class is that of the highest logit, the first
    of several. Computed in float64.

    Args:
        targets: true class per sample, integers from 0 to C - 1, (N).
        logits: (N, C), floating, finite.
        train_counts: training samples of each class, (C), or by class.

    Returns:
        The metrics; `to_dict()` gives plain lists, with None for NaN.

    Raises:
        ValueError: logits that are not (N, C) or not finite, targets that are no class numbers or
            not as many as the logits, counts that are not one per class.

    Example:
        >>> from counterpoise.metrics import evaluate
        >>> found = evaluate([0, 0, 1], [[2.0, 0.0], [1.0, 0.0], [3.0, 0.0]], [500, 10])
        >>> found.accuracy == 2 / 3, found.worst_class, found.worst_recall, found.few_shot_recall
        (True, 1, 0.0, 0.0)
    """
    z = check_logits(logits)
    counts = check_counts(train_counts, z.shape[1], zeros=True)
    scores = score(targets, z.argmax(1), z.shape[1])
    true = np.asarray(targets).astype(np.int64)
    log_p = log_softmax(z)
    p = np.exp(log_p)
    bins = reliability(p, true)
    precision, area = ranking(log_p, true)
    recall = np.where(scores.support > 0, scores.recall, np.nan)
    return Evaluation(
        **vars(scores),
        worst_recall=float(np.nanmin(recall)),
        worst_class=int(np.nanargmin(recall)),
        many_shot_recall=_mean(recall[counts > 100]),
        medium_shot_recall=_mean(recall[(counts >= 20) & (counts <= 100)]),
        few_shot_recall=_mean(recall[counts < 20]),
        nll=float(0 - log_p[np.arange(len(true)), true].mean()),
        brier=brier(p, true),
        expected_calibration_error=calibration_error(*bins),
        bin_count=bins[0].astype(np.int64),
        bin_confidence=bins[1],
        bin_accuracy=bins[2],
        average_precision=precision,
        mean_average_precision=float(np.nanmean(precision)),
        auroc=area,
        macro_auroc=float(np.nanmean(area)) if (scores.support > 0).sum() > 1 else math.nan,
    )


def _mean(recall: Floats) -> float | None:
    """Return the mean of the values that are not NaN; None if there are none."""
    known = recall[~np.isnan(recall)]
    return float(known.mean()) if known.size else None
