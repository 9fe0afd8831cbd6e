"""The family as a function of the margin d of a class, by which the others are ahead of it.

    a = scale * logits + offset      d_j = logsumexp of a_k over k != j  -  a_j + margin_j
    p_j = sigmoid(-d_j)       -log(p_j) = softplus(d_j)       log(1 - p_j) = -softplus(-d_j)

Nothing is subtracted from 1 and no power is taken, so nothing is lost or NaN where p_j rounds to 1.
gamma multiplies what rounding does to d: a sample's own d, and what follows, are float64. Where the
logits are float64 too, `_odds.py` finds the values, and the formulas above their derivatives.
"""

import torch
import torch.nn.functional as F

from counterpoise.kernels.adjusted_cross_entropy._odds import Odds, power_of
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters

LINEAR = 80.0  # softplus(d) is d from here on in float64 too; torch's default, 20, is for float32


def adjusted(logits: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    a = logits
    if parameters.scale is not None:
        a = a * along_classes(parameters.scale, a)
    if parameters.offset is not None:
        a = a + along_classes(parameters.offset, a)
    return a


def along_classes(vector: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return vector.view(-1, *[1] * (like.dim() - 2))


def of_margin(d: torch.Tensor, parameters: Parameters, exact: Odds | None = None) -> torch.Tensor:
    loss = F.softplus(d, threshold=LINEAR)
    if exact is not None:
        loss = torch.where(_near(loss, exact.loss), exact.loss + (loss - loss.detach()), loss)
    if parameters.poly:
        loss = loss + parameters.poly * torch.sigmoid(d)
    if parameters.gamma:
        log = -parameters.gamma * F.softplus(-d, threshold=LINEAR)
        power = log.exp()
        if exact is not None:
            better = power_of(exact, parameters.gamma)
            near = _near(power, better)
            one = torch.where(near, log - log.detach(), 0.0).exp()
            power = torch.where(near, better * one, power)
        loss = loss * power
    return loss


def _near(x: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Where two differ by rounding; elsewhere one is infinite, NaN or next to nothing."""
    return (exact - x.detach()).abs() < 1e-6 * exact
