"""The verdict on one variant, with its evidence."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from counterpoise.registry import Metric
from counterpoise.stats._comparison import Comparison
from counterpoise.stats._interval import Interval
from counterpoise.stats._seeds import MAX_SEEDS, MIN_SEEDS
from counterpoise.text import html_table

NEITHER_LEARNED = "neither learned in any seed; train longer, or at another learning rate"
ONE_NUMBER = "all scores are the same number, too coarse to compare; use a finer metric"
UNEVEN = "a run stands far apart from the others, so no number of seeds can be named"

Word = Literal["better", "worse", "no difference that matters", "cannot tell yet"]


@dataclass(frozen=True)
class Verdict:
    """Verdict of `compare_variants` on one variant; a difference is variant - baseline.

    Attributes:
        variant: name of the variant.
        baseline: name of the baseline.
        verdict: one of four; see `compare_variants`.
        reason: the reason, as a clause.
        comparison: the pair on its common seeds, unadjusted for other variants; None without a
            common seed.
        interval: the mean difference with bounds that hold for all variants at once, on which the
            verdict rests; None without a common seed.
        confidence: confidence of these bounds, 1 - 0.05 / m for m variants.
        p_holm: p of the difference, adjusted by Holm; None with fewer than two seeds.
        direction: 1 or -1 where the sign of the difference is settled, also of one that does not
            matter; 0 where it is not.
        by_margin: the whole interval is beyond the margin.
        collapsed: seeds in which the variant did not learn; empty where chance is not given.
        baseline_collapsed: seeds in which the baseline did not learn; empty in the same case.
        missing: seeds in which the variant has no score: the run failed, or is not there yet.
        baseline_missing: seeds in which the baseline has no score.
        seeds_needed: approximate total number of seeds for a decisive verdict; above `MAX_SEEDS` it
            means more than that. None where there is a verdict, fewer than two seeds, no seed in
            which anything learned, or `uneven`.
        seeds_range: from three or four seeds, the numbers between which it lies; else None.
        uneven: there is no verdict, and a run did not learn or stands far apart from the others of
            its variant: what the spread is after more seeds cannot be told from these.
        seeds_can_tell: False where no number of seeds is predicted to decide, as each draws its
            test split from the same samples; see `stats.seeds_can_tell`.
        same_as: name of an earlier variant of which this one is another name, so that it counts
            once; the verdict is that one's. "" of all others.
        unit: of the metric: "%" for shares, whose differences are in points.
    """

    variant: str
    baseline: str
    verdict: Word
    reason: str
    comparison: Comparison | None
    interval: Interval | None
    confidence: float
    p_holm: float | None
    direction: int
    by_margin: bool
    collapsed: tuple[Hashable, ...]
    baseline_collapsed: tuple[Hashable, ...]
    missing: tuple[Hashable, ...]
    baseline_missing: tuple[Hashable, ...]
    seeds_needed: int | None
    seeds_can_tell: bool = True
    seeds_range: tuple[int, int] | None = None
    uneven: bool = False
    same_as: str = ""
    unit: str = "%"

    def __repr__(self) -> str:
        return f"Verdict({self.variant!r} against {self.baseline!r}: {self.words}{self._points()})"

    def _repr_html_(self) -> str:
        head = ("variant", "against", "verdict", "difference", "p (Holm)")
        p = "–" if self.p_holm is None else f"{self.p_holm:.2g}"
        points = self._points().removeprefix("; ") or "–"
        return html_table("", head, [(self.variant, self.baseline, self.words, points, p)])

    def _points(self) -> str:
        """Return the difference with its bounds in its unit; "" where there is none."""
        if self.interval is None or self.comparison is None:
            return ""
        row, found = Metric("", unit=self.unit, margin=self.comparison.margin), self.interval
        bounds = ""
        if found.low is not None and found.high is not None:
            bounds = f" ({row.signed(found.low)} to {row.signed(found.high)})"
        return f"; {row.shown_difference(found.estimate)}{bounds}"

    @property
    def uncalled(self) -> bool:
        """Return whether the interval leaves out 0, and yet the seeds are too few for a verdict."""
        if self.verdict != "cannot tell yet" or self.reason == NEITHER_LEARNED:
            return False
        low, high = (self.interval.low, self.interval.high) if self.interval else (None, None)
        return low is not None and high is not None and low * high > 0

    @property
    def seeds_say_too_little(self) -> bool:
        """Return whether even the number of seeds that would tell is unknown from so few."""
        if self.comparison is None or self.seeds_needed is None:
            return False
        n = self.comparison.n
        return n == 2 or (n < MIN_SEEDS and self.seeds_needed > MAX_SEEDS)

    @property
    def words(self) -> str:
        """Return the verdict; where there is none, with the number of seeds that would help."""
        if self.same_as:
            return f"the same as {self.same_as}"
        if self.verdict in ("better", "worse") and self.by_margin:
            return f"{self.verdict}, by at least the margin"
        if self.verdict != "cannot tell yet":
            return self.verdict
        if self.reason == NEITHER_LEARNED:
            return f"cannot tell: {NEITHER_LEARNED}"
        if self.reason == ONE_NUMBER:
            return f"cannot tell: {ONE_NUMBER}"
        if self.uneven:
            return f"cannot tell yet: {UNEVEN}"
        if self.seeds_needed is None or self.comparison is None:
            return "cannot tell yet: it takes two seeds to see what chance does"
        n = self.comparison.n
        if self.seeds_say_too_little:
            return f"cannot tell yet: {n} seeds say too little, run {MIN_SEEDS}"
        if not self.seeds_can_tell:
            return "cannot tell yet: more seeds cannot tell, more samples would"
        if self.uncalled:
            return (
                f"cannot tell yet: with {n} seeds only differences beyond the margin are called; "
                f"{self.shown_seeds} would tell"
            )
        if self.seeds_needed > MAX_SEEDS:
            return f"cannot tell yet: more than {MAX_SEEDS} seeds would be needed"
        return f"cannot tell yet: {self.shown_seeds} seeds would"

    @property
    def shown_seeds(self) -> str:
        """Return the number of seeds that would tell, in words: "about 12", "5 to 20"."""
        if self.seeds_range is None:
            return f"about {self.seeds_needed}"
        low, high = self.seeds_range
        return f"{low} to {high}" if low < high else f"about {high}"
