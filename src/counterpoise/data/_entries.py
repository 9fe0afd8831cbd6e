"""Entries of torch Datasets: pairs of a tensor and a class."""

from __future__ import annotations

import hashlib
import os

import numpy as np
from torch import Tensor, uint8
from torch.utils.data import Dataset

from counterpoise.data._arrays import as_tensor
from counterpoise.text import one_line
from counterpoise.user_code import raised

_CHANNELS = (1, 3, 4)


def read_pair(word: str, dataset: Dataset, index: int) -> tuple[Tensor, int | float | str]:
    """Return an entry as a tensor, images with their channels first, and a class.

    Raises:
        ValueError: it raises, or is no pair of an input and one class.
        TypeError: its input is of another kind than numbers.
    """
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


def cores() -> int:
    """Return the number of cores that this process may use; torch warns of more workers."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def mark(x: Tensor, y: float | str) -> int:
    """Return a digest of an entry, of 64 bits."""
    found = hashlib.blake2b(f"{x.dtype}{tuple(x.shape)}{y!r}".encode(), digest_size=8)
    found.update(x.contiguous().view(-1).view(uint8).numpy().data)
    return int.from_bytes(found.digest(), "little", signed=True)


def reason(error: Exception) -> str:
    """Return the message of an error in a worker process, which comes with its traceback."""
    return str(error).strip().splitlines()[-1].partition(": ")[2]
