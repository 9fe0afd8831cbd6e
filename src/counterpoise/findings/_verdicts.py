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
_NEEDED = "; about {needed} seeds would tell."
_TOO_MANY = "; more than {most} seeds would be needed to tell."
_ONE_SEED = (
    "Whether {label} is better or worse than {baseline} cannot be told from one seed: {points:+."
    "{digits}f} points of {measure}."
)


def verdicts(study: Study) -> list[Finding]:
    """CP330: each variant against the baseline, as `stats.compare_variants` has it."""
    return [
        _verdict(study, v, v.interval, v.comparison)
        for v in study.verdicts()
        if v.interval and v.comparison
    ]


def _verdict(
    study: Study, v: stats.Verdict, interval: stats.Interval, pair: stats.PairedComparison
) -> Finding:
    margin = 100 * study.plan.margin
    # As many decimals as show the margin: at 1 point one, at 0.05 points two.
    digits = max(1, math.ceil(-math.log10(margin)))
    evidence: dict[str, Any] = {
        "label": v.variant,
        "baseline": v.baseline,
        "verdict": v.verdict,
        "measure": study.plan.metric.replace("_", " "),
        "digits": digits,
        "points": _points(interval.estimate, digits),
    }
    if interval.low is None or interval.high is None:
        return sentence("CP330", _ONE_SEED, evidence)
    evidence |= {
        "low": _points(interval.low, digits),
        "high": _points(interval.high, digits),
        "level": percent(v.confidence),
        "seeds": pair.n,
        "wins": pair.wins,
        "margin": round(margin, digits),
    }
    template = _WORDS[v.verdict]
    if v.verdict == "cannot tell yet":
        many = v.seeds_needed is None or v.seeds_needed > stats.MAX_SEEDS
        evidence |= {"most": stats.MAX_SEEDS} if many else {"needed": v.seeds_needed}
        template += _TOO_MANY if many else _NEEDED
    return sentence("CP330", template, evidence)


def _points(share: float, digits: int) -> float:
    return round(100.0 * share, digits) + 0.0


def fewer_seeds(study: Study) -> list[Finding]:
    """CP338: variants that share fewer seeds with the baseline than were planned."""
    found = []
    for v in study.verdicts():
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
