"""Root-mean-square normalization in C: layer normalization without the mean, its `cpu.c`."""

import torch
from torch import Tensor

from counterpoise.kernels.layer_norm.cpu import normalize_rows
from counterpoise.kernels.rms_norm import reference

_EPS = torch.finfo(torch.float32).eps  # torch's default, for bfloat16 too


def rms_norm(
    x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None, eps: float | None
) -> Tensor:
    """RMS normalization in the memory layout of x, for tensors that `_norm.choose` sends here."""
    eps = _EPS if eps is None else eps
    return normalize_rows(x, normalized_shape, weight, None, eps, False, reference.rms_norm)
