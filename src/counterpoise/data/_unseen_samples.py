"""New images and arrays: files as they are found, and arrays in the shape that was trained on."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL.Image import Image
from torch import Tensor

from counterpoise.data._arrays import as_classes
from counterpoise.data._decode import SUFFIXES, Decoder, Encoded, Form, Interpolation, Resize
from counterpoise.data._layout import nfc, walk
from counterpoise.data._npz import read_unlabelled
from counterpoise.text import listed, one_line, printable

_ARRAYS = (".npz", ".npy")
_BLOCK = 4096  # samples that are looked at together


@dataclass
class NewImages:
    """Image files, their contents or images in memory, that are to be decoded.

    Attributes:
        encoded: the images.
        names: of each, by which people find it.
        labels: the name of the folder that says its class; None where none does.
        notes: sentences on what was found.
    """

    encoded: Sequence[Encoded]
    names: tuple[str, ...]
    labels: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def form_of(reading: Mapping[str, Any]) -> Form:
    """Return the form that images had in training.

    Raises:
        ValueError: the reading is none of images.
    """
    shape, resize = reading.get("shape"), reading.get("resize")
    low, high = reading.get("low"), reading.get("high")
    between = reading.get("interpolation", "bilinear")  # left out for it
    wide = low is not None and high is not None
    numbers = isinstance(low, float | int | None) and isinstance(high, float | int | None)
    if (
        not is_shape(shape)
        or len(shape) != 3
        or shape[0] not in (1, 3)
        or resize not in ("crop", "squash", "pad")
        or between not in ("bilinear", "bicubic")
        or not numbers
    ):
        raise ValueError(
            f"reading must be that of data.Splits of images, got shape {shape}, resize "
            f"{resize!r} and interpolation {between!r}; give it as it was kept in training"
        )
    sides = cast("tuple[int, int, int]", tuple(shape))
    values = (low, high) if wide else (math.nan, math.nan)
    return Form(sides, cast(Resize, resize), *values, cast(Interpolation, between))


def is_shape(shape: Any) -> TypeGuard[list[int] | tuple[int, ...]]:
    """Return whether something is the shape of a sample."""
    return isinstance(shape, list | tuple) and all(type(n) is int and n > 0 for n in shape)


def are_images(source: Any) -> bool:
    """Return whether something in memory is an image, or a list of images, contents or paths."""
    every = source if isinstance(source, list | tuple) else [source]
    known = bool(every) and all(isinstance(x, Image | bytes | str | os.PathLike) for x in every)
    return known and not _is_array_file(source)


def find_images(source: Any, class_names: Collection[str]) -> NewImages:
    """Return the images of a folder at any depth, of one file, or of a list.

    Raises:
        ValueError: there is no image.
    """
    if not isinstance(source, str | os.PathLike):
        every = list(source) if isinstance(source, list | tuple) else [source]
        found = [Path(x).expanduser() if isinstance(x, str | os.PathLike) else x for x in every]
        names = [os.fspath(x) if isinstance(x, Path) else f"image {k}" for k, x in enumerate(found)]
        return NewImages(found, tuple(names))
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path, class_names)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise ValueError(
            f"new data must be images, as the model was trained on some: a folder, or a file that "
            f"ends in {', '.join(sorted(SUFFIXES))} or {' or '.join(_ARRAYS)}; got "
            f"{printable(path)}, which is {'none' if path.exists() else 'not there'}"
        )
    return NewImages([path], (nfc(path.name),))


def _in_folder(root: Path, class_names: Collection[str]) -> NewImages:
    links: list[str] = []
    endings: Counter[str] = Counter()
    images: list[Path] = []
    try:
        for path in walk(root, links):
            if path.suffix.lower() in SUFFIXES:
                images.append(path)
            else:
                endings[path.suffix.lower() or path.name] += 1
    except OSError as error:
        raise ValueError(
            f"{printable(root)} must be a folder that can be read, but {printable(error.filename)}:"
            f" {error.strerror}"
        ) from error
    by_number = sorted(endings.items(), key=lambda pair: (-pair[1], pair[0]))
    said = listed(f"{n:,} {printable(ending)}" for ending, n in by_number)
    if not images:
        raise ValueError(
            f"{printable(root)} must hold images ({', '.join(sorted(SUFFIXES))}) at any depth, but "
            f"holds {said or 'no file'}; check that it is the right place"
        )
    images.sort()
    home = os.path.join(root, "")  # pathlib takes ten times as long
    names = [nfc(os.fspath(path).removeprefix(home).replace(os.sep, "/")) for path in images]
    notes = []
    if endings:
        notes.append(f"files that do not end like images: {said}: not read")
    if links:
        notes.append(f"links to folders are not followed: {listed(sorted(links))}")
    labels = _labels(names, class_names, notes)
    return NewImages(images, tuple(names), labels, notes)


def _labels(
    names: Sequence[str], class_names: Collection[str], notes: list[str]
) -> list[str] | None:
    """Return the outermost folder of each image, or else the innermost, if all are classes."""
    every = [name.split("/") for name in names]
    outer, inner = (["" if len(parts) < 2 else parts[k] for parts in every] for k in (0, -2))
    known = {nfc(name): name for name in class_names}
    for level in (outer, inner):
        folders = {folder for folder in level if folder}
        if folders and folders <= known.keys():
            return [known.get(folder, "") for folder in level]
    folders = {folder for folder in outer if folder}
    if some := folders & known.keys():
        notes.append(
            f"folders are not taken for classes, as {listed(map(repr, sorted(folders - some)))} "
            "is none of the model's"
        )
    return None


@contextmanager
def decoding(
    encoded: Sequence[Encoded], form: Form
) -> Iterator[Callable[[int, int], tuple[Tensor, dict[int, str]]]]:
    """Give a function that decodes images first .. end - 1, with the reasons why some are none."""
    with closing(Decoder(encoded, form)) as decoder:

        def block(first: int, end: int) -> tuple[Tensor, dict[int, str]]:
            samples, why = decoder.block(first, end)
            return torch.from_numpy(samples), why

        yield block


class NewArrays:
    """Samples in an array, of the shape that was trained on.

    Args:
        array: the samples, of NumPy or torch.
        reading: `data.Splits.reading` of images or arrays.

    Raises:
        ValueError: the shape is another one, or they are no numbers, or no bytes where training had
            bytes.
    """

    def __init__(self, array: np.ndarray | Tensor, reading: Mapping[str, Any]) -> None:
        shape = reading.get("shape")
        name = "uint8" if reading.get("kind") == "images" else reading.get("dtype")
        dtype = getattr(torch, str(name), None)
        if not is_shape(shape) or not isinstance(dtype, torch.dtype):
            raise ValueError(
                f"reading must be that of data.Splits, got shape {shape} and dtype {name!r}; give "
                "it as it was kept in training"
            )
        self.shape, self.dtype = tuple(shape), dtype
        self.notes: list[str] = []
        self.array = self._with_samples(array)
        kind = self._numpy(self.array[:1]).dtype
        if kind.kind not in "biuf":
            raise ValueError(f"new data must be numbers, got an array of {kind}")
        if not len(self.array):
            raise ValueError("new data must hold samples, but hold none")
        if dtype == torch.uint8 and kind != np.uint8:
            self._check_bytes()
        elif dtype != torch.uint8 and kind == np.uint8:
            self.notes.append(f"bytes taken as numbers from 0 to 255; training had {name}")

    def __len__(self) -> int:
        return len(self.array)

    def block(self, first: int, end: int) -> tuple[Tensor, dict[int, str]]:
        """Return samples first .. end - 1, and why some of them are none, by position."""
        found = self._numpy(self.array[first:end])
        if self.dtype == torch.uint8:
            return torch.from_numpy(found.astype(np.uint8)), {}
        with np.errstate(over="ignore"):
            found = found.astype(np.float64 if self.dtype == torch.float64 else np.float32)
        lost = np.flatnonzero(~np.isfinite(found).reshape(len(found), -1).all(1))
        why = dict.fromkeys(lost.tolist(), "numbers that are NaN or infinite")
        return torch.from_numpy(found).to(self.dtype), why

    def _with_samples(self, array: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """Return the array with a first dimension of samples."""
        for candidate in (array, array[None]):
            if _arranged(tuple(candidate.shape), self.shape) is not None:
                return candidate
        raise ValueError(
            f"new data must be of the shape (N, {', '.join(map(str, self.shape))}) as in training, "
            f"N samples, got {tuple(array.shape)}"
        )

    def _numpy(self, part: np.ndarray | Tensor) -> np.ndarray:
        """Return samples with their channels where training has them, in an array of their own."""
        if isinstance(part, Tensor):
            part = part.detach().cpu()
            part = (part.float() if part.dtype in (torch.bfloat16, torch.float16) else part).numpy()
        order = _arranged(part.shape, self.shape)
        found = np.array(part if order != "last" else np.moveaxis(part, 3, 1), order="C")
        return found.reshape(len(found), *self.shape)

    def _check_bytes(self) -> None:
        for first in range(0, len(self.array), _BLOCK):
            found = self._numpy(self.array[first : first + _BLOCK])
            odd = ~((found >= 0) & (found <= 255) & (found == np.floor(found)))
            if odd.any():
                row = first + int(np.argwhere(odd)[0, 0])
                raise ValueError(
                    "new data must be whole numbers from 0 to 255 as in training, but row "
                    f"{row} has {found[odd].flat[0]:g}; bring them to that scale"
                )


def _arranged(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str | None:
    """Return how samples are arranged; None where they cannot be of the shape that is wanted.

    Images may have their channels last, or none, as `data.load` takes them.
    """
    if shape[1:] == wanted:
        return "same"
    if len(shape) in (1, 3) and (1, *shape[1:]) == wanted:
        return "bare"
    return "last" if len(shape) == 4 and (shape[3], *shape[1:3]) == wanted else None


def read_arrays(source: Any) -> tuple[np.ndarray | Tensor, list[str] | None, list[str]]:
    """Return an array from a file or from memory, its labels if there are any, and notes.

    Raises:
        ValueError: it is none, or cannot be read.
    """
    if isinstance(source, Tensor | np.ndarray):
        return source, None, []
    if not isinstance(source, str | os.PathLike):
        try:
            return np.asarray(source), None, []
        except Exception as error:  # of lists of unequal lengths, of users' classes
            raise ValueError(
                f"new data must be a file, a folder or an array, got a {type(source).__name__}, "
                f"which is none: {one_line(error)}"
            ) from error
    path = Path(source).expanduser()
    if not path.is_file() or path.suffix.lower() not in _ARRAYS:
        raise ValueError(
            f"new data must be arrays ({', '.join(_ARRAYS)}), as the model was trained on some, "
            f"got {printable(path)}, which is {'none' if path.exists() else 'not there'}"
        )
    if path.suffix.lower() == ".npy":
        try:
            return open_memmap(path, mode="r"), None, []
        except Exception as error:  # NumPy's reader raises whatever damage leads to
            raise ValueError(
                f"{printable(path)} must be a plain array, but: {one_line(error)}; write it with "
                "numpy.save"
            ) from error
    inputs, targets, others = read_unlabelled(path)
    notes = [f"other arrays: {listed(others)}: not read"] if others else []
    if targets is None:
        return inputs, None, notes
    try:
        class_names, (index,) = as_classes(targets)
    except ValueError as error:
        return inputs, None, [*notes, f"labels are not read: {error}"]
    if len(index) != len(inputs):
        raise ValueError(
            f"{printable(path)} must hold one label a sample, but holds {len(inputs):,} samples "
            f"and {len(index):,} labels"
        )
    return inputs, [class_names[k] for k in index.tolist()], notes


def _is_array_file(source: Any) -> bool:
    return isinstance(source, str | os.PathLike) and Path(source).suffix.lower() in _ARRAYS
