"""Samples that stay where they are stored, and are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from counterpoise.data._unstored import Unstored
from counterpoise.data.cache import Entry


class Rows:
    """Some rows of a stored tensor, such as images in a file that is mapped into memory.

    `rows[index]` returns the samples at an index as a tensor, and loads no others; `split` and
    `index_select` do the same. Whatever else a tensor can do, and any function of torch or NumPy,
    loads all of them first.

    Args:
        stored: the tensor, samples first; or the samples of a Dataset, which are read anew each
            time (`load(..., cache="never")`).
        index: the positions in it of the rows, int64 (N); None for all of them, in order.
        entry: where in the cache the tensor is stored; None for one that is not.

    Example:
        >>> import torch
        >>> rows = Rows(torch.arange(10).view(5, 2), torch.tensor([4, 0, 2]))
        >>> rows.shape, rows[:2].tolist()
        (torch.Size([3, 2]), [[8, 9], [0, 1]])
    """

    def __init__(
        self, stored: Tensor | Unstored, index: Tensor | None = None, entry: Entry | None = None
    ) -> None:
        self.stored, self.entry = stored, entry
        self.index = torch.arange(len(stored)) if index is None else index
        self.shape = torch.Size((len(self.index), *stored.shape[1:]))
        self.dtype, self.device = stored.dtype, stored.device

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> Tensor:
        if not isinstance(index, tuple):
            return self.stored[self.index[index]]
        first, *rest = index
        samples = self[first]
        return samples[(*([slice(None)] if samples.dim() == self.dim() else []), *rest)]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self[:], name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(lambda x: x[:] if isinstance(x, cls) else x, (args, kwargs or {}))
        return function(*args, **kwargs)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:].numpy(), dtype)

    def __repr__(self) -> str:
        return f"Rows({tuple(self.shape)} {str(self.dtype).removeprefix('torch.')}, read on use)"

    @property
    def unstored(self) -> Unstored | None:
        """The samples of a Dataset that are read anew each time; None where they are stored."""
        return self.stored if isinstance(self.stored, Unstored) else None

    def dim(self) -> int:
        """Return the number of dimensions, the first one included."""
        return len(self.shape)

    def numel(self) -> int:
        """Return the number of values."""
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        """Return whether the values are floating-point numbers."""
        return self.dtype.is_floating_point

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield the samples in blocks of a size, as tensors; the last may be smaller."""
        if self.unstored is not None:
            yield from self.in_batches(torch.arange(len(self)).split(size))
            return
        for first in range(0, len(self), size):
            yield self[first : first + size]

    def in_batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the samples at each index, as `index_select` returns them.

        Those that are read anew each time are read ahead, by worker processes.
        """
        if self.unstored is not None:
            return self.unstored.in_batches([self.index[index] for index in batches])
        return (self.index_select(0, index) for index in batches)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the samples at an index, as `torch.Tensor.index_select` along dimension 0."""
        if dim:
            raise ValueError(f"dim must be 0, along which samples are stored, got {dim}")
        return self.stored.index_select(0, self.index[index])

    def take(self, index: Tensor) -> Rows:
        """Return the rows at an index; nothing is read."""
        return Rows(self.stored, self.index[index], self.entry)
