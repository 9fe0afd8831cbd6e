"""Nested inputs and outputs of nets: tensors within tuples, lists and dicts."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def call(net: nn.Module, inputs: object) -> object:
    """Call a net on one tensor, on a tuple of arguments or on a dict of named ones."""
    if isinstance(inputs, tuple | list):
        return net(*inputs)
    return net(**inputs) if isinstance(inputs, dict) else net(inputs)


def tensors(value: object) -> Iterator[Tensor]:
    """Iterate over all dense tensors in order."""
    if isinstance(value, Tensor):
        if value.layout is torch.strided and not value.is_nested:
            yield value
        return
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def first_floating(value: object) -> Tensor | None:
    """Return the first dense floating-point tensor, None if there is none."""
    return next((t for t in tensors(value) if t.is_floating_point()), None)


def map_tensors(value: object, change: Callable[[Tensor], Tensor]) -> object:
    """Return a copy of the nested structure with `change` applied to every tensor."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(item, change) for item in value)
    return value


def detach(value: object) -> object:
    """Detach every tensor from its graph."""
    return map_tensors(value, Tensor.detach)


def scale_images(value: Any) -> Any:
    """Scale uint8 images to float32 in 0 .. 1, as `train.fit` does; other tensors stay."""
    return map_tensors(value, lambda t: t.float() / 255 if t.dtype == torch.uint8 else t)


def to_float64(value: object) -> object:
    """Convert floating-point tensors to float64; integers stay."""
    return map_tensors(value, lambda t: t.double() if t.is_floating_point() else t)


def count_samples(inputs: object, batch_dim: int) -> int:
    """Return the length of the first tensor along `batch_dim`; 0 if it has no such dimension."""
    first = next(tensors(inputs), None)
    return first.shape[batch_dim] if first is not None and first.dim() > batch_dim else 0


def sample_dim(x: Tensor, batch_dim: int, samples: int) -> int:
    """Return the dimension of `x` that counts the samples.

    It is `batch_dim` if its length is `samples`, else the first of that length, else 0.
    """
    fits = [d for d in (batch_dim, *range(x.dim())) if d < x.dim() and x.shape[d] == samples]
    return fits[0] if fits else 0
