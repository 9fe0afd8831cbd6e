"""Torch Datasets, read once into the cache."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from counterpoise.data import cache
from counterpoise.data._arrays import as_classes
from counterpoise.data._as_split import as_tensor
from counterpoise.data._hold_out import as_splits
from counterpoise.data._layout import SPLIT_OF
from counterpoise.data._options import Options
from counterpoise.data._rows import Rows
from counterpoise.data._small_classes import settle_named
from counterpoise.data.splits import Split, Splits
from counterpoise.text import one_line
from counterpoise.user_code import raised

_CHANNELS = (1, 3, 4)
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
    options.check("torch Datasets")
    for dataset in named.values():
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"{word} must be a Dataset with a length and entries by number, got "
                f"{type(dataset).__name__}; save its samples into a folder or a .npz file"
            )
    found = {name: cached(f"{word} {name}", dataset, options) for name, dataset in named.items()}
    class_names, indices = as_classes(*(np.array(e.about["targets"]) for e in found.values()))
    splits = {
        name: Split(Rows(entry.samples, None, entry), targets)
        for (name, entry), targets in zip(found.items(), indices, strict=True)
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
        (f"{sum(map(len, splits.values())):,} samples of a torch Dataset, read into the cache",),
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
    number = len(dataset)  # type: ignore[arg-type]
    if not number:
        raise ValueError(f"{word} must hold samples, but is empty")
    first = _pair(word, dataset, 0)[0]
    for index in range(0, number, max(1, number // _READ_TWICE)):
        one, again = (_pair(word, dataset, index)[0] for _ in range(2))
        if not torch.equal(one, again):
            raise ValueError(
                f"{word} is read once, but its entry {index} is another one each time: leave the "
                "random augmentation out of the Dataset, and give it as training.augment"
            )
    targets: list[int | float | str] = []
    about = {"source": word, "notes": [], "targets": targets}
    blocks = _Blocks(word, dataset, first, targets)
    place = cache.folder(options.cache) / f"reading-{secrets.token_hex(8)}"
    shape = (number, *first.shape)
    entry = cache.fill(place, shape, first.dtype, blocks.read, about, options.on_progress)
    return cache.name_by_content(entry)


def _pair(word: str, dataset: Dataset, index: int) -> tuple[Tensor, int | float | str]:
    """Return an entry as a tensor and a class."""
    try:
        entry = dataset[index]
    except Exception as error:
        raise ValueError(
            f"{word} must give its entry {index}, but raised {one_line(raised(error))}; correct it"
        ) from error
    if not isinstance(entry, tuple | list) or len(entry) != 2:
        raise ValueError(
            f"{word} must hold pairs (input, class), but entry {index} is a {type(entry).__name__}"
        )
    target = entry[1]
    if isinstance(target, Tensor | np.ndarray | np.generic):
        if (target.numel() if isinstance(target, Tensor) else target.size) != 1:
            raise ValueError(
                f"{word} must hold one class a sample, but that of entry {index} is of shape "
                f"{tuple(target.shape)}; of one-hot targets give the position of the 1"
            )
        target = target.item()
    if not isinstance(target, int | str | float) or target != target:
        raise ValueError(
            f"{word} must hold classes that are numbers or names, but that of entry {index} is "
            f"{one_line(target)}, a {type(target).__name__}"
        )
    return _image(as_tensor(entry[0], word)), target


def _image(x: Tensor) -> Tensor:
    """Return an image with its channels first, as they are in arrays (`as_inputs`)."""
    if x.dim() == 2:
        return x[None]
    if x.dim() == 3 and x.shape[2] in _CHANNELS and x.shape[0] not in _CHANNELS:
        return x.permute(2, 0, 1)
    return x


class _Blocks:
    """The blocks of a Dataset, in order."""

    def __init__(
        self, word: str, dataset: Dataset, first: Tensor, targets: list[int | float | str]
    ) -> None:
        self.word, self.dataset, self.first, self.targets = word, dataset, first, targets
        self.pairs: Iterator[tuple[Tensor, int | float | str]] | None = None

    def __getitem__(self, index: int) -> tuple[Tensor, int | float | str]:
        return _pair(self.word, self.dataset, index)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def read(self, first: int, end: int) -> cache.Block:
        """Return samples first .. end - 1 as bytes."""
        if self.pairs is None:
            workers = (os.cpu_count() or 1) if len(self) > _FEW else 0
            self.pairs = iter(DataLoader(cast(Dataset, self), batch_size=None, num_workers=workers))
        samples = torch.empty((end - first, *self.first.shape), dtype=self.first.dtype)
        for k in range(end - first):
            try:
                x, y = next(self.pairs)
            except Exception as error:  # a worker's comes with its traceback
                raise ValueError(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
            if x.shape != self.first.shape or x.dtype != self.first.dtype:
                raise ValueError(
                    f"{self.word} must hold inputs of one shape and dtype, but entry {first + k} "
                    f"is {tuple(x.shape)} {x.dtype} and the first {tuple(self.first.shape)} "
                    f"{self.first.dtype}; bring them into one form"
                )
            samples[k] = x
            self.targets.append(y.item() if isinstance(y, Tensor) else y)
        return samples.view(-1).view(torch.uint8).numpy(), {}
