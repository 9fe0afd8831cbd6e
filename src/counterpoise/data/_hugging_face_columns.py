"""Columns of a dataset of the library `datasets`: what they are read as, and their cells."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from counterpoise.data._arrays import as_classes
from counterpoise.data._cached_images import Images
from counterpoise.data._datasets import cached
from counterpoise.data._decode import Encoded
from counterpoise.data._layout import stamp
from counterpoise.data._options import Options
from counterpoise.data.cache import Entry
from counterpoise.text import listed, printable

if TYPE_CHECKING:
    from datasets import Dataset

_NUMBERS = re.compile(r"u?int\d+|float\d+")
_NO_CELLS = ("binary", "large_binary", "binary_view", "null")
MOST = 6  # columns that a message names


def kind_of(feature: Any) -> str:
    """Return what a column's type is read as: "image", "array", "cell", or "" for nothing."""
    import datasets

    if isinstance(feature, datasets.Image):
        return "image"
    if isinstance(feature, datasets.ClassLabel):
        return "cell"
    if isinstance(feature, datasets.Value):
        return "" if feature.dtype in _NO_CELLS else "cell"
    return "array" if _NUMBERS.fullmatch(_dtype(feature)) else ""


def _dtype(feature: Any) -> str:
    """Return the type of the numbers in a column of arrays; "" for others."""
    import datasets

    while isinstance(feature, datasets.List | datasets.LargeList):
        feature = feature.feature
    fixed = (datasets.Array2D, datasets.Array3D, datasets.Array4D, datasets.Array5D)
    return feature.dtype if isinstance(feature, (datasets.Value, *fixed)) else ""


def listed_types(features: Mapping[str, Any]) -> str:
    """Write columns and their types out."""
    return listed([f"{n!r} ({type(f).__name__})" for n, f in features.items()], MOST)


def only(dataset: Dataset, column: str, form: str | None = None) -> Dataset:
    """Return a dataset with one of its columns, in a form of `with_format`."""
    return cast("Dataset", dataset.select_columns([column]).with_format(form))


def values_of(dataset: Dataset, column: str) -> list[str | int | float | None]:
    """Return the cells of a column, those of a ClassLabel by name; None where there is none."""
    import datasets

    feature = dataset.features[column]
    cells: Sequence[Any] = only(dataset, column)[:][column]
    if isinstance(feature, datasets.ClassLabel):
        return [feature.names[k] if k is not None and k >= 0 else None for k in cells]
    if kind_of(feature) != "cell":
        raise ValueError(
            f"column {column!r} must hold a number or a word a row, but is of type "
            f"{type(feature).__name__}; name another one"
        )
    return [None if w is None or w != w or w == "" else w for w in cells]


def classes_of(
    feature: Any, words: Mapping[str, list[Any]]
) -> tuple[tuple[str, ...], dict[str, torch.Tensor]]:
    """Return the classes' names, in the order of a ClassLabel, and each split's class indices."""
    import datasets

    known = {split: [w for w in found if w is not None] for split, found in words.items()}
    if not isinstance(feature, datasets.ClassLabel):
        names, indices = as_classes(*known.values())
        return names, dict(zip(known, indices, strict=True))
    used = set(itertools.chain(*known.values()))
    names = tuple(dict.fromkeys(n for n in (*feature.names, *sorted(used)) if n in used))
    if empty := [repr(n) for n in feature.names if n not in used]:
        warnings.warn(
            f"{len(empty):,} of {len(feature.names):,} classes were left out, as there is no "
            f"sample of them: {listed(empty)}",
            stacklevel=5,
        )
    place = {name: k for k, name in enumerate(names)}
    return names, {
        split: torch.tensor([place[w] for w in found], dtype=torch.int64)
        for split, found in known.items()
    }


class _Encoded(Sequence[Encoded]):
    """The images of datasets, one after the other, as their files or what is in them."""

    def __init__(self, columns: Sequence[Dataset], name: str) -> None:
        self.columns, self.name = columns, name
        self.ends = np.cumsum([len(column) for column in columns])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, k: Any) -> Any:
        which = int(np.searchsorted(self.ends, k, "right"))
        row = k - (int(self.ends[which - 1]) if which else 0)
        found = self.columns[which][row][self.name] or {}
        content = found.get("bytes")
        return Path(found["path"]) if content is None and found.get("path") else content or b""


def images_of(
    word: str, named: Mapping[str, Dataset], column: str, names: Sequence[str], options: Options
) -> Entry:
    """Return the cache's entry of a column of images."""
    import datasets

    plain = [
        cast("Dataset", only(d, column).cast_column(column, datasets.Image(decode=False)))
        for d in named.values()
    ]
    stamps = [column]
    for split, dataset in zip(named, plain, strict=True):
        stamps.append(f"{split} {len(dataset)}")
        files = [Path(file["filename"]) for file in dataset.cache_files]
        stamps += [f"{file.name} {stamp(file)}" for file in files] or [dataset._fingerprint]
        for cells in cast(Any, only(dataset, column, "arrow")[:][column]).chunks:
            outside = cells.field("path").filter(cells.field("bytes").is_null())
            stamps += [f"{path} {stamp(Path(path))}" for path in outside.to_pylist() if path]
    source = word if word.startswith("hf:") else str(Path(word).resolve())
    images = Images(_Encoded(plain, column), lambda k: names[k], printable(word), printable(source))
    return images.decoded(stamps, options)


class _Arrays(TorchDataset):
    """The arrays of a column, as pairs of which the class is 0."""

    def __init__(self, column: Dataset, name: str) -> None:
        self.column, self.name = column, name
        self.whole = _dtype(column.features[name]) == "uint8"

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        found = np.asarray(self.column[index][self.name])
        return found.astype(np.uint8) if self.whole else found, 0


def arrays_of(
    word: str, named: Mapping[str, Dataset], column: str, names: Sequence[str], options: Options
) -> Entry:
    """Return the cache's entry of a column of arrays."""
    import datasets

    whole = datasets.concatenate_datasets([only(d, column) for d in named.values()])
    return cached(word, _Arrays(only(whole, column, "numpy"), column), options)
