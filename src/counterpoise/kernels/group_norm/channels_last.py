"""Group normalization of (N, C, H, W) tensors whose memory is ordered N, H, W, C, on a CPU.

torch has what is needed, but for one thing: its `channels_last` kernel takes the variance from
E[x^2] - E[x]^2, which cancels where a mean is large beside the spread. Two ways round it:

- `wide`: that kernel, where it is quick. Its own mean and spread tell whether anything was lost; if
  so, once more on the input less those means, which changes no output and no gradient; or in half
  precision, where it would round the input, by the contiguous kernel.
- `narrow`: the contiguous kernel between two changes of layout.

The gradient is torch's kernel too, given statistics that are right: the `channels_last` one where
that is quick, and else the contiguous one.
"""

from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._backend import by_formula
from counterpoise.kernels._eager import batched
from counterpoise.kernels._layout import channels_last, contiguous
from counterpoise.kernels.group_norm.reference import group_norm as reference

Parts = tuple[Tensor, Tensor, Tensor, Tensor]  # what was normalized, y, mean, 1/sqrt(var + eps)

# |mean| / sqrt(var + eps) up to which E[x^2] - E[x]^2 is exact: the error of the variance grows as
# its square. In half precision too, whose parameters and their gradients may be in float32.
_CENTRED = 1.0

# Bytes from which torch's channels_last kernels work in vectors: of a pixel's channels in one
# group, or forward, in images of so many pixels, of all its channels. Contiguous to channels_last
# kernel in microseconds on one core, float32: 4 x 64 x 28 x 28, 8 channels a group: forward 59 to
# 108, backward 64 to 90 (a change of layout: 31); 4 channels: 57 to 396, 65 to 271; 4 x 64 x 33 x
# 32, 2 channels: 82 to 78, 96 to 810; 8 x 4 x 64 x 64, 2 channels: 41 to 581, 56 to 939.
VECTOR, PIXELS = 32, 1024

native_backward = torch.ops.aten.native_group_norm_backward.default


def quick_backward(x: Tensor, groups: int) -> bool:
    """True where torch's channels_last kernel for the gradient works in vectors."""
    return x.shape[1] // groups * x.element_size() >= VECTOR


def quick_forward(x: Tensor, groups: int) -> bool:
    """True where torch's channels_last kernel works in vectors."""
    _, c, h, w = x.shape
    return quick_backward(x, groups) or (h * w >= PIXELS and c * x.element_size() >= VECTOR)


class GroupNormChannelsLast(torch.autograd.Function):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, `wide` or `narrow`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        way: str,
        groups: int,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor | None]:
        """Return y in the layout of x, and what was normalized if that is not x itself."""
        given, y, mean, rstd = PARTS[way](x, groups, weight, bias, eps)
        ctx.groups, ctx.eps = groups, eps
        ctx.set_materialize_grads(False)
        # An output, so that what is saved still leads to x when the gradient is differentiated.
        ctx.save_for_backward(given, weight, bias, mean, rstd)
        return y, None if given is x else given

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """torch's kernel on what was normalized; the formula where that is to be differentiated."""
        given, weight, bias, mean, rstd = ctx.saved_tensors
        grad, given_grad = grads
        if grad is None:
            return given_grad, None, None, None, None, None
        if torch.is_grad_enabled() or batched(grad):
            dx, dweight, dbias = differentiable(ctx, given, weight, bias, grad)
        else:
            dx, dweight, dbias = _by_torch(ctx, given, weight, mean, rstd, grad)
        if dx is not None and given_grad is not None:
            dx = dx + given_grad
        return dx, None, None, dweight, dbias, None


def _wide(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Parts:
    y, mean, rstd = _native(x, groups, weight, bias, eps)
    if (mean * rstd).abs().max().item() <= _CENTRED:
        return x, y, mean, rstd
    if x.element_size() == 2:  # a mean taken away would round what is left
        y, mean, rstd = _native(x.contiguous(), groups, weight, bias, eps)
        return x, channels_last(y), mean, rstd
    means = mean.to(x.dtype).repeat_interleave(x.shape[1] // groups, 1)[:, :, None, None]
    centred = x - means
    return centred, *_native(centred, groups, weight, bias, eps)


def _narrow(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Parts:
    given = contiguous(x)
    y, mean, rstd = _native(given, groups, weight, bias, eps)
    return given, channels_last(y), mean, rstd


PARTS = {"wide": _wide, "narrow": _narrow}


def _native(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    n, c, h, w = x.shape
    return torch.native_group_norm(x, weight, bias, n, c, h * w, groups, eps)


def _by_torch(
    ctx: Any, given: Tensor, weight: Tensor | None, mean: Tensor, rstd: Tensor, grad: Tensor
) -> tuple[Tensor | None, ...]:
    n, c, h, w = given.shape
    to_given = channels_last if quick_backward(given, ctx.groups) else contiguous
    # The gradient of x is always asked for: without it the channels_last kernel crashes (2.13).
    wanted = [True, ctx.needs_input_grad[3], ctx.needs_input_grad[4]]
    dx, dweight, dbias = native_backward(
        to_given(grad), to_given(given), mean, rstd, weight, n, c, h * w, ctx.groups, wanted
    )
    return channels_last(dx), dweight, dbias


def differentiable(
    ctx: Any, given: Tensor, weight: Tensor | None, bias: Tensor | None, grad: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of what was normalized, weight and bias, by the formula; ctx: groups and eps."""
    inputs = [t for t in (given, weight, bias) if t is not None and t.requires_grad]
    with torch.enable_grad():
        y = by_formula(reference, given, ctx.groups, weight, bias, ctx.eps)
        found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    return tuple(
        next(found) if t is not None and t.requires_grad else None for t in (given, weight, bias)
    )
