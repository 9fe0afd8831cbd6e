"""What the study's numbers say, in sentences that say no more than that.

    code   | what it is about
    -------|---------------------------------------------------------------
    CP201  | a network learned: test accuracy above guessing
    CP202  | a network did not learn: test accuracy cannot be told from guessing
    CP203  | a network is worse than guessing
    CP204  | signal and gradient of a network at the first step
    CP205  | why a network did not learn: signal or gradient vanish, unlike in those that learned
    CP206  | signal and gradient do not tell why a network did not learn
    CP207  | nothing to compare: all networks learned, or none did
    CP209  | one seed only (networks)
    CP301  | accuracy of two losses
    CP302  | balanced accuracy of two losses
    CP303  | macro-F1 of two losses
    CP304  | the classes that gain most recall
    CP305  | the classes that lose most recall
    CP306  | mean recall of the smallest classes
    CP307  | the comparison mixes the loss with the step size, or does not
    CP309  | one seed only (losses)
    CP310  | what α that sums to less does to the first gradient
    CP311  | the first gradient once α has mean 1
    CP312  | which differences to cross entropy survive the rescaling of α

A sentence is a template, and every number in it comes from `evidence`, already rounded.

Noise means: two standard errors of the difference, from the finite number of test images. Both
models see the same images, which makes the true noise smaller rather than larger; noise between
seeds comes on top and one run of each cannot show it, so a sentence says that every time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise.metrics import Scores

__all__ = ["Finding", "compare_losses", "explain_alpha", "explain_norms"]

Floats = npt.NDArray[np.float64]
Evidence = dict[str, float | int | str]
Record = Mapping[str, Any]

ORDERS_OF_MAGNITUDE = 100.0  # what "far below" means for shares and gradient ratios
FEWEST_IMAGES = 10  # below it, a standard error of a share is no guide
SHOWN_CLASSES = 2  # gains and losses told, each
ALIKE = 1.25  # gradient norms within this factor count as alike
RESAMPLES = 400


@dataclass(frozen=True)
class Finding:
    """One sentence or two, and the numbers in it.

    Attributes:
        code: what it is about, see the table at the top of `findings`.
        text: plain English.
        evidence: every number in `text`, rounded as it is there, and the names it speaks of.
    """

    code: str
    text: str
    evidence: Evidence

    def __str__(self) -> str:
        """Return code and text in one line."""
        return f"{self.code}  {self.text}"


def _finding(code: str, template: str, evidence: Evidence) -> Finding:
    """Fill a template from its evidence alone, so that no number comes from elsewhere."""
    return Finding(code, template.format(**evidence), evidence)


def _percent(share: float) -> float:
    """Return percent with one decimal, and never -0.0."""
    return round(100.0 * float(share), 1) + 0.0


def _figure(value: float) -> str:
    """Write a number of any size with two significant digits."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.2g}'):,g}"
    return f"{value:.1e}"


# --- networks ------------------------------------------------------------------------------------


def explain_norms(
    histories: Mapping[str, Sequence[Record]],
    flows: Mapping[str, Sequence[Record]],
    chance: float = 0.1,
    test_size: int = 10_000,
) -> list[Finding]:
    """Say which networks learned and, where the numbers tell, why another did not.

    A network has learned when its last test accuracy is above chance by more than
    3 sqrt(chance (1 - chance) / test_size), the noise of guessing. Its vanishing signal is given as
    the reason only if it did not learn, others did, and its visible share at the last layer or its
    gradient ratio (first layer / last layer) is at least a hundred times below all of theirs and
    below 1.

    Args:
        histories: per network one record per epoch with `epoch` and `test_accuracy`.
        flows: per network one record per layer, first to last, with `visible_share` and
            `grad_norm`; None, absent or NaN where a layer has none.
        chance: accuracy of guessing.
        test_size: number of test images.

    Returns:
        The findings, codes CP201 to CP209.

    Raises:
        ValueError: when there is no network, a network has no record, or chance or test_size make
            no sense.

    Example:
        >>> history = [{"epoch": 3, "test_accuracy": 0.1}]
        >>> print(explain_norms({"plain": history}, {})[0].text)
        plain did not learn: 10.0% of the test images right after epoch 3, which cannot be told \
from guessing (10.0%, give or take 0.9 points).
    """
    _check_histories(histories, chance, test_size)
    noise = 3.0 * math.sqrt(chance * (1.0 - chance) / test_size)
    codes = {n: _learning_code(h[-1]["test_accuracy"], chance, noise) for n, h in histories.items()}
    found = [_learning(codes[n], n, h[-1], chance, noise) for n, h in histories.items()]
    signals = {name: _signal(flows[name]) for name in histories if flows.get(name)}
    found += [_describe_signal(name, signal) for name, signal in signals.items()]
    found += _reasons(codes, signals)
    return [*found, _one_seed("CP209", "networks")]


