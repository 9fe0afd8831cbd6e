"""Verdicts on runs of any origin, with their evidence, as text, HTML and JSON."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from itertools import chain
from math import isclose, sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Any

from counterpoise.judgement._metric import size
from counterpoise.registry import Metric
from counterpoise.stats import Interval, Verdict, t_interval
from counterpoise.text import html_table, listed, one_line, printable

if TYPE_CHECKING:
    from counterpoise.judgement._datasets import OverDatasets

Rows = list[tuple[str, ...]]
SCHEMA = 1
SHORT = {"no difference that matters": "no difference", "cannot tell yet": "cannot tell"}
_ORDER = ("better", "worse", "no difference that matters", "cannot tell yet")
HEAD = ("variant", "runs", "mean ± 95%", "difference", "verdict")


@dataclass(frozen=True)
class Family:
    """All variants on one data set by one metric: a family of verdicts.

    Attributes:
        metric: its name, direction, margin and unit.
        dataset: "" where there is one.
        scores: by variant, then by seed; None where a run failed. Without seeds, by number.
        verdicts: one for each variant but the baseline, as `stats.compare_variants` gives them.
        confidence: of all its claims together.
    """

    metric: Metric
    dataset: str
    scores: Mapping[str, Mapping[Hashable, float | None]]
    verdicts: tuple[Verdict, ...]
    confidence: float

    @cached_property
    def means(self) -> dict[str, Interval | None]:
        """Return the mean of each variant over the runs that are compared, with its 95% interval.

        None without a score.
        """
        found = {name: self.compared(name) for name in self.scores}
        return {name: t_interval(values) if values else None for name, values in found.items()}

    @cached_property
    def differences(self) -> dict[str, float]:
        """Return the difference of each variant to the baseline on which its verdict rests."""
        return {v.variant: v.interval.estimate for v in self.verdicts if v.interval}

    def compared(self, variant: str) -> list[float]:
        """Return the scores of the runs of a variant that its verdict rests on.

        Of the baseline, those that are compared with any variant.
        """
        pairs = [v.comparison for v in self.verdicts if variant in (v.variant, v.baseline)]
        if not pairs or not all(pair and pair.paired for pair in pairs):
            return self.finite(variant)
        seeds = {seed for pair in pairs if pair for seed in pair.seeds}
        return [x for seed, x in self.scores[variant].items() if seed in seeds and x is not None]

    @property
    def all_equal(self) -> list[str]:
        """Return a sentence for each variant all of whose differences are one number, not 0."""
        found = [(v, v.comparison) for v in self.verdicts if v.comparison and v.comparison.paired]
        return [
            f"{v.variant}: all {pair.n} differences are equal, as of rounded scores; its interval "
            "allows for the rounding (docs/statistics.md)"
            for v, pair in found
            if pair.sd and isclose(pair.sd, abs(pair.difference.estimate) / sqrt(6))
        ]

    @property
    def without_partner(self) -> list[str]:
        """Return a sentence for each variant of which pairs leave out runs, and if that decides."""
        said = []
        for v in self.verdicts:
            every, used = self.finite(v.variant), self.compared(v.variant)
            if len(used) == len(every):
                continue
            left = f"{len(every) - len(used)} of {len(every)} runs have no partner and are left out"
            gain = fmean(every) - fmean(self.finite(v.baseline) or every)
            other = f"; of all runs the difference is {self.metric.signed(gain)}"
            turns = gain * self.differences.get(v.variant, 0.0) < 0
            said.append(f"{v.variant}: {left}{other * turns}")
        return said

    def finite(self, variant: str) -> list[float]:
        """Return the scores of the runs of a variant that did not fail."""
        return [x for x in self.scores[variant].values() if x is not None]

    def rows(self) -> Rows:
        """Return a row of text for each variant, under `HEAD`, the baseline first."""
        known = {v.variant: v for v in self.verdicts}
        names = sorted(self.scores, key=lambda name: name in known)
        return [(name, *self.cells(name), *self.difference(known.get(name))) for name in names]

    def cells(self, variant: str) -> tuple[str, str]:
        """Return how many runs of a variant are compared, and their mean with half its interval."""
        every, row, mean = self.scores[variant], self.metric, self.means[variant]
        n = len(self.compared(variant))
        runs = f"{n}/{len(every)}" if n < len(every) else str(n)
        half = f" ± {row.signed(mean.high - mean.estimate)[1:]}" if mean and mean.high else ""
        return runs, f"{row.shown(mean.estimate if mean else None)}{half}"

    def difference(self, verdict: Verdict | None) -> tuple[str, str]:
        """Return the difference to the baseline with its interval, and the verdict in two words."""
        if verdict is None:
            return "", "baseline"
        short = SHORT.get(verdict.verdict, verdict.verdict) + ", ≥ margin" * verdict.by_margin
        if verdict.interval is None:
            return "–", short if self.finite(verdict.variant) else "no run finished"
        ends = (None if x is None else self.metric.signed(x) for x in astuple(verdict.interval))
        low, middle, high = ends
        return (f"{middle}" if low is None else f"{middle} ({low} to {high})"), short

    def words(self, verdict: Verdict) -> str:
        """Return a verdict in words; of variants none of whose runs has a score, just that."""
        for name, of in ((verdict.variant, ""), (verdict.baseline, " of the baseline")):
            if not self.finite(name):
                return f"no run{of} finished"
        return verdict.words

    def sentences(self) -> list[str]:
        """Return sentences on the verdicts, what is better first; equal ones are one."""
        groups: dict[str, list[str]] = {}
        for v in sorted(self.verdicts, key=lambda v: _ORDER.index(v.verdict)):
            groups.setdefault(self.words(v), []).append(v.variant)
        return [f"{listed(names)}: {said}" for said, names in groups.items()]

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON, with scores and bounds in units of the metric."""
        return {
            "metric": self.metric.label,
            "dataset": self.dataset,
            "higher_is_better": self.metric.higher_is_better,
            "margin": self.metric.margin,
            "unit": self.metric.unit,
            "confidence": self.confidence,
            "variants": [
                {
                    "variant": name,
                    "runs": len(self.scores[name]),
                    "failed": len(self.scores[name]) - len(self.finite(name)),
                    "mean": mean and mean.estimate,
                    "low": mean and mean.low,
                    "high": mean and mean.high,
                }
                for name, mean in self.means.items()
            ],
            "verdicts": [_verdict_json(v, self.words(v)) for v in self.verdicts],
        }


