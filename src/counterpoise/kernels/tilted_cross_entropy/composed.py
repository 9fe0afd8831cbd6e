"""The family out of torch's operators, which differentiate, compile and vectorize by themselves.

Everything is said through the margin d of a class, by which the others are ahead of it:

    a = scale * logits + offset      d_j = logsumexp of a_k over k != j  -  a_j + margin_j
    p_j = sigmoid(-d_j)       -log(p_j) = softplus(d_j)       log(1 - p_j) = -softplus(-d_j)

Nothing is subtracted from 1 and no power is taken, so nothing is lost or NaN where p_j rounds to 1.
gamma multiplies what rounding does to d: a sample's own d, and what follows, are float64. Where the
logits are float64 too, `_odds.py` finds the values, and the formulas above their derivatives.
"""

import torch
import torch.nn.functional as F

from counterpoise.kernels.tilted_cross_entropy._odds import (
    Odds,
    ahead_of,
    exponentials,
    odds_of,
    power_of,
    summed,
)
from counterpoise.kernels.tilted_cross_entropy._samples import (
    MEANS,
    Samples,
    guarded,
    harmless,
)
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

LINEAR = 80.0  # softplus(d) is d from here on in float64 too; torch's default, 20, is for float32


def of_samples(
    logits: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str = "none",
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """As the dispatcher's; see there."""
    numbers, mass, counted = samples.weighed(torch.promote_types(logits.dtype, torch.float32))
    if normalizer is None and reduction in MEANS:
        normalizer = (mass if reduction == "mean" else counted).sum()
    losses = of_class(harmless(logits, mass).to(mass.dtype), numbers, tilt)
    divisor, nothing = guarded(normalizer)
    losses = losses * (mass / divisor)
    return (losses if reduction == "none" else losses.sum() + nothing).to(logits.dtype)


def of_class(logits: torch.Tensor, target: torch.Tensor, tilt: Tilt) -> torch.Tensor:
    """The loss of each sample for its class: logits (N, C, ...), target (N, ...)."""
    place = target.unsqueeze(1)
    a = _tilted(logits, tilt)
    others = a.scatter(1, place, float("-inf"))
    top = others.detach().amax(1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    total, rest_of_total = summed(exponentials(others, top))
    a_t = a.gather(1, place)
    alone = (total == 0) & a_t.isfinite()  # no other class, or none that is possible
    total = torch.where(alone, 1.0, total)
    ahead, rest = ahead_of(top, a_t, None if tilt.margin is None else tilt.margin[place])
    parts = (x.detach() for x in (ahead, rest, total, rest_of_total))
    exact = odds_of(*parts) if a.dtype == torch.float64 else None
    d = torch.where(alone, -torch.inf, ahead + total.to(ahead.dtype).log())
    d = d * torch.where(a.detach().amax(1, keepdim=True).isinf(), float("nan"), 1.0)  # as softmax
    return _of_margin(d, tilt, exact).squeeze(1)


def of_every_class(logits: torch.Tensor, tilt: Tilt) -> torch.Tensor:
    """The loss that each class would have as the target: (N, C, ...) to (N, C, ...).

    A sum weighted by probabilities over axis 1 is the loss for these as the target. For the class
    that is ahead, the others' sum is taken without it: the whole minus it would lose all digits.
    """
    a = _tilted(logits, tilt)
    top, place = a.max(1, keepdim=True)
    ahead = torch.zeros_like(a, dtype=torch.bool).scatter(1, place, value=True)
    shifted = (a - top).exp()
    rest = torch.where(ahead, 1.0, shifted.sum(1, keepdim=True) - shifted)
    behind = (a - top).masked_fill(ahead, float("-inf")).logsumexp(1, keepdim=True)
    d = torch.where(ahead, behind, (top - a) + rest.log())
    if tilt.margin is not None:
        d = d + _along_classes(tilt.margin, a)
    return _of_margin(d, tilt)


def smoothed(
    logits: torch.Tensor,
    target: torch.Tensor,
    share: float,
    weight: torch.Tensor | None,
    tilt: Tilt,
) -> torch.Tensor:
    """Without gamma, poly and margin: the loss of a class that has a share spread over all.

    As torch's, from softmax's logarithm: no such loss is so small that this would lose digits.
    """
    log_p = F.log_softmax(_tilted(logits, tilt), 1)
    own = log_p.gather(1, target.unsqueeze(1)).squeeze(1)
    if weight is not None:
        log_p, own = log_p * _along_classes(weight, log_p), own * weight[target]
    return (share - 1) * own - share * log_p.mean(1)


def _tilted(logits: torch.Tensor, tilt: Tilt) -> torch.Tensor:
    a = logits
    if tilt.scale is not None:
        a = a * _along_classes(tilt.scale, a)
    if tilt.offset is not None:
        a = a + _along_classes(tilt.offset, a)
    return a


def _along_classes(vector: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return vector.view(-1, *[1] * (like.dim() - 2))


def _of_margin(d: torch.Tensor, tilt: Tilt, exact: Odds | None = None) -> torch.Tensor:
    loss = F.softplus(d, threshold=LINEAR)
    if exact is not None:
        loss = torch.where(_near(loss, exact.loss), exact.loss + (loss - loss.detach()), loss)
    if tilt.poly:
        loss = loss + tilt.poly * torch.sigmoid(d)
    if tilt.gamma:
        log = -tilt.gamma * F.softplus(-d, threshold=LINEAR)
        power = log.exp()
        if exact is not None:
            better = power_of(exact, tilt.gamma)
            near = _near(power, better)
            one = torch.where(near, log - log.detach(), 0.0).exp()
            power = torch.where(near, better * one, power)
        loss = loss * power
    return loss


def _near(x: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Where two differ by rounding; elsewhere one is infinite, NaN or next to nothing."""
    return (exact - x.detach()).abs() < 1e-6 * exact
