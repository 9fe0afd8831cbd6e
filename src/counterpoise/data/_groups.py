"""Samples that belong together: of one person, camera or batch."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from counterpoise.data.splits import Split, Splits
from counterpoise.text import one_line

_NAMED = 3


def groups_of(names: Sequence[str], pattern: str) -> Tensor:
    """Return the group of each file, by a pattern on its name.

    Args:
        names: The files' names relative to their folder, with / between folders. Files of several
            splits are given together, so that a group has one number in all of them.
        pattern: A regular expression, which is searched for in each name. What its first capture
            group matches is the group, or without one what the whole pattern matches.

    Returns:
        A number of each file, int64 (N), from 0 in the order in which the groups come.

    Raises:
        ValueError: If pattern is no regular expression, or a name does not match it.

    Example:
        >>> groups_of(["cat/p1_a.png", "cat/p2_a.png", "dog/p1_b.png"], r"(p[0-9]+)_")
        tensor([0, 1, 0])
    """
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ValueError(
            f"group must be a regular expression, such as '(p[0-9]+)_', but {pattern!r} is none: "
            f"{error}"
        ) from error
    found = [_matched(search(name)) for name in names]
    others = [name for name, group in zip(names, found, strict=True) if group is None]
    if others:
        raise ValueError(
            f"group must match the name of every file, but {pattern!r} does not match "
            f"{_listed(others)}; mend the pattern, or take these files out"
        )
    return numbered(found)


def numbered(words: Sequence[object]) -> Tensor:
    """Return a number for each word, int64 (N), from 0 up; the same for equal ones."""
    number: dict[object, int] = {}
    found = [number.setdefault(word, len(number)) for word in words]
    return torch.tensor(found, dtype=torch.int64)


def _matched(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]


def group_note(splits: Splits, group: str) -> str:
    """Return a sentence on the groups of a data set, which were told by `group`."""
    every = [s.groups for s in splits.named().values() if s.groups is not None]
    n = len(torch.cat(every).unique())
    return f"{n:,} group{'s' * (n != 1)} by {group}; no group is in two splits"


def check_apart(splits: Splits) -> None:
    """Refuse groups that are in two splits.

    Raises:
        ValueError: If there are any; three of them are named.
    """
    known = [(name, s) for name, s in splits.named().items() if s.groups is not None]
    for k, (one, first) in enumerate(known):
        for other, second in known[k + 1 :]:
            _check_pair(splits.source, (one, first), (other, second))


def _check_pair(source: str, one: tuple[str, Split], other: tuple[str, Split]) -> None:
    (name, first), (other_name, second) = one, other
    numbers = (s.groups for s in (first, second) if s.groups is not None)
    here, there = (g.unique() for g in numbers)
    common = here[torch.isin(here, there)].tolist()
    if common:
        said = [f"that of {_sample(first, g)} and {_sample(second, g)}" for g in common[:_NAMED]]
        more = f" and {len(common) - _NAMED:,} more" if len(common) > _NAMED else ""
        raise ValueError(
            f"no group must be in two splits, but of {source} {', '.join(said)}{more} "
            f"{'are' if common[1:] else 'is'} in {name} and {other_name}: what is measured on "
            f"{other_name} would be learned by heart; move each group to one side, or give no group"
        )


def _sample(split: Split, group: int) -> str:
    """Name the first sample of a group."""
    if split.groups is None or split.names is None:
        return f"group {group}"
    return one_line(split.names[int((split.groups == group).nonzero()[0])])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(one_line, names[:_NAMED])) + more
