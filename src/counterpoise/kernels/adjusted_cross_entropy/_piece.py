"""One piece of the logits: its losses, and their slopes by logit into memory that is given.

With r the odds against the target, r = sum of exp(a_j - a_t) over j != t, and s = r / (1 + r),

    loss = factor * s^gamma * (log1p(r) + poly * s)
    dloss/dd = factor * s^gamma * (s + (1 - s) * (gamma * log1p(r) + poly * (gamma + 1) * s))

where d = log(r) is the margin of `composed.py`. Its own gradient is the softmax over the others,
and -1 at the target (times scale).
"""

import torch

from counterpoise.kernels.adjusted_cross_entropy._odds import (
    Odds,
    ahead_of,
    exponentials,
    odds_of,
    power_of,
    summed,
)
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters

FEW_CLASSES = 64  # up to here torch's softmax takes longer than its exp


def losses_and_slopes(
    z: torch.Tensor,
    place: torch.Tensor,
    factor: torch.Tensor,
    parameters: Parameters,
    into: torch.Tensor,
) -> torch.Tensor:
    """The losses (N, 1, ...) of logits z (N, C, ...), whose slopes are written to `into`.

    `place`, the target, and `factor` are as the losses; `into` has z's shape and the dtype of
    computation.
    """
    quick = z.device.type == "cpu" and z.dtype != torch.float64  # which the rest is for
    odds = _quick(z, place, parameters, into) if quick else None
    if odds is None:
        odds, is_inf_loss = _careful(z, place, factor, parameters, into)
    else:
        is_inf_loss = None
    loss, slope = _loss_and_derivative(odds, parameters)
    slope = slope.mul_(factor).to(into.dtype)
    into.mul_(slope / odds.total).scatter_(1, place, slope.neg_())
    if parameters.scale is not None:
        into.mul_(_along_classes(parameters.scale, into))
    loss = loss.mul_(factor).to(into.dtype)
    return loss if is_inf_loss is None else loss.masked_fill_(is_inf_loss, torch.inf)


def _quick(
    z: torch.Tensor, place: torch.Tensor, parameters: Parameters, into: torch.Tensor
) -> Odds | None:
    """The odds by the shortest way, or None where they overflow or are not a number."""
    a = _adjusted(z, parameters, into)
    a_t = a.gather(1, place)
    if parameters.margin is not None:
        a_t = a_t - parameters.margin.to(a.dtype)[place]
    if a.shape[1] <= FEW_CLASSES:
        torch.sub(a, a_t, out=into).exp_()
        into.scatter_(1, place, a_t.sub_(a_t))  # 0, but NaN for an infinite a_t, as torch has it
        odds = total = into.sum(1, keepdim=True)
    else:
        if parameters.margin is not None:
            a = into.copy_(a).scatter_(1, place, a_t)
        torch.softmax(a, 1, out=into)
        p_t = into.gather(1, place)
        total = into.scatter_(1, place, 0.0).sum(1, keepdim=True)
        odds = total / p_t
    limits = torch.finfo(into.dtype)
    if not odds.max().item() <= limits.max * limits.eps:  # and p_t is not denormal
        return None
    both = odds + 1
    return Odds(total.clamp_min(limits.tiny), odds.log1p(), odds / both, both.reciprocal_())


def _careful(
    z: torch.Tensor,
    place: torch.Tensor,
    factor: torch.Tensor,
    parameters: Parameters,
    into: torch.Tensor,
) -> tuple[Odds, torch.Tensor]:
    """The odds of every logit, shifted by the largest of the others; and where they are infinite.

    These are left finite in the odds, so that the slopes are those of a target far behind.
    """
    a = into.copy_(_adjusted(z, parameters, into)).masked_fill_(
        factor == 0, 0.0
    )  # inf * 0 would be NaN
    limits = torch.finfo(a.dtype)
    a_t, wild = a.gather(1, place), a.amax(1, keepdim=True).isinf()
    a.scatter_(1, place, limits.min)  # not -inf: there may be no other class
    top = a.amax(1, keepdim=True)
    if a.dtype == torch.float64:
        a.copy_(exponentials(a, top))
    else:
        a.sub_(top).exp_()
    total, rest_of_total = summed(a)
    ahead, rest = ahead_of(
        top, a_t, None if parameters.margin is None else parameters.margin[place]
    )
    ahead = ahead.masked_fill(wild, torch.nan)  # as in torch's softmax
    is_inf_loss = ahead == torch.inf
    wide = ahead.dtype
    odds = odds_of(ahead.clamp_(max=limits.max), rest, total.to(wide), rest_of_total.to(wide))
    return odds._replace(total=total), is_inf_loss


def _adjusted(z: torch.Tensor, parameters: Parameters, into: torch.Tensor) -> torch.Tensor:
    """The logits that the softmax is of: z itself, or in `into`."""
    if parameters.scale is None and parameters.offset is None:
        return z if z.dtype == into.dtype else into.copy_(z)
    if parameters.scale is None:
        into.copy_(z)
    else:
        torch.mul(z, _along_classes(parameters.scale, into), out=into)
    return into if parameters.offset is None else into.add_(_along_classes(parameters.offset, into))


def _along_classes(vector: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return vector.to(like.dtype).view(-1, *[1] * (like.dim() - 2))


def _loss_and_derivative(odds: Odds, parameters: Parameters) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses, and their derivatives by the margin."""
    loss, miss, hit, gamma, poly = odds.loss, odds.miss, odds.hit, parameters.gamma, parameters.poly
    if not gamma and not poly:
        return loss, miss
    slope = torch.addcmul(miss, hit, loss, value=gamma)
    if poly:
        slope.addcmul_(hit, miss, value=poly * (gamma + 1))
        loss = loss.add_(miss, alpha=poly)
    if gamma:
        power = power_of(odds, gamma)
        slope.mul_(power)
        loss.mul_(power)
    return loss, slope
