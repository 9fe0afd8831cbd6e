"""3x3 convolution of few channels in C (`cpu.c`); `benchmarks/conv2d.py` times it."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from counterpoise.kernels.compiled import address, prototype
from counterpoise.kernels.dispatch import addressable, apply_without_functorch, wants_gradient

_FORWARD = prototype("conv3x3", "pppp" + 6 * "i")
_BACKWARD = prototype("conv3x3_backward", "pppppp" + 6 * "i")
_OUTS, _INS = (4, 8), (1, 4, 8)  # channels that the kernel was written for


def suits(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> bool:
    """Return True for tensors that the kernel takes, where there is one."""
    return (
        _FORWARD is not None
        and all(
            t is None or (t.dtype == torch.float32 and addressable(t)) for t in (x, weight, bias)
        )
        and _shapes_suit(x.shape, weight.shape, None if bias is None else bias.shape, padding)
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
    )


@lru_cache(maxsize=256)  # asked at every call, of few shapes
def _shapes_suit(
    images: torch.Size, kernels: torch.Size, bias: torch.Size | None, padding: tuple[int, int]
) -> bool:
    return (
        len(images) == len(kernels) == 4
        and images.numel() > 0
        and tuple(kernels[2:]) == (3, 3)
        and tuple(padding) == (1, 1)
        and kernels[0] in _OUTS
        and kernels[1] == images[1]
        and kernels[1] in _INS
        and bias in (None, kernels[:1])
    )


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """3x3 convolution with padding 1, for tensors that `suits` accepts."""
    return _apply(x, weight, bias) if wants_gradient(x, weight, bias) else _forward(x, weight, bias)


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    n, c, h, w = x.shape
    o, weight = weight.shape[0], weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    y, threads = _empty(x, o), torch.get_num_threads()
    _FORWARD(address(x), address(weight), address(bias), address(y), n, h, w, c, o, threads)
    return y


class _Conv2d(torch.autograd.Function):
    """y = conv2d(x, weight, bias, padding=1), x channels_last float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return y in channels_last."""
        ctx.save_for_backward(x, weight)
        ctx.sizes = None if bias is None else [weight.shape[0]]
        return _forward(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """All gradients that are wanted in one call."""
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        n, c, h, w = x.shape
        grey = wanted[0] and c not in _OUTS  # a grey image's gradient, which no training asks for
        if torch.is_grad_enabled() or grey or not addressable(grads[0]):  # torch can
            return _torchs(grads[0], x, weight, ctx.sizes, wanted)
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)  # saved tensors' hooks may change it
        o, weight = weight.shape[0], weight.contiguous()
        dx = _empty(x, c) if wanted[0] else None
        dw = weight.new_empty(weight.shape) if wanted[1] else None
        db = weight.new_empty(o) if wanted[2] else None
        addresses = (address(t) for t in (x, weight, grad, dx, dw, db))
        _BACKWARD(*addresses, n, h, w, c, o, torch.get_num_threads())
        return dx, dw, db


_apply = apply_without_functorch(_Conv2d)


def _empty(x: Tensor, channels: int) -> Tensor:
    """As many images as x, of the same size, in channels_last."""
    n, _, h, w = x.shape
    return torch.empty(n, channels, h, w, dtype=x.dtype, memory_format=torch.channels_last)


def _torchs(
    grad: Tensor, x: Tensor, weight: Tensor, sizes: list[int] | None, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    one = (1, 1)
    return torch.ops.aten.convolution_backward.default(
        grad, x, weight, sizes, one, one, one, False, (0, 0), 1, list(wanted)
    )
