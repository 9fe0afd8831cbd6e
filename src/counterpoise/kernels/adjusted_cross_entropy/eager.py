"""The family as one composite of torch's operators: it differentiates, compiles, exports, vmaps.

It serves wherever no kernel runs. What belongs to a sample, and not to a logit, is computed in
float64 (float32 where the device has no other): gamma multiplies the rounding error of the log-odds
d against the target. With float64 logits nothing wider is left, and value and gradient have a
relative error of up to 2 (1 + gamma) (1 + |d|) eps.
"""

import torch
import torch.nn.functional as F

from counterpoise.kernels.adjusted_cross_entropy.reference import Arguments
from counterpoise.kernels.dispatch import readable

LINEAR = 80.0  # softplus(d) is d from here on in float64, too; torch's default, 20, is for float32


def adjusted_cross_entropy(logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the reduced loss in the logits' dtype; arguments as in `reference.py`."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    sample_weight, class_weight = _weights(arguments, wide)
    weight = sample_weight if arguments.soft else sample_weight * class_weight
    z = logits.to(wide)
    if not (readable(weight) and bool(weight.all())):
        # 0 * NaN is NaN, so what is infinite or NaN in a sample that does not count becomes 0.
        z = z.masked_fill((weight == 0).unsqueeze(1) & ~z.isfinite(), 0.0)
    losses = weight * (_of_soft_target if arguments.soft else _of_class)(z, arguments)
    if arguments.reduction == "none":
        return losses.to(logits.dtype)
    by = arguments.normalizer
    by = denominator(arguments, arguments.reduction, wide) if by is None else by
    return divided(losses.sum(), by).to(logits.dtype)


def gradient(logits: torch.Tensor, grad: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the gradient by the logits as a function of logits and grad that autograd knows."""
    z = logits if logits.requires_grad else logits.detach().requires_grad_()
    with torch.enable_grad():
        loss = adjusted_cross_entropy(z, arguments)
    return torch.autograd.grad(loss, z, grad, create_graph=True)[0]


def denominator(arguments: Arguments, reduction: str, dtype: torch.dtype) -> torch.Tensor | float:
    """Return the denominator of "mean" (the sum of the weights) or "batchmean" (the samples)."""
    if reduction not in ("mean", "batchmean"):
        return 1.0
    sample_weight, class_weight = _weights(arguments, dtype)
    if reduction == "mean":
        return (sample_weight * class_weight).sum()
    return _valid(arguments).sum().to(dtype)


def _valid(arguments: Arguments) -> torch.Tensor:
    if arguments.target.is_floating_point():
        return torch.ones_like(arguments.target.select(1, 0), dtype=torch.bool)
    # A uint8 is never -100, but 156 is, if -100 becomes a uint8.
    return arguments.target.long() != arguments.ignore_index


def _class_numbers(arguments: Arguments) -> torch.Tensor:
    return torch.where(_valid(arguments), arguments.target.long(), 0)


def _weights(arguments: Arguments, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | float]:
    """Of each sample: its own weight, 0 where it is ignored, and that of its class."""
    sample_weight = _valid(arguments).to(dtype)
    if arguments.sample_weight is not None:
        sample_weight = sample_weight * arguments.sample_weight
    if arguments.weight is None or arguments.target.is_floating_point():
        return sample_weight, 1.0
    return sample_weight, arguments.weight[_class_numbers(arguments)]


def _of_class(z: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the loss of each sample for its class: (N, C, ...) to (N, ...)."""
    index = _class_numbers(arguments).unsqueeze(1)
    a = _adjusted(z, arguments)
    a_t, others = a.gather(1, index), a.scatter(1, index, float("-inf"))
    largest = others.detach().amax(1, keepdim=True)
    row_max = largest.nan_to_num(0.0, 0.0, 0.0)
    sum_exp = (others - row_max).exp().sum(1, keepdim=True)
    alone = (sum_exp == 0) & a_t.isfinite()  # no other class, or none that is possible
    sum_exp = torch.where(alone, 1.0, sum_exp)
    exact = torch.float32 if z.device.type == "mps" else torch.float64
    d = row_max.to(exact) - a_t.to(exact)
    if arguments.margin is not None:
        d = d + arguments.margin[index].to(exact)
    d = torch.where(alone, -torch.inf, d + sum_exp.to(exact).log())
    undefined = torch.maximum(largest, a_t.detach()).isinf()  # as in softmax
    d = d * torch.where(undefined, torch.nan, 1.0)
    gamma = arguments.gamma
    gamma = gamma[index].to(exact) if isinstance(gamma, torch.Tensor) else gamma
    return _loss_of_margin(d, gamma, arguments.poly).squeeze(1)


def _of_soft_target(z: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the expected loss of each sample whose class is drawn from the probabilities."""
    q, share = arguments.target, arguments.label_smoothing
    if not q.is_floating_point():
        q = torch.zeros_like(z).scatter(1, _class_numbers(arguments).unsqueeze(1), 1.0)
    q = q.to(z.dtype) * (1 - share) + share / z.shape[1]
    if arguments.weight is not None:
        q = q * _along_classes(arguments.weight, q)
    return (q * _of_every_class(z, arguments)).sum(1)


def _of_every_class(z: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the loss that each class would have as the target: (N, C, ...) to (N, C, ...).

    For the largest logit, the sum over the others is taken without it: the sum over all less it
    would lose all digits.
    """
    a, gamma = _adjusted(z, arguments), arguments.gamma
    plain = arguments.margin is None and not isinstance(gamma, torch.Tensor) and not gamma
    if plain and not arguments.poly and arguments.label_smoothing:
        return -F.log_softmax(a, 1)  # no such loss is so small that this would lose digits
    top, index = a.max(1, keepdim=True)
    is_top = torch.zeros_like(a, dtype=torch.bool).scatter(1, index, value=True)
    shifted = (a - top).exp()
    rest = torch.where(is_top, 1.0, shifted.sum(1, keepdim=True) - shifted)
    of_top = (a - top).masked_fill(is_top, float("-inf")).logsumexp(1, keepdim=True)
    d = torch.where(is_top, of_top, (top - a) + rest.log())
    if arguments.margin is not None:
        d = d + _along_classes(arguments.margin, a)
    gamma = _along_classes(gamma, a) if isinstance(gamma, torch.Tensor) else gamma
    return _loss_of_margin(d, gamma, arguments.poly)


def _loss_of_margin(d: torch.Tensor, gamma: torch.Tensor | float, poly: float) -> torch.Tensor:
    """Return $(1 - p_t)^γ (-log p_t + poly (1 - p_t))$ of the log-odds d against the target."""
    loss = F.softplus(d, threshold=LINEAR)
    if poly:
        loss = loss + poly * torch.sigmoid(d)
    if isinstance(gamma, torch.Tensor) or gamma:
        loss = loss * torch.exp(-gamma * F.softplus(-d, threshold=LINEAR))
    return loss


def _adjusted(z: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    if arguments.scale is not None:
        z = z * _along_classes(arguments.scale, z)
    if arguments.offset is not None:
        z = z + _along_classes(arguments.offset, z)
    return z


def _along_classes(vector: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return vector.to(like.dtype).view(-1, *[1] * (like.dim() - 2))


def divided(total: torch.Tensor, by: torch.Tensor | float) -> torch.Tensor:
    """Return total / by, NaN by 0, and then with gradients of 0: torch's mean of nothing."""
    if isinstance(by, torch.Tensor):
        empty = by == 0
        return total / (by + empty) + torch.where(empty, torch.nan, 0.0)
    return total / by if by else total * 0.0 + torch.nan
