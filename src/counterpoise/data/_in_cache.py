"""Samples in memory, put into the cache."""

from __future__ import annotations

import hashlib

import torch

from counterpoise.data import cache
from counterpoise.data._options import NEVER
from counterpoise.data._rows import Rows
from counterpoise.data.splits import Splits


def in_cache(data: Splits, where: str = "auto") -> Splits:
    """Return the data set with inputs that are rows of one entry of the cache.

    The entry is written unless it is there. Samples that are read anew each time stay as they are.

    Args:
        data: the data set.
        where: the cache's folder, or "auto".

    Raises:
        ValueError: the cache cannot be written, or samples that are in memory shall be in none.

    Example:
        >>> from counterpoise.data import digits
        >>> rows = in_cache(digits()).train.inputs
        >>> rows, rows.entry.shape
        (Rows((1198, 1, 8, 8) uint8, read on use), (1797, 1, 8, 8))
    """
    splits = data.named()
    stored = [s.inputs for s in splits.values() if isinstance(s.inputs, Rows)]
    if len(stored) == len(splits) and (
        all(rows.unstored is not None for rows in stored)
        or (stored[0].entry is not None and all(r.entry is stored[0].entry for r in stored))
    ):
        return data
    if where == NEVER:
        raise ValueError(
            "data.cache = 'never' is for torch Datasets by module:name, but the data are "
            f"{data.source}; leave it out"
        )
    whole = torch.cat([split.inputs[:] for split in splits.values()])
    digest = hashlib.sha256(whole.contiguous().view(-1).view(torch.uint8).numpy().data)
    key = cache.key("tensor", whole.dtype, tuple(whole.shape), digest.hexdigest())
    place = cache.folder(where) / key
    try:
        entry = cache.keep(place, whole, {"source": data.source, "notes": []})
    except OSError as error:
        raise ValueError(
            f"{place.parent} must hold the samples of {data.name}, which take "
            f"{whole.nbytes / 2**20:,.1f} MiB, but: {error.strerror or error}; choose another "
            "cache with --set data.cache"
        ) from error
    samples, sizes = entry.samples, [len(split) for split in splits.values()]
    rows = torch.arange(len(whole)).split(sizes)
    named = zip(splits, rows, strict=True)
    return data.with_inputs({name: Rows(samples, index, entry) for name, index in named})
