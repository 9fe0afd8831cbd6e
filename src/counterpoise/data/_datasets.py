"""Torch Datasets, read once into the cache."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from counterpoise.data import cache
from counterpoise.data._arrays import as_classes
from counterpoise.data._entries import cores, mark, read_pair, reason
from counterpoise.data._hold_out import as_splits
from counterpoise.data._layout import SPLIT_OF
from counterpoise.data._options import NEVER, Options
from counterpoise.data._rows import Rows
from counterpoise.data._small_classes import settle_named
from counterpoise.data._unstored import Unstored
from counterpoise.data.splits import Split, Splits

Target = int | float | str

_READ_TWICE = 16  # entries, to find random augmentation
_FEW = 2_000  # entries that are read without worker processes


def datasets_of(found: object) -> dict[str, Dataset] | None:
    """Return the Datasets by the names of their splits; None where it is something else.

    Taken are a Dataset, a pair of them (to train and to test on), and a mapping such as
    {"train": ..., "val": ..., "test": ...}.
    """
    if isinstance(found, Dataset):
        return {"train": found}
    if isinstance(found, tuple | list) and len(found) == 2:
        named: Mapping[str, Any] = dict(zip(("train", "test"), found, strict=True))
    elif isinstance(found, Mapping):
        named = {SPLIT_OF.get(str(name).lower(), ""): value for name, value in found.items()}
    else:
        return None
    fits = "train" in named and "" not in named
    return dict(named) if fits and all(isinstance(d, Dataset) for d in named.values()) else None


def read_datasets(word: str, named: Mapping[str, Dataset], options: Options) -> Splits:
    """Read map-style Datasets of pairs (input, class) into the cache, in worker processes.

    They are read whenever a study begins, as nothing else tells whether they have changed.

    Raises:
        TypeError: a Dataset without random access.
        ValueError: entries that are no such pairs, of several shapes, or others at each reading.
    """
    options.check("torch Datasets", "cache")
    for dataset in named.values():
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"{word} must be a Dataset with a length and entries by number, got "
                f"{type(dataset).__name__}; save its samples into a folder or a .npz file"
            )
    read = unstored if options.cache == NEVER else _cached_rows
    found = {name: read(f"{word} {name}", dataset, options) for name, dataset in named.items()}
    class_names, indices = as_classes(*(np.array(targets) for _, targets in found.values()))
    splits = {
        name: Split(rows, targets)
        for (name, (rows, _)), targets in zip(found.items(), indices, strict=True)
    }
    class_names = _own_names(named["train"], class_names)
    splits, class_names = settle_named(splits, class_names, options)
    data = as_splits(
        word.partition(":")[2], word, splits["train"], splits.get("test"), class_names, options.seed
    )
    return Splits(
        data.name,
        data.train,
        data.test,
        data.class_names,
        data.source,
        (f"{sum(map(len, splits.values())):,} samples of a torch Dataset, {_WHERE[read]}",),
        splits.get("validation"),
    )


def _own_names(dataset: Dataset, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that a Dataset gives its classes, as torchvision's do, or the numbers."""
    own = getattr(dataset, "classes", None)
    numbered = class_names == tuple(map(str, range(len(class_names))))
    fits = isinstance(own, list | tuple) and len(own) == len(class_names)
    return tuple(map(str, cast("list[str]", own))) if fits and numbered else class_names


def cached(word: str, dataset: Dataset, options: Options) -> cache.Entry:
    """Return the cache's entry of a Dataset's inputs; its classes are in `about["targets"]`."""
    blocks = _checked(word, dataset)
    about = {"source": word, "notes": [], "targets": blocks.targets}
    place = cache.folder(options.cache) / f"reading-{secrets.token_hex(8)}"
    entry = cache.fill(place, blocks.shape, blocks.dtype, blocks.read, about, options.on_progress)
    return cache.name_by_content(entry)


def _cached_rows(word: str, dataset: Dataset, options: Options) -> tuple[Rows, list[Target]]:
    entry = cached(word, dataset, options)
    return Rows(entry.samples, None, entry), entry.about["targets"]


def unstored(word: str, dataset: Dataset, options: Options) -> tuple[Rows, list[Target]]:
    """Return a Dataset's inputs as rows that are read anew each time, and its classes.

    It is read through once, for shapes, classes and digests; nothing of it is kept.
    """
    blocks = _checked(word, dataset)
    blocks.marks = []
    digest = cache.digest(blocks.shape, blocks.dtype, blocks.read, options.on_progress)
    marks = torch.tensor(blocks.marks, dtype=torch.int64)
    return Rows(Unstored(word, dataset, blocks.shape, blocks.dtype, marks, digest)), blocks.targets


_WHERE = {
    _cached_rows: "read into the cache",
    unstored: "read anew in each epoch and kept nowhere: copies and pictures that look nearly the "
    "same are not searched for, and the report shows none",
}


def _checked(word: str, dataset: Dataset) -> _Blocks:
    """Return the blocks of a Dataset that has entries, which are the same at each reading."""
    number = len(dataset)  # type: ignore[arg-type]
    if not number:
        raise ValueError(f"{word} must hold samples, but is empty")
    for index in range(0, number, max(1, number // _READ_TWICE)):
        one, again = (mark(*read_pair(word, dataset, index)) for _ in range(2))
        if one != again:
            raise ValueError(
                f"{word} must be the same at each reading, but its entry {index} is another one "
                "each time: leave the random augmentation out of the Dataset, and give it as "
                "training.augment"
            )
    return _Blocks(word, dataset)


class _Blocks:
    """The blocks of a Dataset, in order."""

    def __init__(self, word: str, dataset: Dataset) -> None:
        self.word, self.dataset = word, dataset
        self.first = read_pair(word, dataset, 0)[0]
        self.shape, self.dtype = (len(self), *self.first.shape), self.first.dtype
        self.targets: list[Target] = []
        self.marks: list[int] | None = None  # a list to gather them, and refuse what is not finite
        self.pairs: Iterator[tuple[Tensor, Target]] | None = None

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        return read_pair(self.word, self.dataset, index)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def read(self, first: int, end: int) -> cache.Block:
        """Return samples first .. end - 1 as bytes."""
        if self.pairs is None:
            workers = cores() if len(self) > _FEW else 0
            self.pairs = iter(DataLoader(cast(Dataset, self), batch_size=None, num_workers=workers))
        samples = torch.empty((end - first, *self.shape[1:]), dtype=self.dtype)
        for k in range(end - first):
            try:
                x, y = next(self.pairs)
            except Exception as error:  # a worker's comes with its traceback
                raise ValueError(reason(error)) from error
            if x.shape != self.first.shape or x.dtype != self.first.dtype:
                raise ValueError(
                    f"{self.word} must hold inputs of one shape and dtype, but entry {first + k} "
                    f"is {tuple(x.shape)} {x.dtype} and the first {tuple(self.first.shape)} "
                    f"{self.first.dtype}; bring them into one form"
                )
            samples[k] = x
            self.targets.append(y.item() if isinstance(y, Tensor) else y)
            if self.marks is not None:
                self.marks.append(mark(x, self.targets[-1]))
                if x.is_floating_point() and not x.isfinite().all():
                    raise ValueError(
                        f"{self.word} must hold inputs that are finite, but entry {first + k} has "
                        "a NaN or infinity; fill or remove it"
                    )
        return samples.view(-1).view(torch.uint8).numpy(), {}
