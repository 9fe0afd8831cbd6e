"""Group normalization of (N, C, H, W) tensors whose memory is ordered N, H, W, C.

An image is read as rows of `T` neighbouring pixels, T*C numbers each, with T chosen so that a row
is long enough for vector instructions and short enough for a small matrix. Sums over the image are
sums of rows, which vectorise whatever C is; the sum of a row's entries by group, and its way back
to every entry of the row, is one product with the (T*C, T*C) matrix `P` that is 1/M where two
entries share a group, M being the size of a group. Two passes: the mean first, then the variance of
the centred values, so nothing cancels; and what rounding left of the mean, `rest`, is measured on
the centred values and taken off in the sums. Shapes: X is (N, H*W/T, T*C), `..._row` is (N, T*C).
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._eager import as_channels_last, batched
from counterpoise.kernels.group_norm.reference import group_norm as reference

MAX_CHANNELS = 256  # P has C^2 entries at least; above, two layout copies cost less
_ROW = 128  # numbers in a row, at most, unless C alone is more


def _pixels_per_row(channels: int, pixels: int) -> int:
    return max(t for t in range(1, max(1, _ROW // channels) + 1) if pixels % t == 0)


@lru_cache(maxsize=64)
def _same_group(channels: int, groups: int, pixels: int, dtype: torch.dtype) -> Tensor:
    """The matrix P: entry (i, j) is 1/M where entries i and j of a row share a group."""
    group = (torch.arange(channels) // (channels // groups)).repeat(
        _pixels_per_row(channels, pixels)
    )
    same = (group[:, None] == group[None, :]).to(dtype)
    return same / (channels // groups * pixels)


def _rows(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    row = _pixels_per_row(c, h * w) * c
    return x.permute(0, 2, 3, 1).reshape(n, h * w * c // row, row)


@lru_cache(maxsize=64)
def _channel_of(channels: int, row: int) -> Tensor:
    """The channel of each entry of a row."""
    return torch.arange(channels).repeat(row // channels)


def _tiled(parameter: Tensor | None, row: int) -> Tensor | None:
    """One value per channel, repeated along a row."""
    if parameter is None:
        return None
    return parameter.index_select(0, _channel_of(parameter.numel(), row))


def _per_channel(row_sum: Tensor, channels: int) -> Tensor:
    """(N, T*C) sums to one sum per channel."""
    return row_sum.view(-1, channels).sum(0)


class GroupNormChannelsLast(torch.autograd.Function):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, with its hand-written gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        """Return y in the layout of x."""
        rows = _rows(x)
        same = _same_group(x.shape[1], groups, x.shape[2] * x.shape[3], x.dtype)
        mean_row = rows.sum(1) @ same
        centred = rows - mean_row[:, None]
        rest_row = centred.sum(1) @ same
        work = centred.square()
        rstd_row = (work.sum(1) @ same).sub_(rest_row.square()).add_(eps).rsqrt_()
        weight_row, bias_row = _tiled(weight, rows.shape[2]), _tiled(bias, rows.shape[2])
        scale = rstd_row if weight_row is None else rstd_row * weight_row
        shift = -rest_row * scale if bias_row is None else bias_row - rest_row * scale
        torch.addcmul(shift[:, None], centred, scale[:, None], out=work)
        ctx.save_for_backward(x, weight, bias, mean_row, rest_row, rstd_row, scale)
        ctx.groups, ctx.eps, ctx.same = groups, eps, same
        return as_channels_last(work, tuple(x.shape))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """dx = w*rstd*g - mean(w*rstd*g) - xhat * mean(w*rstd*g*xhat), means over the group."""
        x, weight, bias, mean_row, rest_row, rstd_row, scale = ctx.saved_tensors
        if torch.is_grad_enabled() or batched(grads[0]):  # leave what is unusual to autograd
            return _differentiable_backward(ctx, x, weight, bias, grads[0])
        grad, channels, dx = _rows(grads[0]), x.shape[1], None
        centred = _rows(x) - mean_row[:, None]
        work = grad * centred
        grad_sum = grad.sum(1)
        grad_xhat_sum = work.sum(1).sub_(rest_row * grad_sum).mul_(rstd_row)
        if ctx.needs_input_grad[0]:
            shift = torch.mm(grad_sum * scale, ctx.same).neg_()
            slope = torch.mm(grad_xhat_sum * scale, ctx.same).mul_(rstd_row).neg_()
            shift.sub_(rest_row * slope)
            torch.addcmul(shift[:, None], centred, slope[:, None], out=work)
            torch.addcmul(work, grad, scale[:, None], out=work)
            dx = as_channels_last(work, tuple(x.shape))
        return (
            dx,
            None,
            _per_channel(grad_xhat_sum, channels) if ctx.needs_input_grad[2] else None,
            _per_channel(grad_sum, channels) if ctx.needs_input_grad[3] else None,
            None,
        )


def _differentiable_backward(
    ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, grad: Tensor
) -> tuple[Tensor | None, ...]:
    inputs = {i: t for i, t in ((0, x), (2, weight), (3, bias)) if t is not None}
    wanted = [i for i in inputs if ctx.needs_input_grad[i]]
    with torch.enable_grad():
        y = reference(x, ctx.groups, weight, bias, ctx.eps)
        found = torch.autograd.grad(y, [inputs[i] for i in wanted], grad, create_graph=True)
    by_place = dict(zip(wanted, found, strict=True))
    return tuple(by_place.get(i) for i in range(5))
