"""The fingerprint of a data set."""

from __future__ import annotations

import hashlib
import json

import torch

from counterpoise.data._rows import Rows
from counterpoise.data.cache import Entry
from counterpoise.data.splits import Splits


def fingerprint(data: Splits) -> str:
    """Return the SHA-256 of all that a training depends on: splits, classes, columns.

    Shapes, dtypes, values and their order count, and groups where there are any; the data set's
    name and source do not, nor do memory layout and device. Of samples in the cache the digest of
    their entry counts, and the same one of samples that are read anew each time.

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
    for split in data.named().values():
        inputs = split.inputs
        kept = (inputs.entry or inputs.unstored) if isinstance(inputs, Rows) else None
        if isinstance(inputs, Rows) and kept is not None:
            # Of what was computed, what it was computed of: other machines round otherwise.
            of = kept.about.get("of") if isinstance(kept, Entry) else None
            found.update(f"{of or kept.digest}{tuple(inputs.shape)}".encode())
            _add(found, inputs.index)
        else:
            _add(found, inputs[:])
        _add(found, split.targets)
        if split.groups is not None:  # which decide what validation is split off
            _add(found, split.groups)
    for column in data.columns or ():
        found.update(json.dumps([column.name, column.kind, column.values]).encode())
    return found.hexdigest()


def _add(found: hashlib._Hash, tensor: torch.Tensor) -> None:
    found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().flatten()
    found.update(flat.view(torch.uint8).numpy().data)
