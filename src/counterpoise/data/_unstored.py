"""Samples of a torch Dataset that are kept nowhere, and read anew whenever they are asked for."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from counterpoise.data._entries import cores, mark, read_pair, reason

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_FEW, _BATCH = 128, 64  # samples at an index that are read without worker processes; at a time


class Unstored:
    """The inputs of a map-style Dataset of pairs, read by worker processes of a DataLoader.

    Args:
        word: what the Dataset is called in messages.
        dataset: the Dataset.
        shape: of all its inputs, (N, ...).
        dtype: of the inputs.
        marks: a digest of each entry (`_entries.mark`), int64 (N), which it must have each time.
        digest: of all of them, as a cache's entry of the same samples has it.
        readers: worker processes, no more than one a core; None for as many.
        change: is applied to each batch.
    """

    def __init__(
        self,
        word: str,
        dataset: Dataset,
        shape: Sequence[int],
        dtype: torch.dtype,
        marks: Tensor,
        digest: str = "",
        readers: int | None = None,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.word, self.dataset, self.marks, self.digest = word, dataset, marks, digest
        self.shape, self.dtype = torch.Size(shape), dtype
        self.device = torch.device("cpu")
        self.readers, self.change = min(readers or cores(), cores()), change

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        if not index.dim():
            return self.index_select(0, index[None])[0]
        return self.index_select(0, index)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the samples at an index, as `torch.Tensor.index_select` along dimension 0."""
        if not len(index):
            return torch.empty((0, *self.shape[1:]), dtype=self.dtype)
        batches = list(index.split(_BATCH)) if len(index) > _FEW else [index]
        found, done = torch.empty(0), 0
        for batch in self.in_batches(batches):
            if not done:  # not a list: it would be in memory twice
                found = batch.new_empty(len(index), *batch.shape[1:])
            found[done : done + len(batch)] = batch
            done += len(batch)
        return found

    def in_batches(self, batches: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the samples at each index, which worker processes read ahead.

        Raises:
            ValueError: an entry cannot be read, or is another one than before.
        """
        workers = min(self.readers, len(batches) - 1)
        loader = DataLoader(
            _Inputs(self.word, self.dataset, self.marks),
            batch_sampler=[index.tolist() for index in batches],
            num_workers=workers,
            # Not a study's own way, a server of processes, of which each would import torch.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            worker_init_fn=_end_with_parent if workers else None,
            collate_fn=torch.stack,
            generator=torch.Generator(),  # its own: draws of the training stay what they are
        )
        try:
            for batch in loader:
                yield batch if self.change is None else self.change(batch)
        except (ValueError, TypeError) as error:
            if "DataLoader worker" not in str(error):
                raise
            raise ValueError(reason(error)) from error

    def changed(self, change: Callable[[Tensor], Tensor]) -> Unstored:
        """Return the same samples, each batch of which a function is applied to."""
        return Unstored(
            self.word,
            self.dataset,
            self.shape,
            self.dtype,
            self.marks,
            self.digest,
            self.readers,
            change,
        )


def _end_with_parent(worker: int) -> None:
    """Let the system end this process at once when its parent is killed; torch would look later."""
    if sys.platform == "linux":
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Inputs(Dataset):
    """The inputs of a Dataset, checked one by one."""

    def __init__(self, word: str, dataset: Dataset, marks: Tensor) -> None:
        self.word, self.dataset, self.marks = word, dataset, marks

    def __getitem__(self, index: int) -> Tensor:
        x, y = read_pair(self.word, self.dataset, index)
        if mark(x, y) != self.marks[index]:
            raise ValueError(
                f"{self.word} must give the same entries each time, but entry {index} is another "
                "one than when the study began; counterpoise compare with the same plan begins anew"
            )
        return cast(Tensor, x)
