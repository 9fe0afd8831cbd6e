"""The variants that axes and a design make, and the labels that name what differs."""

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import Any

from counterpoise.study.settings import place
from counterpoise.study.variant import WORDS, Variant, shown

Axes = Mapping[str, tuple[Any, ...]]

DESIGNS = {
    "cross": "all combinations",
    "one_by_one": "the first value of each, and each change of it alone",
    "leave_one_out": "all changes, and all but one each",
}
BASELINE, ALL = "baseline", "all changes"  # labels of the designs of single changes


def combine(axes: Axes, design: str) -> list[Variant]:
    """Return the variants of a design, the baseline first.

    Args:
        axes: values by the names of fields that `Variant.having` takes.
        design: a key of `DESIGNS`. "leave_one_out" takes axes of two values, without and with a
            change; of one value an axis is the same everywhere.

    Raises:
        ValueError: an axis of three values that is to be left out; a setting of losses, norms or
            samplers that none of these takes.

    Example:
        >>> axes = {"loss": ("cross_entropy", "focal"), "mix": ("none", "mixup")}
        >>> [len(combine(axes, design)) for design in DESIGNS]
        [4, 3, 3]
    """
    first = {key: values[0] for key, values in axes.items()}
    if design == "cross":
        every = itertools.product(*axes.values())
        made = [dict(zip(axes, values, strict=True)) for values in every]
    elif design == "one_by_one":
        made = [first, *(first | {k: v} for k, values in axes.items() for v in values[1:])]
    else:
        for key, values in axes.items():
            if len(values) > 2:
                raise ValueError(
                    f"design 'leave_one_out' takes two values of an axis, without and with a "
                    f"change, but {key} has {len(values)}; leave some out, or take 'one_by_one'"
                )
        every = {key: values[-1] for key, values in axes.items()}
        made = [every, *(every | {k: first[k]} for k, values in axes.items() if len(values) == 2)]
    variants = [Variant().having(values) for values in made]
    for key in axes:
        if not any(v.takes(key) for v in variants):
            family = key.partition(".")[0]
            words = dict.fromkeys(getattr(v, family) for v in variants)
            raise ValueError(
                f"{key} is an axis, but of {', '.join(words)} none has such a setting; add a "
                f"{family} that has it, or leave it out"
            )
    return list(dict.fromkeys(variants))


def labels_of(variants: Sequence[Variant], designed: int, design: str) -> tuple[str, ...]:
    """Return the labels of variants: the words and values in which they differ.

    Args:
        variants: those of the design first.
        designed: number of these.
        design: how they were made.
    """
    own = variants[:designed]
    crossed = {k for k in WORDS if len({getattr(v, k) for v in own}) > 1}
    usual = [", ".join(_parts(v, variants, crossed)) for v in variants]
    if design == "cross" or designed < 2:
        return tuple(usual)
    parts = [_parts(v, own, crossed) for v in own]
    first = set(parts[0])
    if design == "one_by_one":
        new = [[p for p in some if p not in first] for some in parts[1:]]
        named = [BASELINE, *map(", ".join, new)]
    else:
        lost = [[p for p in parts[0] if p not in some] for some in parts[1:]]
        named = [ALL, *(f"without {', '.join(some)}" for some in lost)]
    return (*named, *usual[designed:])


def _parts(variant: Variant, every: Sequence[Variant], crossed: Container[str]) -> list[str]:
    """Return what a variant is called by: what differs among the nets, and its loss's settings.

    The usual sampler has no name where samplers are not crossed.
    """
    settings = [f"{k}={v}" for k, v in variant.settings.items()]
    if variant.model:
        cut = (f"imbalance.{k}={shown(v)}" for k, v in variant.imbalance.items())
        return [_short(variant.model), *settings, *cut]
    nets = [v for v in every if not v.model]
    named = [k for k in WORDS if len({getattr(v, k) for v in nets}) > 1]
    if variant.sampler == Variant().sampler and "sampler" not in crossed:
        named = [k for k in named if k != "sampler"]
    words = [_short(getattr(variant, k)) for k in named]
    fields = {
        k: shown(v)
        for k, v in sorted(variant.fields(), key=lambda item: place(item[0]))
        if not k.startswith("loss.") and len({repr(dict(n.fields()).get(k)) for n in nets}) > 1
    }
    others = [v if k == "model" else f"{k}={v}" for k, v in fields.items()]
    bare = not words and any(_plain(n) for n in nets)
    found = [*([_short(variant.loss)] if bare else words), *settings, *others]
    return found or [_short(variant.loss)]


def _plain(variant: Variant) -> bool:
    """Return whether nothing but words tells the variant from others."""
    return all(key.startswith("loss.") for key, _ in variant.fields())


def _short(word: str) -> str:
    return word.partition(":")[2] or word
