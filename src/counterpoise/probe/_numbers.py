"""The few numbers that are kept of a tensor; all sums in float64."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


def first_floats(value: Any) -> Tensor | None:
    """Find the first floating tensor in what a module takes or gives: tensor, tuple or dict."""
    return next((tensor for tensor in tensors(value) if tensor.is_floating_point()), None)


def tensors(value: Any) -> Iterable[Tensor]:
    """All dense tensors within nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        if value.layout is torch.strided and not value.is_nested:
            yield value
        return
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return
    for part in value:
        yield from tensors(part)


def sample_dim(x: Tensor, dim: int, samples: int | None) -> int:
    """The dimension of `x` that counts the samples: `dim` if its length says so, else a fit."""
    fits = [d for d in (dim, *range(x.dim())) if d < x.dim() and x.shape[d] == samples]
    return fits[0] if fits else 0


def moments(x: Tensor, dim: int) -> tuple[float, float]:
    """Return sqrt(mean x²) and sqrt(mean over the rest of the variance along `dim`)."""
    x, scale = _scaled(x)
    spread = x.var(dim, correction=0).mean().sqrt().item()
    return x.square().mean().sqrt().item() * scale, spread * scale


def zero_share(x: Tensor, unit_dim: int) -> float:
    """The share of the units (entries along `unit_dim`) that are 0 wherever else one looks."""
    alive = (x.detach() != 0).movedim(unit_dim, 0).flatten(1).any(1)
    return 1.0 - alive.double().mean().item()


def length(parts: Iterable[Tensor]) -> float:
    """The L2 norm of all the tensors together."""
    norms = []
    for part in parts:
        x, scale = _scaled(part)
        norms.append(torch.linalg.vector_norm(x).item() * scale)
    return math.hypot(*norms)


def _scaled(x: Tensor) -> tuple[Tensor, float]:
    """Return `x` in float64, and a scale taken out of it where squares would leave the range."""
    x = x.detach()
    if x.is_sparse:
        x = x.coalesce().values()
    if x.is_complex():
        x = torch.view_as_real(x)
    x = x.to(torch.float32 if x.device.type == "mps" else torch.float64)  # MPS has no float64
    low, high = (1e-15, 1e15) if x.dtype is torch.float32 else (1e-140, 1e140)
    scale = torch.linalg.vector_norm(x, torch.inf).item() if x.numel() else 0.0
    usual = low < scale < high or not 0 < scale < math.inf
    return (x, 1.0) if usual else (x / scale, scale)
