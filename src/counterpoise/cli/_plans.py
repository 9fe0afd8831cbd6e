"""Plans from the arguments of the command line."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.cli._arguments import check_name

if TYPE_CHECKING:
    from counterpoise.study import Plan

# of [data] in a plan
_READING = (
    *("target", "drop", "keep", "group", "test", "split"),
    *("min_samples", "small", "missing_labels", "cache"),
)
_TRAINING = ("model", "weights", "head", "epochs", "batch_size", "resize", "devices")


def make_plan(data: str, chosen: dict[str, Any]) -> "Plan":
    """Return the plan of a file, or of the arguments."""
    from counterpoise.study.plan_file import read, read_file

    check_name(data)
    if data.endswith(".toml"):
        if chosen:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
            raise ValueError(f"{flags} cannot go with a plan; change it in {data}")
        return read_file(Path(data))
    reading = {k: chosen.pop(k) for k in _READING if k in chosen}
    training = {k: chosen.pop(k) for k in _TRAINING if k in chosen}
    if chosen.pop("features", False):
        training |= {"freeze": "backbone", "augment": "none"}
    if "image_size" in chosen:
        training["image_size"] = _sides(chosen.pop("image_size"))
    if "lr" in chosen:
        training["lr"] = _number_or_word(chosen.pop("lr"))
    table = {"data": {"source": data, **reading}, "training": training, **chosen}
    if "imbalance" in chosen:
        table["imbalance"] = _imbalance(chosen["imbalance"])
    return read({k: list(v) if isinstance(v, tuple) else v for k, v in table.items()})


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


def count_or_word(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
