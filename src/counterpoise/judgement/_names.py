"""Names of variants, as people write them."""

from collections.abc import Sequence

from counterpoise.registry import unknown
from counterpoise.text import listed


def named(variants: Sequence[str], asked: str, kind: str = "variant") -> str:
    """Return the variant that is asked for: in any case, or by one value of a composed name.

    Raises:
        ValueError: there is none, or more than one.

    Example:
        >>> named(["branch=main, lr=0.1", "branch=new, lr=0.1"], "Main")
        'branch=main, lr=0.1'
    """
    found = alike(variants, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{kind} {asked!r} must be one, but may be {listed(found)}; write it out")
    raise ValueError(unknown(kind, asked, variants))


def alike(variants: Sequence[str], word: str) -> list[str]:
    """Return the variants of a name: that very one, else in another case, else by one value."""
    if word in variants:
        return [word]
    key = folded(word)
    whole = [name for name in variants if folded(name) == key]
    return whole or [name for name in variants if key in map(folded, _values(name))]


def folded(name: str) -> str:
    """Return a name without what people write in several ways.

    Example:
        >>> folded(" Base_line 2") == folded("baseline2")
        True
    """
    return "".join(c for c in name.casefold() if c not in " _")


def lookalikes(variants: Sequence[str]) -> list[str]:
    """Return a sentence for each group of names that differ in case, spaces and _ alone."""
    groups: dict[str, list[str]] = {}
    for name in variants:
        groups.setdefault(folded(name), []).append(name)
    return [f"these look like one name: {listed(g)}" for g in groups.values() if len(g) > 1]


def _values(name: str) -> list[str]:
    """Return the values of a name as `lr=0.1, norm=group`."""
    return [part.partition("=")[2] for part in name.split(", ") if "=" in part]
