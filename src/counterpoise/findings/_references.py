"""Findings on a study beside its references: CP340, CP341 and CP342."""

import math
from collections.abc import Mapping

from counterpoise import stats
from counterpoise.findings._verdicts import measured
from counterpoise.findings.finding import Evidence, Finding, sentence
from counterpoise.study import Study
from counterpoise.study.plan import reference_label

IGNORANT = reference_label("always_the_largest_class")  # CP222 is about nets that do no better

_POINTS = "{difference:+.{digits}f}{unit} of {measure}"
_INTERVAL = " ({low:+.{digits}f} to {high:+.{digits}f}, {level}% interval over {seeds} seeds)"
_FROM = "its difference to the {noun} with the best mean, {net}, is " + _POINTS
_NO_NET = {
    "better": "No {noun} beats {reference} ({score:.{digits}f}{mark}): " + _FROM,
    "no difference that matters": "No {noun} beats {reference} ({score:.{digits}f}{mark}) by a "
    "difference that matters: " + _FROM,
    "cannot tell yet": "No {noun} is shown to beat {reference} ({score:.{digits}f}{mark}): "
    + _FROM,
}
_ADVICE = {
    "behind": ". Train longer, or use {reference}.",
    "equal": ". The {noun} is as good; use the cheaper one.",
    "ahead": ". More seeds may show the {noun} ahead; until then, use {reference}.",
}
_REACHED = " {baseline} reaches {adjusted:.{digits}f}{mark} once it is adjusted after training."
_AHEAD = (
    "{net}, the {noun} with the best mean, is {difference:.{digits}f}{unit} of {measure} ahead of "
    "{reference} ({score:.{digits}f}{mark}), the best reference"
)
_ENOUGH = (
    "The cheapest {noun} is {adjusted}, which needs no other training: its difference to the "
    "{noun} with the best mean, {net}, is " + _POINTS
)


def no_net_is_better(study: Study) -> list[Finding]:
    """CP340: the best net neither beats the best reference nor is ahead of it by the margin."""
    v = _best(study)
    if v is None or _is_behind(study, v) or nothing_learned(study):
        return []
    evidence = measured(study, v) | _about(study, v)
    advice = _ADVICE[standing(study, evidence)]
    if study.plan.variant_of(v.baseline).model:  # which has no epochs
        advice = advice.replace("Train longer, or use", "Use")
    template = _NO_NET[v.verdict] + _interval(evidence) + advice
    adjusted = merit(study, study.reference_scores().get(study.adjusted_label, {}))
    if adjusted > merit(study, study.reference_scores()[v.variant]):
        score = study.metric.rounded(study.metric.sign * adjusted)
        evidence |= {"baseline": study.labels[0], "adjusted": score}
        template += _REACHED
    return [sentence("CP340", template, evidence)]


def noun(study: Study) -> str:
    """Return what the variants of a study are called: nets, if all of them are."""
    return "net" if len(study.plan.nets) == len(study.plan.variants) else "variant"


def standing(study: Study, evidence: Evidence) -> str:
    """Return how the net of CP340 stands to the reference: behind, equal or ahead, open yet."""
    row = study.metric
    if row.sign * float(evidence["difference"]) > 0:
        return "behind"
    perfect = row.unit == "%" and float(evidence["score"]) >= 100
    alike = evidence["verdict"] == "no difference that matters" or perfect
    return "equal" if alike else "ahead"


def nothing_learned(study: Study) -> bool:
    """Return True where neither a net nor a reference does better than the largest class alone.

    No net beats the best reference, and that is within the margin of the trivial one, or below.
    """
    v, scores = _best(study), study.reference_scores()
    if v is None or _is_behind(study, v):
        return False
    trivial = scores.get(IGNORANT, {})
    known = any(x is not None for x in trivial.values())
    floor = merit(study, trivial if known else {0: study.chance})
    return merit(study, scores[v.variant]) <= floor + study.metric.margin


def best_net_and_reference(study: Study) -> list[Finding]:
    """CP342: how far the best net is ahead of the best reference."""
    v = _best(study)
    if v is None or not _is_behind(study, v):
        return []
    evidence = measured(study, v, -study.metric.sign) | _about(study, v)
    template = _AHEAD + _interval(evidence)
    open_yet = v.verdict == "cannot tell yet"
    template += "; whether it is better cannot be told yet." if open_yet else "."
    return [sentence("CP342", template, evidence)]


def adjusted_baseline_is_enough(study: Study) -> list[Finding]:
    """CP341: the adjusted baseline is better than the best variant, or differs by nothing.

    One of the two must be ahead of the plain baseline by the margin: else that is the answer.
    """
    margin, label = study.metric.margin, study.adjusted_label
    v = next((v for v in study.reference_verdicts() if v.variant == label), None)
    if v is None or v.verdict not in ("better", "no difference that matters"):
        return []
    plain, best = (merit(study, study.scores()[k]) for k in (study.labels[0], v.baseline))
    if max(best, merit(study, study.reference_scores()[label])) < plain + margin:
        return []
    evidence = measured(study, v) | {"adjusted": label, "net": v.baseline, "noun": noun(study)}
    template = _ENOUGH + _interval(evidence)
    return [sentence("CP341", template + ".", evidence)]


def _best(study: Study) -> stats.Verdict | None:
    """Return the verdict on the reference with the best mean, of those that learn something."""
    rows = [
        v
        for v in study.reference_verdicts()
        if v.interval and v.variant not in (IGNORANT, study.adjusted_label)
    ]
    scores = study.reference_scores()
    return max(rows, key=lambda v: merit(study, scores[v.variant]), default=None)


def _is_behind(study: Study, v: stats.Verdict) -> bool:
    """Return True for a reference that is worse than the best net, or seems so by the margin."""
    row = study.metric
    behind = v.interval is not None and row.sign * v.interval.estimate < -row.margin
    return v.verdict == "worse" or (v.verdict == "cannot tell yet" and behind)


def _interval(evidence: Evidence) -> str:
    """Return the part on the interval; empty without one."""
    return _INTERVAL if "low" in evidence else ""


def _about(study: Study, v: stats.Verdict) -> Evidence:
    row = study.metric
    score = row.rounded(row.sign * merit(study, study.reference_scores()[v.variant]))
    about = {"reference": v.variant, "score": score, "net": v.baseline, "verdict": v.verdict}
    return {**about, "mark": row.mark, "noun": noun(study)}


def merit(study: Study, by_seed: Mapping[int, float | None]) -> float:
    """Return the mean of scores, turned so that higher is better; -inf without any."""
    found = [x for x in by_seed.values() if x is not None]
    return study.metric.sign * sum(found) / len(found) if found else -math.inf
