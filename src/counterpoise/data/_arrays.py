"""Arrays of any kind, turned into the tensors that a `Split` holds."""

from __future__ import annotations

import re

import numpy as np
import torch

from counterpoise.text import one_line

_CHANNELS = (1, 3, 4)
_WHOLE = re.compile(r"-?\d+")


def as_inputs(values: object) -> torch.Tensor:
    """Return samples as float32 vectors (N, F) or as images (N, C, H, W), uint8 or float32.

    Three axes are grey images; channels that come last, as in image files, are moved forward.
    """
    array = _as_array(values)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise ValueError(
            f"inputs must be numbers with a sample dimension, got {array.dtype} of {array.shape}; "
            "pass an array (N, features) or (N, channels, height, width)"
        )
    if array.dtype != np.uint8 or array.ndim < 3:
        with np.errstate(over="ignore"):  # reported in the next line
            array = array.astype(np.float32)
        _check_finite(array)
    if array.ndim in (1, 3):
        array = array[:, None]
    if array.ndim == 4 and array.shape[3] in _CHANNELS and array.shape[1] not in _CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array))


def as_tensor(inputs: object, name: str) -> torch.Tensor:
    """Return inputs as a tensor, those of an array's float64 in float32."""
    if isinstance(inputs, torch.Tensor):
        return inputs
    array = np.asarray(inputs)
    if not isinstance(inputs, np.ndarray | list | tuple | np.number | float) or (
        array.dtype.kind not in "biuf"
    ):
        raise TypeError(
            f"{name} must hold inputs that are tensors or arrays of numbers, but got a "
            f"{type(inputs).__name__}; convert them, images say with torchvision's ToTensor"
        )
    return torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.float32))


def as_classes(*labels: object) -> tuple[tuple[str, ...], list[torch.Tensor]]:
    """Return the names of the classes that occur, in order, and for each split its class indices.

    Whole numbers, written out or not, are sorted by value, all else as text.
    """
    splits = [_as_labels(split) for split in labels]
    found, index = np.unique(np.concatenate(splits), return_inverse=True)
    names = [str(name) for name in found.tolist()]
    order = list(range(len(names)))
    if all(_WHOLE.fullmatch(name) for name in names):
        order.sort(key=lambda k: (int(names[k]), names[k]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    indices = torch.from_numpy(rank[index]).split([len(split) for split in splits])
    return tuple(names[k] for k in order), list(indices)


def _as_labels(labels: object) -> np.ndarray:
    array = _as_array(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "iuf":
        array = _as_whole(array)
    if array.dtype.kind not in "biuU" or array.ndim != 1:
        raise ValueError(
            f"targets must be one whole number or text per sample, got {array.dtype} of "
            f"{array.shape}; pass class indices or class names of shape (N,)"
        )
    return array


def _as_whole(numbers: np.ndarray) -> np.ndarray:
    """Return numbers as int64, in which each of them is whole and itself."""
    kind = numbers.dtype.kind
    odd = numbers != np.floor(numbers) if kind == "f" else np.zeros(numbers.shape, bool)
    if kind != "i":
        odd |= ~((numbers >= -(2.0**63)) & (numbers < 2.0**63))  # NaN and infinities as well
    if odd.any():
        raise ValueError(
            f"targets must be one whole number or text per sample, got {numbers.dtype} with "
            f"{numbers[odd].flat[0]}; pass class indices or class names, each within 64 bits"
        )
    return numbers.astype(np.int64)


def _as_array(values: object) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except Exception as error:  # of lists of unequal lengths, of sparse tensors, of users' classes
        raise ValueError(
            f"inputs and targets must be arrays, got {type(values).__name__}, which is none: "
            f"{one_line(error)}; pass NumPy arrays"
        ) from error
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        return array.astype(str)
    return array


def _check_finite(array: np.ndarray) -> None:
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(
            f"inputs must be finite in float32, got {bad} of {array.size} numbers that are NaN or "
            "infinite; fill or remove them"
        )
