"""Class labels from tensors, arrays, lists and data sets, as int64 tensors."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

MOST_CLASSES = 10_000_000

Labels = torch.Tensor | np.ndarray | Sequence[int] | Any
"""Labels themselves, or a data set that holds them as `targets`."""


def read_labels(targets: Labels) -> torch.Tensor:
    """Return class labels as an int64 tensor of the same shape, all of them 0 or more.

    Args:
        targets: an integer tensor, array or list, a data set with `.targets` (torchvision's, or a
            `counterpoise.data.Part`), or a `torch.utils.data.Subset` of one.

    Raises:
        TypeError: labels that are not integers, or a data set without `targets`.
        ValueError: a negative label, or lists of unequal lengths.

    Example:
        >>> read_labels([2, 0, 1])
        tensor([2, 0, 1])
    """
    labels = _as_tensor(_find(targets))
    if labels.numel() and int(labels.min()) < 0:
        raise ValueError(
            f"targets must be class numbers from 0 up, but hold {int(labels.min())}; leave out "
            "what is to be ignored, as in targets[targets >= 0]"
        )
    return labels


def count_labels(labels: torch.Tensor, num_classes: int | None = None) -> torch.Tensor:
    """Return the number of labels of each class, int64 (C).

    Args:
        labels: from `read_labels`, of any shape.
        num_classes: the length of the result; None stops at the highest class that occurs.

    Raises:
        TypeError: num_classes that is no integer.
        ValueError: num_classes below 1, or a label that is not below it.

    Example:
        >>> count_labels(torch.tensor([0, 2, 2]), num_classes=4)
        tensor([1, 0, 2, 0])
    """
    least = 0 if num_classes is None else _at_least_1(num_classes)
    highest = int(labels.max()) if labels.numel() else -1
    if num_classes is not None and highest >= least:
        raise ValueError(
            f"targets must be below num_classes={least}, but hold {highest}; pass "
            f"num_classes={highest + 1} or more, or renumber the classes"
        )
    if highest >= MOST_CLASSES:  # a count of each would need gigabytes
        raise ValueError(
            f"targets must be class numbers below {MOST_CLASSES}, but hold {highest}; renumber "
            "the classes"
        )
    return torch.bincount(labels.flatten(), minlength=least)


def _check_64_bits(highest: int) -> None:
    """Refuse unsigned labels that int64 would make negative."""
    if highest >= 2**63:
        raise ValueError(
            f"targets must be class numbers below {MOST_CLASSES}, but hold {highest}; renumber "
            "the classes"
        )


def _at_least_1(num_classes: int) -> int:
    try:
        number = operator.index(num_classes)
    except TypeError:
        raise TypeError(f"num_classes must be an integer, but got {num_classes!r}") from None
    if number < 1:
        raise ValueError(f"num_classes must be 1 or more, but got {number}")
    return number


def _find(targets: Labels) -> Labels:
    """Return the labels of a data set, or the labels themselves."""
    if isinstance(targets, Subset):
        index = torch.as_tensor(targets.indices, dtype=torch.int64)
        return _as_tensor(_find(targets.dataset))[index]
    return getattr(targets, "targets", targets)


def _as_tensor(labels: Labels) -> torch.Tensor:
    """Return integer labels of any type as an int64 tensor."""
    if not isinstance(labels, torch.Tensor):
        labels = _from_array(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"targets must be integer class numbers, but got {labels.dtype}; convert them, say "
            "with .long()"
        )
    if labels.dtype == torch.uint64 and labels.numel():
        _check_64_bits(int(labels.cpu().numpy().max()))  # torch has no max of these
    return labels.to(torch.int64)


def _from_array(labels: Labels) -> torch.Tensor:
    """Copy an array, a list or a tuple into a tensor."""
    try:
        array = np.asarray(labels)
    except ValueError as error:
        raise ValueError(f"targets must be one class number per sample: {error}") from error
    if isinstance(labels, list | tuple) and array.size == 0:
        return torch.zeros(array.shape, dtype=torch.int64)
    if array.dtype.kind not in "iu" or array.ndim == 0:
        raise TypeError(
            "targets must be integer class numbers or a data set that holds them as `targets`, but "
            f"got {type(labels).__name__} of {array.dtype}; pass one integer per sample"
        )
    if array.dtype == np.uint64 and array.size:
        _check_64_bits(int(array.max()))
    return torch.from_numpy(array.astype(np.int64))
