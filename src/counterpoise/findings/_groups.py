"""Findings on the source of a variant's gain: CP332, CP333 and CP334."""

from collections.abc import Iterator, Mapping
from typing import Any

from counterpoise import stats
from counterpoise.findings._references import adjusted_baseline_is_enough
from counterpoise.findings.finding import Finding, percent, sentence
from counterpoise.study import Study

Pair = stats.PairedComparison
Scores = Mapping[int, float | None]

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
        up = evidence["head_low"] > 0 and head.difference.estimate >= study.plan.margin
        if up and evidence["tail_low"] <= 0 and tail.difference.estimate < study.plan.margin:
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
        pairs = {
            end: _paired(study, recalls[group][baseline], recalls[group][label])
            for end, group in ends.items()
        }
        evidence = {"baseline": baseline, "level": 95}
        for end, pair in pairs.items():
            evidence |= {"seeds": pair.n} if pair else {}
            group = ends[end].removesuffix("_recall").replace("_", "-")
            evidence |= {f"{end}_group": group, **(_points(end, pair.difference) if pair else {})}
        if pairs["head"] and pairs["tail"]:
            yield label, pairs["head"], pairs["tail"], evidence


def _paired(study: Study, before: Scores, after: Scores) -> Pair | None:
    """Compare on the seeds that both have, if they are two at least."""
    common = [s for s in study.plan.seeds if before[s] is not None and after[s] is not None]
    if len(common) < 2:
        return None
    return stats.compare_paired(
        before, after, margin=study.plan.margin, test_to_train=study.test_to_train
    )


def _points(name: str, found: stats.Interval) -> dict[str, float]:
    """A difference and its bounds in points, as evidence."""
    low, high = found.low or 0.0, found.high or 0.0  # there are bounds from two seeds on
    return {
        name: percent(found.estimate),
        f"{name}_low": percent(low),
        f"{name}_high": percent(high),
    }


def adjusted_baseline(study: Study) -> list[Finding]:
    """CP334: a variant is better, but not than the baseline after post-hoc adjustment.

    That one's interval of the difference to the variant lies above minus the margin. The best
    variant is left out where CP341 says so of it.
    """
    baseline = study.labels[0]
    scores, adjusted = study.scores(), study.scores(kind="adjusted")[baseline]
    found, told = [], study.best if adjusted_baseline_is_enough(study) else None
    for label in [v.variant for v in study.verdicts() if v.verdict == "better"]:
        if label == told:
            continue
        pair = _paired(study, scores[label], adjusted)
        if pair is None or (pair.difference.low or 0.0) <= -study.plan.margin:
            continue
        evidence = {
            "label": label,
            "baseline": baseline,
            "measure": study.plan.metric.replace("_", " "),
            "level": 95,
            "seeds": pair.n,
            **_points("difference", pair.difference),
        }
        found.append(sentence("CP334", _ADJUSTED, evidence))
    return found


_ADJUSTED = (
    "{label}: nothing is gained that post-hoc logit adjustment would not give without another "
    "training; the adjusted {baseline} is {difference:+.1f} points of {measure} from it "
    "({difference_low:+.1f} to {difference_high:+.1f}, {level}% interval over {seeds} seeds)."
)