def _check_histories(
    histories: Mapping[str, Sequence[Record]], chance: float, test_size: int
) -> None:
    """Refuse what no sentence can be made of."""
    if not 0.0 < chance < 1.0 or test_size < 1:
        raise ValueError(
            f"explain_norms needs 0 < chance < 1 and test_size >= 1, but got {chance} and "
            f"{test_size}; chance is 1 / number of classes for a balanced test set"
        )
    if not histories:
        raise ValueError("explain_norms needs a network, but got none; pass name: records")
    for name, records in histories.items():
        if not records:
            raise ValueError(
                f"explain_norms needs a record per epoch for {name!r}, but got none; leave it out"
            )


def _learning_code(accuracy: float, chance: float, noise: float) -> str:
    """Return the code for learned, not learned, or worse than guessing."""
    if abs(accuracy - chance) <= noise:
        return "CP202"
    return "CP201" if accuracy > chance else "CP203"


def _learning(code: str, name: str, last: Record, chance: float, noise: float) -> Finding:
    """Say whether one network learned."""
    template = {
        "CP201": "{name} learned: {accuracy:.1f}% of the test images right after epoch {epoch}; "
        "guessing gets {chance:.1f}%, give or take {noise:.1f} points.",
        "CP202": "{name} did not learn: {accuracy:.1f}% of the test images right after epoch "
        "{epoch}, which cannot be told from guessing ({chance:.1f}%, give or take {noise:.1f} "
        "points).",
        "CP203": "{name} is worse than guessing: {accuracy:.1f}% of the test images right after "
        "epoch {epoch}, where guessing gets {chance:.1f}%, give or take {noise:.1f} points; look "
        "for mixed-up labels.",
    }[code]
    evidence: Evidence = {
        "name": name,
        "accuracy": _percent(last["test_accuracy"]),
        "epoch": int(last["epoch"]),
        "chance": _percent(chance),
        "noise": _percent(noise),
    }
    return _finding(code, template, evidence)


@dataclass(frozen=True)
class _Signal:
    """What arrives at the two ends of a network; None where it was not measured."""

    share: float | None
    gradient: float | None


def _signal(layers: Sequence[Record]) -> _Signal:
    """Return the visible share at the last layer and the gradient ratio first / last."""
    shares, norms = _known(layers, "visible_share"), _known(layers, "grad_norm")
    measured = len(norms) > 1 and norms[-1] > 0
    return _Signal(shares[-1] if shares else None, norms[0] / norms[-1] if measured else None)


def _known(layers: Sequence[Record], key: str) -> list[float]:
    """Return the finite values of one key, in order."""
    values = [layer.get(key) for layer in layers]
    return [float(v) for v in values if v is not None and math.isfinite(v)]


def _describe_signal(name: str, signal: _Signal) -> Finding:
    """State the two numbers of one network."""
    share = "not measured" if signal.share is None else _figure(signal.share)
    gradient = "not defined" if signal.gradient is None else _figure(signal.gradient)
    template = (
        "{name} at the first step: visible share of the last layer's activation (variance over "
        "images / second moment) {share}; gradient norm, first layer / last layer: {gradient}."
    )
    return _finding("CP204", template, {"name": name, "share": share, "gradient": gradient})


def _reasons(codes: Mapping[str, str], signals: Mapping[str, _Signal]) -> list[Finding]:
    """Say why the networks that stand at chance do so, or that there is nothing to compare."""
    learned = [name for name, code in codes.items() if code == "CP201"]
    stuck = [name for name, code in codes.items() if code == "CP202"]
    if not learned:
        template = "No network learned, so the runs do not show what a normalization layer changes."
        return [_finding("CP207", template, {})]
    if len(learned) == len(codes):
        template = "Every network learned, so there is no failure here to explain."
        return [_finding("CP207", template, {})]
    others = [signals[name] for name in learned if name in signals]
    return [_reason(name, signals.get(name), others) for name in stuck]


