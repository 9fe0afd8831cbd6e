"""Convolution with few output channels, several pixels of a line at a time.

A vector register holds 16 floats; a convolution of 4 channels leaves 12 of them idle. So `P`
neighbouring pixels are computed together: as P*O output channels of a convolution that moves P
pixels a step, its kernel P - 1 taps wider, holding the small kernel P times, shifted by a pixel
each. In `channels_last` memory the P*O channels of a step *are* the O channels of its P pixels, so
the result needs no copy. The added taps are zeros: for 4 channels and 3 taps twice the products,
on four times the lanes. It is for where the kernel in C was not compiled, or does not suit.

`benchmarks/conv2d.py` times it beside torch's: a single call gains or loses up to a third by its
size and the state of the caches, while in the whole steps of the sheet's plain nets, before there
was a kernel in C, torch's convolutions cost half as much again.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels._eager import batched

_LANES = 16


def pixels_folded(channels: int, width: int) -> int:
    """How many pixels share a register: 4, 2 or 1, which means none.

    They divide the width, and leave two steps a line at least: for one step and one input channel
    torch 2.13 returns memory that nobody wrote.
    """
    fitting = [p for p in (4, 2) if p * channels <= _LANES and width % p == 0 and width > p]
    return fitting[0] if fitting else 1


def _wide(weight: Tensor, pixels: int, flipped: bool = False) -> Tensor:
    """The (P*O, I, kh, kw + P - 1) weight in channels_last: the small one P times, shifted.

    Of the flipped weight of the input's gradient, if asked, whose O and I change places.
    """
    o, i, kh, kw = weight.shape
    o, i = (i, o) if flipped else (o, i)
    taps, places = kw + pixels - 1, _places(weight.shape, pixels, flipped)
    wide = torch.cat((weight.reshape(-1), weight.new_zeros(1))).index_select(0, places)
    return wide.as_strided((pixels * o, i, kh, taps), (kh * taps * i, 1, taps * i, i))


@lru_cache(maxsize=256)
def _places(shape: torch.Size, pixels: int, flipped: bool) -> Tensor:
    """For each entry of the wide weight, in its memory's order, which one it is of the small."""
    place = torch.arange(shape.numel(), device="cpu").reshape(shape)
    if flipped:
        place = place.flip(2, 3).transpose(0, 1)
    o, i, kh, kw = place.shape
    places = torch.full(
        (pixels, o, kh, kw + pixels - 1, i), shape.numel(), device="cpu"
    )  # the added zero
    for p in range(pixels):
        places[p, :, :, p : p + kw] = place.permute(0, 2, 3, 1)
    return places.reshape(-1)


def _shifted(wide: Tensor, weight: Tensor, pixels: int) -> Tensor:
    """The entries of a wide weight that are the small one's, (P, O, I, kh, kw)."""
    a, b, c, d = wide.stride()
    o, *rest = weight.shape
    return wide.as_strided((pixels, o, *rest), (o * a + d, a, b, c, d))


def _unfolded(y: Tensor, n: int, c: int, h: int, w: int) -> Tensor:
    """The same memory as (N, C, H, W).

    An in-place ReLU is what people put behind a conv, and a view made inside an autograd function
    may not be changed in place: `data` is none.
    """
    return y.as_strided((n, c, h, w), (c * h * w, 1, w * c, c)).data


def folded_conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
) -> Tensor:
    """The convolution alone, where no gradient is asked for."""
    pixels = pixels_folded(weight.shape[0], x.shape[3])
    return _folded(x, _wide(weight, pixels), bias, padding, pixels)


class FoldedConv2d(torch.autograd.Function):
    """y = conv2d(x, weight, bias, padding=padding), "same" padding, x channels_last float32."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
    ) -> Tensor:
        """Return y in channels_last."""
        pixels = pixels_folded(weight.shape[0], x.shape[3])
        wide = _wide(weight, pixels)
        ctx.save_for_backward(x, weight, wide)
        ctx.padding, ctx.pixels, ctx.has_bias = padding, pixels, bias is not None
        return _folded(x, wide, bias, padding, pixels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The input's gradient is again a folded convolution, of the grad with the flipped taps."""
        x, weight, wide = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or batched(grads[0]):  # unusual: torch knows how
            sizes = [weight.shape[0]] if ctx.has_bias else None
            mask = [need_x, need_weight, need_bias]
            return *_torch_backward(grads[0], x, weight, sizes, ctx.padding, 1, mask), None
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        return (
            _grad_x(grad, x, weight, ctx.padding) if need_x else None,
            _grad_weight(grad, x, weight, wide, ctx.padding, ctx.pixels) if need_weight else None,
            grad.sum((0, 2, 3)) if need_bias else None,
            None,
        )


def _folded(
    x: Tensor, wide: Tensor, bias: Tensor | None, padding: tuple[int, int], pixels: int
) -> Tensor:
    n, _, h, w = x.shape
    wide_bias = None if bias is None else torch.cat([bias] * pixels)
    y = torch.conv2d(x, wide, wide_bias, (1, pixels), padding)
    y = y.contiguous(memory_format=torch.channels_last)  # as every build we know returns it
    return _unfolded(y, n, wide.shape[0] // pixels, h, w)


def _torch_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    sizes: list[int] | None,
    padding: tuple[int, int],
    step: int,
    mask: list[bool],
) -> Any:
    return torch.ops.aten.convolution_backward.default(
        grad, x, weight, sizes, (1, step), padding, (1, 1), False, (0, 0), 1, mask
    )


def _grad_x(grad: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    pixels = pixels_folded(x.shape[1], x.shape[3])
    if pixels == 1:
        return _torch_backward(grad, x, weight, None, padding, 1, [True, False, False])[0]
    return _folded(grad, _wide(weight, pixels, flipped=True), None, padding, pixels)


def _grad_weight(
    grad: Tensor, x: Tensor, weight: Tensor, wide: Tensor, padding: tuple[int, int], pixels: int
) -> Tensor:
    n, o, h, w = grad.shape
    folded = grad.as_strided((n, o * pixels, h, w // pixels), (o * h * w, 1, w * o, pixels * o))
    dwide = _torch_backward(folded, x, wide, None, padding, pixels, [False, True, False])[1]
    return _shifted(dwide, weight, pixels).sum(0)
