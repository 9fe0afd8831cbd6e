"""The events of a study, drawn: a bar a run, one for the whole, and a table that fills."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rich import progress
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from counterpoise import registry
from counterpoise.cli._shown import shown
from counterpoise.registry import Metric
from counterpoise.stats import t_interval
from counterpoise.study import Event, record
from counterpoise.study.events import (
    Chosen,
    Epoch,
    Failed,
    Finished,
    Foreseen,
    Notice,
    Planned,
    Prepared,
    Progress,
    Started,
    Unsaved,
    Waiting,
)
from counterpoise.study.spec import RunRow, run_words
from counterpoise.study.variant import trial_words
from counterpoise.text import duration, one_line

_PATIENCE, _PAUSE = 1.0, 30.0  # seconds without a word: at the beginning, and later
_ENOUGH = 0.02  # of the whole is done, so that the rest can be estimated
_WIDE = 120  # columns from which there is room for all


class Board:
    """Draws the events of `study.stream` while it runs; on a terminal live, elsewhere in lines.

    Args:
        console: where to.
        metric: the primary one, for the table.
        quiet: draw nothing.
        titles: what labels are called, where not by themselves.

    After `watch`, `failed` holds the reason of each run that failed, by its name in words; a
    learning rate that does not work counts only where no other one of its variant does.
    """

    def __init__(
        self,
        console: Console,
        metric: str,
        quiet: bool = False,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self.console, self.metric, self.quiet = console, registry.metric(metric), quiet
        self.titles = titles or {}
        self.failed: dict[str, str] = {}
        self._tried: dict[str, str] = {}  # the same of the runs that try a learning rate
        self._runs: dict[str, RunRow] = {}
        self._tuned = self._drawn = False
        self._folders: dict[str, Path] = {}
        self._cost: dict[str, float] = {}
        self._share: dict[str, float] = {}
        self._later: dict[Path, float] = {}
        self._runs_later: dict[Path, int] = {}
        self._ended = 0
        self._waiting = threading.Timer(_PATIENCE, self.say, ["reading the data"])
        self._began = self._said = time.monotonic()
        self._scores: dict[str, dict[int, float | None]] = {}
        self._news: dict[str, str] = {}
        self._tasks: dict[str, TaskID] = {}
        # What an epoch brought gives way to a narrow terminal first, then the bar, then the name.
        fixed = Column(no_wrap=True)
        self._bars = progress.Progress(
            _text("{task.description}", Column(no_wrap=True, max_width=36)),
            BarColumn(bar_width=24 if console.width >= _WIDE else 6),
            _text("{task.percentage:>3.0f}%", fixed),
            TimeElapsedColumn(table_column=fixed),
            _text("left", fixed),
            TimeRemainingColumn(table_column=fixed),
            _text("{task.fields[news]}", Column(no_wrap=True, ratio=1)),
            expand=True,
            console=console,
            speed_estimate_period=120,
        )
        self._reading = self._bars.add_task("reading the data", total=None, news="")
        self._whole = self._bars.add_task("the whole", total=1.0, news="", visible=False)

    def watch(self, events: Iterable[Event]) -> None:
        """Draw all events, to the end."""
        if self.quiet:
            for event in events:
                self._on_event(event)
        elif self.console.is_terminal:
            with Live(
                console=self.console, refresh_per_second=4, get_renderable=self._draw
            ) as live:
                live.transient = True  # nothing stays of it when the data are refused
                for event in events:
                    live.transient = False
                    self._on_event(event)
        else:
            try:
                for event in events:
                    self._waiting.cancel()
                    self._on_event(event)
            finally:
                self._waiting.cancel()

    def on_reading(self, done: int, total: int) -> None:
        """Draw how many of the images are read; 0 of 0 before anything is."""
        if not total:
            if not (self.quiet or self.console.is_terminal or self._waiting.ident):
                self._waiting.start()
            return
        self._bars.update(self._reading, completed=done, total=total)
        self._say_now_and_then(lambda: f"{done:,} of {total:,} images are read")

    def on_features(self, done: int, total: int) -> None:
        """Draw of how many of the images a frozen net's features are computed."""
        doing = {"description": "computing features", "completed": done, "total": total}
        self._bars.update(self._reading, **doing)
        if not done and not self.console.is_terminal:
            self.say(f"computing the features of {total:,} images")
        self._say_now_and_then(lambda: f"features of {done:,} of {total:,} images are computed")

    def _say_now_and_then(self, line: Callable[[], str]) -> None:
        """Print a line where nothing is drawn, if nothing was printed for half a minute."""
        if not self.console.is_terminal and time.monotonic() - self._said > _PAUSE:
            self.say(line())

    def _on_event(self, event: Event) -> None:
        match event:
            case Prepared() | Foreseen():
                self._on_prepared(event)
            case Planned():
                self._on_planned(event)
            case Chosen(choices, cautions) if self._tuned:  # what is fixed is no news
                said = (f"{self._title(k)}: {trial_words(x)}" for k, x in choices.items() if x)
                self.say(f"chosen: {'; '.join(said)}")
                for name, reason in self._tried.items():
                    if not name.startswith(tuple(f"{self._title(label)} · " for label in choices)):
                        self.failed[name] = reason
                for caution in cautions:
                    self.say(f"Caution: {one_line(caution)}")
            case Notice(text=text):
                self.say(one_line(text))
            case Unsaved(reason):
                self.say(("could not write", "red"), f" {one_line(reason)}")
            case Started(run):
                self._end_task(run)
                self._tasks[run] = self._bars.add_task(self._name(run), total=1.0, news="")
            case Progress(run, share):
                self._share[run] = share
                self._bars.update(self._tasks[run], completed=share)
            case Epoch(run, row):
                self._news[run] = _row_words(row)
                self._bars.update(self._tasks[run], news=self._news[run])
            case Waiting(run, folder):
                self._line(run, f"waits for the process that holds {folder}", important=True)
            case Finished(run, kept):
                self._on_finished(run, kept)
            case Failed(run, reason):
                self._on_end(run)
                tried = self._runs[run]["stage"] == "tuning"
                (self._tried if tried else self.failed)[self._name(run)] = reason
                self._line(run, ("failed:", "red"), f" {one_line(reason)}", important=True)
        done = sum(share * self._cost[run] for run, share in self._share.items())
        total = sum(self._cost.values()) + sum(self._later.values())
        share = done / total if total else 0.0
        self._bars.update(self._whole, completed=share, visible=True)
        self._say_now_and_then(lambda: self._how_far(share))

    def _how_far(self, share: float) -> str:
        spent = time.monotonic() - self._began
        left = f", about {duration(spent / share - spent)} to go" if share > _ENOUGH else ""
        return f"{share:.0%} done after {duration(spent)}{left}"

    def _on_prepared(self, study: Prepared | Foreseen) -> None:
        looks = isinstance(study, Prepared) and study.looks_ahead
        self._bars.update(self._reading, description="looking ahead", visible=looks, total=None)
        self._drawn |= study.plan.test == "per_seed"
        if isinstance(study, Prepared) and study.metric.key == self.metric.key:
            self.metric = study.metric  # which knows margin and class
        self._began = time.monotonic()
        for line in study.lines():
            self.say(one_line(line) if line.lstrip() == line else f"  {one_line(line)}")

    def _on_planned(self, stage: Planned) -> None:
        self._runs |= stage.runs
        self._tuned |= any(row["stage"] == "tuning" for row in stage.runs.values())
        self._cost |= stage.cost
        self._later[stage.folder] = stage.later
        self._runs_later[stage.folder] = stage.runs_later
        self._folders |= dict.fromkeys(stage.runs, stage.folder)
        if stage.kept:
            self.say(f"{len(stage.kept)} of {len(stage.runs)} runs are kept from before")
        elsewhere = stage.other_environment
        if elsewhere:
            how = "; ".join(dict.fromkeys(", ".join(said) for said in elsewhere.values()))
            self.say(f"{len(elsewhere)} of them are of another environment: {one_line(how)}")
        if stage.left_over:
            self.say(f"{len(stage.left_over)} runs of another plan stay unused in the folder")

    def _on_finished(self, run: str, kept: bool) -> None:
        self._on_end(run)
        if self._runs[run]["stage"] != "tuning":
            self._score(run)
            self._news.setdefault(run, self._scored(run))
        if not kept:
            self._line(run, self._news.get(run, "finished"))

    def _on_end(self, run: str) -> None:
        self._end_task(run)
        self._share[run] = 1.0
        self._ended += 1

    def _score(self, run: str) -> None:
        """Take a finished run's score into the table."""
        found = record.read(self._folders[run] / "runs" / run)
        if found is not None:
            label, seed = self._key(run)
            self._scores.setdefault(label, {})[seed] = found["test"][self.metric.key]

    def _key(self, run: str) -> tuple[str, int]:
        """Return the row of the table that a run belongs into, and its seed."""
        row = self._runs[run]
        label = self._title(row["label"])
        label += " (reference)" if row["stage"] == "reference" else ""
        return label, row["seed"]

    def _scored(self, run: str) -> str:
        """Say what a run has reached that told nothing on its way, as a reference."""
        label, seed = self._key(run)
        found, row = self._scores.get(label, {}).get(seed), self.metric
        return "finished" if found is None else f"{row.label} {self._where} {row.shown(found)}"

    def _end_task(self, run: str) -> None:
        if run in self._tasks:
            self._bars.remove_task(self._tasks.pop(run))

    def _name(self, run: str) -> str:
        row = self._runs[run]
        return one_line(f"{self._title(row['label'])} · {run_words(row)}")

    def _title(self, label: str) -> str:
        return self.titles.get(label, label)

    def _line(self, run: str, *parts: object, important: bool = False) -> None:
        if important or not self.console.is_terminal:
            total = len(self._runs) + sum(self._runs_later.values())
            self.say(f"[{self._ended}/{total}] {self._name(run)}: ", *parts)

    def say(self, *parts: object) -> None:
        """Print a line, above what is drawn; its parts are those of `shown`."""
        if not self.quiet:
            self._said = time.monotonic()
            self.console.print(shown(*parts), soft_wrap=True)

    @property
    def _where(self) -> str:
        return "on each seed's test split" if self._drawn else "on the test split"

    def _draw(self) -> Group:
        return Group(self._table(), self._bars) if self._scores else Group(self._bars)

    def _table(self) -> Table:
        table = Table("", f"{self.metric.label} {self._where}", "seeds")
        for label, by_seed in self._scores.items():
            values = [x for x in by_seed.values() if x is not None]
            mean = sum(values) / len(values) if values else None
            short = self._drawn or not values  # of drawn splits the interval comes at the end
            found = self.metric.shown(mean) if short else mean_and_interval(self.metric, values)
            table.add_row(shown(label), found, str(len(by_seed)))
        return table


def _text(form: str, column: Column) -> TextColumn:
    """Return a column of a progress bar in which nothing is markup."""
    return TextColumn(form, markup=False, table_column=column)


def mean_and_interval(row: Metric, values: list[float], test_to_train: float = 0.0) -> str:
    """Write a mean of a metric with its 95% interval over seeds, both ends where one is cut."""
    found = t_interval(values, test_to_train=test_to_train)
    mean = row.shown(found.estimate)
    if found.low is None or found.high is None:  # of a single seed
        return mean
    ends = row.possible(found.low, found.high)
    if ends == (found.low, found.high):
        return f"{mean} ± {row.signed(found.high - found.estimate)[1:]}"
    low, high = (row.shown(end).removesuffix(row.mark) for end in ends)
    return f"{mean} ({low} to {high})"


def _row_words(row: Mapping[str, float | None]) -> str:
    """Say what an epoch brought: the first part that is watched, and how it does."""
    for name in ("ema_validation", "validation", "ema_test", "test", "train"):
        if f"{name}_balanced_accuracy" in row:
            value = row[f"{name}_balanced_accuracy"]
            return f"epoch {row['epoch']}: {name} balanced accuracy {value:.1%}"
    return f"epoch {row['epoch']}"
