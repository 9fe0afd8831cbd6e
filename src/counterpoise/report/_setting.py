"""The section on plan and environment, and the command that repeats the study."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from counterpoise.report._numbers import mean, percent, short
from counterpoise.report._variants import Entry
from counterpoise.study import Study
from counterpoise.study.plan import write


def settings(study: Study) -> list[dict[str, Any]]:
    """Return the plan as tables: a title and rows of key, value and help."""
    found = []
    for title, table in (
        ("study", study.plan),
        ("imbalance", study.plan.imbalance),
        ("training", study.plan.training),
        ("tuning", study.plan.tuning),
    ):
        rows = [
            (f.name, _written(getattr(table, f.name)), f.metadata.get("help", ""))
            for f in fields(table)
            if f.name != "variant" and not is_dataclass(getattr(table, f.name))
        ]
        found.append({"title": title, "rows": rows})
    return found


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    return str(value) if value != "" else "–"


def tuning(study: Study, variants: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the validation scores of all that was tried, a table for variants tuned alike."""
    scores: dict[tuple[str, float], list[float]] = {}
    for r in study.tuning:
        value = (r.run.get("validation") or {}).get(study.plan.metric)
        if value is not None:
            scores.setdefault((r.label, r.lr), []).append(value)
    tables: dict[tuple[str, tuple[float, ...]], list[dict[str, Any]]] = {}
    for v in variants:
        variant = study.plan.variant_of(v.label)
        grid = study.plan.trials(variant)
        chosen = study.choices.get(v.label)
        cells = [(percent(mean(scores.get((v.label, x), []))), x == chosen) for x in grid]
        ends = {min(grid), max(grid)} if len(grid) > 2 else set()
        edge = chosen in ends and not (type(chosen) is int and chosen == 1)  # no count is lower
        if grid:
            row = {"variant": v, "cells": cells, "edge": edge}
            tables.setdefault((variant.tuned, grid), []).append(row)
    return [
        {
            "what": "learning rate" if tuned == "lr" else tuned,
            "grid": list(map(short, grid)),
            "rows": rows,
        }
        for (tuned, grid), rows in tables.items()
    ]


def environment(study: Study) -> list[tuple[str, str]]:
    """Return the versions and the machine as rows of name and value."""
    return [(name, str(value)) for name, value in study.environment.items()]


def again(study: Study) -> dict[str, str]:
    """Return the command that repeats the study, and its plan."""
    return {"command": "counterpoise compare plan.toml --out again", "plan": write(study.plan)}
