"""The section on decisions: rules for a class, sets, and what leaving samples out gains."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from counterpoise.decisions import (
    Rule,
    RuleScores,
    abstention_for_share,
    conformal_thresholds,
    evaluate_rule,
    samples_needed,
)
from counterpoise.findings import best_variant
from counterpoise.registry import METRICS
from counterpoise.report import _thresholds
from counterpoise.report._numbers import NONE, percent
from counterpoise.report._panels import banded
from counterpoise.report._probabilities import RunProbabilities, of_run
from counterpoise.report._variants import Entry
from counterpoise.stats import Interval
from counterpoise.study import Study
from counterpoise.text import listed

Floats = npt.NDArray[np.float64]
_COVERAGE = 0.9  # of the sets
_LEFT_OUT = 0.1  # of the samples, by the rule that leaves some out
_RESAMPLES = 500
_KEPT = np.linspace(0.02, 1, 50)
_KEPT_IN_TABLE = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_ROUNDING = 1e-9
_STUDY, _PROBABLE = "highest score, by which the variants were compared", "most probable class"
_SURE = f"most probable class, none for the least certain {_LEFT_OUT:.0%}"


def section(study: Study, variants: Sequence[Entry]) -> dict[str, object] | None:
    """Return the section on the variant to use, beside another; None where nothing is known."""
    by_label = {v.label: v for v in variants}
    best, other = by_label[best_variant(study)], variants[0]
    if other is best and study.best:
        other = by_label[study.best]
    own, beside = ([m for r in v.records if (m := of_run(r)) is not None] for v in (best, other))
    if not own:
        return None
    beside = [] if other is best else beside
    two, fitted = len(study.data["class_names"]) == 2, all(len(m.held) for m in own)
    chosen = [_thresholds.choose_threshold(study, m) for m in own] if two and fitted else []
    rules = _rules(study, own, chosen, fitted)
    drawn = [r.test_rows for r in best.records if r.test_rows is not None]
    rows = drawn if study.resampled else None
    scores = {words: _evaluated(each, own, rows) for words, each in rules.items()}
    rare = _thresholds.rare_class(study) if two else None
    return {
        "variant": best,
        "other": other if beside else None,
        "said": _said(study, scores, rare),
        "rules": [{"words": words, "cells": _cells(s, rare)} for words, s in scores.items()],
        "rare": None if rare is None else study.data["class_names"][rare],
        "sets": _said_of_sets(study, scores[_PROBABLE], rules[_PROBABLE]) if fitted else "",
        "fitted": fitted,
        "metric": METRICS[_thresholds.chosen_by(study)].label,
        "rest": _said_of_rest(scores),
        "risk": _risk(best, own, beside),
        "two": _thresholds.section(study, best.index, own, beside, other.label, chosen) if two else None,
    }


def _rules(
    study: Study, runs: Sequence[RunProbabilities], chosen: Sequence[float], fitted: bool
) -> dict[str, list[Rule]]:
    """Return the rules of each run by what they are called; those with numbers, from validation."""
    found = {_STUDY: [Rule("study")] * len(runs), _PROBABLE: [Rule("probable")] * len(runs)}
    if fitted:
        sets = [conformal_thresholds(m.held, m.validation_targets, _COVERAGE) for m in runs]
        found[_PROBABLE] = [Rule("probable", sets=s) for s in sets]
    if chosen:
        rare = _thresholds.rare_class(study)
        name = f"{study.data['class_names'][rare]} at the threshold chosen on validation"
        pairs = [(None, t) if rare else (t, None) for t in chosen]
        found[name] = [Rule("thresholds", thresholds=pair) for pair in pairs]
    if fitted:
        least = [abstention_for_share(m.held, _LEFT_OUT) for m in runs]
        found[_SURE] = [Rule("probable", abstain=t) for t in least]
    return found


def _evaluated(
    rules: Sequence[Rule], runs: Sequence[RunProbabilities], rows: Sequence[npt.ArrayLike] | None
) -> RuleScores:
    return evaluate_rule(
        rules,
        [m.p for m in runs],
        [m.targets for m in runs],
        scores=[m.logits for m in runs],
        rows=rows,
        shares=np.mean([m.posterior.train_counts for m in runs], 0),
        resamples=_RESAMPLES,
    )


def _cells(s: RuleScores, rare: int | None) -> list[tuple[str, str]]:
    found = [s.accuracy, s.balanced_accuracy]
    found += [] if rare is None else [s.recall[rare], s.precision[rare]]
    return [_with_ends(x) for x in (*found, s.abstained, s.error)]


def _with_ends(x: Interval | None) -> tuple[str, str]:
    if x is None:
        return NONE, ""
    ends = f"{percent(x.low)} to {percent(x.high)}"
    return percent(x.estimate), ends if x.low != x.high else ""


def _said(study: Study, scores: dict[str, RuleScores], rare: int | None) -> str:
    """Return what to do, in a sentence or two."""
    highest, probable = scores[_STUDY], scores[_PROBABLE]
    if rare is None and highest.balanced_accuracy == probable.balanced_accuracy:
        said = (
            "The most probable class is that of the highest score, right in "
            f"{_share(probable.accuracy)} of all and {_share(probable.balanced_accuracy)} of a "
            "class on average. Where errors cost unequally, take the class of lowest expected cost."
        )
    elif rare is None:
        said = (
            f"Take the most probable class to be right most often ({_share(probable.accuracy)} of "
            f"all, {_share(probable.balanced_accuracy)} of a class on average), and the highest "
            f"score to find the rare classes ({_share(highest.accuracy)}, "
            f"{_share(highest.balanced_accuracy)}); where errors cost unequally, the class of "
            "lowest expected cost."
        )
    else:
        name, other = study.data["class_names"][rare], list(scores.values())[2:-1] or [highest]
        how = "at the threshold chosen on validation" if other[0] is not highest else "by score"
        said = (
            f"Choose the threshold of {name} by what a missed one costs: the most probable class "
            f"finds {_share(probable.recall[rare])} of them; {how} {_share(other[0].recall[rare])} "
            f"are found, and {_share(other[0].precision[rare])} of the samples called {name} are."
        )
    return said


def _said_of_rest(scores: dict[str, RuleScores]) -> str:
    """Return what leaving samples out gains, by the threshold chosen on validation."""
    sure, probable = scores.get(_SURE), scores[_PROBABLE]
    if not (sure and sure.error and probable.error):
        return ""
    gains = sure.error.estimate < probable.error.estimate
    return (
        f"At the probability below which {_LEFT_OUT:.0%} of the validation samples are, "
        f"{_share(sure.abstained)} of the test samples get none, and the error of the others is "
        f"{_share(sure.error)} {'instead of' if gains else 'and no less than the'} "
        f"{_share(probable.error)}{'' if gains else ' of all'}."
    )


def _share(x: Interval | None) -> str:
    return percent(x.estimate if x else None)


def _said_of_sets(study: Study, s: RuleScores, rules: Sequence[Rule]) -> str:
    """Return how often sets of classes hold, and which classes are in each."""
    names = study.data["class_names"]
    always = np.all([np.array(r.sets) == 0 for r in rules], axis=0)
    known = [x.estimate for k, x in enumerate(s.coverage) if x and not always[k]]
    said = (
        f"Sets of classes that hold the true one for {_COVERAGE:.0%} of the samples of each class"
    )
    if known and s.set_size:
        said += f" have {s.set_size.estimate:.2f} classes on average, and hold it on test for "
        said += f"{percent(float(np.mean(known)))} of a class on average"
        said += f" ({percent(min(known))} at least)" if known[1:] else ""
    if always.any():
        said += f"{'; they' if known else ''} need {samples_needed(_COVERAGE)} validation samples "
        few = listed([names[k] for k in np.flatnonzero(always)])
        said += f"of each: {few} {'has' if always.sum() == 1 else 'have'} fewer, and "
        said += f"{'is' if always.sum() == 1 else 'are'} in every set"
    return said + "."


def _risk(
    best: Entry, runs: Sequence[RunProbabilities], beside: Sequence[RunProbabilities]
) -> dict[str, object]:
    """Return the error among the samples that are kept, by their share."""
    own, other = (np.array([_kept_error(m) for m in some]) for some in (runs, beside))
    at = {share: int(np.abs(_KEPT - share).argmin()) for share in _KEPT_IN_TABLE}
    top = 1.1 * max(float(x.max()) for x in (own, other) if x.size) or 0.01
    said = "; ".join(f"{percent(own[:, k].mean())} of {share:.0%}" for share, k in at.items())
    words = ("share kept", "error by share kept", said)
    rows = [
        [
            f"{share:.0%}",
            percent(own[:, k].mean()),
            f"{percent(own[:, k].min())} to {percent(own[:, k].max())}",
            *([percent(other[:, k].mean())] if other.size else []),
        ]
        for share, k in at.items()
    ]
    picture = banded(best.index, _KEPT, (own, other), (0, 1), (0, top), words)
    return {"picture": picture, "rows": rows}


def _kept_error(m: RunProbabilities) -> Floats:
    """Return the error of the most probable class among the surest samples, by their share."""
    order = np.argsort(-m.p.max(1), kind="stable")
    w, wrong = m.weights[order], (m.p.argmax(1) != m.targets)[order]
    kept = np.cumsum(w) / w.sum()
    last = np.minimum(np.searchsorted(kept, _KEPT - _ROUNDING), len(w) - 1)
    return ((w * wrong).cumsum() / np.cumsum(w))[last]
