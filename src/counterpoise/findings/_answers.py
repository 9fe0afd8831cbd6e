"""The first questions to a study: what to use, what was better, what cannot be told."""

from counterpoise.study import Study

_CHEAPER = 0.9  # of the baseline's time: below it, a variant that is as good is to be preferred


def best_variant(study: Study) -> str:
    """Return the variant to use: the one that a study shows to be the best, or the cheapest.

    Of those that are better than the baseline, it is the one with the largest gain. Where none is,
    it is the baseline, or the fastest of the variants without a difference that matters to it, if
    that takes less than 0.9 of the baseline's time.
    """
    found = study.verdicts()
    better = {v.variant: v.interval.estimate for v in found if v.verdict == "better" and v.interval}
    if better:
        return max(better, key=lambda label: better[label])
    baseline = study.labels[0]
    alike = [v.variant for v in found if v.verdict == "no difference that matters"]
    seconds = {label: s for label in (baseline, *alike) if (s := seconds_a_run(study, label))}
    fastest = min(seconds, key=lambda label: seconds[label], default=baseline)
    if baseline in seconds and seconds[fastest] < _CHEAPER * seconds[baseline]:
        return fastest
    return baseline


def seconds_a_run(study: Study, label: str) -> float | None:
    """Return the mean time of a variant's finished runs."""
    times = [r.timing["seconds"] for r in study.of(label)]
    return sum(times) / len(times) if times else None
