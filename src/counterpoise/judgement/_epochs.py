"""One score a run, of those of its epochs."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from counterpoise.judgement import _words
from counterpoise.judgement._cells import LARGEST
from counterpoise.registry import unknown

LAST, BEST = "last", "best:"
_LUCKY = "the best by the test score is no honest choice, as it picks the luckiest epoch"
Logged = Mapping[str, Sequence[tuple[float, float]]]  # by metric, steps and values


def check_epoch(epoch: str, metrics: Sequence[str]) -> None:
    """Raise unless an epoch is "", `last`, `best:COLUMN` or `best:-COLUMN`.

    Raises:
        ValueError: it is another word, names no column, or takes the largest of a loss.
    """
    if epoch in ("", LAST):
        return
    column = epoch.removeprefix(BEST)
    if column == epoch:
        raise ValueError(
            f"epoch must be {LAST}, {BEST}COLUMN for the largest value of a column or "
            f"{BEST}-COLUMN for the smallest, but got {epoch!r}"
        )
    name = column.removeprefix("-")
    if name not in metrics:
        raise ValueError(unknown("the column of epoch", name, metrics))
    if name == column and _words.lower_is_better(name):
        raise ValueError(
            f"epoch must be {BEST}-{name} for the smallest value, but got {epoch!r}, which takes "
            "the largest of a loss or an error; write the minus"
        )


def has_epochs(runs: Sequence[Logged], metric: str) -> bool:
    """Return whether a run has several values of a metric."""
    return any(len(run.get(metric, ())) > 1 for run in runs)


def check_chosen(runs: Sequence[Logged], metric: str) -> None:
    """Raise unless each run has one value of a metric.

    Raises:
        ValueError: one has several; the message names the ways to choose one.
    """
    several = [len(run.get(metric, ())) for run in runs if len(run.get(metric, ())) > 1]
    if several:
        raise ValueError(
            f"a run must have one score, but {len(several)} runs have up to {max(several):,} "
            f"epochs of {metric!r}; give epoch {LAST}, or {BEST}COLUMN with a validation "
            f"column ({BEST}-COLUMN for its smallest value): {_LUCKY}"
        )


def score(run: Logged, metric: str, epoch: str) -> float:
    """Return a run's score at its last epoch, or at the best one by a column.

    A metric that was logged once, as a test at the end, has that score. Others are those last
    logged up to the chosen epoch. NaN where there is none.

    Example:
        >>> run = {"val": [(0, 0.5), (1, 0.7), (2, 0.6)], "test": [(0, 0.4), (1, 0.6), (2, 0.8)]}
        >>> score(run, "test", "last"), score(run, "test", "best:val")
        (0.8, 0.6)
    """
    values = sorted(run.get(metric, ()), key=lambda pair: pair[0])
    if not values:
        return math.nan
    if len(values) > 1 and epoch.startswith(BEST):
        column = epoch.removeprefix(BEST)
        sign = -1 if column.startswith("-") else 1
        known = [p for p in run.get(column.removeprefix("-"), ()) if not math.isnan(p[1])]
        if not known:
            return math.nan
        best = max(known, key=lambda pair: (sign * pair[1], -pair[0]))[0]
        values = [pair for pair in values if pair[0] <= best] or [(0.0, math.nan)]
    value = values[-1][1]
    return value if abs(value) < LARGEST else math.nan


def _last(run: Logged, metrics: Iterable[str]) -> float:
    return max((step for name in metrics for step, _ in run.get(name, ())), default=math.inf)


def ended_early(runs: Mapping[str, Logged], metric: str) -> list[str]:
    """Return a sentence for each run whose metric ends before the step at which most others do."""
    ends = {name: _last(run, [metric]) for name, run in runs.items() if run.get(metric)}
    usual, times = Counter(ends.values()).most_common(1)[0] if ends else (0.0, 0)
    if 2 * times <= len(ends):
        return []
    return [
        f"{name} ends at step {end:g}, most others at {usual:g}"
        for name, end in ends.items()
        if end < usual
    ]


def note_on_choice(runs: Sequence[Logged], epoch: str, metric: str) -> str:
    """Return a sentence on how the epoch was chosen, and whether that flatters the scores."""
    if epoch == LAST:
        early = sum(_last(run, [metric]) < _last(run, run) for run in runs)
        also = f"; in {early} runs others were logged after {metric!r}" if early else ""
        return f"epoch: the last of each run{also}"
    name = epoch.removeprefix(BEST).removeprefix("-")
    split = _words.split_of(name)
    text = f"epoch: the best of each run by {name!r}"
    if name == metric or split == _words.TEST:
        return f"{text}; this flatters the scores: {_LUCKY}"
    if split in (_words.UNSAID, _words.split_of(metric)):
        return f"{text}; this flatters the scores if both are of the same samples"
    return text
