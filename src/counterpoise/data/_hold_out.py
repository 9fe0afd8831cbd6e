"""Samples held out, of each class the same share, and of each group all or none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from counterpoise.data._group_split import hold_out_groups
from counterpoise.data._groups import check_apart, group_note
from counterpoise.data._rows import Rows
from counterpoise.data.splits import Split, Splits, check_pair
from counterpoise.labels import count_classes
from counterpoise.text import listed

TEST_SHARE = 0.2
_NAMED = 3


def split_validation(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Hold out a share of each class, to make choices on.

    Of n samples of a class, share * n are held out, rounded, but one at least and all but one at
    most; a class of one sample stays whole in the first split.

    Where the samples have groups, each goes whole into one of the two, and the shares are as near
    as groups allow; every class stays in the first split.

    Args:
        split: The samples.
        share: How much of each class to hold out, between 0 and 1.
        seed: Decides which samples; the same ones for the same seed.

    Returns:
        What is left to train on, and what is held out, both in the old order.

    Raises:
        ValueError: If share is not between 0 and 1, or no class has two samples, or no group can
            be spared.

    Warns:
        UserWarning: If groups leave nothing of a class to be held out.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(10, 4), torch.tensor([0] * 8 + [1] * 2))
        >>> train, validation = split_validation(split, share=0.25, seed=0)
        >>> train.targets.tolist(), validation.targets.tolist()
        ([0, 0, 0, 0, 0, 0, 1], [0, 0, 1])
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}; 0.1 is usual")
    rest, held = _positions(split, share, seed)
    counts = count_classes(split.targets)
    if not len(held):
        raise ValueError(
            "a class must have two samples at least to be split, got "
            f"{counts.tolist()} samples per class; add samples"
        )
    kept, tested = split.take(rest), split.take(held)
    if split.groups is not None:
        lacking = (counts > 0) & (count_classes(tested.targets, len(counts)) == 0)
        if lacking.any():
            warnings.warn(
                f"the held-out split has nothing of class {_listed(lacking.nonzero())}, whose "
                "samples are in too few groups",
                stacklevel=2,
            )
    return kept, tested


def draw_test(train: Split, test: Split, seed: int) -> tuple[Split, Split, torch.Tensor]:
    """Put a training and a test split together, and hold out another test split: a fifth.

    Args:
        train: The samples to train on.
        test: The samples to test on, of the same shape and dtype.
        seed: Decides which samples; the same ones for the same seed.

    Returns:
        The new training split, the new test split, and the positions of the latter's samples,
        int64 (N), when those of `train` are numbered from 0 on and those of `test` after them.
        Classes and groups are split as by `split_validation`.

    Raises:
        ValueError: If no class has two samples, or no group can be spared.

    Example:
        >>> import torch
        >>> train = Split(torch.zeros(8, 4), torch.tensor([0] * 4 + [1] * 4))
        >>> test = Split(torch.ones(2, 4), torch.tensor([0, 1]))
        >>> train, test, rows = draw_test(train, test, seed=0)
        >>> test.targets.tolist(), rows.tolist()
        ([1, 0], [7, 8])
    """
    pool = joined(train, test)
    rest, held = _positions(pool, TEST_SHARE, seed)
    if not len(held):
        raise ValueError(
            "a class must have two samples at least to be split, got "
            f"{count_classes(pool.targets).tolist()} samples per class; add samples"
        )
    return pool.take(rest), pool.take(held), held


def joined(one: Split, other: Split) -> Split:
    """Return the samples of two splits, in order; stored rows stay where they are stored."""
    first, second = one.inputs, other.inputs
    if isinstance(first, Rows) and isinstance(second, Rows) and first.stored is second.stored:
        inputs: torch.Tensor | Rows = Rows(
            first.stored, torch.cat([first.index, second.index]), first.entry
        )
    else:
        inputs = torch.cat([first[:], second[:]])
    names = one.names + other.names if one.names and other.names else None
    groups = None
    if one.groups is not None and other.groups is not None:
        groups = torch.cat([one.groups, other.groups])
    return Split(inputs, torch.cat([one.targets, other.targets]), names, groups)


def as_splits(
    name: str,
    source: str,
    train: Split,
    test: Split | None,
    class_names: Sequence[str],
    seed: int,
    group: str = "",
) -> Splits:
    """Return a data set whose classes can all be learned; without a test split, hold one out.

    Args:
        name: The data set's name.
        source: One line for people: where the data came from.
        train: The samples to train on; with those to test on where there is no test split.
        test: The samples to test on.
        class_names: The name of each class.
        seed: Decides which samples are held out.
        group: By what the splits' groups were told, such as "column person", for a note on them.

    Raises:
        ValueError: If there is only one class, a class is too small, or the splits do not fit or
            share groups.
    """
    if len(class_names) < 2:
        raise ValueError(
            f"{source} must hold two classes at least, got {len(class_names)} "
            f"({', '.join(map(repr, class_names))}); check that it is the right place"
        )
    held_out = test is None
    if test is None:
        _check_sizes(train, class_names, 3, "one each to train, to validate and to test on")
        rest, held = _positions(train, TEST_SHARE, seed)
        if not len(held):
            raise ValueError(
                f"the groups of {source} must leave every class samples to train on when one of "
                f"them is held out to test on, but none of its {_number_of_groups(train)} does; "
                "take smaller groups, or give a test split"
            )
        train, test = train.take(rest), train.take(held)
    else:
        check_pair(train, test)
        _check_classes(source, train, test, class_names)
        _check_sizes(train, class_names, 2, "one each to train and to validate on, beside the test")
    counts = count_classes(test.targets, len(class_names)).tolist()
    absent = [repr(name) for name, n in zip(class_names, counts, strict=True) if not n]
    if absent:
        why = ", whose samples are in too few groups" if held_out else ""
        warnings.warn(
            f"the test split of {source} holds nothing of {listed(absent)}{why}: how well they "
            "are found stays unknown",
            stacklevel=4,
        )
    found = Splits(name, train, test, tuple(class_names), source, held_out=held_out)
    check_apart(found)
    return replace(found, notes=(group_note(found, group),)) if group else found


def _positions(split: Split, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sorted indices of the kept and of the held-out samples."""
    targets = split.targets
    if split.groups is not None:
        flags = hold_out_groups(targets.numpy(), split.groups.numpy(), share, seed)
        found = torch.from_numpy(flags)
        return torch.nonzero(~found).flatten(), torch.nonzero(found).flatten()
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(targets), dtype=torch.bool)
    for k, n in enumerate(count_classes(targets).tolist()):
        size = min(max(1, int(share * n + 0.5)), max(0, n - 1))
        members = torch.nonzero(targets == k).flatten()
        held[members[torch.randperm(n, generator=generator)[:size]]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def _check_classes(source: str, train: Split, test: Split, class_names: Sequence[str]) -> None:
    """Refuse a test split of one class, or of classes that there are none of to train on.

    Raises:
        ValueError: such a split; the message names the classes.
    """
    counts = [count_classes(s.targets, len(class_names)).tolist() for s in (train, test)]
    trained, tested = (
        [repr(name) for name, n in zip(class_names, c, strict=True) if n] for c in counts
    )
    unknown = [name for name in tested if name not in trained]
    if unknown:
        raise ValueError(
            f"the test split of {source} must hold classes that are trained on, which are "
            f"{listed(trained)}, but it also holds {listed(unknown)}; make the labels agree"
        )
    if len(tested) < 2:
        raise ValueError(
            f"the test split of {source} must hold two classes at least, or nothing can be told "
            f"from it, but holds {listed(tested)} alone; take another split"
        )


def _number_of_groups(split: Split) -> str:
    n = 0 if split.groups is None else len(split.groups.unique())
    return f"{n:,} group{'s' * (n != 1)}"


def _listed(names: Iterable[object]) -> str:
    """Write three names out, and how many more there are."""
    every = [str(int(n)) if isinstance(n, torch.Tensor) else str(n) for n in names]
    more = f" and {len(every) - _NAMED:,} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def _check_sizes(split: Split, class_names: Sequence[str], least: int, why: str) -> None:
    counts = count_classes(split.targets, len(class_names)).tolist()
    small = [f"{name!r} has {n}" for name, n in zip(class_names, counts, strict=True) if n < least]
    if small:
        raise ValueError(
            f"each class must have {least} samples at least, {why}, but {listed(small)}; add "
            "samples, or set small (--small) to drop or merge"
        )
