"""Progress of `compare` in Python: a bar in a terminal or notebook, lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm.std import tqdm  # not tqdm.auto, which wants widgets, and warns where there are none

from counterpoise.study.events import (
    Epoch,
    Event,
    Failed,
    Finished,
    Foreseen,
    Notice,
    Planned,
    Prepared,
    Progress,
    Started,
    Waiting,
)
from counterpoise.study.spec import RunRow, run_words
from counterpoise.text import one_line, printable

_FORM = "{desc} {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}"
_LONGEST_SILENCE = 30.0  # seconds, where there are lines


@contextlib.contextmanager
def show_progress(wanted: bool | None, title: str) -> Iterator[Callable[[Event], None] | None]:
    """Yield a function that shows each event of a study on standard error; None for silence.

    Args:
        wanted: None for a bar where somebody can see it, in a terminal or notebook; False for
            nothing; True for a bar there, and lines elsewhere.
        title: what is run.
    """
    live = sys.stderr.isatty() or _in_notebook()
    if not (live if wanted is None else wanted):
        yield None
        return
    shown = _Bar(title) if live else _Lines(title)
    try:
        yield shown.on_event
    finally:
        shown.close()


def _in_notebook() -> bool:
    """Return whether this process is a kernel of Jupyter's."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class _State:
    """Share that is done and number of runs, from the events."""

    def __init__(self, title: str) -> None:
        self.title = one_line(title)
        self.runs: dict[str, RunRow] = {}
        self.ended = 0
        self._cost: dict[str, float] = {}
        self._share: dict[str, float] = {}
        self._later, self._runs_later = 0.0, 0

    def add(self, event: Event) -> str:
        """Take an event in, and return what it says in words."""
        match event:
            case Planned():
                self.runs |= event.runs
                self._cost |= event.cost
                self._later, self._runs_later = event.later, event.runs_later
                return f"{len(event.runs)} runs, {len(event.kept)} of them kept from before"
            case Started(run) | Waiting(run):
                return self._name(run)
            case Progress(run, share):
                self._share[run] = share
                return self._name(run)
            case Epoch(run, row):
                return f"{self._name(run)}, epoch {row['epoch']}"
            case Finished(run) | Failed(run):
                self._share[run] = 1.0
                self.ended += 1
                return f"{self._name(run)} {'failed' if isinstance(event, Failed) else 'finished'}"
        return ""

    @property
    def share(self) -> float:
        """Return the share of all work that is done."""
        total = sum(self._cost.values()) + self._later
        return sum(s * self._cost[run] for run, s in self._share.items()) / total if total else 0.0

    @property
    def words(self) -> str:
        """Return title and number of runs."""
        total = len(self.runs) + self._runs_later
        count = f"{self.ended} of {total} runs" if self.runs else "reading the data"
        return f"{self.title}: {count}"

    def _name(self, run: str) -> str:
        row = self.runs[run]
        what = run_words(row)
        return one_line(f"{row['label']}, {what}")


class _Bar:
    """A bar of one line, with the latest event behind it."""

    def __init__(self, title: str) -> None:
        self._state = _State(title)
        self._bar = tqdm(
            total=1.0,
            desc=self._state.words,
            bar_format=_FORM,
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0,
        )

    def on_event(self, event: Event) -> None:
        """Draw an event."""
        said = self._state.add(event)
        if isinstance(event, Prepared | Foreseen):
            self._bar.write("\n".join(map(printable, event.lines())), file=sys.stderr)
        if isinstance(event, Notice):
            self._bar.write(one_line(event.text), file=sys.stderr)
        self._bar.set_description_str(self._state.words, refresh=False)
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update(self._state.share - self._bar.n)
        if isinstance(event, Failed):
            self._bar.clear()  # for the warning that follows

    def close(self) -> None:
        """Draw the end, and leave it."""
        self._bar.set_postfix_str("", refresh=False)
        self._bar.close()


class _Lines:
    """A line for each run that ends, and one now and then in between."""

    def __init__(self, title: str) -> None:
        self._state = _State(title)
        self._begun = self._said = time.monotonic()
        self._say("")

    def on_event(self, event: Event) -> None:
        """Write a line, if there is something to say or there was nothing for long."""
        said, now = self._state.add(event), time.monotonic()
        if isinstance(event, Prepared | Foreseen):
            sys.stderr.writelines(f"{printable(line)}\n" for line in event.lines())
        if isinstance(event, Notice):
            sys.stderr.write(f"{one_line(event.text)}\n")
        ended = isinstance(event, Planned | Finished | Failed)
        if ended or now - self._said > _LONGEST_SILENCE:
            self._say(f", {self._state.share:.0%} in {now - self._begun:.0f} s: {said}")
            self._said = now

    def _say(self, more: str) -> None:
        sys.stderr.write(f"{self._state.words}{more}\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Do nothing: the last line is written."""
