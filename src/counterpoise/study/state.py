"""The state of a study while it runs, from any machine that sees its folder or its storage.

It is read from `study.json`, from which runs have a `run.json`, and from the notes of those that
are being done: `progress.json` in a run's folder, or, in a storage, one file of all.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from counterpoise.study import record
from counterpoise.study.plan import Plan, read
from counterpoise.study.settings import SEEDS
from counterpoise.study.spec import RunRow, run_words
from counterpoise.study.storage import Storage

_STALE = 60.0  # seconds without a new note
_ENOUGH = 0.02  # of a run is done, so that its time can be estimated


@dataclass(frozen=True)
class Running:
    """A run that is being done.

    Attributes:
        words: its label, and its seed or learning rate.
        host: where.
        share: of its training that is done, 0 .. 1.
        epoch: the last one that is finished.
        seconds: since it was begun there.
        silent: seconds since its last note.
    """

    words: str
    host: str
    share: float
    epoch: int
    seconds: float
    silent: float

    @property
    def lost(self) -> bool:
        """True where so long nothing was heard that it may be no more."""
        return self.silent > _STALE


@dataclass(frozen=True)
class State:
    """A study while it runs.

    Attributes:
        done: finished runs.
        whole: all of them, those of later stages included.
        running: those that are being done.
        failed: reasons, by the run's words.
        seconds_left: until all are done, about; None where nothing can be told yet.
    """

    done: int
    whole: int
    running: tuple[Running, ...]
    failed: Mapping[str, str]
    seconds_left: float | None

    @property
    def finished(self) -> bool:
        """True where nothing is left to be done."""
        return self.done + len(self.failed) >= self.whole


def state_of(where: str) -> State:
    """Return the state of a study.

    Args:
        where: its folder, or a storage such as s3://bucket/study.

    Raises:
        ValueError: no study is there.
    """
    storage = Storage(where)
    try:
        content = storage.read("study.json")
        kept = json.loads(content or b"")
        plan, rows = read(kept["plan"]), kept["runs"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{where} must be the folder or the storage of a study, but has no study.json that can "
            f"be read ({type(error).__name__}); it is written when the data have been read"
        ) from error
    there = storage.tree("runs")
    done = {name for name in rows if f"{name}/{record.RUN}" in there}
    failed = {name: why for name, why in kept["failed"].items() if name not in done}
    notes = _notes(storage, there, rows)
    running = {name: note for name, note in notes.items() if name not in done}
    now = time.time()
    return State(
        len(done),
        _whole(plan, rows),
        tuple(_running(rows[name], note, now) for name, note in sorted(running.items())),
        {_words(rows[name]): why for name, why in failed.items() if name in rows},
        _seconds_left(plan, rows, done, running, now),
    )


def _notes(storage: Storage, there: set[str], rows: Mapping[str, RunRow]) -> dict[str, Any]:
    """Return the notes of the runs that are being done, by name."""
    found: dict[str, Any] = {}
    with suppress(ValueError):
        found |= json.loads(storage.read(record.NOTE) or b"{}")
    for name in rows:
        if f"{name}/{record.NOTE}" in there:
            with suppress(ValueError):  # it has just been removed
                found[name] = json.loads(storage.read(f"runs/{name}/{record.NOTE}") or b"")
    fields = ("host", "share", "epoch", "began", "now")
    return {k: n for k, n in found.items() if k in rows and all(field in n for field in fields)}


def _running(row: RunRow, note: Mapping[str, Any], now: float) -> Running:
    return Running(
        _words(row),
        str(note["host"]),
        float(note["share"]),
        int(note["epoch"]),
        now - note["began"],
        now - note["now"],
    )


def _words(row: RunRow) -> str:
    return f"{row['label']} · {run_words(row)}"


def _whole(plan: Plan, rows: Mapping[str, RunRow]) -> int:
    final = [name for name, row in rows.items() if row["stage"] == "final"]
    expected = len(plan.labels) * (len(plan.seeds) or SEEDS)
    return len(rows) + (0 if final else expected)


def _seconds_left(
    plan: Plan,
    rows: Mapping[str, RunRow],
    done: set[str],
    running: Mapping[str, Any],
    now: float,
) -> float | None:
    """Estimate by how long those that are being done have taken for what they have done."""
    begun = {k: n for k, n in running.items() if n["share"] > _ENOUGH}
    if not begun:
        return None
    cost = {name: _cost(plan, row) for name, row in rows.items()}
    spent = sum(now - n["began"] for n in begun.values())
    worth = sum(n["share"] * cost[k] for k, n in begun.items())
    left = sum(c for name, c in cost.items() if name not in done)
    left -= sum(n["share"] * cost[k] for k, n in running.items())
    if not any(row["stage"] == "final" for row in rows.values()):
        left += plan.training.epochs * len(plan.labels) * (len(plan.seeds) or SEEDS)
    return left * spent / worth / len(running)


def _cost(plan: Plan, row: RunRow) -> float:
    """Return what a run costs, in epochs; a classical model is taken for one."""
    if row["stage"] == "reference" or row.get("tuned", "lr") != "lr":
        return 1
    return (row["stage"] == "tuning" and plan.tuning.epochs) or plan.training.epochs or 1