def _reason(name: str, signal: _Signal | None, others: Sequence[_Signal]) -> Finding:
    """Explain one network by what vanishes in it and in none of those that learned."""
    own = signal or _Signal(None, None)
    share = _far_below(own.share, [s.share for s in others])
    gradient = _far_below(own.gradient, [s.gradient for s in others])
    parts, evidence = [], {"name": name}
    if share:
        parts.append(
            "its last activation is nearly the same for every image (visible share {share}, at "
            "least {share_others} in those that learned)"
        )
        evidence |= {"share": share[0], "share_others": share[1]}
    if gradient:
        parts.append(
            "the gradient of its first layer is far below its last layer's ({gradient} of it, at "
            "least {gradient_others} in those that learned)"
        )
        evidence |= {"gradient": gradient[0], "gradient_others": gradient[1]}
    if not parts:
        return _finding("CP206", _NO_REASON, evidence)
    template = "Why {name} did not learn, as far as these numbers show: "
    return _finding("CP205", template + ", and ".join(parts) + ".", evidence)


_NO_REASON = (
    "Why {name} did not learn these numbers do not tell: neither its visible share nor its "
    "gradient ratio lies orders of magnitude below those of the networks that learned."
)


def _far_below(value: float | None, others: Sequence[float | None]) -> tuple[str, str] | None:
    """Return value and smallest other one, written out, if orders of magnitude lie between.

    The value must be small by itself too: next to gradients that explode, a level one is no defect.
    """
    if value is None or not others or any(other is None for other in others):
        return None
    least = min(other for other in others if other is not None)
    if value * ORDERS_OF_MAGNITUDE > min(least, 1.0) or least <= 0:
        return None
    return _figure(value), _figure(least)


def _one_seed(code: str, what: str) -> Finding:
    """Return the reservation that goes with every comparison."""
    template = (
        "Each of these {what} ran with one seed; a single run cannot separate a difference from "
        "the noise between seeds."
    )
    return _finding(code, template, {"what": what})


# --- losses --------------------------------------------------------------------------------------


