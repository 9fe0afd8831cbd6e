"""The noise in a difference from the finite test split: CP331 and CP339."""

from collections.abc import Iterator

import numpy as np

from counterpoise import stats
from counterpoise.findings._verdicts import counted
from counterpoise.findings.finding import Evidence, Finding, listed, sentence
from counterpoise.registry import METRICS, Metric
from counterpoise.study import Record, Study


def larger_source(study: Study) -> list[Finding]:
    """CP331: the differences whose noise is mostly the test split's, and those of the seeds."""
    noises = list(_noises(study))
    found = []
    kind = "samples" if study.resampled else "test samples"
    for source, more in (("test set", kind), ("seeds", "seeds")):
        theirs = [e for noise, e in noises if noise.total_se and noise.larger == source]
        if theirs:
            which = "{these} of {all} differences" if noises[1:] else "the difference"
            template = (
                f"More {more} would make {which} to {{baseline}} surer "
                "({labels}). In {measure}, the standard error of that of {label} is "
                "{seed_se:.{digits}f}{unit} by the seeds and "
                f"{{test_se:.{{digits}}f}} by the {{samples}} {_kind(study)}."
            )
            evidence: Evidence = {
                **theirs[0],
                "these": len(theirs),
                "all": len(noises),
                "labels": listed([str(e["label"]) for e in theirs], between="; "),
            }
            found.append(sentence("CP331", template, evidence))
    return found


def another_test_set(study: Study) -> list[Finding]:
    """CP339: better or worse over the seeds, but within two standard errors of both sources."""
    template = (
        "The difference between {label} and {baseline} holds for these test samples; with others "
        "it might not: {difference:+.{digits}f}{unit} of {measure}, and twice the standard error "
        "of seeds ({seed_se:.{digits}f}) and {samples} test samples ({test_se:.{digits}f}) "
        "together is {twice:.{digits}f}."
    )
    found = []
    for noise, evidence in _doubtful(study):
        row = _measured(study)
        twice = row.rounded(2 * (noise.total_se or 0.0))
        more = {"difference": row.rounded(noise.difference), "twice": twice}
        found.append(sentence("CP339", template, {**evidence, **more}))
    return found


def few_samples(study: Study) -> dict[str, str]:
    """Return the variants whose verdict may be chance, with the test samples its noise is of.

    Those are CP339's, and of the variants without a difference that matters the ones that may
    have one, within twice the noise. The samples are of one class where that has three
    quarters of the variance, else all of them.
    """
    alike = {v.variant for v in counted(study) if v.verdict == "no difference that matters"}
    margin, found = study.metric.margin, {}
    near = (
        (noise, evidence)
        for noise, evidence in _noises(study)
        if evidence["label"] in alike
        and abs(noise.difference) + 2 * (noise.total_se or 0.0) > margin
    )
    for noise, evidence in (*_doubtful(study), *near):
        worst = max(noise.classes, key=lambda c: c.test_se)
        of_all = sum(c.test_se**2 for c in noise.classes)
        alone = len(noise.classes) > 1 and worst.test_se**2 > 0.75 * of_all
        samples = worst.n if alone else noise.n
        said = f"{samples:,} test sample{'' if samples == 1 else 's'}"
        if alone and worst.label is not None:
            said += f" of class {study.data['class_names'][worst.label]}"
        found[str(evidence["label"])] = said
    return found


def _doubtful(study: Study) -> Iterator[tuple[stats.NoiseSources, Evidence]]:
    """Yield what is called better or worse, by less than twice the noise of both sources."""
    claimed = {v.variant for v in counted(study) if v.verdict in ("better", "worse")}
    for noise, evidence in _noises(study) if claimed else ():
        total = noise.total_se or 0.0
        if evidence["label"] in claimed and abs(noise.difference) < 2 * total:
            yield noise, evidence


def _kind(study: Study) -> str:
    return "samples that seeds draw from" if study.resampled else "test samples"


def _noises(study: Study) -> Iterator[tuple[stats.NoiseSources, Evidence]]:
    """Each variant's difference to the baseline, and the noise in it, from two seeds on."""
    if study.resampled:
        yield from _noises_of_draws(study)
        return
    if (
        study.metric.unit != "%" or study.metric.classes
    ):  # of which right and wrong answers say little
        return
    baseline, *others = study.labels
    plain = study.plan.metric == "accuracy"
    right = {label: {r.seed: _right(r) for r in study.of(label)} for label in study.labels}
    for label in others:
        if label in study.duplicates:
            continue
        common = sorted(right[baseline].keys() & right[label].keys())
        if len(common) < 2:
            continue
        _, targets = study.of(baseline)[0].answers
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
                **_errors(study, noise),
                "samples": len(targets),
            },
        )


def _noises_of_draws(study: Study) -> Iterator[tuple[stats.NoiseSources, Evidence]]:
    """The same where each seed draws its test split: s / √n and s √r of the corrected interval."""
    samples = sum(study.data["train_counts"]) + sum(study.data["test_counts"])
    for v in counted(study):
        pair = v.comparison
        if pair is None or pair.sd is None:
            continue
        noise = stats.NoiseSources(
            None,
            samples,
            pair.difference.estimate,
            test_se=pair.sd * study.test_to_train**0.5,
            seed_se=pair.sd / pair.n**0.5,
        )
        yield (
            noise,
            {
                "label": v.variant,
                "baseline": v.baseline,
                **_errors(study, noise),
                "samples": samples,
            },
        )


def _measured(study: Study) -> Metric:
    """Return the metric whose noise is known: by right answers, or of scores on drawn splits."""
    if study.resampled:
        return study.metric
    return METRICS["accuracy" if study.plan.metric == "accuracy" else "balanced_accuracy"]


def _errors(study: Study, noise: stats.NoiseSources) -> Evidence:
    row = _measured(study)
    return {
        "measure": row.label,
        "digits": row.decimals,
        "unit": row.points,
        "seed_se": row.rounded(noise.seed_se or 0.0),
        "test_se": row.rounded(noise.test_se),
    }


def _right(record: Record) -> np.ndarray:
    predicted, targets = record.answers
    return predicted == targets
