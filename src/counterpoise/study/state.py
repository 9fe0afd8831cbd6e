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
from counterpoise.study._earlier import up_to_date
from counterpoise.study._runs import epochs_of
from counterpoise.study.plan import Plan
from counterpoise.study.plan_file import read
from counterpoise.study.settings import SEEDS
from counterpoise.study.spec import RunRow, labels_of, run_words
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
        more: seeds may still be added.
    """

    done: int
    whole: int
    running: tuple[Running, ...]
    failed: Mapping[str, str]
    seconds_left: float | None
    more: bool = False

    @property
    def finished(self) -> bool:
        """True where nothing is left to be done."""
        return not self.more and self.done + len(self.failed) >= self.whole


def state_of(where: str) -> State:
    """Return the state of a study.

    Args:
        where: its folder, or a storage such as s3://bucket/study.

    Raises:
        ValueError: no study is there.
    """
    storage = Storage(where)
    try:
        kept = up_to_date(json.loads(storage.read("study.json") or b""))
        plan, rows = read(kept["plan"]), dict(kept["runs"])
        failed = {name: str(why) for name, why in dict(kept["failed"]).items()}
        for row in rows.values():
            _words(row)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where} must be the folder or the storage of a study, but has no study.json that can "
            f"be read ({type(error).__name__}); it is written when the data have been read"
        ) from error
    there = storage.tree("runs")
    done = {name for name in rows if f"{name}/{record.RUN}" in there}
    failed = {name: why for name, why in failed.items() if name not in done}
    notes = _notes(storage, there, rows)
    running = {name: note for name, note in notes.items() if name not in done}
    now = time.time()
    return State(
        len(done),
        len(rows) + _to_come(plan, rows, failed),
        tuple(_running(rows[name], note, now) for name, note in sorted(running.items())),
        {_words(rows[name]): why for name, why in failed.items() if name in rows},
        _seconds_left(plan, rows, done, failed, running, now),
        kept.get("more") is True,
    )


def _notes(storage: Storage, there: set[str], rows: Mapping[str, RunRow]) -> dict[str, Any]:
    """Return the notes of the runs that are being done, by name."""
    found: dict[str, Any] = {}
    with suppress(ValueError, TypeError):
        found |= json.loads(storage.read(record.NOTE) or b"{}")
    for name in rows:
        if f"{name}/{record.NOTE}" in there:
            with suppress(ValueError):  # it has just been removed
                found[name] = json.loads(storage.read(f"runs/{name}/{record.NOTE}") or b"")
    return {name: note for name, note in found.items() if name in rows and _is_note(note)}


def _is_note(value: object) -> bool:
    numbers = ("share", "epoch", "began", "now", "resumed")
    return isinstance(value, dict) and all(isinstance(value.get(k), int | float) for k in numbers)


def _running(row: RunRow, note: Mapping[str, Any], now: float) -> Running:
    return Running(
        _words(row),
        str(note.get("host")),
        float(note["share"]),
        int(note["epoch"]),
        now - note["began"],
        now - note["now"],
    )


def _words(row: RunRow) -> str:
    return f"{row['label']} · {run_words(row)}"


def _to_come(plan: Plan, rows: Mapping[str, RunRow], failed: Mapping[str, str]) -> int:
    """Return the runs of the last stage, before they are listed: none of what did not train."""
    if any(row["stage"] == "final" for row in rows.values()):
        return 0
    tried = {name: labels_of(row) for name, row in rows.items() if row["stage"] == "tuning"}
    tuned = {label for labels in tried.values() for label in labels}
    works = {label for name, labels in tried.items() if name not in failed for label in labels}
    return (len(plan.labels) - len(tuned - works)) * (len(plan.seeds) or SEEDS)


def _seconds_left(
    plan: Plan,
    rows: Mapping[str, RunRow],
    done: set[str],
    failed: Mapping[str, str],
    running: Mapping[str, Any],
    now: float,
) -> float | None:
    """Estimate by how long those that are being done took for what they did since they began."""
    cost = {name: _cost(plan, row) for name, row in rows.items()}
    gained = {k: n["share"] - n["resumed"] for k, n in running.items()}
    begun = {k: gain for k, gain in gained.items() if gain > _ENOUGH}
    if not begun:
        return None
    spent = sum(running[k]["now"] - running[k]["began"] for k in begun)
    worth = sum(gain * cost[k] for k, gain in begun.items())
    left = sum(c for name, c in cost.items() if name not in done and name not in failed)
    left -= sum(n["share"] * cost[k] for k, n in running.items())
    left += (plan.training.epochs or 1) * _to_come(plan, rows, failed)
    return left * spent / worth / len(running)


def _cost(plan: Plan, row: RunRow) -> float:
    """Return what a run costs, in epochs; a classical model is taken for one."""
    if row["stage"] == "reference" or (variant := plan.variant_of(row["label"])).model:
        return 1
    return epochs_of(plan, variant, row["stage"]) or 1
