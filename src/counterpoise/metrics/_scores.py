"""Metrics of predicted classes, per class and averaged.

scikit-learn counts; added are one convention for 0/0 (0, without a warning), averages over the
classes that occur, and errors that name the first offending entry.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise.metrics._confusion import count_cells, dense_confusion

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scores:
    r"""Metrics of predicted classes; arrays have one entry per class, in order of class index.

    .. math::
        \text{support}_k &= \sum_j C_{kj} \\
        \text{recall}_k &= \frac{C_{kk}}{\text{support}_k} \qquad
        \text{precision}_k = \frac{C_{kk}}{\sum_i C_{ik}} \qquad
        F_{1,k} = \frac{2 C_{kk}}{\text{support}_k + \sum_i C_{ik}} \\
        \text{accuracy} &= \frac{\sum_k C_{kk}}{\sum_{ij} C_{ij}}

    where C = `confusion`, the counts [true, predicted]. Balanced accuracy is the mean of recall
    over the classes with samples, macro F1 the mean of F1 over the classes that occur, as truth or
    as prediction. Every 0/0 is 0. Matthews' correlation (Gorodkin 2004) and Cohen's kappa are
    scikit-learn's.

    Attributes:
        accuracy: share of all samples that are classified correctly.
        balanced_accuracy: mean recall; each class has the same weight, whatever its size.
        macro_f1: mean F1; each class has the same weight, and false positives count too.
        geometric_mean: of the recalls of the classes with samples (Kubat and Matwin 1997).
        matthews: correlation of truth and answer, -1 to 1; 0 where either is one class alone.
        cohen_kappa: agreement of truth and answer beyond chance, -1 to 1; 0 in the same case.
        recall: per class, float64.
        precision: per class, float64.
        f1: per class, float64.
        support: samples of each true class, int64.
        confusion_cells: the cells of C that are not 0, a row [true, predicted, count] each, in
            order, int64: at most as many as samples, however many classes there are.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    geometric_mean: float
    matthews: float
    cohen_kappa: float
    recall: Floats
    precision: Floats
    f1: Floats
    support: Ints
    confusion_cells: Ints

    @property
    def confusion(self) -> Ints:
        """Return the dense confusion matrix, counts [true, predicted], int64 (C, C)."""
        return dense_confusion(self.confusion_cells, len(self.support))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain floats, ints and lists, ready for `json.dumps`.

        Returns:
            A dict with the attribute names as keys. The confusion matrix is in it as
            `confusion_cells`; `metrics.dense_confusion` turns them into the whole matrix.

        Example:
            >>> from counterpoise.metrics import score
            >>> score([0, 1, 1], [0, 0, 0], 2).to_dict()["confusion_cells"]
            [[0, 0, 1], [1, 0, 2]]
        """
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def score(targets: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> Scores:
    """Compute the metrics of predicted class indices against the true ones.

    Formulas: `Scores`.

    Args:
        targets: true class per sample, integers from 0 to num_classes - 1, (N).
        predicted: predicted class per sample, in the same range, (N).
        num_classes: the number of classes, at least 2, also those that do not occur here.

    Returns:
        The metrics, with arrays of length `num_classes`.

    Raises:
        ValueError: when an input is empty, not one axis of integers or out of range, when the
            lengths differ, or when there are fewer than two classes.

    Example:
        >>> from counterpoise.metrics import score
        >>> result = score([0, 0, 0, 1], [0, 0, 1, 1], num_classes=2)
        >>> result.accuracy, round(result.balanced_accuracy, 3), result.support.tolist()
        (0.75, 0.833, [3, 1])
    """
    if num_classes < 2:
        raise ValueError(f"score needs num_classes >= 2, but got {num_classes}; count the classes")
    true = _class_indices("targets", targets, num_classes)
    answer = _class_indices("predicted", predicted, num_classes)
    if len(true) != len(answer):
        raise ValueError(
            f"score needs one prediction per target, but got {len(true)} targets and "
            f"{len(answer)} predictions; pass both for the same samples"
        )
    return _scores(true, answer, np.arange(num_classes))


def balanced_accuracy(targets: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the mean recall of the classes that occur in the targets, as `score` does.

    Args:
        targets: true class per sample, integers from 0, (N), at least one.
        predicted: predicted class per sample, (N).

    Example:
        >>> from counterpoise.metrics import balanced_accuracy
        >>> balanced_accuracy([0, 0, 1], [0, 1, 1])
        0.75
    """
    true = np.asarray(targets)
    support = np.bincount(true)
    correct = np.bincount(true[true == np.asarray(predicted)], minlength=len(support))
    return float((correct[support > 0] / support[support > 0]).mean())


def _plain(value: Any) -> Any:
    """Return arrays as lists, with None for NaN, which JSON cannot express."""
    if isinstance(value, np.ndarray):
        return [_plain(entry) for entry in value.tolist()]
    return None if value != value else value


def _scores(true: Ints, answer: Ints, labels: Ints) -> Scores:
    """Collect scikit-learn's counts and means for checked inputs."""
    # Imported here because it takes a second that reading finished scores should not cost.
    from sklearn.metrics import (
        accuracy_score,
        cohen_kappa_score,
        matthews_corrcoef,
        precision_recall_fscore_support,
    )

    per_class: Any = precision_recall_fscore_support(true, answer, labels=labels, zero_division=0)
    precision, recall, f1, support = per_class  # arrays; the declared type allows for averages
    # Classes that do not occur would otherwise lower the mean with their 0/0 = 0.
    occurs = np.isin(labels, np.concatenate([true, answer]))
    known = recall[support > 0]
    alike = occurs.sum() == 1  # both are 0 / 0 then, of which scikit-learn warns
    return Scores(
        accuracy=float(accuracy_score(true, answer)),
        balanced_accuracy=balanced_accuracy(true, answer),
        macro_f1=float(f1[occurs].mean()),
        geometric_mean=float(np.exp(np.log(known).mean())) if known.all() else 0.0,
        matthews=0.0 if alike else float(matthews_corrcoef(true, answer)),
        cohen_kappa=0.0 if alike else float(cohen_kappa_score(true, answer)),
        recall=recall,
        precision=precision,
        f1=f1,
        support=support.astype(np.int64),
        confusion_cells=count_cells(true, answer, len(labels)),
    )


def _class_indices(name: str, values: npt.ArrayLike, num_classes: int) -> Ints:
    """Return class indices as int64, or raise ValueError."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"score needs {name} with one axis and at least one entry, but got shape "
            f"{array.shape}; pass one class index per sample"
        )
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"score needs {name} to be integers, but {name}[0] is {array[0]!r} of dtype "
            f"{array.dtype}; pass class indices, for instance scores.argmax(1)"
        )
    outside = np.flatnonzero((array < 0) | (array >= num_classes))
    if outside.size:
        raise ValueError(
            f"score needs {name} from 0 to {num_classes - 1}, but {name}[{outside[0]}] is "
            f"{array[outside[0]]}; check num_classes ({num_classes}) and the labels"
        )
    return array.astype(np.int64)
