"""Files of NumPy arrays."""

from __future__ import annotations

import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.data._arrays import as_classes, as_inputs
from counterpoise.data._part import Data, Part
from counterpoise.data._split import as_data

_INPUTS = ("x", "inputs", "data", "images")
_TARGETS = ("y", "targets", "labels")


def read_npz(path: Path, seed: int) -> Data:
    """Read inputs and targets, and those of the test part if there are any."""
    arrays = _open(path)
    taken: list[str] = []
    inputs, targets = (_pair(arrays, "", taken) or _pair(arrays, "train", taken)) or (None, None)
    if inputs is None or targets is None:
        raise ValueError(
            f"{path} must hold inputs (x, inputs, data or images) and targets (y, targets or "
            "labels), or x_train and y_train and so on, but holds "
            f"{', '.join(arrays) or 'nothing'}; rename the arrays"
        )
    test = _pair(arrays, "test", taken)
    unread = [name for name in arrays if name not in taken]
    if unread:
        warnings.warn(f"{path} also holds {', '.join(unread)}: not read", stacklevel=3)
    pairs = [(inputs, targets), *([test] if test else [])]
    class_names, indices = as_classes(*(y for _, y in pairs))
    parts = [Part(as_inputs(x), index) for (x, _), index in zip(pairs, indices, strict=True)]
    held_out = parts[1] if test else None
    return as_data(path.stem, str(path), parts[0], held_out, class_names, seed)


def _open(path: Path) -> dict[str, Any]:
    """Return the arrays by name; nothing is ever unpickled."""
    try:
        with path.open("rb") as raw:
            file = np.load(raw, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it holds a single array without a name")
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a .npz file of plain arrays, but: {error}; write it with "
            "numpy.savez_compressed(path, x=inputs, y=targets), text as an array of dtype str"
        ) from error


def _pair(arrays: dict[str, Any], part: str, taken: list[str]) -> tuple[Any, Any] | None:
    """Return inputs and targets of a part, under any of their names, and note which these were."""
    x, y = (_find(arrays, words, part) for words in (_INPUTS, _TARGETS))
    if x is None or y is None:
        return None
    taken += [x, y]
    return arrays[x], arrays[y]


def _find(arrays: dict[str, Any], words: tuple[str, ...], part: str) -> str | None:
    wanted = {w for word in words for w in (f"{word}_{part}", f"{part}_{word}")}
    wanted = wanted if part else set(words)
    return next((name for name in arrays if name.lower() in wanted), None)
