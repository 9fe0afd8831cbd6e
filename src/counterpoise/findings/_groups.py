"""Findings on the source of a variant's gain: CP332, CP333 and CP334."""

from collections.abc import Iterator, Mapping
from typing import Any

from counterpoise import stats
from counterpoise.findings._references import adjusted_baseline_is_enough
from counterpoise.findings._verdicts import counted
from counterpoise.findings.finding import Finding, percent, sentence
from counterpoise.registry import METRICS, Metric
from counterpoise.study import Study

Pair = stats.Comparison
Scores = Mapping[int, float | None]

_RECALL = METRICS["balanced_accuracy"]
GROUPS = ("many_shot_recall", "medium_shot_recall", "few_shot_recall")

_BOTH = (
    "against {baseline}, mean recall of the {head_group} classes {head:+.1f} points "
    "({head_low:+.1f} to {head_high:+.1f}), of the {tail_group} ones {tail:+.1f} "
    "({tail_low:+.1f} to {tail_high:+.1f}; {level}% intervals over {seeds} seeds)."
)


def gain_on_the_head(study: Study) -> list[Finding]:
    """CP332: the large classes gain, surely and by the margin; the small ones do not."""
    found = []
    for label, head, tail, evidence in _head_and_tail(study):
        margin = share_margin(study)
        up = evidence["head_low"] > 0 and head.difference.estimate >= margin
        if up and evidence["tail_low"] <= 0 and tail.difference.estimate < margin:
            template = "{label}: the gain is on the large classes alone; " + _BOTH
            found.append(sentence("CP332", template, {"label": label, **evidence}))
    return found


def gain_on_the_tail(study: Study) -> list[Finding]:
    """CP333: the small classes gain and the large ones lose, both beyond their intervals."""
    template = "{label}: the small classes gain what the large ones pay for; " + _BOTH
    return [
        sentence("CP333", template, {"label": label, **evidence})
        for label, _, _, evidence in _head_and_tail(study)
        if evidence["tail_low"] > 0 and evidence["head_high"] < 0
    ]


def _head_and_tail(study: Study) -> Iterator[tuple[str, Pair, Pair, dict[str, Any]]]:
    """The change of the groups with the largest and the smallest classes, variant by variant."""
    baseline, *others = study.labels
    recalls = {group: study.scores(group) for group in GROUPS}
    known = [g for g in GROUPS if any(v is not None for v in recalls[g][baseline].values())]
    if len(known) < 2:
        return
    ends = {"head": known[0], "tail": known[-1]}
    for label in others:
        if label in study.duplicates:
            continue
        pairs = {
            end: _paired(study, recalls[group][baseline], recalls[group][label])
            for end, group in ends.items()
        }
        evidence = {"baseline": baseline, "level": 95}
        for end, pair in pairs.items():
            evidence |= {"seeds": pair.n} if pair else {}
            group = ends[end].removesuffix("_recall").replace("_", "-")
            evidence |= {
                f"{end}_group": group,
                **(_bounds(end, pair.difference, _RECALL) if pair else {}),
            }
        if pairs["head"] and pairs["tail"]:
            yield label, pairs["head"], pairs["tail"], evidence


def _paired(study: Study, before: Scores, after: Scores) -> Pair | None:
    """Compare on the seeds that both have, if they are two at least."""
    common = [s for s in study.plan.seeds if before[s] is not None and after[s] is not None]
    if len(common) < 2:
        return None
    return stats.compare_paired(before, after, test_to_train=study.test_to_train)


def share_margin(study: Study) -> float:
    """Return the margin of shares: the plan's, or one point where that is of another unit."""
    return study.metric.margin if study.metric.unit == "%" else 0.01


def _bounds(name: str, found: stats.Interval, row: Metric) -> dict[str, float]:
    """A difference and its bounds as they are shown, as evidence."""
    low, high = found.low or 0.0, found.high or 0.0  # there are bounds from two seeds on
    return {
        name: row.rounded(found.estimate),
        f"{name}_low": row.rounded(low),
        f"{name}_high": row.rounded(high),
    }


def corrected_baseline(study: Study) -> list[Finding]:
    """CP334: a variant is better, but not than the baseline corrected after training.

    Of the corrections that are there the better one is told, of those that are worse than the
    variant by less than the margin, whole interval and all. The best variant is left out where
    CP341 says so of it.
    """
    baseline, row, found = study.labels[0], study.metric, []
    scores, told = study.scores(), study.best if adjusted_baseline_is_enough(study) else None
    free = {words: study.scores(kind=kind)[baseline] for kind, words in _CORRECTIONS.items()}
    free = {words: x for words, x in free.items() if any(v is not None for v in x.values())}
    for v in counted(study):
        if v.verdict != "better" or v.interval is None or v.variant == told:
            continue
        judged = study.compare({v.variant: scores[v.variant], **free}, v.variant)
        enough = [
            (j, gain)
            for j in judged
            if j.interval and _above(gain := _gain(j.interval, row), -row.margin)
        ]
        if not enough:
            continue
        best, difference = max(enough, key=lambda pair: pair[1].estimate)
        alone = _paired(study, scores[baseline], free[best.variant])
        evidence = {
            "label": v.variant,
            "baseline": baseline,
            "correction": best.variant,
            "measure": row.label,
            "digits": row.decimals,
            "unit": row.points,
            "seeds": best.comparison.n if best.comparison else 0,
            **_bounds("gain", _gain(v.interval, row), row),
            "gain_level": percent(v.confidence),
            **(_bounds("free", _gain(alone.difference, row), row) if alone else {}),
            "free_level": 95,
            **_bounds("difference", difference, row),
            "level": percent(best.confidence),
        }
        found.append(sentence("CP334", _CORRECTED, evidence))
    return found


def _gain(found: stats.Interval, row: Metric) -> stats.Interval:
    """Return a difference turned so that higher is better."""
    if row.higher_is_better:
        return found
    low, high = (None if x is None else -x for x in (found.high, found.low))
    return stats.Interval(low, -found.estimate, high)


def _above(found: stats.Interval, bound: float) -> bool:
    return found.low is not None and found.low > bound


_CORRECTIONS = {
    "adjusted": "post-hoc logit adjustment",
    "normalized": "τ-normalization of the head",
}
_CORRECTED = (
    "{label}: nothing is gained that {correction} would not give without another training. The "
    "gain on {baseline} is {gain:+.{digits}f}{unit} of {measure} ({gain_low:+.{digits}f} to "
    "{gain_high:+.{digits}f}, {gain_level}% interval), that of {correction} alone "
    "{free:+.{digits}f} ({free_low:+.{digits}f} to {free_high:+.{digits}f}, {free_level}%), and "
    "from the one to the other it is {difference:+.{digits}f} ({difference_low:+.{digits}f} to "
    "{difference_high:+.{digits}f}, {level}% over {seeds} seeds)."
)
