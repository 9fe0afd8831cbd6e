"""What the scores say about one loss beside another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from counterpoise.findings._change import (
    MEASURES,
    Change,
    Measure,
    change_of,
    check_pair,
    variances,
)
from counterpoise.findings._finding import Evidence, Finding, listed, one_seed, sentence

if TYPE_CHECKING:
    from counterpoise.metrics import Scores

SHOWN_CLASSES = 2  # gains and losses told, each
SHOWN_MEMBERS = 10  # names of the smallest classes


def compare_losses(
    baseline_name: str,
    baseline: Scores,
    name: str,
    other: Scores,
    class_names: Sequence[str],
) -> list[Finding]:
    """Say how one loss fares against another on the same test images.

    A difference counts as better or worse when it exceeds two standard errors: for a share
    sqrt(p1 (1 - p1) / n + p2 (1 - p2) / n), for means over classes the same summed over the
    classes, for macro-F1 the spread over redrawn confusion matrices.

    Args:
        baseline_name: what `other` is compared with.
        baseline: its scores.
        name: the loss in question.
        other: its scores.
        class_names: one name per class.

    Returns:
        The findings, codes CP301 to CP309.

    Raises:
        ValueError: when the scores belong to different test images or other class names.

    Example:
        >>> from counterpoise.metrics import score
        >>> same = score([0, 1] * 50, [0, 1] * 50, 2)
        >>> found = compare_losses("cross entropy", same, "focal", same, ["cat", "dog"])
        >>> print(found[0].text)
        focal and cross entropy have the same accuracy: 100.0% on 100 test images.
    """
    check_pair(baseline, other, class_names)
    names: Evidence = {"baseline": baseline_name, "other": name}
    found = [_summary(measure, names, baseline, other) for measure in MEASURES]
    found += _class_changes(names, baseline, other, class_names)
    found += _tail(names, baseline, other, class_names)
    return [*found, one_seed("CP309", "losses")]


def _summary(measure: Measure, names: Evidence, baseline: Scores, other: Scores) -> Finding:
    """Compare one summary of two losses."""
    change = change_of(measure, baseline, other)
    evidence = names | {"measure": measure.words} | change.evidence()
    return sentence(measure.code, _SUMMARY[_verdict(change)], evidence)


def _verdict(change: Change) -> str:
    """Return which sentence fits."""
    if change.points == 0:
        return "same" if change.before == change.after else "near"
    return {1: "better", -1: "worse", 0: "unclear"}[change.direction]


_NUMBERS = "{after:.1f}% against {before:.1f}% ({points:+.1f} points)"
_SUMMARY = {
    "same": "{other} and {baseline} have the same {measure}: {after:.1f}% on {images} test images.",
    "near": "{other} and {baseline} have nearly the same {measure}: {after:.1f}% and "
    "{before:.1f}% on {images} test images.",
    "unclear": "No clear difference in {measure} between {other} and {baseline}: " + _NUMBERS + ", "
    "within the noise of {images} test images ({noise:.1f} points).",
    "better": "{other} has better {measure} than {baseline}: " + _NUMBERS + ", beyond the noise of "
    "{images} test images ({noise:.1f} points).",
    "worse": "{other} has worse {measure} than {baseline}: " + _NUMBERS + ", beyond the noise of "
    "{images} test images ({noise:.1f} points).",
}


def _class_changes(
    names: Evidence, baseline: Scores, other: Scores, class_names: Sequence[str]
) -> list[Finding]:
    """Tell the largest gains and the largest losses of single classes."""
    changes = _per_class(baseline, other)
    ranked = sorted(changes, key=lambda k: changes[k].points)
    gains = [k for k in ranked[::-1] if changes[k].points > 0][:SHOWN_CLASSES]
    losses = [k for k in ranked if changes[k].points < 0][:SHOWN_CLASSES]
    found = []
    for code, chosen in (("CP304", gains), ("CP305", losses)):
        of_all = names | {"classes": len(changes)}
        found += [_class_change(code, of_all, class_names[k], changes[k]) for k in chosen]
        found += [] if chosen else [sentence(code, _NO_CLASS[code], dict(names))]
    return found


def _per_class(baseline: Scores, other: Scores) -> dict[int, Change]:
    """Return the change of recall of every class that occurs."""
    noise = 2.0 * np.sqrt(variances(baseline) + variances(other))
    return {
        int(k): Change(
            float(baseline.recall[k]),
            float(other.recall[k]),
            float(noise[k]),
            int(baseline.support[k]),
        )
        for k in np.flatnonzero(baseline.support)
    }


_NO_CLASS = {
    "CP304": "No class has a higher recall with {other} than with {baseline}.",
    "CP305": "No class has a lower recall with {other} than with {baseline}.",
}


def _class_change(code: str, names: Evidence, class_name: str, change: Change) -> Finding:
    """Tell the change of one class."""
    verb = "gains" if code == "CP304" else "loses"
    noise = "beyond" if change.direction else "within"
    template = (
        f"Among {{classes}} classes, {{class_name}} {verb} most recall with {{other}}: {_NUMBERS}, "
        f"{noise} the noise of {{images}} test images ({{noise:.1f}} points)."
    )
    return sentence(code, template, names | {"class_name": class_name} | change.evidence())


def _tail(
    names: Evidence, baseline: Scores, other: Scores, class_names: Sequence[str]
) -> list[Finding]:
    """Compare the mean recall of the smallest third of the classes, if sizes differ."""
    occurring = np.flatnonzero(baseline.support)
    sizes = baseline.support[occurring]
    if sizes.min() == sizes.max():
        return []
    small = occurring[np.argsort(sizes, kind="stable")][: max(1, len(occurring) // 3)]
    change = _mean_change(baseline, other, small)
    evidence = names | {
        "small": len(small),
        "members": listed([class_names[k] for k in small], SHOWN_MEMBERS),
    }
    template = (
        "Mean recall of the {small} smallest classes ({members}; {images} test images), {other} "
        f"compared with {{baseline}}: {_TAIL[_verdict(change)]}, {_NUMBERS}."
    )
    return [sentence("CP306", template, evidence | change.evidence())]


_TAIL = {
    "same": "unchanged",
    "near": "nearly unchanged",
    "unclear": "no clear difference (noise {noise:.1f} points)",
    "better": "better, beyond the noise ({noise:.1f} points)",
    "worse": "worse, beyond the noise ({noise:.1f} points)",
}


def _mean_change(baseline: Scores, other: Scores, classes: npt.NDArray[np.intp]) -> Change:
    """Return the change of the mean recall of some classes."""
    summed = float((variances(baseline) + variances(other))[classes].sum())
    return Change(
        float(baseline.recall[classes].mean()),
        float(other.recall[classes].mean()),
        2.0 * math.sqrt(summed) / len(classes),
        int(baseline.support[classes].sum()),
    )
