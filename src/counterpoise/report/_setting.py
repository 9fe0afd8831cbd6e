"""The section on plan and environment, and the command that repeats the study."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from counterpoise.report._numbers import mean, score
from counterpoise.report._variants import Entry
from counterpoise.study import Study
from counterpoise.study.cautions import at_edges
from counterpoise.study.plan_file import write
from counterpoise.study.variant import shown


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
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {', '.join(map(str, v))}" for k, v in value.items()) or "–"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "–"
    return str(value) if value != "" else "–"


def tuning(study: Study, variants: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the validation scores of all that was tried, a table for variants tuned alike.

    A table of one field has a column for each value; one of several has a row for each trial.
    """
    scores: dict[tuple[str, str], list[float]] = {}
    for r in study.tuning:
        value = (r.run.get("validation") or {}).get(study.metric.key)
        if value is not None:
            scores.setdefault((r.label, repr(r.trial)), []).append(value)
    alike: dict[str, list[Entry]] = {}
    for v in variants:
        alike.setdefault(repr(study.plan.trials(study.plan.variant_of(v.label))), []).append(v)
    edges = {label for *_, labels in at_edges(study.plan, study.choices) for label in labels}
    tables = []
    for some in alike.values():
        trials = study.plan.trials(study.plan.variant_of(some[0].label))
        if not trials:
            continue
        fields = list(trials[0])
        rows = [
            {
                "variant": v,
                "cells": [
                    (
                        score(study.metric, mean(scores.get((v.label, repr(t)), []))),
                        t.items() <= study.choices.get(v.label, {}).items(),
                    )
                    for t in trials
                ],
                "edge": v.label in edges,
            }
            for v in some
        ]
        names = ["learning rate" if k == "lr" else k for k in fields]
        heads = [", ".join(shown(t[k]) for k in fields) for t in trials]
        tables.append(
            {"what": ", ".join(names), "grid": heads, "rows": rows, "tall": len(fields) > 1}
        )
    return tables


def environment(study: Study) -> list[tuple[str, str]]:
    """Return the versions and the machine as rows of name and value."""
    return [(name, str(value)) for name, value in study.environment.items()]


def again(study: Study) -> dict[str, str]:
    """Return the command that repeats the study, and its plan."""
    return {"command": "counterpoise compare plan.toml --out again", "plan": write(study.plan)}
