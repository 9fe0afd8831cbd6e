"""The number of seeds that comes next in a study that adds them while a verdict is open."""

import math

from counterpoise import stats
from counterpoise.study._study import Study
from counterpoise.text import listed

_GROWTH = 1.5  # times the seeds so far, at most: the number that would tell is itself uncertain


def next_seeds(study: Study) -> int:
    """Return how many seeds there are to be in all; as many as there are where none are to come.

    None are where no verdict is open of which more seeds can tell, or the plan allows no more.
    """
    open_, n = _open(study), len(study.plan.seeds)
    if not open_:
        return n
    most = study.plan.most_seeds
    needed = max(v.seeds_needed or most for v in open_)
    return min(most, max(n + 1, min(needed, math.ceil(_GROWTH * n))))


def progress(study: Study) -> str:
    """Return a sentence on what is decided, what is open and what comes next."""
    every, open_, n = study.verdicts(), _open(study), len(study.plan.seeds)
    decided = sum(v.verdict != "cannot tell yet" for v in every)
    said = f"After {n} seeds: {decided} of {len(every)} verdicts decided"
    said += f"; open: {listed([v.variant for v in open_], between='; ')}" if open_ else ""
    if (more := next_seeds(study)) > n:
        runs = len(study.labels) * (more - n)
        return f"{said}. Next: {more} seeds, {runs} more runs; {study.plan.most_seeds} at most"
    why = f"{n} is the most that was planned" if open_ else "more seeds would tell nothing"
    return said if decided == len(every) else f"{said}; {why}"


def _open(study: Study) -> list[stats.Verdict]:
    """Return the verdicts of which more seeds can tell."""
    return [
        v
        for v in study.verdicts()
        if v.verdict == "cannot tell yet"
        and v.comparison is not None
        and v.reason != stats.NEITHER_LEARNED
        and v.seeds_can_tell
    ]
