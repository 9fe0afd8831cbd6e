"""Findings on a study beside its references: CP340, CP341 and CP342."""

from collections.abc import Mapping

from counterpoise import stats
from counterpoise.findings._verdicts import measured
from counterpoise.findings.finding import Evidence, Finding, percent, sentence
from counterpoise.study import Study
from counterpoise.study.plan import reference_label

IGNORANT = reference_label("always_the_largest_class")  # CP222 is about nets that do no better

_POINTS = "{points:+.{digits}f} points of {measure}"
_INTERVAL = " ({low:+.{digits}f} to {high:+.{digits}f}, {level}% interval over {seeds} seeds)"
_FROM = "its difference to the {noun} with the best mean, {net}, is " + _POINTS
_NO_NET = {
    "better": "No {noun} beats {reference} ({score:.1f}%): " + _FROM,
    "no difference that matters": "No {noun} beats {reference} ({score:.1f}%) by a difference that "
    "matters: " + _FROM,
    "cannot tell yet": "No {noun} is shown to beat {reference} ({score:.1f}%): " + _FROM,
}
_ADVICE = {
    "behind": ". Train longer, or use {reference}.",
    "equal": ". The {noun} is as good; use the cheaper one.",
    "ahead": ". More seeds may show the {noun} ahead; until then, use {reference}.",
}
_REACHED = " {baseline} reaches {adjusted:.1f}% once it is adjusted after training."
_AHEAD = (
    "{net}, the {noun} with the best mean, is {points:.{digits}f} points of {measure} ahead of "
    "{reference} ({score:.1f}%), the best reference"
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
    advice = _ADVICE[standing(evidence)]
    if study.plan.variant_of(v.baseline).model:  # which has no epochs
        advice = advice.replace("Train longer, or use", "Use")
    template = _NO_NET[v.verdict] + _interval(evidence) + advice
    adjusted = _mean(study.reference_scores().get(study.adjusted_label, {}))
    if adjusted > _mean(study.reference_scores()[v.variant]):
        evidence |= {"baseline": study.labels[0], "adjusted": percent(adjusted)}
        template += _REACHED
    return [sentence("CP340", template, evidence)]


def noun(study: Study) -> str:
    """Return what the variants of a study are called: nets, if all of them are."""
    return "net" if len(study.plan.nets) == len(study.plan.variants) else "variant"


def standing(evidence: Evidence) -> str:
    """Return how the net of CP340 stands to the reference: behind, equal or ahead, open yet."""
    if float(evidence["points"]) > 0:
        return "behind"
    alike = evidence["verdict"] == "no difference that matters" or float(evidence["score"]) >= 100
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
    floor = _mean(trivial) if known else study.chance
    return floor is not None and _mean(scores[v.variant]) <= floor + study.plan.margin


def best_net_and_reference(study: Study) -> list[Finding]:
    """CP342: how far the best net is ahead of the best reference."""
    v = _best(study)
    if v is None or not _is_behind(study, v):
        return []
    evidence = measured(study, v, turned=True) | _about(study, v)
    template = _AHEAD + _interval(evidence)
    open_yet = v.verdict == "cannot tell yet"
    template += "; whether it is better cannot be told yet." if open_yet else "."
    return [sentence("CP342", template, evidence)]


def adjusted_baseline_is_enough(study: Study) -> list[Finding]:
    """CP341: the adjusted baseline is better than the best variant, or differs by nothing.

    One of the two must be ahead of the plain baseline by the margin: else that is the answer.
    """
    margin, label = study.plan.margin, study.adjusted_label
    v = next((v for v in study.reference_verdicts() if v.variant == label), None)
    if v is None or v.verdict not in ("better", "no difference that matters"):
        return []
    plain, best = (_mean(study.scores()[k]) for k in (study.labels[0], v.baseline))
    if max(best, _mean(study.reference_scores()[label])) < plain + margin:
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
    return max(rows, key=lambda v: _mean(scores[v.variant]), default=None)


def _is_behind(study: Study, v: stats.Verdict) -> bool:
    """Return True for a reference that is worse than the best net, or seems so by the margin."""
    behind = v.interval is not None and v.interval.estimate < -study.plan.margin
    return v.verdict == "worse" or (v.verdict == "cannot tell yet" and behind)


def _interval(evidence: Evidence) -> str:
    """Return the part on the interval; empty without one, or for one wider than all possible."""
    low, high = (float(evidence.get(end, 101)) for end in ("low", "high"))
    return _INTERVAL if max(-low, high) <= 100 else ""


def _about(study: Study, v: stats.Verdict) -> Evidence:
    score = percent(_mean(study.reference_scores()[v.variant]))
    about = {"reference": v.variant, "score": score, "net": v.baseline, "verdict": v.verdict}
    return {**about, "noun": noun(study)}


def _mean(by_seed: Mapping[int, float | None]) -> float:
    found = [x for x in by_seed.values() if x is not None]
    return sum(found) / len(found) if found else 0.0
