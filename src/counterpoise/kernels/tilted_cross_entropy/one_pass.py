"""The family for class numbers in one pass over the logits, value and gradient together.

With d, the margin by which the other classes are ahead (see `composed.py`), and s = sigmoid(d),

    loss = factor * s^gamma * (softplus(d) + poly * s)
    dloss/dd = factor * s^gamma * (s + (1 - s) * (gamma * softplus(d) + poly * (gamma + 1) * s))

and d's own gradient is the softmax over the others, and -1 at the target (times scale). So the
memory that becomes the gradient is the only one of the logits' size: on a CPU the work goes piece
by piece, each small enough to stay in the cache from its first pass to its last.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from counterpoise.kernels._eager import batched
from counterpoise.kernels.tilted_cross_entropy import composed
from counterpoise.kernels.tilted_cross_entropy._samples import MEANS, Samples, guarded
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

# Sizes in numbers, found by timing steps of 8192 x 1000, 2048 x 32000 and 8 x 21 x 256 x 256 logits
# on one core (1 MB of L2) with pieces of 2^15 .. 2^22: rows take 43 ms at 2^15, 12.2 at 2^20 and
# 13.0 at 2^22 for the first; calling the operators is some 0.1 ms a piece. A piece of columns is a
# copy, and best at 2^18 (53 ms at 2^16, 40 at 2^18, 45 at 2^19).
ROWS_PIECE, COLUMNS_PIECE, SMALL = 1 << 20, 1 << 18, 1 << 16
FEW_CLASSES = 64  # up to here rows are transposed, so that a vector works on many samples at once

Normalizer = torch.Tensor | float | None


def tilted_cross_entropy(
    logits: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str = "none",
    normalizer: Normalizer = None,
) -> torch.Tensor:
    """As the dispatcher's; see there."""
    return _OnePass.apply(logits, samples, tilt, reduction, normalizer)  # type: ignore[no-any-return]


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        samples: Samples,
        tilt: Tilt,
        reduction: str,
        normalizer: Normalizer,
    ) -> torch.Tensor:
        ctx.save_for_backward(logits)
        ctx.arguments = samples, tilt, reduction, normalizer
        loss, ctx.slopes = _run(logits, *ctx.arguments, with_slopes=ctx.needs_input_grad[0])
        return loss.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,), (logits,) = grads, ctx.saved_tensors
        if torch.is_grad_enabled() or batched(grad):  # leave what is unusual to autograd
            return _twice(logits, grad, *ctx.arguments), None, None, None, None
        slopes, ctx.slopes = ctx.slopes, None  # the first backward takes them
        if slopes is None:
            slopes = _run(logits, *ctx.arguments, with_slopes=True)[1]
        if grad.dim() == 0 and grad.device.type == "cpu" and grad.item() == 1:  # GPUs: no waiting
            return slopes, None, None, None, None
        return slopes.mul_(grad.unsqueeze(1) if grad.dim() else grad), None, None, None, None


def _twice(logits: torch.Tensor, grad: torch.Tensor, *arguments: Any) -> torch.Tensor:
    """The gradient as a function of logits and grad that autograd knows."""
    z = logits if logits.requires_grad else logits.detach().requires_grad_()
    with torch.enable_grad():
        loss = composed.of_samples(z, *arguments)
    return torch.autograd.grad(loss, z, grad, create_graph=True)[0]