def compare_losses(
    baseline_name: str,
    baseline: Scores,
    name: str,
    other: Scores,
    class_names: Sequence[str],
    alpha_note: Mapping[str, float] | None = None,
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
        alpha_note: None, or `alpha_sum` and `gradient_ratio`, the gradient norm of the baseline at
            the first step over that of `other`; adds a sentence on the step size.

    Returns:
        The findings, codes CP301 to CP309.

    Raises:
        ValueError: when the scores belong to different test images or other class names, or
            alpha_note lacks a key or has a ratio that is not finite and above 0.

    Example:
        >>> from counterpoise.metrics import score
        >>> same = score([0, 1] * 50, [0, 1] * 50, 2)
        >>> found = compare_losses("cross entropy", same, "focal", same, ["cat", "dog"])
        >>> print(found[0].text)
        focal and cross entropy have the same accuracy: 100.0% on 100 test images.
    """
    _check_pair(baseline, other, class_names)
    _check_note(alpha_note)
    names: Evidence = {"baseline": baseline_name, "other": name}
    found = [_summary(measure, names, baseline, other) for measure in _MEASURES]
    found += _class_changes(names, baseline, other, class_names)
    found += _tail(names, baseline, other, class_names)
    if alpha_note is not None:
        found.append(_step_size(names, alpha_note))
    return [*found, _one_seed("CP309", "losses")]


def _check_pair(baseline: Scores, other: Scores, class_names: Sequence[str] | None) -> None:
    """Refuse scores that cannot be compared."""
    if not np.array_equal(baseline.support, other.support):
        raise ValueError(
            f"a comparison needs scores on the same test images, but the images per class are "
            f"{baseline.support.tolist()} and {other.support.tolist()}; score both on one set"
        )
    if class_names is not None and len(class_names) != len(baseline.support):
        raise ValueError(
            f"compare_losses needs one name per class, but got {len(class_names)} names for "
            f"{len(baseline.support)} classes; pass the names of all classes"
        )


def _check_note(note: Mapping[str, float] | None) -> None:
    """Refuse a note on α that lacks what the sentence needs."""
    missing = {"alpha_sum", "gradient_ratio"} - set(note or ())
    if note is not None and missing:
        raise ValueError(
            f"alpha_note needs alpha_sum and gradient_ratio, but {sorted(missing)} is missing; "
            f"add it, or pass None"
        )


def _variances(scores: Scores) -> Floats:
    """Return p (1 - p) / n of each class's recall; 0 for classes without images."""
    return scores.recall * (1.0 - scores.recall) / np.maximum(scores.support, 1)


def _accuracy_variance(scores: Scores) -> float:
    return scores.accuracy * (1.0 - scores.accuracy) / int(scores.support.sum())


def _balanced_variance(scores: Scores) -> float:
    asked = scores.support > 0
    return float(_variances(scores)[asked].sum() / asked.sum() ** 2)


def _macro_f1_variance(scores: Scores) -> float:
    """Return the variance of macro-F1 over confusion matrices redrawn row by row."""
    generator = np.random.default_rng(0)  # fixed: the same numbers give the same sentence
    shares = scores.confusion / np.maximum(scores.support, 1)[:, None]
    rows = [
        generator.multinomial(n, p, size=RESAMPLES) if n else np.zeros((RESAMPLES, len(p)))
        for n, p in zip(scores.support, shares, strict=True)
    ]
    drawn = np.stack(rows, axis=1)
    sizes = drawn.sum(axis=1) + drawn.sum(axis=2)
    f1 = 2.0 * np.diagonal(drawn, axis1=1, axis2=2) / np.maximum(sizes, 1)
    return float((f1.sum(axis=1) / (sizes > 0).sum(axis=1)).var())


@dataclass(frozen=True)
class _Measure:
    """A summary of scores and the variance of it that comes from the finite test set."""

    code: str
    words: str
    value: Callable[[Scores], float]
    variance: Callable[[Scores], float]


_MEASURES = (
    _Measure("CP301", "accuracy", lambda s: s.accuracy, _accuracy_variance),
    _Measure("CP302", "balanced accuracy", lambda s: s.balanced_accuracy, _balanced_variance),
    _Measure("CP303", "macro-F1", lambda s: s.macro_f1, _macro_f1_variance),
)


@dataclass(frozen=True)
class _Change:
    """A difference, and what to make of it.

    `direction` is 1 or -1 where the difference exceeds the noise, and 0 otherwise.
    """

    before: float
    after: float
    noise: float
    images: int

    @property
    def points(self) -> float:
        return _percent(self.after - self.before)

    @property
    def direction(self) -> int:
        difference = self.after - self.before
        # What rounds to no difference is told as none: a text must not claim what it shows as 0.0.
        clear = self.points != 0 and self.images >= FEWEST_IMAGES
        return int(np.sign(difference)) if clear and abs(difference) >= self.noise else 0

    def evidence(self) -> Evidence:
        return {
            "before": _percent(self.before),
            "after": _percent(self.after),
            "points": self.points,
            "noise": _percent(self.noise),
            "images": self.images,
        }


def _change(measure: _Measure, baseline: Scores, other: Scores) -> _Change:
    noise = 2.0 * math.sqrt(measure.variance(baseline) + measure.variance(other))
    images = int(baseline.support.sum())
    return _Change(measure.value(baseline), measure.value(other), noise, images)


def _summary(measure: _Measure, names: Evidence, baseline: Scores, other: Scores) -> Finding:
    """Compare one summary of two losses."""
    change = _change(measure, baseline, other)
    evidence = names | {"measure": measure.words} | change.evidence()
    return _finding(measure.code, _SUMMARY[_verdict(change)], evidence)


def _verdict(change: _Change) -> str:
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
        found += [] if chosen else [_finding(code, _NO_CLASS[code], dict(names))]
    return found


def _per_class(baseline: Scores, other: Scores) -> dict[int, _Change]:
    """Return the change of recall of every class that occurs."""
    noise = 2.0 * np.sqrt(_variances(baseline) + _variances(other))
    return {
        int(k): _Change(
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


def _class_change(code: str, names: Evidence, class_name: str, change: _Change) -> Finding:
    """Tell the change of one class."""
    verb = "gains" if code == "CP304" else "loses"
    noise = "beyond" if change.direction else "within"
    template = (
        f"{{class_name}} {verb} recall with {{other}} compared with {{baseline}}: {_NUMBERS}, "
        f"{noise} the noise of {{images}} test images ({{noise:.1f}} points). Told because it is "
        f"among the largest changes of {{classes}} classes, a choice that favours chance."
    )
    return _finding(code, template, names | {"class_name": class_name} | change.evidence())


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
    evidence = names | {"small": len(small), "members": ", ".join(class_names[k] for k in small)}
    template = (
        "Mean recall of the {small} smallest classes ({members}; {images} test images), {other} "
        f"compared with {{baseline}}: {_TAIL[_verdict(change)]}, {_NUMBERS}."
    )
    return [_finding("CP306", template, evidence | change.evidence())]


_TAIL = {
    "same": "unchanged",
    "near": "nearly unchanged",
    "unclear": "no clear difference (noise {noise:.1f} points)",
    "better": "better, beyond the noise ({noise:.1f} points)",
    "worse": "worse, beyond the noise ({noise:.1f} points)",
}


def _mean_change(baseline: Scores, other: Scores, classes: npt.NDArray[np.intp]) -> _Change:
    """Return the change of the mean recall of some classes."""
    variances = (_variances(baseline) + _variances(other))[classes]
    return _Change(
        float(baseline.recall[classes].mean()),
        float(other.recall[classes].mean()),
        2.0 * math.sqrt(float(variances.sum())) / len(classes),
        int(baseline.support[classes].sum()),
    )


def _step_size(names: Evidence, note: Mapping[str, float]) -> Finding:
    """Say whether the two losses take steps of like size."""
    evidence = names | {"alpha_sum": _figure(note["alpha_sum"])}
    words, factor = _times(note["gradient_ratio"])
    evidence |= {"factor": factor} if factor else {}
    mixed = (
        "so with plain gradient descent at the same learning rate the differences above mix the "
        "loss with the size of the steps"
        if factor
        else "so step sizes do not stand in the way of comparing the losses"
    )
    template = (
        f"With {{other}}, α sums to {{alpha_sum}} and the gradient at the first step is {words} "
        f"{{baseline}}'s, {mixed}."
    )
    return _finding("CP307", template, evidence)


def _times(ratio: float) -> tuple[str, str]:
    """Word a ratio of gradient norms, reference / own; the factor is empty where they are alike."""
    if not (math.isfinite(ratio) and ratio > 0):
        raise ValueError(
            f"a ratio of gradient norms must be finite and above 0, but it is {ratio}; measure the "
            f"gradient norms at the first step, before it is taken"
        )
    if ratio > ALIKE:
        return "{factor} times smaller than", _figure(ratio)
    if ratio < 1.0 / ALIKE:
        return "{factor} times as large as", _figure(1.0 / ratio)
    return "about as large as", ""


# --- the scale of α ------------------------------------------------------------------------------


def explain_alpha(
    alpha_sum: float,
    mean_weight_sum1: float,
    grad_norm_ce: float,
    grad_norm_sum1: float,
    grad_norm_mean1: float,
    scores_sum1: Scores,
    scores_mean1: Scores,
    scores_ce: Scores,
) -> list[Finding]:
    """Say what the scale of α does to the comparison of focal loss with cross entropy.

    α that sums to 1 over ten classes weighs an image by a tenth or so, and the gradient shrinks
    with it; at the same learning rate plain gradient descent (with or without momentum) then takes
    smaller steps. A difference to cross entropy that is beyond the noise with both scales of α, and
    has the same sign, survives; one that is only there with the small α is not the loss's doing.

    Args:
        alpha_sum: sum over the classes of the α that is small.
        mean_weight_sum1: mean over the training images of that α.
        grad_norm_ce: gradient norm at the first step with cross entropy.
        grad_norm_sum1: with focal loss and the small α.
        grad_norm_mean1: with focal loss and α scaled to mean 1.
        scores_sum1: of focal loss with the small α.
        scores_mean1: of focal loss with α scaled to mean 1.
        scores_ce: of cross entropy.

    Returns:
        The findings, codes CP310 to CP312 and CP309.

    Raises:
        ValueError: when a gradient norm is not a finite number above 0, or the scores belong to
            different test images.

    Example:
        >>> from counterpoise.metrics import score
        >>> same = score([0, 1] * 50, [0, 1] * 50, 2)
        >>> print(explain_alpha(1.0, 0.1, 2.0, 0.2, 2.0, same, same, same)[1].text)
        With α scaled to mean 1, the gradient at the first step is about as large as cross \
entropy's.
    """
    for scores in (scores_sum1, scores_mean1):
        _check_pair(scores_ce, scores, None)
    _check_norms(grad_norm_ce, grad_norm_sum1, grad_norm_mean1)
    found = [_small_alpha(alpha_sum, mean_weight_sum1, grad_norm_ce / grad_norm_sum1)]
    found.append(_scaled_alpha(grad_norm_ce / grad_norm_mean1))
    found += [_survival(m, scores_ce, scores_sum1, scores_mean1) for m in _MEASURES]
    return [*found, _one_seed("CP309", "losses")]


def _check_norms(*norms: float) -> None:
    """Refuse gradient norms that no ratio can be made of."""
    for norm in norms:
        if not (math.isfinite(norm) and norm > 0):
            raise ValueError(
                f"explain_alpha needs gradient norms that are finite and above 0, but got {norm}; "
                f"measure them at the first step, before it is taken"
            )


def _small_alpha(alpha_sum: float, mean_weight: float, ratio: float) -> Finding:
    """Say what the small α does to the first gradient."""
    words, factor = _times(ratio)
    evidence: Evidence = {"alpha_sum": _figure(alpha_sum), "mean_weight": _figure(mean_weight)}
    evidence |= {"factor": factor} if factor else {}
    mixed = (
        "At the same learning rate this scales the steps of plain gradient descent by the same "
        "factor, so the comparison mixes the loss with the size of the steps."
        if factor
        else "The size of the steps does not stand in the way of this comparison."
    )
    template = (
        "α sums to {alpha_sum} and weighs a training image by {mean_weight} on average; the "
        f"gradient at the first step is {words} cross entropy's. {mixed}"
    )
    return _finding("CP310", template, evidence)


def _scaled_alpha(ratio: float) -> Finding:
    """Say how large the first gradient is once α has mean 1."""
    words, factor = _times(ratio)
    evidence: Evidence = {"mean": 1} | ({"factor": factor} if factor else {})
    template = (
        f"With α scaled to mean {{mean}}, the gradient at the first step is {words} cross "
        "entropy's."
    )
    return _finding("CP311", template, evidence)


def _survival(measure: _Measure, ce: Scores, small: Scores, scaled: Scores) -> Finding:
    """Say whether a difference to cross entropy is there with both scales of α."""
    first, second = _change(measure, ce, small), _change(measure, ce, scaled)
    evidence: Evidence = {
        "measure": measure.words,
        "small": first.points,
        "scaled": second.points,
        "small_noise": _percent(first.noise),
        "scaled_noise": _percent(second.noise),
        "mean": 1,
    }
    template = (
        "Difference to cross entropy in {measure}: {small:+.1f} points with the small α (noise "
        "{small_noise:.1f}), {scaled:+.1f} with α of mean {mean} (noise {scaled_noise:.1f}). "
    )
    template += _SURVIVAL[_fate(first.direction, second.direction)]
    return _finding("CP312", template, evidence)


def _fate(small: int, scaled: int) -> str:
    """Name what became of a difference."""
    if small and scaled:
        return "survives" if small == scaled else "turns"
    if small:
        return "goes"
    return "comes" if scaled else "none"


_SURVIVAL = {
    "survives": "It survives: both are beyond the noise, in the same direction.",
    "turns": "It turns round: the first cannot be credited to the loss apart from its scale.",
    "goes": "It does not survive: beyond the noise only with the small α, so it cannot be credited "
    "to the loss apart from its scale.",
    "comes": "Only the second is beyond the noise: with the small α it does not show.",
    "none": "Neither is beyond the noise, so there is no difference to explain.",
}
