"""Runs of the Trainer of transformers: `trainer_state.json`, the last one of each run."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from counterpoise.judgement._record import Record

_FILE = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-\d+")
_OTHERS = ("epoch", "step")


def find(files: Sequence[Path]) -> list[Path]:
    """Return the files of the Trainer's states."""
    return [path for path in files if path.name == _FILE]


def read(paths: Sequence[Path]) -> list[Record]:
    """Return a record of each run: of several checkpoints the one that is furthest.

    The seed stands in a pickle beside it alone, which is not read: the folder's name must hold it.

    Raises:
        ValueError: a file is not the state of a Trainer.
    """
    last: dict[Path, tuple[int, Record]] = {}
    for path in paths:
        folder = path.parent.parent if _CHECKPOINT.fullmatch(path.parent.name) else path.parent
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            step, logs = int(state["global_step"]), state["log_history"]
            record = Record(
                str(folder),
                _scores(logs),
                {k: str(v) for k, v in (state.get("trial_params") or {}).items()},
                folder.as_posix(),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"{path} must be the state of a Trainer of transformers, with its global_step and "
                f"log_history, but reading it raised {type(error).__name__}; leave it out"
            ) from None
        if folder not in last or step > last[folder][0]:
            last[folder] = step, record
    return [record for _, record in last.values()]


def _scores(logs: Sequence[dict[str, float]]) -> dict[str, list[tuple[float, float]]]:
    """Return the numbers of all entries; what has no split in its name is of training."""
    found: dict[str, list[tuple[float, float]]] = {}
    for log in logs:
        for name, value in log.items():
            if name not in _OTHERS and isinstance(value, (int, float)):
                of_split = name.startswith(("eval_", "test_", "train_"))
                known = name if of_split else f"train/{name}"
                found.setdefault(known, []).append((float(log["step"]), float(value)))
    return found
