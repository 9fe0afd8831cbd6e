"""How much of a difference the test part alone could make: CP331 and CP339."""

from collections.abc import Iterator

import numpy as np

from counterpoise import stats
from counterpoise.findings._finding import Evidence, Finding, percent, sentence
from counterpoise.study import Record, Study

_SOURCES = (
    "standard error of the difference in {measure}: {seed_se:.1f} points by the seeds, "
    "{test_se:.1f} by the {samples} test samples"
)


def larger_source(study: Study) -> list[Finding]:
    """CP331: which source of noise is the larger one, variant by variant."""
    found = []
    for noise, evidence in _noises(study):
        more = "test samples" if noise.larger == "test set" else "seeds"
        template = "{label} and {baseline}, " + _SOURCES + ". More {more} would help most."
        found.append(sentence("CP331", template, {**evidence, "more": more}))
    return found


def another_test_set(study: Study) -> list[Finding]:
    """CP339: better or worse over the seeds, but within two standard errors of both sources."""
    told = {v.variant for v in study.verdicts() if v.verdict in ("better", "worse")}
    found = []
    for noise, evidence in _noises(study):
        total = noise.total_se or 0.0
        if evidence["label"] in told and abs(noise.difference) < 2 * total:
            template = (
                "The difference between {label} and {baseline} holds for these test samples; with "
                "others it might not: {difference:+.1f} points, and twice the standard error of "
                "seeds and test samples together is {twice:.1f} ("
            )
            more = {"difference": percent(noise.difference), "twice": percent(2 * total)}
            found.append(sentence("CP339", template + _SOURCES + ").", {**evidence, **more}))
    return found


def _noises(study: Study) -> Iterator[tuple[stats.NoiseSources, Evidence]]:
    """Each variant's difference to the baseline, and the noise in it, from two seeds on."""
    baseline, *others = study.labels
    plain = study.plan.metric == "accuracy"
    right = {label: {r.seed: _right(r) for r in study.of(label)} for label in study.labels}
    for label in others:
        common = sorted(right[baseline].keys() & right[label].keys())
        if len(common) < 2:
            continue
        targets = study.of(baseline)[0].predictions["test_targets"]
        noise = stats.noise_sources(
            [right[baseline][seed] for seed in common],
            [right[label][seed] for seed in common],
            np.zeros_like(targets) if plain else targets,
        )
        yield (
            noise,
            {
                "label": label,
                "baseline": baseline,
                "measure": "accuracy" if plain else "balanced accuracy",
                "seed_se": percent(noise.seed_se or 0.0),
                "test_se": percent(noise.test_se),
                "samples": len(targets),
            },
        )


def _right(record: Record) -> np.ndarray:
    return record.predictions["test_logits"].argmax(1) == record.predictions["test_targets"]
