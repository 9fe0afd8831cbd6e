"""Runs of W&B that are on this machine: the summary and the parameters of each."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoise.judgement._record import Record
from counterpoise.judgement.readers._settings_file import read_settings

_SUMMARY = "wandb-summary.json"
_RUN = re.compile(r"(offline-)?run-\d{8}_\d{6}-\w+")
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def find(files: Sequence[Path]) -> list[Path]:
    """Return the runs' summaries.

    Raises:
        ValueError: there are only runs that were never sent, which W&B keeps in a format of its
            own.
    """
    found = [path for path in files if path.name == _SUMMARY]
    unsent = [path for path in files if path.suffix == ".wandb"]
    if unsent and not found:
        raise ValueError(
            f"runs of W&B must have a {_SUMMARY}, but {unsent[0].parent} was written offline and "
            "has none; send it with wandb sync, and give the table that W&B exports as CSV"
        )
    return found


def read(paths: Sequence[Path]) -> list[Record]:
    """Return a record of each run: the last value of each metric, as its summary has it.

    Raises:
        ValueError: a summary is damaged.
    """
    records = []
    for path in paths:
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            values = {name: _WORDS.get(str(v), v) for name, v in _flat(summary).items()}
            scores = {
                name: [(0.0, float(v))]
                for name, v in values.items()
                if isinstance(v, (int, float)) and not isinstance(v, bool)
            }
        except (ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{path} must hold an object of JSON, but: {error}") from None
        settings = {
            name.removesuffix(".value"): value
            for name, value in read_settings(path.parent, "config.yaml").items()
        }
        run = next((p for p in path.parents if _RUN.fullmatch(p.name)), path.parent)
        records.append(Record(str(run), scores, settings, run.name.rpartition("-")[2]))
    return records


def _flat(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary with one value a name: the last of several, else each as name.max."""
    found: dict[str, Any] = {}
    for name, value in summary.items():
        if not isinstance(value, dict) or name.startswith("_"):
            found[name] = value
        elif "last" in value:
            found[name] = value["last"]
        else:
            found |= {f"{name}.{key}": one for key, one in value.items()}
    return found
