"""Files of NumPy arrays."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.format import (
    MAGIC_PREFIX,
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)

from counterpoise.data._arrays import as_classes, as_inputs
from counterpoise.data._hold_out import as_splits
from counterpoise.data._options import Options
from counterpoise.data._small_classes import settle_small_classes
from counterpoise.data.memory import check_memory
from counterpoise.data.splits import Split, Splits
from counterpoise.files import open_ordinary
from counterpoise.text import one_line

_INPUTS = ("x", "inputs", "data", "images")
_TARGETS = ("y", "targets", "labels")
_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
_COPIES = 2  # as read, and as splits
_NAMED = 8


def read_npz(path: Path, options: Options) -> Splits:
    """Read inputs and targets, and those of the test split if there are any."""
    options.check("a .npz file")
    with _opened(path) as archive:
        names = _names(archive)
        taken = _pair(names, "") or _pair(names, "train")
        if not taken:
            raise ValueError(
                f"{path} must hold inputs (x, inputs, data or images) and targets (y, targets or "
                "labels), or x_train and y_train and so on, but holds "
                f"{_listing(list(names))}; rename the arrays"
            )
        taken += _pair(names, "test")
        arrays = _read(path, archive, [names[name] for name in taken])
    unread = [name for name in names if name not in taken]
    if unread:
        warnings.warn(f"{path} also holds {_listing(unread)}: not read", stacklevel=3)
    class_names, indices = as_classes(*arrays[1::2])
    splits = [Split(as_inputs(x), index) for x, index in zip(arrays[::2], indices, strict=True)]
    train, *others = splits
    (train, *others), class_names = settle_small_classes(train, others, class_names, options)
    test = others[0] if others else None
    return as_splits(path.stem, str(path), train, test, class_names, options.seed)


def read_unlabelled(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Return inputs, targets if there are any, and the names of other arrays.

    Inputs are called as in `read_npz`, or are the only array beside the targets.

    Raises:
        ValueError: it is no such file, or does not say which array holds the inputs.
    """
    with _opened(path) as archive:
        names = _names(archive)
        y = _find(names, _TARGETS, "")
        others = [name for name in names if name != y]
        x = _find(others, _INPUTS, "") or (others[0] if len(others) == 1 else None)
        if x is None:
            raise ValueError(
                f"{path} must hold inputs as x (or inputs, data, images) or as its only array, but "
                f"holds {_listing(list(names))}; rename the one that is meant"
            )
        arrays = _read(path, archive, [names[name] for name in (x, y) if name is not None])
    return arrays[0], arrays[1] if y is not None else None, [n for n in others if n != x]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive, and turn every error into one line about the file."""
    with open_ordinary(path) as file:
        if file.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX:
            raise _unreadable(path, "it holds a single array without a name")
        with _explained(path):
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise _unreadable(path, "there is not enough memory") from error
    except Exception as error:  # zipfile's and NumPy's readers raise whatever damage leads to
        raise _unreadable(path, one_line(error) or type(error).__name__) from error


def _unreadable(path: Path, why: str) -> ValueError:
    return ValueError(
        f"{path} must be a .npz file of plain arrays, but: {why}; write it with "
        "numpy.savez_compressed(path, x=inputs, y=targets), text as an array of dtype str"
    )


def _names(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files in the archive by the names of their arrays; none is ever unpacked."""
    return {member.filename.removesuffix(".npy"): member for member in archive.infolist()}


def _read(path: Path, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> list[np.ndarray]:
    """Return arrays, once it is sure that they fit into memory; nothing is ever unpickled."""
    with _explained(path):
        size = sum(_size(archive, member) for member in members)
    check_memory(path, _COPIES * size)
    arrays = []
    for member in members:
        with _explained(path), archive.open(member) as file:
            arrays.append(read_array(file, allow_pickle=False))
            file.read(1)  # at the end, where the checksum is compared
    return arrays


def _size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Return how many bytes an array has, which its header and the archive agree upon."""
    with archive.open(member) as file:
        version = read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{member.filename} is of version {version} of the format")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"Object arrays such as {member.filename} would have to be unpickled")
        size = math.prod(shape) * dtype.itemsize
        if size != member.file_size - file.tell() or not dtype.itemsize:
            raise ValueError(
                f"{member.filename} should hold {shape} numbers of {dtype}, but has "
                f"{member.file_size - file.tell()} bytes"
            )
    return size


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return one_line(", ".join(names[:_NAMED]) or "nothing") + more


def _pair(names: Iterable[str], split: str) -> list[str]:
    """Return the keys of a split's inputs and targets, or nothing."""
    found = [_find(names, words, split) for words in (_INPUTS, _TARGETS)]
    return [name for name in found if name is not None] if None not in found else []


def _find(names: Iterable[str], words: tuple[str, ...], split: str) -> str | None:
    wanted = {w for word in words for w in (f"{word}_{split}", f"{split}_{word}")}
    wanted = wanted if split else set(words)
    return next((name for name in names if name.lower() in wanted), None)
