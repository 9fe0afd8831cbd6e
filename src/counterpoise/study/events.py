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
from typing import TYPE_CHECKING, Any, TypedDict

from counterpoise.metrics import rarer_class
from counterpoise.study.settings import seconds_of
from counterpoise.study.spec import RunRow
from counterpoise.study.variant import Trial
from counterpoise.text import duration

if TYPE_CHECKING:
    from counterpoise.registry import Metric
    from counterpoise.study.defaults import Default
    from counterpoise.study.plan import Plan


_MOST_CLASSES, _ENDS = 12, 4  # of more classes, the largest and the smallest are named
_MUCH = 1.2  # times a budget, from which on it is not kept


class DataFacts(TypedDict):
    """A study's data in figures, for reports, and a fingerprint."""

    name: str
    source: str
    class_names: list[str]
    train_counts: list[int]
    test_counts: list[int]
    shape: list[int]  # of a sample
    notes: list[str]  # on how they were read
    left_out: list[str]  # what was said of what could not be
    cautions: list[str]  # what may be wrong with them
    fingerprint: str
    reading: Mapping[str, Any]  # of a sample, as `data.Splits` has it; empty in older studies


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
class Joining:
    """The first node of a run on several waits for the others at a port; for engines alone."""

    run: str
    port: int


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
class Prepared:
    """A study's data are read, and all that its plan left open is decided.

    Attributes:
        folder: the study's.
        plan: with nothing left open.
        facts: the data in figures, with sentences on how they were read.
        defaults: what was decided now, and why.
        cautions: what will go wrong by the data and the plan alone, in sentences.
        looks_ahead: some seconds of looking at the nets come now.
    """

    folder: Path
    plan: "Plan"
    facts: DataFacts
    defaults: "tuple[Default, ...]"
    cautions: tuple[str, ...]
    looks_ahead: bool = False

    @property
    def metric(self) -> "Metric":
        """The metric that decides."""
        from counterpoise.study._measure import row_of_metric

        return row_of_metric(self.plan, self.facts)

    def lines(self) -> list[str]:
        """Return all of it in words, for people."""
        f, row = self.facts, self.metric
        positive = f["class_names"][rarer_class(f["train_counts"])] if row.classes else ""
        counts = sorted(zip(f["train_counts"], f["class_names"], strict=True), key=lambda c: -c[0])
        few = len(counts) <= _MOST_CLASSES
        named = [f"{name}: {n:,}" for n, name in (counts if few else counts[:_ENDS])]
        named += [] if few else ["…", *(f"{name}: {n:,}" for n, name in counts[-_ENDS:])]
        decided = [f"Decided by the data, all in {self.folder / 'plan.toml'}:"]
        decided += [f"  {d.name} {d.words}: {d.reason}" for d in self.defaults]
        return [
            f"Data: {f['source']}",
            *(f"  {note}" for note in f["notes"]),
            f"  {len(counts)} classes, {sum(f['train_counts']):,} samples to train and validate on "
            f"({', '.join(named)})",
            f"  {sum(f['test_counts']):,} samples to test on"
            + (", others for each seed" if self.plan.test == "per_seed" else ""),
            *(f"  Left out: {line}" for line in f["left_out"]),
            *([f"Positive class of the metric: {positive}, the rarer one"] if positive else ()),
            *(decided if self.defaults else ()),
            *(f"Caution: {caution}" for caution in self.cautions),
            *(["Timing a few steps, and letting the doctor look at each net"] * self.looks_ahead),
        ]


@dataclass(frozen=True)
class Foreseen:
    """The nets were looked at; nothing has been trained yet.

    Attributes:
        folder: the study's.
        plan: with nothing left open.
        cautions: which nets will not learn, in sentences.
        seconds: that all runs will take here, about; None where it was not or cannot be told.
        most_seconds: the same with as many seeds as may be added.
    """

    folder: Path
    plan: "Plan"
    cautions: tuple[str, ...]
    seconds: float | None
    most_seconds: float | None = None

    def lines(self) -> list[str]:
        """Return all of it in words, for people."""
        said = [f"Caution: {caution}" for caution in self.cautions]
        lasts = ""
        if self.seconds is not None:
            lasts = f"; about {duration(max(10.0, self.seconds))} here"
            if self.most_seconds is not None:
                lasts += f" at first, {duration(max(10.0, self.most_seconds))} at most"
            if self.plan.time and self.seconds > _MUCH * seconds_of(self.plan.time):
                lasts += f", which is more than {self.plan.time}: nothing more can give way"
        return [*said, f"{self.plan.size}{lasts}"]


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
        runs_later: their number of runs; of more seeds that may be added, it knows nothing.
    """

    folder: Path
    runs: Mapping[str, RunRow]
    kept: tuple[str, ...]
    other_environment: Mapping[str, list[str]]
    left_over: tuple[str, ...]
    cost: Mapping[str, float]
    later: float
    runs_later: int = 0


@dataclass(frozen=True)
class Chosen:
    """The values chosen for each label; of those whose runs could not be made there are none.

    Attributes:
        choices: by label, the values by field: {"lr": 0.1}; {} where nothing was tried.
        cautions: on values at an end of what was tried, in sentences.
    """

    choices: Mapping[str, Trial]
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something that people should know while runs go on, in a sentence."""

    text: str


@dataclass(frozen=True)
class Unstacked(Notice):
    """Seeds that were to be one batch of models are trained one by one; `run` is one of them."""

    run: str


@dataclass(frozen=True)
class Unsaved:
    """`study.json` could not be written at the end of a stage; the records are unharmed."""

    reason: str


OfRun = Started | Progress | Epoch | Waiting | Joining | Unstacked | Finished | Failed
Event = OfRun | Prepared | Foreseen | Planned | Chosen | Notice | Unsaved
Emit = Callable[[OfRun], None]