def _run(
    logits: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str,
    normalizer: Normalizer,
    with_slopes: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The loss, in the dtype of computation, and, when asked for, the slopes by logit."""
    whole = logits.detach()
    wide = torch.promote_types(whole.dtype, torch.float32)
    if whole.dim() == 2 and whole.numel() <= SMALL:  # the loop below, less its overhead
        return _small(whole.to(wide, copy=True), samples, tilt, reduction, normalizer, whole.dtype)
    if not (whole.dim() == 2 or _class_last(whole)):
        whole = whole.contiguous()
    if normalizer is None and reduction in MEANS:
        normalizer = samples.normalizer(reduction, wide)
    divisor, nothing = guarded(_as_number(normalizer))
    slopes = torch.empty_like(whole) if with_slopes else None
    z, axis = _arranged(whole)
    ends = z if slopes is None else _arranged(slopes)[0]
    samples = samples.shaped([*z.shape[:axis], *z.shape[axis + 1 :]])
    size = samples.target.shape if reduction == "none" else ()
    result = torch.zeros(size, dtype=wide, device=whole.device)
    for cut, of_samples in _cuts(z, axis):
        end = ends[cut]
        in_place = with_slopes and end.dtype == wide and end.is_contiguous()
        a = end.copy_(z[cut]) if in_place else z[cut].to(wide, copy=True).contiguous()
        numbers, mass, _ = samples.at(of_samples).weighed(wide)
        factor = (mass / divisor).unsqueeze(axis)
        losses = _piece(a, numbers.unsqueeze(axis), factor, tilt, axis, with_slopes)
        if reduction == "none":
            result[of_samples] = losses.squeeze(axis)
        else:
            result += losses.sum()
        if with_slopes and not in_place:
            end.copy_(a)
    if reduction != "none":
        result += nothing
    return result.view(logits.shape[:1] + logits.shape[2:] if result.dim() else ()), slopes


def _small(
    a: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str,
    normalizer: Normalizer,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    numbers, mass, counted = samples.weighed(a.dtype)
    if normalizer is None and reduction in MEANS:
        normalizer = (mass if reduction == "mean" else counted).sum()
    divisor, nothing = guarded(_as_number(normalizer))
    a = a.contiguous()
    factor = (mass / divisor).unsqueeze(1)
    losses = _piece(a, numbers.unsqueeze(1), factor, tilt, 1, True).squeeze(1)
    return losses if reduction == "none" else losses.sum() + nothing, a.to(dtype)


def _as_number(normalizer: Normalizer) -> Normalizer:
    """Out of a tensor where that costs nothing: with numbers, fewer operators have to be called."""
    if isinstance(normalizer, torch.Tensor) and normalizer.device.type == "cpu":
        return normalizer.item()
    return normalizer


def _class_last(x: torch.Tensor) -> bool:
    return x.movedim(1, -1).is_contiguous()


def _arranged(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    """A view of (N, C, d1, ...), and the axis of its classes.

    Samples by classes, if that is how the memory lies and the rows are not too short, or else
    classes by N by D.
    """
    if x.dim() == 2 or _class_last(x):
        rows = x if x.dim() == 2 else x.movedim(1, -1).view(-1, x.shape[1])
        if x.shape[1] > FEW_CLASSES or x.device.type != "cpu":
            return rows, 1
        return rows.t().unsqueeze(1), 0
    return x.view(*x.shape[:2], -1).movedim(1, 0), 0


def _cuts(z: torch.Tensor, axis: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """The pieces of an arranged tensor: where they are in it, and among the samples."""
    if z.device.type != "cpu":
        yield (slice(None),), (slice(None),)
    elif axis == 1:
        high = max(1, ROWS_PIECE // z.shape[1])
        for i in range(0, z.shape[0], high):
            yield (slice(i, i + high),), (slice(i, i + high),)
    else:  # a piece is a copy here: small beside the whole, unless the whole is small itself
        numbers = min(COLUMNS_PIECE, max(SMALL, z.numel() // 32))
        samples = max(1, numbers // z.shape[0])
        wide = min(z.shape[2], samples)
        high = max(1, samples // wide)
        for i in range(0, z.shape[1], high):
            for j in range(0, z.shape[2], wide):
                of_samples = slice(i, i + high), slice(j, j + wide)
                yield (slice(None), *of_samples), of_samples


def _piece(
    a: torch.Tensor,
    place: torch.Tensor,
    factor: torch.Tensor,
    tilt: Tilt,
    axis: int,
    with_slopes: bool,
) -> torch.Tensor:
    """The losses of one piece of logits `a`, which becomes the slopes."""
    scale, offset = (_along(axis, v, a) for v in (tilt.scale, tilt.offset))
    if scale is not None:
        a.mul_(scale)
    if offset is not None:
        a.add_(offset)
    limits = torch.finfo(a.dtype)
    a_t = a.gather(axis, place)
    a.scatter_(axis, place, limits.min)  # not -inf: there may be no other class
    top = a.amax(axis, keepdim=True)
    torch.softmax(a, axis, out=a)
    d = top.sub_(a_t).sub_(a.amax(axis, keepdim=True).log_())
    if tilt.margin is not None:
        d += tilt.margin.to(d.dtype)[place]
    loss, slope = _of_margin(d.clamp_(max=limits.max), tilt)  # inf * 0 would be NaN
    if with_slopes:
        slope = slope.mul_(factor)
        a.mul_(slope).scatter_(axis, place, slope.neg_())
        if scale is not None:
            a.mul_(scale)
    return loss.mul_(factor)


def _along(axis: int, vector: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor | None:
    if vector is None:
        return None
    return vector.to(like.dtype).view(-1, *[1] * (like.dim() - 1 - axis))


def _of_margin(d: torch.Tensor, tilt: Tilt) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of a margin, and its derivative."""
    gamma, poly = tilt.gamma, tilt.poly
    s, loss = torch.sigmoid(d), F.softplus(d, threshold=composed.LINEAR)
    if not gamma and not poly:
        return loss, s
    back = 1 - s
    slope = torch.addcmul(s, back, loss, value=gamma)
    if poly:
        slope.addcmul_(back, s, value=poly * (gamma + 1))
        loss.add_(s, alpha=poly)
    if gamma:
        power = s**gamma  # not exp(gamma * log s), which multiplies the logarithm's rounding error
        slope.mul_(power)
        loss.mul_(power)
    return loss, slope
