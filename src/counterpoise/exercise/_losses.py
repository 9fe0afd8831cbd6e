"""Two losses compared on the same test images, one run each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from counterpoise.findings.finding import ONE_SEED, Evidence, Finding, listed, percent, sentence
from counterpoise.metrics import Scores

Classes = npt.NDArray[np.intp]
Measure = Callable[[Scores], tuple[float, float]]  # a value, and its variance over test sets

FEWEST_IMAGES = 10  # below it, a standard error of a share is no guide
RESAMPLES = 400
SHOWN_CLASSES = 2  # that gain, and that lose
SHOWN_NAMES = 10  # of the smallest classes


def accuracy(scores: Scores) -> tuple[float, float]:
    """Return the accuracy p and p (1 - p) / n."""
    p = scores.accuracy
    return p, p * (1.0 - p) / int(scores.support.sum())


def mean_recall(scores: Scores, classes: Classes) -> tuple[float, float]:
    """Return the mean recall of some classes, and its variance."""
    recall, support = scores.recall[classes], scores.support[classes]
    variance = float((recall * (1.0 - recall) / support).sum()) / len(recall) ** 2
    return float(recall.mean()), variance


def balanced_accuracy(scores: Scores) -> tuple[float, float]:
    """Return the balanced accuracy and its variance."""
    return mean_recall(scores, np.flatnonzero(scores.support))


def macro_f1(scores: Scores) -> tuple[float, float]:
    """Return macro-F1, and its variance over confusion matrices redrawn row by row."""
    generator = np.random.default_rng(0)  # fixed: the same numbers give the same sentence
    classes, cells = len(scores.support), scores.confusion_cells
    right, answers = np.zeros((2, RESAMPLES, classes), np.int64)
    for true in np.flatnonzero(scores.support):
        row = cells[cells[:, 0] == true]
        # With the last class, which takes what is left, whether or not its cell is 0.
        columns = np.union1d(row[:, 1], [classes - 1])
        shares = np.zeros(len(columns))
        shares[np.searchsorted(columns, row[:, 1])] = row[:, 2] / scores.support[true]
        drawn = generator.multinomial(scores.support[true], shares, size=RESAMPLES)
        answers[:, columns] += drawn
        right[:, true] = drawn[:, columns == true].sum(1)
    sizes = answers + scores.support
    f1 = 2.0 * right / np.maximum(sizes, 1)
    return scores.macro_f1, float((f1.sum(axis=1) / (sizes > 0).sum(axis=1)).var())


MEASURES: dict[str, tuple[str, Measure]] = {
    "CP301": ("accuracy", accuracy),
    "CP302": ("balanced accuracy", balanced_accuracy),
    "CP303": ("macro-F1", macro_f1),
}


@dataclass(frozen=True)
class Change:
    """A difference between two losses, and its noise: two standard errors of it."""

    before: float
    after: float
    noise: float
    images: int

    @property
    def points(self) -> float:
        return percent(self.after - self.before)

    @property
    def verdict(self) -> str:
        """Same, near, unclear, better or worse; a difference that rounds to 0.0 is none."""
        difference = self.after - self.before
        if self.points == 0:
            return "near" if difference else "same"
        if self.images < FEWEST_IMAGES or abs(difference) < self.noise:
            return "unclear"
        return "better" if difference > 0 else "worse"

    @property
    def clear(self) -> bool:
        """Return True where the difference is beyond its noise."""
        return self.verdict in ("better", "worse")

    def evidence(self) -> Evidence:
        return {
            "before": percent(self.before),
            "after": percent(self.after),
            "points": self.points,
            "noise": percent(self.noise),
            "images": self.images,
        }


def change_of(
    measure: Measure, baseline: Scores, other: Scores, classes: Classes | None = None
) -> Change:
    """Return the change of a measure; `classes` are those whose images it is about, if not all."""
    (before, first), (after, second) = measure(baseline), measure(other)
    images = int(baseline.support[... if classes is None else classes].sum())
    return Change(before, after, 2.0 * math.sqrt(first + second), images)


def _recall_change(baseline: Scores, other: Scores, classes: Classes) -> Change:
    return change_of(lambda scores: mean_recall(scores, classes), baseline, other, classes)


def compare_losses(
    baseline_name: str, baseline: Scores, name: str, other: Scores, class_names: Sequence[str]
) -> list[Finding]:
    r"""Compare a loss with another one on the same test images, one run each.

    A difference counts as better or worse if it exceeds two standard errors: of a share
    $2 \sqrt{p_1 (1 - p_1) / n + p_2 (1 - p_2) / n}$, of a mean over classes the same summed over
    the classes, of macro-F1 the spread over redrawn confusion matrices.

    Args:
        baseline_name: of the loss to compare with.
        baseline: its scores.
        name: of the other loss.
        other: its scores.
        class_names: one name per class.

    Returns:
        The findings, codes CP301 to CP309.

    Raises:
        ValueError: the scores are of different test images, or there is not one name per class.

    Example:
        >>> from counterpoise.exercise import compare_losses
        >>> from counterpoise.metrics import score
        >>> same = score([0, 1] * 50, [0, 1] * 50, 2)
        >>> found = compare_losses("cross entropy", same, "focal", same, ["cat", "dog"])
        >>> print(found[0].text)
        focal and cross entropy have the same accuracy: 100.0% on 100 test images.
    """
    check_same_images(baseline, other)
    if len(class_names) != len(baseline.support):
        raise ValueError(
            f"compare_losses needs one name per class, but got {len(class_names)} names for "
            f"{len(baseline.support)} classes; pass the names of all classes"
        )
    names: Evidence = {"baseline": baseline_name, "other": name}
    found = []
    for code, (words, measure) in MEASURES.items():
        change = change_of(measure, baseline, other)
        evidence = names | {"measure": words} | change.evidence()
        found.append(sentence(code, _SUMMARY[change.verdict], evidence))
    found += _class_changes(names, baseline, other, class_names)
    found += _tail(names, baseline, other, class_names)
    return [*found, sentence("CP309", ONE_SEED, {"what": "losses"})]


def check_same_images(*scores: Scores) -> None:
    """Refuse scores that cannot be compared."""
    first, *others = (s.support.tolist() for s in scores)
    for other in others:
        if other != first:
            raise ValueError(
                f"a comparison needs scores on the same test images, but the images per class are "
                f"{first} and {other}; score both on one set"
            )


_NUMBERS = "{after:.1f}% against {before:.1f}% ({points:+.1f} points)"
_BEYOND = _NUMBERS + ", beyond the noise of {images} test images ({noise:.1f} points)."
_SUMMARY = {
    "same": "{other} and {baseline} have the same {measure}: {after:.1f}% on {images} test images.",
    "near": "{other} and {baseline} have nearly the same {measure}: {after:.1f}% and "
    "{before:.1f}% on {images} test images.",
    "unclear": "No clear difference in {measure} between {other} and {baseline}: " + _NUMBERS + ", "
    "within the noise of {images} test images ({noise:.1f} points).",
    "better": "{other} has better {measure} than {baseline}: " + _BEYOND,
    "worse": "{other} has worse {measure} than {baseline}: " + _BEYOND,
}


def _class_changes(
    names: Evidence, baseline: Scores, other: Scores, class_names: Sequence[str]
) -> list[Finding]:
    """Report the largest gains and the largest losses of single classes."""
    occurring = np.flatnonzero(baseline.support).tolist()
    changes = {k: _recall_change(baseline, other, np.array([k])) for k in occurring}
    ranked = sorted(changes, key=lambda k: changes[k].points)
    found = []
    for code, order, sign, verb, higher in (
        ("CP304", ranked[::-1], 1, "gains", "higher"),
        ("CP305", ranked, -1, "loses", "lower"),
    ):
        chosen = [k for k in order if sign * changes[k].points > 0][:SHOWN_CLASSES]
        if not chosen:
            template = f"No class has a {higher} recall with {{other}} than with {{baseline}}."
            found.append(sentence(code, template, names))
        for k in chosen:
            noise = "beyond" if changes[k].clear else "within"
            template = (
                f"Among {{classes}} classes, {{class_name}} {verb} most recall with {{other}}: "
                f"{_NUMBERS}, {noise} the noise of {{images}} test images ({{noise:.1f}} points)."
            )
            of_class = {"classes": len(changes), "class_name": class_names[k]}
            found.append(sentence(code, template, names | of_class | changes[k].evidence()))
    return found


def _tail(
    names: Evidence, baseline: Scores, other: Scores, class_names: Sequence[str]
) -> list[Finding]:
    """Compare the mean recall of the smallest third of the classes, if sizes differ."""
    occurring = np.flatnonzero(baseline.support)
    sizes = baseline.support[occurring]
    if sizes.min() == sizes.max():
        return []
    small = occurring[np.argsort(sizes, kind="stable")][: max(1, len(occurring) // 3)]
    change = _recall_change(baseline, other, small)
    members = listed([class_names[k] for k in small], SHOWN_NAMES)
    template = (
        "Mean recall of the {small} smallest classes ({members}; {images} test images), {other} "
        f"compared with {{baseline}}: {_TAIL[change.verdict]}, {_NUMBERS}."
    )
    evidence = names | {"small": len(small), "members": members} | change.evidence()
    return [sentence("CP306", template, evidence)]


_TAIL = {
    "same": "unchanged",
    "near": "nearly unchanged",
    "unclear": "no clear difference (noise {noise:.1f} points)",
    "better": "better, beyond the noise ({noise:.1f} points)",
    "worse": "worse, beyond the noise ({noise:.1f} points)",
}
