"""Features of a frozen net as a data set."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache as cached
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn

from counterpoise.data import Rows, Splits, in_cache
from counterpoise.data import cache as kept
from counterpoise.features._fold import folded
from counterpoise.models import Backbone
from counterpoise.text import printable

_PRECISIONS = ("float32", "bfloat16")


def embed(
    splits: Splits,
    net: Backbone,
    *,
    cache: str = "auto",
    batch_size: int = 64,
    precision: str = "float32",
    on_progress: Callable[[int, int], None] | None = None,
) -> Splits:
    r"""Replace the images of a data set by the features that a frozen net makes of them.

    .. math::
        x \to f(x) \in R^D, \qquad \text{in eval mode, without augmentation}

    Each image that a split uses is computed once, and kept in the cache; a computation that was
    killed goes on with the block of 16 MiB where it was, and of two processes one computes.

    Args:
        splits: the data set, of images uint8 or floating, (N, C, H, W), in memory, in the cache or
            read anew each time; those in memory are put into the cache.
        net: what computes them, on the device of its parameters; a copy of it does, whose batch
            norms are folded into its convolutions.
        cache: the folder in which they are kept; "auto" for the user's cache folder.
        batch_size: images at a time.
        precision: "float32", or "bfloat16" to compute under autocast; features are float32.
        on_progress: called with the numbers of images that are computed and that there are.

    Returns:
        The same splits, with vectors (N, D) as inputs; `reading` says how new images are read, and
        by which net they become such vectors.

    Raises:
        ValueError: samples that are no images, another precision, features that are not finite, or
            a cache without room for them.

    Example:
        >>> from torch import nn
        >>> from counterpoise.data import digits
        >>> from counterpoise.models import Backbone, InputConfig
        >>> body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> net = Backbone(body, nn.Linear(5, 10), InputConfig((8, 8)), name="mine")
        >>> data = embed(digits(), net)
        >>> data.train.inputs.shape, data.notes[-1]
        (torch.Size([1198, 5]), 'features of mine: 5 numbers of each image')
    """
    if splits.train.inputs.dim() != 4:
        raise ValueError(
            f"features are of images (N, C, H, W), but the samples of {splits.name} have the shape "
            f"{tuple(splits.train.inputs.shape[1:])}; train on them as they are"
        )
    if precision not in _PRECISIONS:
        raise ValueError(f"precision must be {' or '.join(_PRECISIONS)}, got {precision!r}")
    images = in_cache(splits, cache)
    rows = {name: cast(Rows, split.inputs) for name, split in images.named().items()}
    used, places = _used(rows.values())
    number, identity = sum(map(len, used)), net.identity
    key = kept.key("features", identity, precision, *map(_digest, used))
    folder = kept.folder("auto" if cache == "never" else cache)
    shape = (number, net.feature_size)
    note = f"features of {net.name}: {net.feature_size:,} numbers of each image"
    tell = on_progress or (lambda done, total: None)
    device, quick = net.mean.device, cached(lambda: _quick(net))  # not where nothing is to do
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def block(first: int, end: int) -> kept.Block:
        found, done, made = torch.empty(end - first, net.feature_size), 0, quick()
        for batch in _batches(used, first, end, batch_size):
            batch = batch.to(device, memory_format=torch.channels_last)
            with torch.inference_mode(), autocast:
                found[done : done + len(batch)] = made.features(batch)
            done += len(batch)
            tell(first + done, number)
        bad = int((~found.isfinite().all(1)).sum())
        if bad:
            raise ValueError(
                f"features must be finite, but {net.name} makes NaN or infinities of {bad:,} of "
                f"{len(found):,} images; check its weights, or take precision = 'float32'"
            )
        return found.numpy(), {}

    try:
        about = {"source": f"{net.name} of {splits.source}", "notes": [note], "of": key}
        entry = kept.fill(folder / key, shape, torch.float32, block, about, tell)
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno == errno.ENOSPC and folder.is_dir():
            said = f"{shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free"
        raise ValueError(
            f"{printable(folder)} must hold the features of {number:,} images, which take "
            f"{4 * number * net.feature_size / 2**20:,.1f} MiB, but {said}; make room, or name "
            "another folder with --set data.cache"
        ) from error
    samples = entry.samples
    vectors = {name: Rows(samples, index, entry) for name, index in zip(rows, places, strict=True)}
    by = {"net": net.name, "identity": identity, "size": net.feature_size, "precision": precision}
    reading = {**splits.reading, "features": by}
    made = splits.with_inputs(vectors)
    return replace(made, notes=(*splits.notes, note), reading=reading)


def _quick(net: Backbone) -> Backbone:
    """Return a net with the same features, made quicker; its head is none."""
    draw = torch.Generator().manual_seed(0)
    example = torch.rand(2, len(net.config.mean), *net.config.size, generator=draw)
    body = folded(net.body, example.to(net.mean.device))
    body.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]
    made = Backbone(body, nn.Identity(), net.config, net.name, net.notes, net.feature_size)
    return made.eval().to(net.mean.device)


def _used(splits: Iterable[Rows]) -> tuple[list[Rows], list[Tensor]]:
    """Return the rows of each source that a split uses, sorted, each once.

    With them, of each split, the positions of its rows among all of these.
    """
    splits = list(splits)
    sources = [id(rows.entry or rows.stored) for rows in splits]
    used: dict[int, Rows] = {}
    for source, rows in zip(sources, splits, strict=True):
        before = [used[source].index] if source in used else []
        every = torch.cat([*before, rows.index]).unique()
        used[source] = Rows(rows.stored, every, rows.entry)
    begins = dict(zip(used, accumulate(map(len, used.values()), initial=0), strict=False))
    places = [
        begins[source] + torch.searchsorted(used[source].index, rows.index)
        for source, rows in zip(sources, splits, strict=True)
    ]
    return list(used.values()), places


def _digest(rows: Rows) -> str:
    """Return a digest of a source and of the rows of it that are used."""
    source = rows.entry or rows.unstored
    assert source is not None
    return f"{source.digest} {hashlib.sha256(rows.index.numpy().data).hexdigest()}"


def _batches(used: list[Rows], first: int, end: int, size: int) -> Iterator[Tensor]:
    """Yield the images first .. end - 1, counted over all sources, in batches."""
    for rows in used:
        low, high = max(first, 0), min(end, len(rows))
        if low < high:
            yield from rows.in_batches(torch.arange(low, high).split(size))
        first, end = first - len(rows), end - len(rows)
