"""The choice of what is exported: a variant by the verdicts, and seeds by the validation split."""

from __future__ import annotations

import math
from dataclasses import dataclass

from counterpoise import stats
from counterpoise.findings import adjusted_to_use, best_and_reason, noun, reference_to_use
from counterpoise.registry import unknown
from counterpoise.study import Record, Study


@dataclass(frozen=True)
class Choice:
    """The variant and the runs that are exported, and why.

    Attributes:
        label: of the variant, or of the reference.
        why: it was taken, in a sentence.
        records: the runs whose nets are exported: that of one seed, or all of an ensemble.
        seeds: which they are, in a sentence.
        optimism: by how much at most the choice lifts the variant's test score on average; None
            where it is not known.
    """

    label: str
    why: str
    records: tuple[Record, ...]
    seeds: str
    optimism: float | None


def choose(study: Study, label: str = "", ensemble: bool = False) -> Choice:
    """Choose the variant and the seeds of it that are exported.

    Args:
        study: with a finished run at least.
        label: of a variant or of a reference; "" for `findings.best_variant(study)`.
        ensemble: whether all seeds are taken.

    Raises:
        ValueError: no variant or reference has that label, or it has no finished run.
    """
    why, every = "it was asked for", (*study.labels, *study.reference_labels)
    if not label:
        label, why = _by_verdicts(study)
    elif label not in every:
        raise ValueError(unknown("--variant", label, every))
    records = study.of(label)
    if not records:
        raise ValueError(
            f"{study.folder} must have a finished run of {label}, but has none; counterpoise "
            "compare with the same plan goes on with it"
        )
    metric = study.metric
    seeds = f"all {len(records)} seeds, whose probabilities are averaged"
    if not ensemble:
        scores = [(r, (r.run.get("validation") or {}).get(metric.key)) for r in records]
        held = [(r, score) for r, score in scores if score is not None]
        if held:
            best, score = max(held, key=lambda found: metric.sign * found[1])
            seeds = (
                f"seed {best.seed}, the one of {len(records)} with the best validation "
                f"{metric.label} ({metric.shown(score)})"
            )
        else:
            best = records[0]
            seeds = f"seed {best.seed}, the first, as there is no validation split to choose on"
        records = [best]
    return Choice(label, why, tuple(records), seeds, _optimism(study))


def _by_verdicts(study: Study) -> tuple[str, str]:
    """Return the best variant with the reason, and what the study says to use in its place."""
    if study.best is None:
        raise ValueError(
            f"{study.folder} must have a finished run, but has none; counterpoise compare with the "
            "same plan goes on with it"
        )
    label, why = best_and_reason(study)
    why = f"it is {why}"
    if reference := reference_to_use(study):
        why += (
            f"; no {noun(study)} is shown to beat {reference}: --variant {reference!r} exports that"
        )
    elif adjusted_to_use(study):
        baseline = study.labels[0]
        why += (
            f"; the answer of the study is {baseline} with its logits adjusted, which --variant "
            f"{baseline!r} --probable exports, for predict --prior uniform"
        )
    return label, why


def _optimism(study: Study) -> float | None:
    r"""Return a bound on the mean by which choosing the best of k variants lifts its score.

    .. math::
        E[\max_j X_j] \le \sigma \sqrt{2 \ln k}

    for k scores whose noise has the standard deviation σ and that are equally good in truth. σ is
    1 / √2 of the standard error of a difference of two of them, for new seeds and test samples;
    the largest of all pairs with the best one is taken.

    Source: Boucheron, Lugosi, Massart 2013, "Concentration inequalities", theorem 2.5.
    """
    if len(study.labels) == 1:
        return 0.0
    best = {r.seed: r for r in study.of(study.best or "")}
    errors = []
    for label in study.labels:
        pairs = [(best[r.seed], r) for r in study.of(label) if r.seed in best]
        if label == study.best or len(pairs) < 2:
            continue
        if study.resampled:
            scores = [
                {r.seed: r.run["test"][study.metric.key] for r in side}
                for side in zip(*pairs, strict=True)
            ]
            pair = stats.compare_paired(*scores, test_to_train=study.test_to_train)
            errors.append((pair.sd or 0.0) * math.sqrt(1 / pair.n + study.test_to_train))
            continue
        if study.metric.unit != "%":  # of which right and wrong answers say little
            return None
        before, after = (
            [r.answers[0] == r.answers[1] for r in side] for side in zip(*pairs, strict=True)
        )
        noise = stats.noise_sources(before, after, pairs[0][0].answers[1])
        errors.append(noise.total_se or 0.0)
    return max(errors) * math.sqrt(math.log(len(study.labels))) if errors else None
