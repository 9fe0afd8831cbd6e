"""What the scale of α does to a comparison."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from counterpoise.findings._change import MEASURES, Measure, change_of, check_pair, times
from counterpoise.findings._finding import Evidence, Finding, one_seed, percent, sentence, shown

if TYPE_CHECKING:
    from counterpoise.metrics import Scores


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
        check_pair(scores_ce, scores, None)
    _check_norms(grad_norm_ce, grad_norm_sum1, grad_norm_mean1)
    found = [_small_alpha(alpha_sum, mean_weight_sum1, grad_norm_ce / grad_norm_sum1)]
    found.append(_scaled_alpha(grad_norm_ce / grad_norm_mean1))
    found += [_survival(m, scores_ce, scores_sum1, scores_mean1) for m in MEASURES]
    return [*found, one_seed("CP309", "losses")]


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
    words, factor = times(ratio)
    evidence: Evidence = {"alpha_sum": shown(alpha_sum), "mean_weight": shown(mean_weight)}
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
    return sentence("CP310", template, evidence)


def _scaled_alpha(ratio: float) -> Finding:
    """Say how large the first gradient is once α has mean 1."""
    words, factor = times(ratio)
    evidence: Evidence = {"mean": 1, **({"factor": factor} if factor else {})}
    template = (
        f"With α scaled to mean {{mean}}, the gradient at the first step is {words} cross "
        "entropy's."
    )
    return sentence("CP311", template, evidence)


def _survival(measure: Measure, ce: Scores, small: Scores, scaled: Scores) -> Finding:
    """Say whether a difference to cross entropy is there with both scales of α."""
    first, second = change_of(measure, ce, small), change_of(measure, ce, scaled)
    evidence: Evidence = {
        "measure": measure.words,
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
    template += _SURVIVAL[_fate(first.direction, second.direction)]
    return sentence("CP312", template, evidence)


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