@dataclass(frozen=True, repr=False)
class Judgement:
    """Verdicts of `judge`; a difference is variant - baseline.

    Attributes:
        baseline: the variant that all others are compared with.
        families: the verdicts by the metric that decides, one family a data set.
        secondary: those by each other metric, at stricter confidence.
        datasets: all variants over the data sets; None where there is one.
        confidence: of all claims of the families together.
        looks: how often the runs may be judged while there come more.
        notes: a sentence for each thing that was guessed or left out.
        warnings: a sentence for each thing that makes verdicts doubtful.
    """

    baseline: str
    families: tuple[Family, ...]
    secondary: Mapping[str, tuple[Family, ...]]
    datasets: "OverDatasets | None"
    confidence: float
    looks: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """Return the name of the metric that decides."""
        return self.families[0].metric.label

    @property
    def margin(self) -> float:
        """Return the smallest difference that matters."""
        return self.families[0].metric.margin

    @property
    def higher_is_better(self) -> bool:
        """Return the direction of the metric that decides."""
        return self.families[0].metric.higher_is_better

    @property
    def margin_words(self) -> str:
        """Return the margin with its unit."""
        return size(self.families[0].metric)

    @property
    def friedman_words(self) -> str:
        """Return a sentence on Friedman's test of all variants; "" where it cannot be made."""
        over = self.datasets
        if over is None or over.p_friedman is None:
            return ""
        return (
            f"That all variants are alike over {len(over.datasets)} data sets has p "
            f"{over.p_friedman:.2g} (Friedman, by Iman and Davenport's F)."
        )

    @property
    def verdicts(self) -> list[Verdict]:
        """Return the verdicts by the metric that decides, of one data set after the other."""
        return [v for family in self.families for v in family.verdicts]

    @property
    def variants(self) -> list[str]:
        """Return all variants, the baseline first."""
        every = chain.from_iterable(family.scores for family in self.families)
        return list(dict.fromkeys([self.baseline, *every]))

    @property
    def best(self) -> str | None:
        """Return the variant with the best difference to the baseline, or mean rank."""
        if self.datasets:
            found = {name: -rank for name, rank in self.datasets.ranks.items()}
        else:
            family = self.families[0]
            found = {name: family.metric.sign * x for name, x in family.differences.items()}
        found.pop(self.baseline, None)
        return max(found, key=lambda name: found[name], default=None)

    @property
    def answer(self) -> list[str]:
        """Return the verdicts as sentences, over all data sets where there are several."""
        if self.datasets is None:
            return self.families[0].sentences()
        return [f"{row.variant}: {row.words}" for row in self.datasets.against]

    @property
    def read(self) -> str:
        """Return a line on what was read and how it is compared."""
        runs = sum(len(scores) for f in self.families for scores in f.scores.values())
        compared = [v.comparison for v in self.verdicts if v.comparison]
        seeds = {seed for pair in compared for seed in pair.seeds}
        ways = {pair.paired for pair in compared}
        how = "paired" if ways == {True} else "not paired"
        if len(ways) > 1:
            apart = [v.variant for v in self.verdicts if v.comparison and not v.comparison.paired]
            how = f"paired but for {listed(dict.fromkeys(apart))}"
        by = f" by {len(seeds)} seed{'s' * (len(seeds) > 1)}" if seeds else ""
        sets = f" on {len(self.families)} data sets" if self.datasets else ""
        better = "higher" if self.higher_is_better else "lower"
        metric = f"{self.metric} ({better} is better, margin {self.margin_words})"
        return (
            f"{runs} runs of {len(self.variants)} variants{sets}, {how}{by}, judged by {metric} "
            f"against {self.baseline}"
        )

    @property
    def failures(self) -> list[str]:
        """Return a sentence for each variant with runs that failed or did not learn."""
        said = []
        for family in self.families:
            where = f" on {family.dataset}" if family.dataset else ""
            lost: dict[str, tuple[Hashable, ...]] = {}
            for v in family.verdicts:
                lost |= {v.baseline: v.baseline_collapsed, v.variant: v.collapsed}
            for name, scores in family.scores.items():
                failed = len(scores) - len(family.finite(name))
                if failed:
                    said.append(f"{name}{where}: {failed} of {len(scores)} runs failed, no score")
                if idle := lost.get(name):
                    said.append(f"{name}{where}: {len(idle)} of {len(scores)} runs did not learn")
        return said

    def lost(self, variant: str) -> bool:
        """Return whether a run of a variant has no score, or did not learn."""
        found = [f for f in self.families if variant in f.scores]
        failed = any(len(f.finite(variant)) < len(f.scores[variant]) for f in found)
        return failed or any(v.collapsed for v in self.verdicts if v.variant == variant)

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON; the fields are described in docs/judge.md."""
        over = self.datasets
        return {
            "schema": SCHEMA,
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "margin": self.margin,
            "baseline": self.baseline,
            "best": self.best,
            "confidence": self.confidence,
            "looks": self.looks,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "failures": self.failures,
            "primary": [family.to_json() for family in self.families],
            "secondary": [f.to_json() for found in self.secondary.values() for f in found],
            "datasets": over
            and {
                "ranked": list(over.datasets),
                "ranks": dict(over.ranks),
                "p_friedman": over.p_friedman,
                "against": [asdict(row) | {"words": row.words} for row in over.against],
            },
        }

    def secondary_rows(self) -> tuple[tuple[str, ...], Rows]:
        """Return head and rows of a table: a variant's verdict by each other metric."""
        names = [name for name in self.variants if name != self.baseline]
        head = ("by other metrics", *self.secondary)
        return head, [(name, *(_cell(name, f) for f in self.secondary.values())) for name in names]

    def datasets_rows(self) -> tuple[tuple[str, ...], Rows]:
        """Return head and rows of a table: each variant over all data sets."""
        over = self.datasets
        if over is None:
            return (), []
        rank = {name: f"{over.ranks[name]:.2f}" if over.ranks else "–" for name in self.variants}
        head = ("over all data sets", "mean rank", "better, equal, worse on", "p (Holm)", "verdict")
        rows: Rows = [(self.baseline, rank[self.baseline], "", "", "baseline")]
        for row in over.against:
            p = "–" if row.p_holm is None else f"{row.p_holm:.2g}"
            counts = f"{row.better}, {row.equal}, {row.worse}"
            rows.append((row.variant, rank[row.variant], counts, p, row.words))
        return head, rows

    def __repr__(self) -> str:
        lines = [self.read, *self.failures, *self.warnings, *self.notes]
        head, rows = self.datasets_rows()
        lines += ["", *_text_table(head, rows)] if head else []
        for family in self.families:
            lines += ["", *_text_table((family.dataset or HEAD[0], *HEAD[1:]), family.rows())]
        if self.datasets is None:
            lines += ["", *(f"{said}." for said in self.answer)]
        if self.secondary:
            lines += ["", *_text_table(*self.secondary_rows())]
        return "\n".join(map(printable, lines))

    def _repr_html_(self) -> str:
        tables = [html_table(f.dataset or self.metric, HEAD, f.rows()) for f in self.families]
        more = (self.secondary_rows(), self.datasets_rows())
        tables += [html_table("", head, rows) for head, rows in more if len(head) > 1]
        above = (self.read, *self.failures, *self.warnings, *self.notes)
        said = [html_table(line, (), []) for line in above]
        return "\n".join(said + tables)


