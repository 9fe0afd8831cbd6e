"""Files of studies that earlier versions made, as this version writes them."""

from typing import Any

from counterpoise.study.record import Content


def up_to_date(kept: Content) -> Content:
    """Return the content of a `study.json` with what was tried and chosen by field.

    Earlier versions tuned one field alone, and kept its value: "lr" of a net's run, or that of the
    hyperparameter `tuned` of a classical model.
    """
    runs, choices = kept.get("runs"), kept.get("choices")
    if not isinstance(runs, dict) or not isinstance(choices, dict):
        return kept
    rows = {name: _row(row) for name, row in runs.items()}
    tried = {row["label"]: row["trial"] for row in rows.values() if _has_trial(row)}
    names = {label: next(iter(trial), "lr") for label, trial in tried.items()}
    chosen = {
        label: value if isinstance(value, dict) else {names.get(label, "lr"): value}
        for label, value in choices.items()
    }
    return {**kept, "runs": rows, "choices": chosen}


def _row(row: Any) -> Any:
    if not isinstance(row, dict) or "lr" not in row:
        return row
    row = dict(row)
    value, tuned = row.pop("lr"), row.pop("tuned", "lr")
    trial = {tuned: value} if tuned and row.get("stage") != "reference" else {}
    return {**row, "trial": trial}


def _has_trial(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("trial"), dict) and "label" in row
