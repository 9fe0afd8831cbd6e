"""Findings on each variant's verdict: CP309, CP330 and CP338."""

import math
from typing import Any

from counterpoise import stats
from counterpoise.findings.finding import ONE_SEED, Finding, percent, sentence
from counterpoise.study import Study

_INTERVAL = (
    "{points:+.{digits}f} points of {measure} ({low:+.{digits}f} to {high:+.{digits}f}, {level}% "
    "interval over {seeds} seeds; better in {wins} of them)"
)
_WORDS = {
    "better": "{label} is better than {baseline}: " + _INTERVAL + ".",
    "worse": "{label} is worse than {baseline}: " + _INTERVAL + ".",
    "no difference that matters": "Between {label} and {baseline} there is no difference that "
    "matters, none of {margin:g} points: " + _INTERVAL + ".",
    "cannot tell yet": "Whether {label} is better or worse than {baseline} cannot be told yet: "
    + _INTERVAL,
}
_UNCALLED = (
    "{label} looks {direction} than {baseline}: " + _INTERVAL + ". But with {seeds} seeds only "
    "differences beyond the margin, ±{margin:g}, are called, as so few do not show how far they "
    "scatter"
)
_WIDE = (
    "Whether {label} is better or worse than {baseline} cannot be told yet: {points:+.{digits}f} "
    "points of {measure} over {seeds} seeds, better in {wins} of them, with a {level}% interval "
    "wider than all that is possible"
)
_NEEDED = "; about {needed} seeds would tell."
_TOO_MANY = "; more than {most} seeds would be needed to tell."
_NEVER = "; more seeds cannot tell, as they draw from the same samples: more samples would."
_TOO_FEW = "; {seeds} seeds say too little to tell how many would, so run {least}."
_ONE_SEED = (
    "Whether {label} is better or worse than {baseline} cannot be told from one seed: {points:+."
    "{digits}f} points of {measure}."
)


def verdicts(study: Study) -> list[Finding]:
    """CP330: each variant against the baseline, as `stats.compare_variants` has it."""
    return [_verdict(study, v, v.comparison) for v in counted(study) if v.comparison]


def counted(study: Study) -> list[stats.Verdict]:
    """Return the verdicts on variants that are no earlier one under another name."""
    return [v for v in study.verdicts() if not v.same_as]


def measured(study: Study, v: stats.Verdict, turned: bool = False) -> dict[str, Any]:
    """Return a verdict's difference as evidence, with its bounds where there are two seeds.

    Args:
        study: the study.
        v: a verdict with a comparison.
        turned: give the difference of the other one, baseline - variant.
    """
    sign, digits = -1 if turned else 1, _digits(study)
    found = v.interval or stats.Interval(None, 0.0, None)
    evidence = {
        "measure": study.plan.metric.replace("_", " "),
        "digits": digits,
        "points": _points(sign * found.estimate, digits),
    }
    if found.low is None or found.high is None:
        return evidence
    low, high = sorted(_points(sign * end, digits) for end in (found.low, found.high))
    return evidence | {
        "low": low,
        "high": high,
        "level": percent(v.confidence),
        "seeds": v.comparison.n if v.comparison else 0,
    }


def _digits(study: Study) -> int:
    """Return as many decimals as show the margin: at 1 point one, at 0.05 points two."""
    return max(1, math.ceil(-math.log10(100 * study.plan.margin)))


def _verdict(study: Study, v: stats.Verdict, pair: stats.PairedComparison) -> Finding:
    evidence: dict[str, Any] = {"label": v.variant, "baseline": v.baseline, "verdict": v.verdict}
    evidence |= measured(study, v)
    if "low" not in evidence:
        return sentence("CP330", _ONE_SEED, evidence)
    margin = round(100 * study.plan.margin, _digits(study))
    evidence |= {"wins": pair.wins, "margin": margin}
    if v.verdict != "cannot tell yet":
        one = ("{margin:g} points", "{margin:g} point") if margin == 1 else ("", "")
        return sentence("CP330", _WORDS[v.verdict].replace(*one), evidence)
    template = _WORDS[v.verdict]
    if max(-evidence["low"], evidence["high"]) > 100:  # of scores within 0% .. 100%
        template = _WIDE
    elif v.uncalled:
        template = _UNCALLED
        evidence["direction"] = "better" if evidence["low"] > 0 else "worse"
    if v.seeds_say_too_little:
        return sentence("CP330", template + _TOO_FEW, evidence | {"least": stats.MIN_SEEDS})
    if not v.seeds_can_tell:
        return sentence("CP330", template + _NEVER, evidence)
    if v.seeds_needed is None or v.seeds_needed > stats.MAX_SEEDS:
        return sentence("CP330", template + _TOO_MANY, evidence | {"most": stats.MAX_SEEDS})
    return sentence("CP330", template + _NEEDED, evidence | {"needed": v.seeds_needed})


def _points(share: float, digits: int) -> float:
    return round(100.0 * share, digits) + 0.0


def fewer_seeds(study: Study) -> list[Finding]:
    """CP338: variants that share fewer seeds with the baseline than were planned."""
    found = []
    for v in counted(study):
        seeds, planned = v.comparison.n if v.comparison else 0, len(study.plan.seeds)
        if seeds < planned:
            template = (
                "{label} is compared with {baseline} on {seeds} of {planned} seeds: in the others "
                "a run failed or is not there yet, and what failed may be what was hard."
            )
            evidence = {
                "label": v.variant,
                "baseline": v.baseline,
                "seeds": seeds,
                "planned": planned,
            }
            found.append(sentence("CP338", template, evidence))
    return found


def single_seed(study: Study) -> list[Finding]:
    """CP309: a study of variants with one seed."""
    alone = len(study.plan.seeds) == 1 and len(study.labels) > 1
    return [sentence("CP309", ONE_SEED, {"what": "variants"})] if alone else []
