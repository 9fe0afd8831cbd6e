"""Class labels from tensors, arrays, lists and data sets, as int64 tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from counterpoise.arguments import as_integer

ONE_LOGIT = (
    "for one logit a sample, a yes or no, take losses.SigmoidFocalLoss, or give the net two outputs"
)
MOST_CLASSES = 10_000_000

Labels = torch.Tensor | np.ndarray | Sequence[int] | object
"""Labels themselves, or a data set that holds them, as `read_labels` says."""


def read_labels(targets: Labels) -> torch.Tensor:
    """Return class labels as an int64 tensor of the same shape, all of them 0 or more.

    Args:
        targets: an integer tensor, array or list, a data set with `.targets` (torchvision's, or a
            `counterpoise.data.Split`), a `torch.utils.data.TensorDataset`, whose last tensor they
            are, or a `Subset` or `ConcatDataset` of such data sets.

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


def count_classes(targets: Labels, num_classes: int | None = None) -> torch.Tensor:
    """Count the samples of each class.

    Args:
        targets: class numbers: an integer tensor, array or list of any shape (dense targets
            count every pixel), or a data set that holds them as `.targets`, a `TensorDataset`, a
            `Subset` or `ConcatDataset` of such.
        num_classes: the length of the answer; None stops at the highest class that occurs, so
            give it where the last classes may be empty.

    Returns:
        int64 (C), on the targets' device.

    Raises:
        TypeError: targets or num_classes that are not integers.
        ValueError: a class number that is negative, or num_classes or above.

    Example:
        >>> from counterpoise.losses import count_classes
        >>> count_classes([0, 2, 2], num_classes=4)
        tensor([1, 0, 2, 0])
    """
    labels = read_labels(targets)
    least = 0 if num_classes is None else as_integer("num_classes", num_classes, 1)
    highest = int(labels.max()) if labels.numel() else -1
    if num_classes is not None and highest >= least:
        raise ValueError(
            f"targets must be below num_classes={least}, but hold {highest}; pass "
            f"num_classes={highest + 1} or more, or renumber the classes"
        )
    _check_highest(highest)
    return torch.bincount(labels.flatten(), minlength=least)


def _check_highest(highest: int, most: int = MOST_CLASSES) -> None:
    """Refuse class numbers whose counts would need gigabytes, or that int64 cannot hold."""
    if highest >= most:
        raise ValueError(
            f"targets must be class numbers below {MOST_CLASSES}, but hold {highest}; renumber "
            "the classes"
        )


def _find(targets: Labels) -> Labels:
    """Return the labels of a data set, or the labels themselves."""
    if isinstance(targets, Subset):
        index = torch.as_tensor(targets.indices, dtype=torch.int64)
        return _as_tensor(_find(targets.dataset))[index]
    if isinstance(targets, ConcatDataset):
        return torch.cat([_as_tensor(_find(part)).cpu() for part in targets.datasets])
    if isinstance(targets, TensorDataset) and not hasattr(targets, "targets"):
        return _last_tensor(targets)
    return getattr(targets, "targets", targets)


def _last_tensor(samples: TensorDataset) -> torch.Tensor:
    if len(samples.tensors) < 2:
        raise TypeError(
            "a TensorDataset must hold inputs and targets, TensorDataset(inputs, targets), but got "
            f"{len(samples.tensors)} tensor; pass the targets themselves"
        )
    return samples.tensors[-1]


def _as_tensor(labels: Labels) -> torch.Tensor:
    """Return integer labels of any type as an int64 tensor."""
    if not isinstance(labels, torch.Tensor):
        labels = _from_array(labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"targets must be integer class numbers, but got {labels.dtype}; convert them, say "
            "with .long()"
        )
    if labels.dtype == torch.uint64 and labels.numel():  # of which torch has no max
        _check_highest(int(labels.cpu().numpy().max()), 2**63)
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
        _check_highest(int(array.max()), 2**63)
    return torch.from_numpy(array.astype(np.int64))
