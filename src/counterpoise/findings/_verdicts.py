"""Findings on each variant's verdict: CP309, CP330 and CP338."""

from typing import Any

from counterpoise import stats
from counterpoise.findings.finding import ONE_SEED, Finding, percent, sentence
from counterpoise.study import Study

_INTERVAL = (
    "{difference:+.{digits}f}{unit} of {measure} ({low:+.{digits}f} to {high:+.{digits}f}, "
    "{level}% interval over {seeds} seeds; better in {wins} of them)"
)
_WORDS = {
    "better": "{label} is better than {baseline}: " + _INTERVAL + ".",
    "worse": "{label} is worse than {baseline}: " + _INTERVAL + ".",
    "no difference that matters": "Between {label} and {baseline} there is no difference that "
    "matters, none of {margin:g}{unit}: " + _INTERVAL + ".",
    "cannot tell yet": "Whether {label} is better or worse than {baseline} cannot be told yet: "
    + _INTERVAL,
}
_UNCALLED = (
    "{label} looks {direction} than {baseline}: " + _INTERVAL + ". But with {seeds} seeds only "
    "differences beyond the margin, ±{margin:g}, are called, as so few do not show how far they "
    "scatter"
)
_NEEDED = "; {number} seeds would tell."
_TOO_MANY = "; more than {most} seeds would be needed to tell."
_NEVER = "; more seeds cannot tell, as they draw from the same samples: more samples would."
_UNEVEN = "; a run stands far apart from the others, so no number of seeds can be named."
_TOO_FEW = "; {seeds} seeds say too little to tell how many would, so run {least}."
_ONE_NUMBER = (
    "Whether {label} is better or worse than {baseline} cannot be told: in {measure} all runs of "
    "both have the same score."
)
_ONE_SEED = (
    "Whether {label} is better or worse than {baseline} cannot be told from one seed: "
    "{difference:+.{digits}f}{unit} of {measure}."
)


def verdicts(study: Study) -> list[Finding]:
    """CP330: each variant against the baseline, as `stats.compare_variants` has it."""
    return [_verdict(study, v, v.comparison) for v in counted(study) if v.comparison]


def counted(study: Study) -> list[stats.Verdict]:
    """Return the verdicts on variants that are no earlier one under another name."""
    return [v for v in study.verdicts() if not v.same_as]


def measured(study: Study, v: stats.Verdict, sign: int = 1) -> dict[str, Any]:
    """Return a verdict's difference as evidence, with its bounds where there are two seeds.

    Args:
        study: the study.
        v: a verdict with a comparison.
        sign: -1 for that of the other one, baseline - variant.
    """
    row = study.metric
    found = v.interval or stats.Interval(None, 0.0, None)
    evidence = {
        "measure": row.label,
        "digits": row.decimals,
        "unit": row.points,
        "difference": row.rounded(sign * found.estimate),
    }
    if found.low is None or found.high is None:
        return evidence
    ends = row.possible_difference(found.low, found.high)
    low, high = sorted(row.rounded(sign * end) for end in ends)
    return evidence | {
        "low": low,
        "high": high,
        "level": percent(v.confidence),
        "seeds": v.comparison.n if v.comparison else 0,
    }


def _verdict(study: Study, v: stats.Verdict, pair: stats.Comparison) -> Finding:
    evidence: dict[str, Any] = {"label": v.variant, "baseline": v.baseline, "verdict": v.verdict}
    evidence |= measured(study, v)
    if v.reason == stats.ONE_NUMBER:
        return sentence("CP330", _ONE_NUMBER, evidence | {"coarse": True})
    if "low" not in evidence:
        return sentence("CP330", _ONE_SEED, evidence)
    row = study.metric
    margin = row.rounded(row.margin)
    evidence |= {"wins": pair.wins, "margin": margin}
    if v.verdict != "cannot tell yet":
        one = (
            ("{margin:g}{unit}", "{margin:g} point")
            if row.unit == "%" and margin == 1
            else ("", "")
        )
        return sentence("CP330", _WORDS[v.verdict].replace(*one), evidence)
    template = _WORDS[v.verdict]
    if v.uncalled:
        template = _UNCALLED
        higher = evidence["low"] > 0
        evidence["direction"] = "better" if higher == row.higher_is_better else "worse"
    if v.uneven:
        return sentence("CP330", template + _UNEVEN, evidence | {"uneven": True})
    if v.seeds_say_too_little:
        return sentence("CP330", template + _TOO_FEW, evidence | {"least": stats.MIN_SEEDS})
    if not v.seeds_can_tell:
        return sentence("CP330", template + _NEVER, evidence)
    if v.seeds_needed is None or v.seeds_needed > stats.MAX_SEEDS:
        return sentence("CP330", template + _TOO_MANY, evidence | {"most": stats.MAX_SEEDS})
    evidence |= {"needed": v.seeds_needed, "number": v.shown_seeds}
    return sentence("CP330", template + _NEEDED, evidence)


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
