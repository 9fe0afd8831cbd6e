"""2-D convolution (cross-correlation) with zero padding, tap by tap."""

import torch
import torch.nn.functional as F


def conv2d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """y[n, o, h, w] = bias[o] + sum over i, a, b of weight[o, i, a, b] * x[n, i, h + a, w + b]."""
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    kernel_h, kernel_w = weight.shape[2:]
    h, w = x.shape[2] - kernel_h + 1, x.shape[3] - kernel_w + 1
    y = torch.zeros(())
    for a in range(kernel_h):
        for b in range(kernel_w):
            window = x[:, :, a : a + h, b : b + w]
            y = y + torch.einsum("nihw,oi->nohw", window, weight[:, :, a, b])
    return y if bias is None else y + bias[None, :, None, None]
