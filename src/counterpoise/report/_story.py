"""The first sections: verdict, ranking and cost."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from counterpoise.findings import IGNORANT, noun
from counterpoise.registry import BESIDE, METRICS, Metric
from counterpoise.report._numbers import (
    NONE,
    change,
    count,
    mean,
    score,
    short,
    tick_change,
)
from counterpoise.report._strips import across, axis, bars, interval
from counterpoise.report._svg import Scale
from counterpoise.report._variants import Entry
from counterpoise.stats import Interval, Verdict
from counterpoise.study import Study
from counterpoise.text import duration

_CSS = {
    "better": "better",
    "worse": "worse",
    "no difference that matters": "same",
    "cannot tell yet": "open",
}


def lede(study: Study) -> str:
    """Return the sentence that describes the comparison."""
    plan = study.plan
    variants, seeds = count(len(study.labels), "variant"), count(len(plan.seeds), "seed")
    split = "on the test split, which was read once"
    if study.resampled:
        split = (
            "on a test split that each seed draws anew from all samples, and that is read once; "
            "intervals are widened for that, after Nadeau and Bengio"
        )
    return (
        f"{variants}, {seeds} each, compared by {study.metric.label} {split}. "
        f"{_positive(study)}Differences of less than {_margin(study.metric)} do not matter."
    )


def _positive(study: Study) -> str:
    row = study.metric
    named = " The positive class is the rarer one of the training split, the second of equal ones. "
    better = "" if row.higher_is_better else "Lower is better. "
    return (named.lstrip() if row.classes else "") + better


def _margin(row: Metric) -> str:
    size = row.scale * row.margin
    if row.unit != "%":
        return f"{size:g}{row.points}"
    return f"{size:g} percentage point{'' if size == 1 else 's'}"


def _ends(interval: Interval | None) -> tuple[float, float] | None:
    if interval is None or interval.low is None or interval.high is None:
        return None
    return interval.low, interval.high


def unfinished(study: Study) -> str:
    """Return a sentence on the missing runs; empty for a finished study."""
    due = len(study.labels) * len(study.plan.seeds)
    broken = sum(study.expected[name]["stage"] == "final" for name in study.failed)
    missing = due - len(study.records) - broken
    return (
        f"This study is not finished: {missing} of {count(due, 'run')} to come." if missing else ""
    )


def failures(study: Study) -> list[dict[str, object]]:
    """Return the failed runs, each with its reason."""
    return [{**study.expected[name], "reason": reason} for name, reason in study.failed.items()]


def ranking(
    study: Study, variants: Sequence[Entry], verdicts: Sequence[Verdict]
) -> dict[str, object]:
    """Return the variants from the best mean to the worst, each with its difference."""
    known, metric = {v.variant: v for v in verdicts}, study.metric
    scale = forest_scale([v.interval for v in verdicts if v.interval], metric.margin)
    table = dict.fromkeys([metric, *(METRICS[m] for m in BESIDE if m != metric.key)])
    shown = [m for m in table if any(v.scores(m.key) for v in variants)]
    rows = []
    for v in sorted(variants, key=lambda v: _rank(metric, v.mean(metric.key))):
        row = difference_row(v.index, known.get(v.label), bool(v.records), scale, metric)
        row |= {"variant": v, "score": score(metric, v.mean(metric.key))}
        rows.append(row | {"cells": [score(m, v.mean(m.key)) for m in shown]})
    return {
        "rows": rows,
        "axis": axis(scale, tick_change(metric)),
        "metrics": [m.label for m in shown],
        "title": heading(study),
    }


def heading(study: Study) -> str:
    """Return the heading of the differences to the baseline, by the design of the plan."""
    design = study.plan.design
    return {
        "one_by_one": "What each change gave",
        "leave_one_out": "What is lost without each",
    }.get(design, "Ranking")


def _rank(metric: Metric, mean: float | None) -> float:
    """Return what the best mean has the least of; those without any come last."""
    return math.inf if mean is None else -metric.sign * mean


def references(study: Study) -> dict[str, object] | None:
    """Return what needs no other training, each row with its difference to the best net.

    The axis leaves out "always the largest class", which would press all others together.
    """
    verdicts, metric, best = study.reference_verdicts(), study.metric, study.best
    if not verdicts or best is None:
        return None
    near = [v.interval for v in verdicts if v.interval and v.variant != IGNORANT]
    scale = forest_scale(near, metric.margin)
    scores = {label: _score_of(metric, x) for label, x in study.reference_scores().items()}
    rows = [
        difference_row(0, v, v.interval is not None, scale, metric)
        | {"label": v.variant, "score": scores[v.variant]}
        for v in sorted(
            verdicts, key=lambda v: _rank(metric, v.interval.estimate if v.interval else None)
        )
    ]
    return {
        "rows": rows,
        "axis": axis(scale, tick_change(metric)),
        "best": best,
        "score": _score_of(metric, study.scores()[best]),
        "noun": noun(study),
    }


def _score_of(metric: Metric, by_seed: Mapping[int, float | None]) -> str:
    return score(metric, mean([x for x in by_seed.values() if x is not None]))


def forest_scale(found: Sequence[Interval], margin: float) -> Scale:
    """Return the scale of the forest plot, robust to one very wide interval."""
    ends = [e for i in found if (e := _ends(i))]
    half = 3 * median([(high - low) / 2 for low, high in ends] or [margin])
    spans = [i.estimate for i in found] + [-1.5 * margin, 1.5 * margin]
    low, high = min(spans) - half, max(spans) + half
    return across([*spans, *(min(max(x, low), high) for pair in ends for x in pair)])


def difference_row(
    index: int, verdict: Verdict | None, ran: bool, scale: Scale, metric: Metric
) -> dict[str, object]:
    if verdict is None:
        strip = interval(index, scale, 0.0, None, metric.margin)
        return {"word": "the baseline", "css": "base", "strip": strip}
    if verdict.interval is None:
        word = verdict.words if ran else "no run finished"
        return {"word": word, "css": "open"}
    middle, ends = verdict.interval.estimate, _ends(verdict.interval)
    return {
        "difference": change(metric, middle),
        "ends": _written(metric, ends),
        "strip": interval(index, scale, middle, ends, metric.margin),
        "word": verdict.words.replace("cannot tell yet: ", "open: "),
        "css": _CSS[verdict.verdict],
    }


def _written(metric: Metric, ends: tuple[float, float] | None) -> str:
    if ends is None:
        return NONE
    low, high = metric.possible_difference(*ends)
    return f"{change(metric, low)} to {change(metric, high)}"


def cost(
    study: Study, variants: Sequence[Entry], verdicts: Sequence[Verdict]
) -> list[dict[str, object]]:
    """Return difference, time, memory and parameters of each variant."""
    gains = {v.variant: v.interval.estimate for v in verdicts if v.interval}
    times = {v.index: v.timing["seconds"] for v in variants}
    scale = across([t for t in times.values() if t is not None], low=0.0)
    first = times[0]
    return [
        {
            "variant": v,
            "difference": change(study.metric, gains.get(v.label)),
            "seconds": NONE if seconds is None else duration(seconds),
            "strip": "" if seconds is None else bars(scale, [seconds]),
            "factor": f"{seconds / first:.2f} ×" if seconds and first else "–",
            "memory": short(v.timing["peak_memory_mb"]),
            "parameters": short(mean([r.run["parameters"] for r in v.records if not r.classical])),
        }
        for v, seconds in zip(variants, times.values(), strict=True)
    ]
