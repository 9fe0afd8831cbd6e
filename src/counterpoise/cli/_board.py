"""The events of a study, drawn: a bar a run, one for the whole, and a table that fills."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from counterpoise.cli._shown import shown
from counterpoise.registry import METRICS
from counterpoise.stats import t_interval
from counterpoise.study import Event, record
from counterpoise.text import one_line

_WIDE = 120  # columns from which there is room for all


class Board:
    """Draws the events of `study.stream` while it runs; on a terminal live, elsewhere in lines.

    Args:
        console: where to.
        metric: the primary one, for the table.
        quiet: draw nothing.
        titles: what labels are called, where not by themselves.

    After `watch`, `failed` holds the reason of each run that failed, by its name in words.
    """

    def __init__(
        self,
        console: Console,
        metric: str,
        quiet: bool = False,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self.console, self.metric, self.quiet = console, metric, quiet
        self.titles = titles or {}
        self.failed: dict[str, str] = {}
        self._runs: dict[str, Mapping[str, Any]] = {}
        self._folders: dict[str, Any] = {}
        self._cost: dict[str, float] = {}
        self._share: dict[str, float] = {}
        self._later: dict[Any, float] = {}
        self._ended = 0
        self._scores: dict[str, dict[int, float]] = {}
        self._news: dict[str, str] = {}
        self._tasks: dict[str, Any] = {}
        # What an epoch brought gives way to a narrow terminal first, then the bar, then the name.
        fixed = Column(no_wrap=True)
        self._bars = Progress(
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
        self._whole = self._bars.add_task("the whole", total=1.0, news="", visible=False)

    def watch(self, events: Iterable[Event]) -> None:
        """Draw all events, to the end."""
        if self.quiet or not self.console.is_terminal:
            for event in events:
                self._tell(event)
            return
        with Live(console=self.console, refresh_per_second=4, get_renderable=self._draw):
            for event in events:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        if event.run:
            getattr(self, f"_on_{event.kind}")(event.run, event.value)
        elif event.kind == "planned":
            self._plan(event.value)
        elif event.kind == "unsaved":
            self.say(("could not write", "red"), f" {one_line(event.value)}")
        elif self._runs:  # those that chose them; fixed rates are no news
            rates = ", ".join(f"{self._title(k)}: {lr:g}" for k, lr in event.value.items())
            self.say(f"learning rates: {rates}")
        done = sum(share * self._cost[run] for run, share in self._share.items())
        total = sum(self._cost.values()) + sum(self._later.values())
        self._bars.update(self._whole, completed=done / total if total else 0.0, visible=True)

    def _plan(self, value: Mapping[str, Any]) -> None:
        self._runs |= value["runs"]
        self._cost |= value["cost"]
        self._later[value["folder"]] = value["later"]
        self._folders |= dict.fromkeys(value["runs"], value["folder"])
        kept, number = len(value["kept"]), len(value["runs"])
        if kept:
            self.say(f"{kept} of {number} runs are kept from before")
        elsewhere = value.get("other_environment", {})
        if elsewhere:
            how = "; ".join(dict.fromkeys(", ".join(said) for said in elsewhere.values()))
            self.say(f"{len(elsewhere)} of them are of another environment: {one_line(how)}")
        if value["left_over"]:
            self.say(f"{len(value['left_over'])} runs of another plan stay unused in the folder")

    def _on_started(self, run: str, _: Any) -> None:
        self._end_task(run)
        self._tasks[run] = self._bars.add_task(self._name(run), total=1.0, news="")

    def _on_news(self, run: str, value: Mapping[str, Any]) -> None:
        if "waiting" in value:
            self._line(run, f"waits for the process that holds {value['waiting']}", important=True)
        elif "row" in value:
            self._news[run] = _row_words(value["row"])
            self._bars.update(self._tasks[run], news=self._news[run])
        else:
            self._share[run] = value["progress"]
            self._bars.update(self._tasks[run], completed=value["progress"])

    def _on_finished(self, run: str, value: Any) -> None:
        self._end_task(run)
        self._share[run] = 1.0
        self._ended += 1
        if self._runs[run]["stage"] == "final":
            self._score(run)
        if value != "kept":
            self._line(run, self._news.get(run, "finished"))

    def _on_failed(self, run: str, reason: str) -> None:
        self._end_task(run)
        self._share[run] = 1.0
        self._ended += 1
        self.failed[self._name(run)] = reason
        self._line(run, ("failed:", "red"), f" {one_line(reason)}", important=True)

    def _score(self, run: str) -> None:
        """Take a finished run's score into the table."""
        found = record.read(self._folders[run] / "runs" / run)
        if found is not None:
            row = self._runs[run]
            self._scores.setdefault(row["label"], {})[row["seed"]] = found["test"][self.metric]

    def _end_task(self, run: str) -> None:
        if run in self._tasks:
            self._bars.remove_task(self._tasks.pop(run))

    def _name(self, run: str) -> str:
        row = self._runs[run]
        what = f"lr {row['lr']:g}" if row["stage"] == "tuning" else f"seed {row['seed']}"
        return one_line(f"{self._title(row['label'])} · {what}")

    def _title(self, label: str) -> str:
        return self.titles.get(label, label)

    def _line(self, run: str, *parts: Any, important: bool = False) -> None:
        if important or not self.console.is_terminal:
            self.say(f"[{self._ended}/{len(self._runs)}] {self._name(run)}: ", *parts)

    def say(self, *parts: Any) -> None:
        """Print a line, above what is drawn; its parts are those of `shown`."""
        if not self.quiet:
            self.console.print(shown(*parts), soft_wrap=True)

    def _draw(self) -> Group:
        parts: list[Any] = [self._bars]
        if self._scores:
            parts.insert(0, self._table())
        return Group(*parts)

    def _table(self) -> Table:
        table = Table("", f"{METRICS[self.metric].label} on the test part", "seeds")
        for label, by_seed in self._scores.items():
            found = mean_and_interval(list(by_seed.values()))
            table.add_row(shown(self._title(label)), found, str(len(by_seed)))
        return table


def _text(form: str, column: Column) -> TextColumn:
    """Return a column of a progress bar in which nothing is markup."""
    return TextColumn(form, markup=False, table_column=column)


def mean_and_interval(values: list[float]) -> str:
    """Write a mean with its 95% interval over seeds, in percent."""
    found = t_interval(values)
    if found.high is None:  # of a single seed
        return f"{found.estimate:.1%}"
    return f"{found.estimate:.1%} ± {100 * (found.high - found.estimate):.1f}"


def _row_words(row: Mapping[str, Any]) -> str:
    """Say what an epoch brought: the first part that is watched, and how it does."""
    for name in ("validation", "test", "train"):
        if f"{name}_balanced_accuracy" in row:
            value = row[f"{name}_balanced_accuracy"]
            return f"epoch {row['epoch']}: {name} balanced accuracy {value:.1%}"
    return f"epoch {row['epoch']}"
