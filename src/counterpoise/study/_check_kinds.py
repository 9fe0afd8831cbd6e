"""Checks of the kinds of a plan's values, and that a file can hold them."""

import math
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, TypeGuard

from counterpoise.study._check_variants import check_fields
from counterpoise.study._check_words import shown
from counterpoise.study.settings import is_number
from counterpoise.study.variant import Variant

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from counterpoise.study.plan import Plan

_MOST_CHARACTERS = 4096


def check_types(plan: "Plan") -> None:
    """Refuse values of another kind than the defaults', which TOML and Python let through.

    Raises:
        ValueError: such a value.
    """
    for where, table in _tables(plan):
        check_kinds(where, table)
    for key in ("drop", "keep"):
        if not all(isinstance(name, str) for name in getattr(plan.data, key)):
            raise ValueError(f"data.{key} must be names of columns")
    for key in ("norms", "losses", "samplers", "classical"):
        if not all(isinstance(word, str) for word in getattr(plan, key)):
            raise ValueError(f"{key} must be words, but got {shown(getattr(plan, key))}")
    if not all(map(is_integer, plan.seeds)):
        raise ValueError(f"seeds must be integers, but got {shown(plan.seeds)}")


def check_kinds(where: str, table: "DataclassInstance") -> None:
    """Refuse values of a table that are of another kind than the defaults'.

    Raises:
        ValueError: such a value.
    """
    for key, f in table.__dataclass_fields__.items():
        value, default = getattr(table, key), f.default
        if key == "lr":
            fits = isinstance(value, str) or is_number(value)
        elif key == "devices":
            fits = isinstance(value, str) or is_integer(value)
        elif key == "image_size":
            fits = is_integer(value) or _are_sides(value)
        elif key in ("axes", "search"):
            fits = isinstance(value, Mapping)
        elif key == "options":
            fits = isinstance(value, Mapping) and all(map(_is_setting, value.values()))
        elif isinstance(default, float):
            fits = is_number(value)
        else:
            fits = type(value) is type(default)
        if not fits:
            kind = {
                "options": "{ qos = 'low' }",
                **dict.fromkeys(("axes", "search"), "{ weight_decay = [1e-4, 1e-3] }"),
            }.get(key) or ('["a", "b"]' if default == () else repr(default))
            raise ValueError(f"{where}{key} must be of the kind of {kind}, but got {shown(value)}")


def _are_sides(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(is_integer, value))


def _tables(plan: "Plan") -> "tuple[tuple[str, DataclassInstance], ...]":
    names = ("data", "imbalance", "training", "tuning", "engine")
    return (("", plan), *((f"{name}.", getattr(plan, name)) for name in names))


def check_settings(plan: "Plan") -> None:
    """Refuse single variants that are none, and settings that a file cannot hold.

    Raises:
        ValueError: any of these.
    """
    for v in plan.variant:
        if not isinstance(v, Variant) or not isinstance(v.settings, Mapping):
            raise ValueError(f"each variant must be a table of settings, but got {shown(v)}")
        for word in (v.norm, v.loss, v.sampler, v.model):
            if not isinstance(word, str):
                raise ValueError(
                    f"norm, loss, sampler and model must be words, but got {shown(word)}"
                )
        check_fields(v.training, "a field of a variant")
        if v.model and (own := [k for k, _ in v.without(v.imbalance).fields() if "loss." not in k]):
            raise ValueError(f"{own[0]} is of nets, and {v.model} is none; leave it out")
        for key, value in v.fields() if not v.model else v.settings.items():
            if not isinstance(key, str) or not _is_setting(value):
                raise ValueError(
                    "the settings of a loss or model must be finite numbers, words, yes or no, or "
                    f"lists of numbers, but got {shown(key)} = {shown(value)}"
                )


def _is_setting(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_finite(x) for x in value)
    return isinstance(value, bool | str) or _is_finite(value)


def _is_finite(value: object) -> bool:
    """Return True for a number that TOML can hold: a finite one, or an integer of 64 bits."""
    most = 2**63 if isinstance(value, int) else math.inf
    return is_number(value) and -most < value < most


def check_texts(plan: "Plan") -> None:
    """Refuse text that cannot be written, or that no name can hold.

    Raises:
        ValueError: such a text.
    """
    texts = [x for _, table in _tables(plan) for x in vars(table).values() if isinstance(x, str)]
    texts += [*plan.norms, *plan.losses, *plan.samplers, *plan.classical, *plan.training.watch]
    texts += [*plan.data.drop, *plan.data.keep]
    for values in (*plan.axes.values(), *plan.tuning.search.values()):
        texts += values if isinstance(values, list | tuple) else ()
    for v in plan.variant:
        texts += [v.norm, v.loss, v.sampler, v.model, *v.settings, *dict(v.fields()).values()]
        texts += v.settings.values()
    for text in texts:
        if isinstance(text, str) and not _is_writable(text):
            raise ValueError(
                "text in a plan must be UTF-8 without NUL, of "
                f"{_MOST_CHARACTERS} characters at most, but got {shown(text)}"
            )
    if not plan.data.source:
        raise ValueError("data must name what the study is about, but is empty; '.' is this folder")


def _is_writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text and len(text) <= _MOST_CHARACTERS


def is_integer(value: object) -> TypeGuard[Integral]:
    """Return True for an integer that is no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)
