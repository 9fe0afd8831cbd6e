"""The events of a running study: those of a run, by its name, and those of the study itself.

    for event in stream({folder: plan}):
        match event:
            case events.Epoch(run, row):
                print(run, row)
            case events.Failed(run, reason):
                print(run, reason)

A worker sends those of its run; whatever engine started it passes them on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from counterpoise.study.spec import RunRow


@dataclass(frozen=True)
class Started:
    """A process has begun a run, for the first time or again after one died."""

    run: str


@dataclass(frozen=True)
class Progress:
    """A share of a run's training, 0 .. 1, is done."""

    run: str
    share: float


@dataclass(frozen=True)
class Epoch:
    """A run has finished an epoch; `row` is its line of `history.jsonl`."""

    run: str
    row: Mapping[str, float | None]


@dataclass(frozen=True)
class Waiting:
    """A run waits for a process that is left from a killed study and holds the run's folder."""

    run: str
    folder: Path


@dataclass(frozen=True)
class Finished:
    """A run's record is there; `kept` if it was there already."""

    run: str
    kept: bool = False


@dataclass(frozen=True)
class Failed:
    """A run ended without a record.

    Attributes:
        run: its name.
        reason: in a line or a few.
        outside: the file system or the end of its process made it fail, not its training.
    """

    run: str
    reason: str
    outside: bool = False


@dataclass(frozen=True)
class Planned:
    """A stage of a study is about to begin.

    Attributes:
        folder: the study's.
        runs: those of the stage, by name.
        kept: the names of those that are finished already.
        other_environment: of those kept that were trained in another one, in what it differs.
        left_over: folders of runs that the plan does not name.
        cost: of each run, in passes of a sample through the net.
        later: that of the stages to come, all together.
    """

    folder: Path
    runs: Mapping[str, RunRow]
    kept: tuple[str, ...]
    other_environment: Mapping[str, list[str]]
    left_over: tuple[str, ...]
    cost: Mapping[str, float]
    later: float


@dataclass(frozen=True)
class Chosen:
    """The learning rate of each label; of those whose runs could not be made there is none."""

    rates: Mapping[str, float]


@dataclass(frozen=True)
class Unsaved:
    """`study.json` could not be written at the end of a stage; the records are unharmed."""

    reason: str


OfRun = Started | Progress | Epoch | Waiting | Finished | Failed
Event = OfRun | Planned | Chosen | Unsaved
Emit = Callable[[OfRun], None]