def _cell(variant: str, families: tuple[Family, ...]) -> str:
    """Return the verdict on a variant by one metric: of one data set, or counted over all."""
    found = [(f, v) for f in families for v in f.verdicts if v.variant == variant]
    if len(families) > 1:
        times = Counter(SHORT.get(v.verdict, v.verdict) for _, v in found)
        return ", ".join(f"{n} {word}" for word, n in times.items())
    if not found:
        return "–"
    family, verdict = found[0]
    gain = f"{family.metric.signed(verdict.interval.estimate)} " if verdict.interval else ""
    return f"{gain}{SHORT.get(verdict.verdict, verdict.verdict)}"


def _text_table(head: tuple[str, ...], rows: Rows) -> list[str]:
    lines = [tuple(map(one_line, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in lines]


def _verdict_json(v: Verdict, words: str) -> dict[str, Any]:
    found = v.interval
    return {
        "variant": v.variant,
        "verdict": v.verdict,
        "words": words,
        "reason": v.reason,
        "paired": v.comparison and v.comparison.paired,
        "runs": v.comparison.n if v.comparison else 0,
        "difference": found and found.estimate,
        "low": found and found.low,
        "high": found and found.high,
        "p_holm": v.p_holm,
        "seeds_needed": v.seeds_needed,
        "seeds_range": v.seeds_range,
        "uneven": v.uneven,
    }
