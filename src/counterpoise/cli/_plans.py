"""Plans from the arguments of the command line."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.cli._arguments import check_name
from counterpoise.registry import unknown

if TYPE_CHECKING:
    from counterpoise.study import Plan

# of [data] in a plan
_READING = (
    *("target", "drop", "keep", "group", "test", "split"),
    *("min_samples", "small", "missing_labels"),
)
_TRAINING = ("model", "weights", "head", "epochs", "batch_size", "resize")


def make_plan(data: str, chosen: dict[str, Any]) -> "Plan":
    """Return the plan of a file, or of the arguments.

    Beside a plan.toml `--set` may say where runs happen, and nothing else may be said.
    """
    from counterpoise.study.plan_file import read, read_file

    check_name(data)
    sets = _read_settings(chosen.pop("set", ()))
    if data.endswith(".toml"):
        others = {k: v for k, v in sets.items() if not k.startswith("engine.")}
        if chosen or others:
            said = [f"--{name.replace('_', '-')}" for name in chosen]
            said += [f"--set {name}" for name in others]
            raise ValueError(f"{', '.join(said)} cannot go with a plan; change it in {data}")
        return on_engine(read_file(Path(data)), {k.partition(".")[2]: v for k, v in sets.items()})
    reading = {k: chosen.pop(k) for k in _READING if k in chosen}
    training = {k: chosen.pop(k) for k in _TRAINING if k in chosen}
    if chosen.pop("features", False):
        training |= {"freeze": "backbone", "augment": "none"}
    if "image_size" in chosen:
        training["image_size"] = _sides(chosen.pop("image_size"))
    if "lr" in chosen:
        training["lr"] = _number_or_word(chosen.pop("lr"))
    vary, tune = chosen.pop("vary", ()), chosen.pop("tune", ())
    table = {"data": {"source": data, **reading}, "training": training, **chosen}
    table |= {"axes": _read_lists("--vary", vary)} if vary else {}
    table |= {"tuning": {"search": _read_lists("--tune", tune)}} if tune else {}
    if "lr" in table.get("tuning", {}).get("search", {}) and "lr" in training:
        raise ValueError(f"lr must be tuned or fixed, but --tune lr and --lr {training['lr']} came")
    if "imbalance" in chosen:
        table["imbalance"] = _imbalance(chosen["imbalance"])
    for key, value in sets.items():
        name, _, field = key.rpartition(".")
        within = table.setdefault(name, {}) if name else table
        if field in within:
            raise ValueError(f"{key} must be said once, but stands in --set and in an option, too")
        within[field] = value
    return read({k: list(v) if isinstance(v, tuple) else v for k, v in table.items()})


def _read_lists(option: str, words: tuple[str, ...]) -> dict[str, list[Any]]:
    """Parse "field=value,value" of each word."""
    found: dict[str, list[Any]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not (key and equals and values) or key in found:
            raise ValueError(
                f"{option} must be like weight_decay=5e-4,5e-3, each field once, but got {word!r}"
            )
        found[key] = [_value(text) for text in values.split(",")]
    return found


def _read_settings(words: tuple[str, ...]) -> dict[str, Any]:
    """Parse "table.setting=value" of each word; of [training] the table may be left out."""
    from counterpoise.study.plan import Plan
    from counterpoise.study.plan_file import TABLES
    from counterpoise.study.settings import Training

    known = [k for k in Plan.__dataclass_fields__ if k not in (*TABLES, "axes", "variant")]
    known += [f"{name}.{k}" for name, kind in TABLES.items() for k in kind.__dataclass_fields__]
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"--set must be like weight_decay=5e-3, but got {word!r}")
        if key in Training.__dataclass_fields__ and key not in known:
            key = f"training.{key}"
        if key not in known:
            raise ValueError(unknown("a setting of --set", key, known))
        if key in found:
            raise ValueError(f"--set must say a setting once, but {key} came twice")
        name, _, field = key.rpartition(".")
        kind = TABLES[name] if name else Plan
        several = isinstance(kind.__dataclass_fields__[field].default, tuple)
        found[key] = [_value(x) for x in text.split(",")] if several else _value(text)
    return found


def _value(text: str) -> bool | float | str:
    """Parse a number, true or false; all else is a word."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        return _number_or_word(text)


def on_engine(plan: "Plan", where: dict[str, Any]) -> "Plan":
    """Return the plan with another engine, which may be said beside a plan.toml, too."""
    return replace(plan, engine=replace(plan.engine, **where)) if where else plan


def _imbalance(text: str) -> dict[str, float | str]:
    """Parse "profile" or "profile:factor"."""
    profile, _, factor = text.partition(":")
    if not factor:
        return {"profile": profile}
    number = _number_or_word(factor)
    if isinstance(number, str):
        raise ValueError(f"--imbalance must be like exponential:100, but got {text!r}")
    return {"profile": profile, "factor": number}


def _sides(text: str) -> int | list[int]:
    """Parse "224" or "180x240"."""
    sides = text.lower().split("x")
    if not all(n.isdecimal() for n in sides) or len(sides) > 2:
        raise ValueError(f"--image-size must be like 224 or 180x240, but got {text!r}")
    return int(text) if len(sides) == 1 else [int(n) for n in sides]


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
