"""Class sizes that differ on purpose, and splits cut down to them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from counterpoise.arguments import as_integer
from counterpoise.data.splits import Split
from counterpoise.labels import count_classes


def _linear(share: float, factor: float) -> float:
    """Grow by equal steps."""
    return 1 / factor + share * (1 - 1 / factor)


def _exponential(share: float, factor: float) -> float:
    """Grow by equal ratios, as in Cui et al. 2019, arXiv 1901.05555."""
    return factor ** -(1 - share)


def _step(share: float, factor: float) -> float:
    """Grow all at once in the middle, as in Buda et al. 2018, arXiv 1710.05381."""
    return 1.0 if share >= 0.5 else 1 / factor


# Each profile maps a class's rank, 0 for the first to 1 for the last, to its share of `largest`.
_PROFILES: dict[str, Callable[[float, float], float]] = {
    "linear": _linear,
    "exponential": _exponential,
    "step": _step,
}


def imbalance_counts(
    profile: str, num_classes: int, largest: int, factor: float = 10.0
) -> list[int]:
    """Return class sizes that rise from about largest / factor to largest.

    Args:
        profile: "linear" (equal steps), "exponential" (equal ratios, the long tail of Cui et
            al. 2019, arXiv 1901.05555) or "step" (the first half of the classes small, the rest
            large, Buda et al. 2018, arXiv 1710.05381; an odd class in the middle is large).
        num_classes: The number of classes, 2 or more.
        largest: The size of the largest class, 1 or more.
        factor: How many times larger the largest class is than the smallest, 1 or more.

    Returns:
        One size per class, in rising order, each rounded down.

    Raises:
        TypeError: If num_classes or largest is no integer or factor no number.
        ValueError: If an argument is out of its range, or the smallest class would be empty.

    Example:
        >>> imbalance_counts("linear", num_classes=10, largest=6000)
        [600, 1200, 1800, 2400, 3000, 3600, 4200, 4800, 5400, 6000]
    """
    shape = _find_profile(profile)
    num_classes = as_integer("num_classes", num_classes, 2)
    largest = as_integer("largest", largest)
    if largest < 1:
        raise ValueError(
            f"largest must be at least 1, got {largest}; pass a larger one, and samples of every "
            "class"
        )
    factor = _check_factor(factor, largest)
    shares = [k / (num_classes - 1) for k in range(num_classes)]
    return [_round_down(largest * shape(share, factor)) for share in shares]


def make_imbalanced(
    split: Split, counts: Mapping[int, int] | Sequence[int], seed: int | None = None
) -> Split:
    """Cut a split down to the given number of samples of each class.

    Args:
        split: The split to take from; it is left as it is.
        counts: How many samples of each class: a mapping from class index to number, in which
            classes left out get none, or a sequence with one number per class.
        seed: None takes the first samples of each class; a number draws them at random, the
            same ones for the same seed.

    Returns:
        A new split, class after class, the samples of each class in their old order.

    Raises:
        TypeError: If a class index, a number or the seed is no integer.
        ValueError: If a class does not occur or has fewer samples than asked for, a number is
            negative, or a sequence does not have one number per class.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(4, 1, 8, 8), torch.tensor([1, 0, 1, 1]))
        >>> make_imbalanced(split, {0: 1, 1: 2}).targets
        tensor([0, 1, 1])
    """
    available = count_classes(split.targets).tolist()
    wanted = _read_counts(counts, available)
    indices = [torch.nonzero(split.targets == k).flatten() for k in range(len(available))]
    if seed is not None:
        indices = _shuffle(indices, as_integer("seed", seed))
    # Sorting keeps the old order; without a seed it changes nothing.
    chosen = [indices[k][: wanted[k]].sort().values for k in sorted(wanted)]
    index = torch.cat([split.targets.new_empty(0), *chosen])
    return split.take(index)


def _find_profile(profile: str) -> Callable[[float, float], float]:
    """Return the profile of a name, or say which names there are."""
    if profile in _PROFILES:
        return _PROFILES[profile]
    near = difflib.get_close_matches(str(profile), _PROFILES, n=1, cutoff=0.0)[0]
    known = ", ".join(repr(name) for name in _PROFILES)
    raise ValueError(f"profile must be one of {known}, got {profile!r}; did you mean {near!r}?")


def _check_factor(factor: float, largest: int) -> float:
    """Return a factor that leaves every class at least one sample."""
    if isinstance(factor, bool) or not hasattr(factor, "__float__"):
        raise TypeError(f"factor must be a number, got {factor!r}; pass a float such as 10.0")
    if not (math.isfinite(factor) and factor >= 1):
        raise ValueError(f"factor must be finite and at least 1, got {factor}; 1 is balanced")
    if factor > largest:
        raise ValueError(
            f"factor must not exceed largest={largest}, or the smallest class is empty, "
            f"got {factor}; lower factor or raise largest"
        )
    return float(factor)


def _round_down(size: float) -> int:
    """Round down, but take 599.9999999999999, left over from floating point, as 600."""
    return int(size * (1 + 1e-12))


def _read_counts(counts: Mapping[int, int] | Sequence[int], available: list[int]) -> dict[int, int]:
    """Return the wanted number of each class, once it is sure that they can be had."""
    if not isinstance(counts, Iterable):
        raise TypeError(
            f"counts must be a mapping or a sequence, got {type(counts).__name__}; "
            "pass one number per class"
        )
    pairs: Iterable[tuple[int, int]] = (
        counts.items() if isinstance(counts, Mapping) else list(enumerate(counts))
    )
    wanted = {as_integer("a class index", k): as_integer("a count", n) for k, n in pairs}
    for k, n in wanted.items():
        _check_count(k, n, available)
    if not isinstance(counts, Mapping) and len(wanted) != len(available):
        raise ValueError(
            f"a sequence of counts must have one number per class, got {len(wanted)} numbers for "
            f"{len(available)} classes; pass a mapping to leave classes out"
        )
    return wanted


def _check_count(k: int, n: int, available: list[int]) -> None:
    """Refuse a number of samples that a class cannot give."""
    if n < 0:
        raise ValueError(f"a count must not be negative, got {n} for class {k}; pass 0 or more")
    have = available[k] if 0 <= k < len(available) else 0
    if have == 0:
        occurring = [index for index, count in enumerate(available) if count]
        raise ValueError(
            f"every class in counts must occur in the split, got class {k}; "
            f"the split has the classes {occurring}"
        )
    if n > have:
        raise ValueError(
            f"counts must not exceed what the split has, got {n} asked for class {k}, which has "
            f"{have} samples; ask for {have} or fewer"
        )


def _shuffle(indices: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Shuffle the indices within each class.

    Every class is shuffled whole, wanted or not, so that the draw of one class does not hang on
    the counts of the others and a smaller draw is a part of a larger one.
    """
    generator = torch.Generator().manual_seed(seed)
    return [index[torch.randperm(len(index), generator=generator)] for index in indices]
