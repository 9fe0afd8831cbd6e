"""Sparse confusion matrices: the cells that are not 0, at most as many as samples."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def count_cells(targets: Ints, predicted: Ints, num_classes: int) -> Ints:
    """Return the cells of the confusion matrix as rows [true, predicted, count], in order.

    Args:
        targets: true class per sample, from 0 to num_classes - 1, (N).
        predicted: predicted class per sample, in the same range, (N).
        num_classes: the number of classes.
    """
    flat, counts = np.unique(targets * num_classes + predicted, return_counts=True)
    return np.stack([*np.divmod(flat, num_classes), counts], axis=1).astype(np.int64)


def dense_confusion(cells: npt.ArrayLike, num_classes: int) -> Ints:
    """Return the dense confusion matrix of the cells in `Scores.confusion_cells`.

    Args:
        cells: rows [true, predicted, count], as an array or as the lists that `to_dict` makes of
            it; what occurs twice is summed.
        num_classes: the number of classes.

    Returns:
        The counts [true, predicted], int64 (num_classes, num_classes).

    Raises:
        ValueError: cells that are not rows of three whole numbers, or a class that there is none
            of.

    Example:
        >>> from counterpoise.metrics import dense_confusion
        >>> dense_confusion([[0, 0, 5], [1, 0, 2]], num_classes=2).tolist()
        [[5, 0], [2, 0]]
    """
    true, predicted, count = check_cells(cells, num_classes).T
    whole = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(whole, (true, predicted), count)
    return whole


def check_cells(cells: npt.ArrayLike, num_classes: int) -> Ints:
    """Return cells as int64 (n, 3), or raise ValueError."""
    try:
        found = np.asarray(cells)
    except ValueError:  # rows of different lengths
        found = np.empty(0, object)
    if not found.size and found.dtype != object:
        return np.zeros((0, 3), np.int64)
    if found.shape != (*found.shape[:1], 3) or found.dtype.kind not in "iu":
        raise ValueError(
            "a confusion matrix's cells must be rows of three integers, [true, predicted, count], "
            f"but got {found.dtype} of shape {found.shape}; pass `confusion_cells` of the scores"
        )
    outside = np.flatnonzero(((found[:, :2] < 0) | (found[:, :2] >= num_classes)).any(1))
    if outside.size:
        raise ValueError(
            f"a confusion matrix's cells must be of classes from 0 to {num_classes - 1}, but cell "
            f"{outside[0]} is {found[outside[0]].tolist()}; check num_classes ({num_classes})"
        )
    return found.astype(np.int64)
