"""The family in one pass over the logits, value and gradient together.

The memory that becomes the gradient is the only one of the logits' size: on a CPU the work goes
piece by piece, so that what the samples need beside it is small.
"""

from collections.abc import Iterator
from typing import Any

import torch

from counterpoise.kernels._eager import batched, straight
from counterpoise.kernels.adjusted_cross_entropy import compiled, composed
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters
from counterpoise.kernels.adjusted_cross_entropy._piece import losses_and_slopes
from counterpoise.kernels.adjusted_cross_entropy._samples import MEANS, Samples, guarded
from counterpoise.kernels.adjusted_cross_entropy._twice import twice

SMALL = 1 << 16  # numbers for which memory does not matter, but the time to call the operators
# Samples. What has fewer than 2^15 numbers torch computes with one thread: of several threads some
# may have to wait for a core, and each operator waits for the last.
ALONE = 22000

Normalizer = torch.Tensor | float | None
Arguments = tuple[Samples, Parameters, str, Normalizer]


def adjusted_cross_entropy(
    logits: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str = "none",
    normalizer: Normalizer = None,
) -> torch.Tensor:
    """As the dispatcher's; see there."""
    return _one_pass(logits, (samples, parameters, reduction, normalizer))  # type: ignore[no-any-return]


class _OnePass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        samples, parameters, _, normalizer = arguments
        divisor = normalizer if isinstance(normalizer, torch.Tensor) else None
        # All of them, so that torch tells if one was changed in place before it is needed again.
        ctx.save_for_backward(
            logits, samples.target, samples.weight, samples.sample_weight, *parameters[:3], divisor
        )
        ctx.arguments = arguments
        loss, ctx.slopes = _run(logits, *arguments, with_slopes=ctx.needs_input_grad[0])
        return loss if loss.dtype == logits.dtype else loss.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        if torch.is_grad_enabled() or batched(grad):  # leave what is unusual to autograd
            return twice(ctx.saved_tensors[0], grad, *ctx.arguments), None
        slopes, ctx.slopes = ctx.slopes, None  # the first backward takes them, and needs no more
        if slopes is None:
            slopes = _run(ctx.saved_tensors[0], *ctx.arguments, with_slopes=True)[1]
        if grad.dim() == 0 and grad.is_cpu and grad.item() == 1:  # GPUs: no waiting
            return slopes, None
        return slopes.mul_(grad.unsqueeze(1) if grad.dim() else grad), None


_one_pass = straight(_OnePass)


def _run(
    logits: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str,
    normalizer: Normalizer,
    with_slopes: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The loss, in the dtype of computation, and, when asked for, the slopes by logit."""
    if compiled.suits(logits, samples, parameters):
        return compiled.loss_and_slopes(
            logits, samples, parameters, reduction, normalizer, with_slopes
        )
    if samples.spread:
        return _by_autograd(logits, (samples, parameters, reduction, normalizer), with_slopes)
    whole = logits.detach()
    wide = torch.promote_types(whole.dtype, torch.float32)
    if not (whole.dim() == 2 or _class_last(whole)):
        whole = whole.contiguous()
    if normalizer is None and reduction in MEANS:
        normalizer = samples.normalizer(reduction, wide)
    divisor, nothing = guarded(normalizer)
    slopes = torch.empty_like(whole) if with_slopes else None
    z = _arranged(whole)
    ends = z if slopes is None else _arranged(slopes)
    samples = samples.shaped([*z.shape[:1], *z.shape[2:]])
    size = logits.shape[:1] + logits.shape[2:] if reduction == "none" else ()
    result = torch.zeros(size, dtype=wide, device=whole.device)  # no view: it may be changed
    flat = result.view(samples.target.shape) if reduction == "none" else result
    for rows, columns in _cuts(z, copies=ends is z or whole.dtype != wide):
        some = (rows, *columns)
        end = ends[rows, :, *columns]
        in_place = with_slopes and end.dtype == wide
        into = end if in_place else torch.empty_like(end, dtype=wide)
        numbers, mass, _ = samples.at(some).weighed(wide)
        factor = (mass / divisor).unsqueeze(1)
        losses = losses_and_slopes(
            z[rows, :, *columns], numbers.unsqueeze(1), factor, parameters, into
        )
        if reduction == "none":
            flat[some] = losses.squeeze(1)
        else:
            result += losses.sum()
        if with_slopes and not in_place:
            end.copy_(into)
    if reduction != "none":
        result += nothing
    return result, slopes


def _by_autograd(
    logits: torch.Tensor, arguments: Arguments, with_slopes: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """For probabilities as targets, where the kernel in C does not run."""
    z = logits.detach().requires_grad_(with_slopes)
    with torch.set_grad_enabled(with_slopes):
        loss = composed.of_samples(z, *arguments)
    slopes = torch.autograd.grad(loss, z, torch.ones_like(loss))[0] if with_slopes else None
    return loss.detach(), slopes


def _class_last(x: torch.Tensor) -> bool:
    return x.movedim(1, -1).is_contiguous()


def _arranged(x: torch.Tensor) -> torch.Tensor:
    """A view of (N, C, d1, ...): samples by classes if the memory lies so, or else (N, C, D)."""
    if x.dim() == 2:
        return x
    return x.movedim(1, -1).view(-1, x.shape[1]) if _class_last(x) else x.view(*x.shape[:2], -1)


def _cuts(z: torch.Tensor, copies: bool) -> Iterator[tuple[slice, tuple[slice, ...]]]:
    """The pieces of an arranged tensor: slices of its axis 0, and of axis 2 if there is one."""
    wide = z.shape[2] if z.dim() == 3 else 1
    samples = z.numel() if z.device.type != "cpu" else _samples(z, copies)
    high, wide = max(1, samples // wide), min(wide, samples)
    for i in range(0, z.shape[0], high):
        for j in range(0, z.shape[2] if z.dim() == 3 else 1, wide):
            yield slice(i, i + high), (slice(j, j + wide),) * (z.dim() - 2)


def _samples(z: torch.Tensor, copies: bool) -> int:
    """How many samples a piece has: as many as a tenth of the whole's memory allows.

    Each has some ten numbers of its own, and its logits where these are copied.
    """
    numbers = min(z.numel() * z.shape[1] // 100, z.numel() // (32 if copies else 1))
    return max(1, min(ALONE, max(SMALL, numbers) // z.shape[1]))
