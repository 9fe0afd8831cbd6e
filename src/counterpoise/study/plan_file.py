"""A plan on disk: `plan.toml`, with a comment on each setting."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from counterpoise import files, registry
from counterpoise.registry import unknown
from counterpoise.study._check_variants import check_fields
from counterpoise.study._check_words import shown
from counterpoise.study.plan import Plan
from counterpoise.study.settings import Data, Engine, Imbalance, Training, Tuning
from counterpoise.study.variant import OWN, Variant

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Table = TypeVar("Table", bound="DataclassInstance")

# A key like a.a.a.a: tomllib's time and memory grow with the square of its names.
_DOTTED = re.compile(r"""(?<![\w"'-])(?:["']?[\w-]++["']?[ \t]*+\.[ \t]*+){20}""")
_MOST_BYTES = 1_000_000  # of a plan on disk


def read(table: Mapping[str, object]) -> Plan:
    """Return the plan that a TOML table describes.

    Raises:
        ValueError: an unknown key (with the nearest valid one) or a value of a wrong kind.
    """
    table = dict(table)
    axes = table.get("axes", {})
    if not isinstance(axes, Mapping):
        raise ValueError(f"[axes] must be a table of lists, but got {shown(axes)}")
    if "variant" in table and not axes and not {"norms", "losses", "samplers"} & table.keys():
        table |= {"norms": [], "losses": [], "samplers": []}
    return _build(Plan, table, "")


TABLES: dict[str, type] = {
    "data": Data,
    "imbalance": Imbalance,
    "training": Training,
    "tuning": Tuning,
    "engine": Engine,
}


def read_file(path: Path) -> Plan:
    """Make a plan of a plan.toml.

    Raises:
        ValueError: a file that is no plan, or one that cannot be run.
    """
    try:
        text = files.read(path, most=_MOST_BYTES).decode()
        if _DOTTED.search(text):
            raise ValueError("a key of 20 names or more")
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path} must be a plan, but nests tables too deeply") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a plan that can be read, but: {error}") from error
    return read(table)


def changed_settings(path: Path, plan: Plan) -> tuple[str, ...]:
    """Return the settings in which a plan.toml differs from a plan, such as "training.lr".

    Those of the engine do not count: nothing of a study depends on them.
    """
    try:
        one, other = (_flat(asdict(without_engine(p))) for p in (plan, read_file(path)))
    except ValueError as error:
        return (f"that it cannot be read ({error})",)
    keys = dict.fromkeys([*one, *other])
    return tuple(key for key in keys if one.get(key) != other.get(key))


def without_engine(plan: Plan) -> Plan:
    """Return what a plan asks for, wherever it is done."""
    return replace(plan, engine=Engine())


def _flat(tree: Mapping[str, object]) -> dict[str, object]:
    """Return all settings in one mapping, those of the tables named like training.lr."""
    flat: dict[str, object] = {}
    for key, value in tree.items():
        below = _flat(value) if isinstance(value, dict) else None
        flat |= {key: value} if below is None else {f"{key}.{k}": v for k, v in below.items()}
    return flat


def _build(kind: type[Table], table: object, where: str) -> Table:
    if not isinstance(table, Mapping):
        raise ValueError(f"[{where}] must be a table of settings, but got {shown(table)}")
    fields = kind.__dataclass_fields__
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in fields:
            raise ValueError(
                unknown(f"a key of {f'[{where}]' if where else 'a plan'}", key, fields)
            )
        if kind is Plan and key == "data" and isinstance(value, str):
            values[key] = value
        elif kind is Plan and key in TABLES:
            values[key] = _build(TABLES[key], value, key)
        elif kind is Plan and key == "variant" and isinstance(value, list):
            values[key] = tuple(map(_build_variant, value))
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _build_variant(table: object) -> Variant:
    """Return a variant of its table, in which fields of the training stand beside its own."""
    if not isinstance(table, Mapping):
        raise ValueError(f"[[variant]] must be a table of settings, but got {shown(table)}")
    own = {k: v for k, v in table.items() if k in Variant.__dataclass_fields__}
    model = own.get("model")
    if model in registry.MODELS or str(model).startswith(registry.BACKBONES):
        training = own.get("training", {})
        if not isinstance(training, Mapping) or "model" in training:
            raise ValueError(
                "each variant must be a table of settings with one model, but got "
                f"{shown(own.pop('model'))} and training = {shown(training)}"
            )
        own["training"] = {**training, "model": own.pop("model")}
    others = {k: v for k, v in table.items() if k not in Variant.__dataclass_fields__}
    check_fields(others, "a key of [[variant]]")
    made = Variant(**own)
    for key in others:
        if not made.takes(key):
            word = made.plain_loss if key.startswith("loss.") else getattr(made, key.split(".")[0])
            raise ValueError(
                f"{key} must be a setting that {word} has, but it has none of that name; leave it "
                "out, or take another one"
            )
    return made.having(others)


def write(plan: Plan) -> str:
    """Return the plan as TOML, each key with a comment; `read` reads it back.

    Raises:
        ValueError: a plan that TOML cannot hold.
    """
    lines = ["# A study of counterpoise. Run it with: counterpoise compare plan.toml", ""]
    tables = {"": plan, **{name: getattr(plan, name) for name in TABLES}}
    for name, table in tables.items():
        lines += ["", f"[{name}]"] if name else []
        for key, f in table.__dataclass_fields__.items():
            if "help" in f.metadata:
                text = f"{key} = {_toml(getattr(table, key))}"
                lines.append(f"{text:40}  # {f.metadata['help']}")
    if plan.axes:
        lines += ["", "[axes]", *(f"{_toml(k)} = {_toml(v)}" for k, v in plan.axes.items())]
    for v in plan.variant:
        lines += ["", "[[variant]]"]
        keys = ("model", "settings") if v.model else ("norm", "loss", "sampler", "settings")
        keys += tuple(k for k in ("training", "imbalance", *OWN.values()) if getattr(v, k))
        lines += [f"{k} = {_toml(getattr(v, k))}" for k in dict.fromkeys(keys)]
    text = "\n".join(lines) + "\n"
    try:
        same = read(tomllib.loads(text)) == plan
    except ValueError as error:
        raise ValueError(f"a plan must be one that TOML can hold, but: {error}") from error
    if not same:
        raise ValueError("a plan must be the same when TOML has held it, but this one is another")
    return text


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
