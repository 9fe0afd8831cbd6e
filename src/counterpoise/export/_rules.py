"""The rule of an exported model: chosen on validation data, measured on test data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from counterpoise.decisions import (
    Rule,
    RuleScores,
    abstention_for_share,
    conformal_thresholds,
    evaluate_rule,
    samples_needed,
    threshold_for_recall,
)
from counterpoise.probabilities import Method, Posterior
from counterpoise.registry import unknown
from counterpoise.stats import Interval
from counterpoise.study import Record, Study
from counterpoise.text import listed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_ISOTONIC = 100  # validation samples of each class


@dataclass(frozen=True)
class Wanted:
    """Demands on a rule; the default is the rule by which the study scored its runs.

    Attributes:
        probable: give the most probable class.
        costs: c[true][predicted], (C, C): give the class of the lowest expected cost.
        thresholds: the probability from which on a class is given, by its name.
        recall: the recall that a class is to have, by its name; its threshold is chosen.
        abstain: the share of the samples that may get no class, the least certain ones; 0 for none.
        sets: how often the set of a sample is to hold its class, whatever the class; 0 for no sets.
    """

    probable: bool = False
    costs: tuple[tuple[float, ...], ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    recall: Mapping[str, float] = field(default_factory=dict)
    abstain: float = 0.0
    sets: float = 0.0

    @property
    def chosen(self) -> bool:
        """Whether something is chosen on validation data."""
        return bool(self.recall or self.abstain or self.sets)


def rule_of(
    study: Study, records: Sequence[Record], wanted: Wanted, method: Method
) -> tuple[Rule, list[str]]:
    """Return the rule of an export, and sentences on what it comes to on test data.

    Args:
        study: the study.
        records: whose nets are exported, all of one variant; the rule is chosen on their validation
            samples together.
        wanted: of the rule.
        method: of calibration.

    Raises:
        ValueError: demands that exclude each other, no such class, or too few validation samples.
    """
    names, posteriors = study.data["class_names"], [_posterior(r, method) for r in records]
    kinds = [wanted.probable, bool(wanted.costs), bool(wanted.thresholds or wanted.recall)]
    if sum(kinds) > 1:
        raise ValueError(
            "a rule must be of one kind: the most probable class, --costs, or thresholds "
            "(--threshold, --recall); leave the others out"
        )
    if both := wanted.thresholds.keys() & wanted.recall.keys():
        raise ValueError(
            f"{min(both)} must have a threshold or a recall, but got both; leave one out"
        )
    for name in (*wanted.thresholds, *wanted.recall):
        if name not in names:
            raise ValueError(unknown("a class", name, names))
    if wanted.chosen and "validation_logits" not in records[0].predictions:
        raise ValueError(
            "--recall, --abstain and --sets must be chosen on validation samples, but the study "
            "has none: training.validation is 0"
        )
    held = [_split(r, p, "validation") for r, p in zip(records, posteriors, strict=True)]
    p, targets = (np.concatenate(x) for x in zip(*[(h[0], h[1]) for h in held], strict=True))
    rule = _rule_on(p, targets, names, wanted)
    lines = []
    if method == "isotonic" and (
        fewest := int(np.bincount(targets, minlength=len(names)).min())
    ) < (_ISOTONIC):
        lines.append(
            f"Isotonic regression needs hundreds of validation samples of each class, but one has "
            f"{fewest}: --calibration temperature needs fewer."
        )
    if wanted == Wanted():
        return rule, lines
    every = study.of(records[0].label)
    measured = _measured(study, every, [_posterior(r, method) for r in every], wanted)
    return rule, [*lines, *measured]


def _posterior(record: Record, method: Method) -> Posterior:
    found = record.posterior(method)
    if found is None:
        raise ValueError(
            f"{record.folder} was trained by an older version, which did not keep what "
            "probabilities need; counterpoise compare with the same plan and another --out trains "
            "it again"
        )
    return found


def _split(record: Record, posterior: Posterior, name: str) -> tuple[Floats, Ints, Floats]:
    """Return probabilities, classes and scores of a split; nothing where there is no such split."""
    kept, classes = record.predictions, len(posterior.train_counts)
    z = kept.get(f"{name}_logits", np.zeros((0, classes))).astype(np.float64)
    targets = kept.get(f"{name}_targets", np.zeros(0, np.int64))
    return np.exp(posterior(z)), targets, log_softmax(z, axis=1)


def _rule_on(p: Floats, targets: Ints, names: Sequence[str], wanted: Wanted) -> Rule:
    """Choose a rule on validation samples."""
    thresholds: list[float | None] = [wanted.thresholds.get(name) for name in names]
    for name, recall in wanted.recall.items():
        k = names.index(name)
        try:
            thresholds[k] = threshold_for_recall(p, targets, k, recall)
        except ValueError as error:
            said = str(error).replace(f"class {k} ", f"class {name} ")
            raise ValueError(f"--recall {name}={recall:g}: {said}") from error
    kind = "probable" if wanted.probable else "costs" if wanted.costs else "study"
    given = any(t is not None for t in thresholds)
    return Rule(
        "thresholds" if given else kind,
        costs=wanted.costs,
        thresholds=tuple(thresholds) if given else (),
        abstain=abstention_for_share(p, wanted.abstain) if wanted.abstain else 0.0,
        sets=conformal_thresholds(p, targets, wanted.sets) if wanted.sets else (),
    )


def _measured(
    study: Study, records: Sequence[Record], posteriors: Sequence[Posterior], wanted: Wanted
) -> Iterator[str]:
    """Yield what the rule comes to on test data: each seed's, chosen on its own validation data."""
    names, rules = study.data["class_names"], []
    for r, posterior in zip(records, posteriors, strict=True):
        p, targets, _ = _split(r, posterior, "validation")
        rules.append(_rule_on(p, targets, names, wanted))
    tested = [_split(r, q, "test") for r, q in zip(records, posteriors, strict=True)]
    found = evaluate_rule(
        rules,
        [t[0] for t in tested],
        [t[1] for t in tested],
        scores=[t[2] for t in tested],
        rows=[cast(Ints, r.test_rows) for r in records] if study.resampled else None,
        shares=records[0].run["train_counts"],
    )
    number = found.samples if study.resampled else len(tested[0][1])
    over = (
        f"mean of {len(records)} seeds, {number:,} test samples, at the training data's shares"
        if len(records) > 1
        else f"{number:,} samples, at the training data's shares"
    )
    yield (
        f"On test ({over}): accuracy {_points(found.accuracy)}, balanced accuracy "
        f"{_points(found.balanced_accuracy)}."
    )
    yield from _by_class(found, names, wanted)
    if found.mean_cost is not None:
        c = found.mean_cost
        yield f"Mean cost {c.estimate:.3g} ({_bound(c.low)} to {_bound(c.high)})."
    if wanted.abstain:
        error = "" if found.error is None else f"; error of the others {_points(found.error)}"
        yield (
            f"No class for {_points(found.abstained)} of the samples, which count as wrong above"
            f"{error}."
        )
    if wanted.sets and found.set_size is not None:
        least = min((c.estimate, k) for k, c in enumerate(found.coverage) if c is not None)
        yield (
            f"Sets of {found.set_size.estimate:.2f} classes on average; of the classes, "
            f"{names[least[1]]} is in the set of its samples the least often, "
            f"{_points(found.coverage[least[1]])}. A set may be empty, or leave out the class that "
            "is given."
        )
        few = [n for n, t in zip(names, rules[0].sets, strict=True) if not t]
        if few:
            yield (
                f"In every set, as they have fewer than {samples_needed(wanted.sets)} validation "
                f"samples: {listed(few)}."
            )


def _by_class(found: RuleScores, names: Sequence[str], wanted: Wanted) -> Iterator[str]:
    for name in (*wanted.thresholds, *wanted.recall):
        k = names.index(name)
        pair = zip(("recall", "precision"), (found.recall[k], found.precision[k]), strict=True)
        said = [f"{what} {_points(x)}" for what, x in pair if x is not None]
        yield f"{name}: {', '.join(said) or 'no test samples'}."
    named = {*wanted.thresholds, *wanted.recall}
    others = [
        (x.estimate, k)
        for k, x in enumerate(found.recall)
        if x is not None and names[k] not in named
    ]
    if named and others:
        k = min(others)[1]
        yield f"Of the other classes, {names[k]} has the lowest recall, {_points(found.recall[k])}."


def _points(x: Interval | None) -> str:
    if x is None:
        return "unknown"
    if x.low is None or x.high is None:
        return f"{x.estimate:.1%}"
    return f"{x.estimate:.1%} ({x.low:.1%} to {x.high:.1%})"


def _bound(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
