"""Whole groups held out, with the classes in as near the same shares as groups allow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_FOLDS = 20  # at most, of which some are held out
_DRAWS = 10  # of folds, of which the nearest one is taken
_WHOLE = 1_000  # groups that go through StratifiedGroupKFold, whose time is groups times folds
_MOST = 2.0  # times the share that may be held out, so that no class is missing


def hold_out_groups(targets: Counts, groups: Counts, share: float, seed: int) -> Flags:
    """Return which samples are held out, so that no group is on both sides.

    The groups are dealt into up to 20 folds by scikit-learn's `StratifiedGroupKFold`, those beyond
    the 1,000 largest in turn, class by class. As many folds as make the share are drawn, ten times,
    and the draw is taken whose class sizes are nearest to the share. Then groups are moved: back
    until every class can be learned, and out, where that leaves no class without samples, for a
    class of which nothing was held out.

    Args:
        targets: The class of each sample, int64 (N).
        groups: The group of each sample, int64 (N).
        share: How much to hold out, between 0 and 1.
        seed: Decides which groups.

    Returns:
        One truth value a sample, (N). None is held out where no group can be spared.

    Example:
        >>> import numpy as np
        >>> targets, groups = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 3])
        >>> held = hold_out_groups(targets, groups, 0.5, seed=0)
        >>> sorted(set(targets[held])), set(groups[held]) & set(groups[~held])
        ([np.int64(0), np.int64(1)], set())
    """
    _, member = np.unique(groups, return_inverse=True)
    table = np.zeros((int(member.max(initial=-1)) + 1, int(targets.max(initial=-1)) + 1), np.int64)
    np.add.at(table, (member, targets), 1)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(table), bool)
    if len(table) > 1:
        held = _draw(table, _deal(table, targets, member, share, rng), share, rng)
        _keep_learnable(table, held)
        _hold_each_class(table, held, share)
    return held[member]


def _folds(groups: int, share: float) -> tuple[int, int]:
    """Return how many folds there are, and how many of them are held out."""
    sizes = [(k, min(max(1, round(share * k)), k - 1)) for k in range(min(groups, _FOLDS), 1, -1)]
    return min(sizes, key=lambda pair: abs(pair[1] / pair[0] - share))


def _deal(
    table: Counts, targets: Counts, member: Counts, share: float, rng: np.random.Generator
) -> Counts:
    """Return the fold of each group."""
    from sklearn.model_selection import StratifiedGroupKFold

    k, _ = _folds(len(table), share)
    order = np.lexsort((rng.random(len(table)), -table.sum(1)))
    fold = np.empty(len(table), np.int64)
    large, small = order[:_WHOLE], order[_WHOLE:]
    some = np.isin(member, large)
    if np.bincount(targets[some]).max() < k:  # which StratifiedGroupKFold refuses
        large, small = order[:0], order
    else:
        folds = StratifiedGroupKFold(k, shuffle=True, random_state=int(rng.integers(2**31)))
        y, own = targets[some], member[some]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes with fewer samples than folds
            for index, (_, positions) in enumerate(folds.split(y, y, own)):
                fold[own[positions]] = index
    by_class = small[np.argsort(table[small].argmax(1), kind="stable")]
    fold[by_class] = (np.arange(len(by_class)) + rng.integers(k)) % k
    return fold


def _draw(table: Counts, fold: Counts, share: float, rng: np.random.Generator) -> Flags:
    """Return the groups of those drawn folds whose class sizes are nearest to the share."""
    k, m = _folds(len(table), share)
    sizes = np.zeros((k, table.shape[1]))
    np.add.at(sizes, fold, table)
    whole = sizes.sum(0)
    drawn = np.zeros((_DRAWS, k), bool)
    for row in drawn:
        row[rng.permutation(k)[:m]] = True
    off = drawn @ sizes / np.maximum(whole, 1) - share * (whole > 0)
    return drawn[(off**2).sum(1).argmin()][fold]


def _keep_learnable(table: Counts, held: Flags) -> None:
    """Move the smallest groups back of which a class has nothing left to be trained on."""
    for k in np.flatnonzero(table.sum(0)):
        if not table[~held, k].any():
            held[next(_smallest(table, held & (table[:, k] > 0)))] = False


def _hold_each_class(table: Counts, held: Flags, share: float) -> None:
    """Move groups out of which a class has nothing held out, where the rest can spare them."""
    most = min(_MOST * share, 1 - share / 2) * table.sum()
    for k in np.argsort((table > 0).sum(0), kind="stable"):
        if table[held, k].any():
            continue
        for g in _smallest(table, ~held & (table[:, k] > 0)):
            if _can_be_spared(table, held, g) and table[held].sum() + table[g].sum() <= most:
                held[g] = True
                break
    if not held.any():
        held[[g for g in _smallest(table, ~held) if _can_be_spared(table, held, g)][:1]] = True


def _smallest(table: Counts, which: Flags) -> Iterator[int]:
    """Yield some groups, the smallest first."""
    some = np.flatnonzero(which)
    yield from some[np.argsort(table[some].sum(1), kind="stable")].tolist()


def _can_be_spared(table: Counts, held: Flags, group: int) -> bool:
    """Return whether each class of a group has samples in other groups that are trained on."""
    left = table[~held].sum(0) - table[group]
    return bool((left[table[group] > 0] > 0).all())
