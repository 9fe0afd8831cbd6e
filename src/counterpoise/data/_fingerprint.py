"""The fingerprint of a data set."""

from __future__ import annotations

import hashlib
import json

import torch

from counterpoise.data.splits import Splits


def fingerprint(data: Splits) -> str:
    """Return the SHA-256 of all that a training depends on: both splits, and the classes' names.

    Shapes, dtypes, values and their order count, and groups where there are any; the data set's
    name and source do not, nor do memory layout and device.

    Args:
        data: The data set.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> from counterpoise.data import digits
        >>> fingerprint(digits()) == fingerprint(digits())
        True
    """
    found = hashlib.sha256(json.dumps(data.class_names).encode())
    for split in (data.train, data.test):
        for tensor in (split.inputs, split.targets, split.groups):
            if tensor is None:  # groups, which decide what validation is split off
                continue
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()
