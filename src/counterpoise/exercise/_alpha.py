"""The effect of the scale of α on a comparison with cross entropy."""

import math
from collections.abc import Sequence

from counterpoise.exercise._losses import MEASURES, Measure, change_of, check_same_images
from counterpoise.findings.finding import ONE_SEED, Evidence, Finding, percent, sentence, shown
from counterpoise.metrics import Scores

ALIKE = 1.25  # gradient norms within this factor count as alike


def explain_alpha(
    alpha: Sequence[float],
    counts: Sequence[int],
    gradients: Sequence[float],
    scores: Sequence[Scores],
) -> list[Finding]:
    """Explain the effect of the scale of α on the comparison of focal loss with cross entropy.

    Class weights α that sum to 1 over ten classes weigh an image by about a tenth, and the gradient
    shrinks with them; at the same learning rate, gradient descent then takes smaller steps. A
    difference to cross entropy survives if it is beyond the noise, with the same sign, with both
    scales of α; one that is there with the small α alone cannot be credited to the loss.

    Args:
        alpha: the small class weights, one per class.
        counts: training images of each class.
        gradients: the norm of the gradient at the first step with cross entropy, with focal loss
            and the small α, and with focal loss and α scaled to mean 1.
        scores: the scores of the same three.

    Returns:
        The findings, codes CP310 to CP312 and CP309.

    Raises:
        ValueError: a gradient norm is not a finite number above 0, or the scores are of different
            test images.

    Example:
        >>> from counterpoise.exercise import explain_alpha
        >>> from counterpoise.metrics import score
        >>> same = score([0, 1] * 50, [0, 1] * 50, 2)
        >>> found = explain_alpha([0.9, 0.1], [10, 90], [2.0, 0.2, 2.0], [same] * 3)
        >>> found[1].text.partition(", ")[2]
        "the gradient at the first step is about as large as cross entropy's."
    """
    if len(gradients) != 3 or len(scores) != 3 or len(alpha) != len(counts):
        raise ValueError(
            "explain_alpha needs three gradient norms, three scores and a weight per class, but "
            f"got {len(gradients)}, {len(scores)} and {len(alpha)} weights for {len(counts)} "
            "classes; pass those of cross entropy, of the small α and of α with mean 1"
        )
    check_same_images(*scores)
    for norm in gradients:
        if not (math.isfinite(norm) and norm > 0):
            raise ValueError(
                f"explain_alpha needs gradient norms that are finite and above 0, but got {norm}; "
                f"measure them at the first step, before it is taken"
            )
    first, small, scaled = gradients
    words, factor = _size(first / small)
    evidence: Evidence = {
        "alpha_sum": shown(sum(alpha)),
        "mean_weight": shown(sum(a * n for a, n in zip(alpha, counts, strict=True)) / sum(counts)),
    }
    steps = (
        "At the same learning rate this scales the steps of plain gradient descent by the same "
        "factor, so the comparison mixes the loss with the size of the steps."
        if factor
        else "The size of the steps does not stand in the way of this comparison."
    )
    template = (
        "α sums to {alpha_sum} and weighs a training image by {mean_weight} on average; the "
        f"gradient at the first step is {words} cross entropy's. {steps}"
    )
    found = [sentence("CP310", template, evidence | factor)]
    words, factor = _size(first / scaled)
    template = (
        f"With α scaled to mean {{mean}}, the gradient at the first step is {words} cross "
        "entropy's."
    )
    found.append(sentence("CP311", template, {"mean": 1, **factor}))
    found += [_survival(words, measure, *scores) for words, measure in MEASURES.values()]
    return [*found, sentence("CP309", ONE_SEED, {"what": "losses"})]


def _size(ratio: float) -> tuple[str, Evidence]:
    """Word how large a gradient is whose reference is `ratio` times as large."""
    if ratio > ALIKE:
        return "{factor} times smaller than", {"factor": shown(ratio)}
    if ratio < 1.0 / ALIKE:
        return "{factor} times as large as", {"factor": shown(1.0 / ratio)}
    return "about as large as", {}


def _survival(
    words: str, measure: Measure, cross_entropy: Scores, small: Scores, scaled: Scores
) -> Finding:
    """Say whether a difference to cross entropy is there with both scales of α."""
    first, second = (change_of(measure, cross_entropy, other) for other in (small, scaled))
    evidence: Evidence = {
        "measure": words,
        "small": first.points,
        "scaled": second.points,
        "small_noise": percent(first.noise),
        "scaled_noise": percent(second.noise),
        "mean": 1,
    }
    template = (
        "Difference to cross entropy in {measure}: {small:+.1f} points with the small α (noise "
        "{small_noise:.1f}), {scaled:+.1f} with α of mean {mean} (noise {scaled_noise:.1f}). "
    )
    fate = _FATES[first.clear, second.clear, first.verdict == second.verdict]
    return sentence("CP312", template + fate, evidence)


_NEITHER = "Neither is beyond the noise, so there is no difference to explain."
_FATES = {  # beyond the noise with the small α, with that of mean 1, with the same sign
    (True, True, True): "It survives: both are beyond the noise, in the same direction.",
    (True, True, False): "It turns round: the first cannot be credited to the loss apart from its "
    "scale.",
    (True, False, False): "It does not survive: beyond the noise only with the small α, so it "
    "cannot be credited to the loss apart from its scale.",
    (False, True, False): "Only the second is beyond the noise: with the small α it does not show.",
    (False, False, True): _NEITHER,
    (False, False, False): _NEITHER,
}
