"""The state of a study, drawn until all is done: `counterpoise show --watch`."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from counterpoise.cli._shown import shown
from counterpoise.study.state import State, state_of
from counterpoise.text import duration, one_line

_LOOKED_EVERY, _SAID_EVERY = 2.0, 30.0  # seconds
_MOST_ROWS = 20  # of running runs


def watch_study(console: Console, where: str) -> None:
    """Draw the state of a study until nothing is left to be done; elsewhere print lines."""
    state = state_of(where)
    if not console.is_terminal:
        _say(console, where, state)
        return
    with Live(_drawn(state), console=console, transient=True) as live:
        while not state.finished:
            time.sleep(_LOOKED_EVERY)
            state = state_of(where)
            live.update(_drawn(state))
    console.print(shown(_line(state)), soft_wrap=True)


def _say(console: Console, where: str, state: State) -> None:
    """Print a line now, at the end, and now and then where something has changed."""
    said, line = time.monotonic(), _line(state)
    console.print(shown(line), soft_wrap=True)
    while not state.finished:
        time.sleep(_LOOKED_EVERY)
        state = state_of(where)
        if _line(state) != line and (state.finished or time.monotonic() - said > _SAID_EVERY):
            said, line = time.monotonic(), _line(state)
            console.print(shown(line), soft_wrap=True)


def _line(state: State) -> str:
    words = [f"{state.done:,} of {state.whole:,} runs done"]
    words += ["more seeds may be added"] if state.more else []
    words += [f"{len(state.failed):,} failed"] if state.failed else []
    if state.running:
        hosts = {run.host for run in state.running}
        where = next(iter(hosts)) if len(hosts) == 1 else f"{len(hosts):,} machines"
        words.append(f"{len(state.running):,} running on {where}")
    if lost := sum(run.lost for run in state.running):
        words.append(f"{lost:,} of these not heard of for a minute")
    if not state.running and not state.finished:
        words.append("none running now: counterpoise compare with the same plan goes on")
    if state.seconds_left is not None:
        words.append(f"about {duration(max(1.0, state.seconds_left))} left")
    return ", ".join(words)


def _drawn(state: State) -> Group:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "where", "done", "epoch", "since"):
        table.add_column(name, overflow="fold")
    for run in state.running[:_MOST_ROWS]:
        since = duration(run.seconds) + (", not heard of since" if run.lost else "")
        table.add_row(
            shown(one_line(run.words)), shown(run.host), f"{run.share:.0%}", str(run.epoch), since
        )
    more = len(state.running) - _MOST_ROWS
    rest = [shown(f"and {more:,} more")] if more > 0 else []
    failed = [
        shown((f"{words} failed", "red"), f" {one_line(why)[:200]}")
        for words, why in list(state.failed.items())[:3]
    ]
    return Group(shown(_line(state)), *([table] if state.running else []), *rest, *failed)
