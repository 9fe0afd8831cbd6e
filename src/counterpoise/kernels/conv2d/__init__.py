"""2-D convolution: torch's, and on a CPU our own 3x3 one for nets of 1 to 8 channels."""

from collections.abc import Callable

from torch import Tensor

from counterpoise.kernels.conv2d import cpu, eager
from counterpoise.kernels.dispatch import plain_eager


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """Convolution of stride 1."""
    function, _ = choose(x, weight, bias, padding)
    return function(x, weight, bias, padding)


def choose(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
) -> tuple[Callable[..., Tensor], str]:
    """Return the implementation for these tensors, and the reason."""
    if not plain_eager():
        return eager.conv2d, "torch.compile, torch.func, traces and the like need torch's operators"
    if not cpu.suits(x, weight, bias, padding):
        return eager.conv2d, "ours takes 3x3 kernels of few channels, float32 in channels_last"
    return cpu.conv2d, "ours in C for few channels"
