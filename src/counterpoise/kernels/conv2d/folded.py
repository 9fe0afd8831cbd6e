"""Convolution with few output channels, several pixels of a line at a time.

A vector register holds 16 floats; a convolution of 4 channels leaves 12 of them idle. So `P`
neighbouring pixels are computed together: as P*O output channels of a convolution that moves P
pixels a step, its kernel P - 1 taps wider, holding the small kernel P times, shifted by a pixel
each. In `channels_last` memory the P*O channels of a step *are* the O channels of its P pixels, so
the result needs no copy. The added taps are zeros: for 4 channels and 3 taps twice the products,
on four times the lanes. `benchmarks/conv2d.py` times it beside torch's: a single call gains or
loses up to a third by its size and the state of the caches, so `benchmarks/sheet.py` decides.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._eager import as_channels_last

_LANES = 16


def pixels_folded(channels: int, width: int) -> int:
    """How many pixels share a register: 4, 2 or 1, which means none.

    They divide the width, and leave two steps a line at least: for one step and one input channel
    torch 2.13 returns memory that nobody wrote.
    """
    fitting = [p for p in (4, 2) if p * channels <= _LANES and width % p == 0 and width > p]
    return fitting[0] if fitting else 1


@lru_cache(maxsize=64)
def _widening(shape: tuple[int, ...], pixels: int, flipped: bool) -> Tensor:
    """Where each entry of the wide weight, in (P, O, kh, kw + P - 1, I) order, comes from.

    Entries are places in the flat small weight; one place behind its end stands for zero. Flipped
    is the weight of the gradient with respect to the input: I and O swapped, taps reversed.
    """
    places = torch.arange(torch.Size(shape).numel()).view(shape)
    if flipped:
        places = places.flip(2, 3).transpose(0, 1)
    o, i, kh, kw = places.shape
    wide = torch.full((pixels, o, kh, kw + pixels - 1, i), places.numel())
    for p in range(pixels):
        wide[p, :, :, p : p + kw] = places.permute(0, 2, 3, 1)
    return wide.flatten()


@lru_cache(maxsize=64)
def _narrowing(shape: tuple[int, ...], pixels: int) -> Tensor:
    """The P places of the wide weight's gradient that add up to each entry of the small one's."""
    o, i, kh, kw = shape
    places = torch.arange(pixels * o * kh * (kw + pixels - 1) * i).view(pixels, o, kh, -1, i)
    shifted = [places[p, :, :, p : p + kw].permute(0, 3, 1, 2) for p in range(pixels)]
    return torch.stack(shifted).flatten()


def _wide(flat: Tensor, shape: tuple[int, ...], pixels: int, flipped: bool) -> Tensor:
    o, i, kh, kw = shape if not flipped else (shape[1], shape[0], *shape[2:])
    wide = flat.index_select(0, _widening(shape, pixels, flipped))
    return as_channels_last(wide, (pixels * o, i, kh, kw + pixels - 1))


class FoldedConv2d(torch.autograd.Function):
    """y = conv2d(x, weight, bias, padding=padding), "same" padding, x channels_last float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
    ) -> Tensor:
        """Return y in channels_last."""
        n, _, h, w = x.shape
        shape, pixels = tuple(weight.shape), pixels_folded(weight.shape[0], w)
        flat = torch.cat((weight.reshape(-1), weight.new_zeros(1)))
        wide = _wide(flat, shape, pixels, flipped=False)
        wide_bias = None if bias is None else bias.expand(pixels, -1).reshape(-1)
        y = torch.conv2d(x, wide, wide_bias, (1, pixels), padding)
        ctx.save_for_backward(x, weight, flat, wide)
        ctx.padding, ctx.pixels, ctx.has_bias = padding, pixels, bias is not None
        return as_channels_last(y, (n, shape[0], h, w))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The input's gradient is again a folded convolution, of the grad with the flipped taps."""
        x, weight, flat, wide = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # somebody differentiates the gradient: torch knows how
            sizes = [weight.shape[0]] if ctx.has_bias else None
            mask = [need_x, need_weight, need_bias]
            return *_torch_backward(grads[0], x, weight, sizes, ctx.padding, 1, mask), None
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        return (
            _grad_x(grad, x, weight, flat, ctx.padding) if need_x else None,
            _grad_weight(grad, x, weight, wide, ctx.padding, ctx.pixels) if need_weight else None,
            _grad_bias(grad) if need_bias else None,
            None,
        )


def _torch_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    sizes: list[int] | None,
    padding: tuple[int, int],
    step: int,
    mask: list[bool],
) -> Any:
    return torch.ops.aten.convolution_backward(
        grad, x, weight, sizes, (1, step), padding, (1, 1), False, (0, 0), 1, mask
    )


def _grad_x(
    grad: Tensor, x: Tensor, weight: Tensor, flat: Tensor, padding: tuple[int, int]
) -> Tensor:
    pixels = pixels_folded(x.shape[1], x.shape[3])
    if pixels == 1:
        return _torch_backward(grad, x, weight, None, padding, 1, [True, False, False])[0]
    wide = _wide(flat, tuple(weight.shape), pixels, flipped=True)
    dx = torch.conv2d(grad, wide, None, (1, pixels), padding)
    return as_channels_last(dx, tuple(x.shape))


def _grad_weight(
    grad: Tensor, x: Tensor, weight: Tensor, wide: Tensor, padding: tuple[int, int], pixels: int
) -> Tensor:
    n, o, h, w = grad.shape
    folded = as_channels_last(grad, (n, o * pixels, h, w // pixels))
    mask = [False, True, False]
    dwide = _torch_backward(folded, x, wide, None, padding, pixels, mask)[1]
    flat = dwide.permute(0, 2, 3, 1).reshape(-1)
    parts = flat.index_select(0, _narrowing(tuple(weight.shape), pixels))
    return parts.view(pixels, -1).sum(0).view(weight.shape)


def _grad_bias(grad: Tensor) -> Tensor:
    n, o, h, w = grad.shape
    # lines first: a sum over them vectorises well, one over the pixels of 4 channels does not
    return grad.permute(0, 2, 3, 1).reshape(n * h, w * o).sum(0).view(w, o).sum(0)
