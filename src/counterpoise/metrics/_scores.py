"""Metrics of predicted classes, per class and summed up.

The counting is scikit-learn's; what is added is one fixed answer to 0/0 (it is 0, without a
warning), summaries over the classes that occur, and errors that name the first offending entry.
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
    """What `score` found; arrays have one entry per class, in the order of the class indices.

    With C = `confusion`, for class k:

        support[k]   = sum_j C[k, j]                      images whose true class is k
        recall[k]    = C[k, k] / support[k]               share of class k that is found
        precision[k] = C[k, k] / sum_i C[i, k]            share of the answers "k" that are right
        f1[k]        = 2 C[k, k] / (support[k] + sum_i C[i, k])   harmonic mean of the two

        accuracy          = sum_k C[k, k] / sum C
        balanced_accuracy = mean of recall[k] over the classes with support[k] > 0
        macro_f1          = mean of f1[k] over the classes that occur, as truth or as prediction

    Every 0/0 is 0.

    Attributes:
        accuracy: share of all images that are classified correctly.
        balanced_accuracy: mean recall; each class counts alike, whatever its size.
        macro_f1: mean F1; each class counts alike, and false alarms cost too.
        recall: per class, float64.
        precision: per class, float64.
        f1: per class, float64.
        support: true images per class, int64.
        confusion_cells: the cells of C that are not 0, a row [true, predicted, count] each, in
            order, int64: no more of them than images, however many classes there are.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: Floats
    precision: Floats
    f1: Floats
    support: Ints
    confusion_cells: Ints

    @property
    def confusion(self) -> Ints:
        """Return C, the counts [true, predicted], int64 (classes, classes); made when asked for."""
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
    """Compare predicted class indices with the true ones.

    The formulas stand at `Scores`.

    Args:
        targets: true class per image, integers from 0 to num_classes - 1, one axis.
        predicted: predicted class per image, in the same range and of the same length.
        num_classes: how many classes there are, at least 2, also those that do not occur here.

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
            f"{len(answer)} predictions; pass both for the same images"
        )
    return _scores(true, answer, np.arange(num_classes))


def _plain(value: Any) -> Any:
    """Return arrays as lists, and what is not a number as None, which JSON has a word for."""
    if isinstance(value, np.ndarray):
        return [_plain(entry) for entry in value.tolist()]
    return None if value != value else value


def _scores(true: Ints, answer: Ints, labels: Ints) -> Scores:
    """Collect scikit-learn's counts and means for checked inputs."""
    # Imported here because it takes a second that reading finished scores should not cost.
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    per_class: Any = precision_recall_fscore_support(true, answer, labels=labels, zero_division=0)
    precision, recall, f1, support = per_class  # arrays; the declared type allows for averages
    # Classes that nothing was asked about would otherwise pull the means down with their 0/0 = 0.
    asked, occurs = support > 0, np.isin(labels, np.concatenate([true, answer]))
    return Scores(
        accuracy=float(accuracy_score(true, answer)),
        balanced_accuracy=float(recall[asked].mean()),
        macro_f1=float(f1[occurs].mean()),
        recall=recall,
        precision=precision,
        f1=f1,
        support=support.astype(np.int64),
        confusion_cells=count_cells(true, answer, len(labels)),
    )


def _class_indices(name: str, values: npt.ArrayLike, num_classes: int) -> Ints:
    """Return the values as int64, or say which one is no class index."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"score needs {name} with one axis and at least one entry, but got shape "
            f"{array.shape}; pass one class index per image"
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
