"""Samples held out, of each class the same share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from counterpoise.data.splits import Split, Splits, check_pair
from counterpoise.labels import count_classes
from counterpoise.text import listed

TEST_SHARE = 0.2


def split_validation(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Hold out a share of each class, to make choices on.

    Of n samples of a class, share * n are held out, rounded, but one at least and all but one at
    most; a class of one sample stays whole in the first split.

    Args:
        split: The samples.
        share: How much of each class to hold out, between 0 and 1.
        seed: Decides which samples; the same ones for the same seed.

    Returns:
        What is left to train on, and what is held out, both in the old order.

    Raises:
        ValueError: If share is not between 0 and 1, or no class has two samples.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(10, 4), torch.tensor([0] * 8 + [1] * 2))
        >>> train, validation = split_validation(split, share=0.25, seed=0)
        >>> train.targets.tolist(), validation.targets.tolist()
        ([0, 0, 0, 0, 0, 0, 1], [0, 0, 1])
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}; 0.1 is usual")
    rest, held = _positions(split.targets, share, seed)
    if not len(held):
        raise ValueError(
            "a class must have two samples at least to be split, got "
            f"{count_classes(split.targets).tolist()} samples per class; add samples"
        )
    return split.take(rest), split.take(held)


def as_splits(
    name: str,
    source: str,
    train: Split,
    test: Split | None,
    class_names: Sequence[str],
    seed: int,
) -> Splits:
    """Return a data set whose classes can all be learned; without a test split, hold one out.

    Raises:
        ValueError: If there is only one class, a class is too small, or the splits do not fit.
    """
    if len(class_names) < 2:
        raise ValueError(
            f"{source} must hold two classes at least, got {len(class_names)} "
            f"({', '.join(map(repr, class_names))}); check that it is the right place"
        )
    if test is None:
        _check_sizes(train, class_names, 3, "one each to train, to validate and to test on")
        rest, held = _positions(train.targets, TEST_SHARE, seed)
        train, test = train.take(rest), train.take(held)
    else:
        check_pair(train, test)
        _check_sizes(train, class_names, 2, "one each to train and to validate on, beside the test")
        counts = count_classes(test.targets, len(class_names)).tolist()
        absent = [repr(name) for name, n in zip(class_names, counts, strict=True) if not n]
        if absent:
            warnings.warn(
                f"the test split of {source} holds nothing of {listed(absent)}: how well they "
                "are found stays unknown",
                stacklevel=4,
            )
    return Splits(name, train, test, tuple(class_names), source)


def _positions(targets: torch.Tensor, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sorted indices of the kept and of the held-out samples."""
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(targets), dtype=torch.bool)
    for k, n in enumerate(count_classes(targets).tolist()):
        size = min(max(1, int(share * n + 0.5)), max(0, n - 1))
        members = torch.nonzero(targets == k).flatten()
        held[members[torch.randperm(n, generator=generator)[:size]]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def _check_sizes(split: Split, class_names: Sequence[str], least: int, why: str) -> None:
    counts = count_classes(split.targets, len(class_names)).tolist()
    small = [f"{name!r} has {n}" for name, n in zip(class_names, counts, strict=True) if n < least]
    if small:
        raise ValueError(
            f"each class must have {least} samples at least, {why}, but {listed(small)}; add "
            "samples, or set small in [data] to drop or merge"
        )
