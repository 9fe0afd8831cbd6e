"""The cache: decoded samples in files that all processes map into memory.

An entry is a folder, named by a digest of all that its bytes depend on:

    samples.bin    the samples, one after the other
    entry.json     shape, dtype, digest and what else was found out; written last
    progress.json  while it is being filled: the digest of each block that is written

It is filled block by block by one process, under a lock; another one that wants it waits. A filling
that was killed goes on with the first block whose digest is not there, or is not that of its bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterpoise import files

VERSION = 1  # of how samples are decoded: another one does not read what is there
FOLDER = "COUNTERPOISE_CACHE"  # environment variable
_ENTRY, _SAMPLES, _PROGRESS = "entry.json", "samples.bin", "progress.json"
_BLOCK = 2**24  # bytes, about, that are written at a time
_SAVED_EVERY = 2.0  # seconds, of the progress
_MOST_BYTES = 2**28  # of an entry.json
_OURS = re.compile(r"[0-9a-f]{16}|reading-[0-9a-f]{16}")  # names of entries; others are not touched

Block = tuple[np.ndarray, dict[int, str]]
"""Samples, and why those are empty that could not be read, by their position in the block."""


@dataclass(frozen=True)
class Entry:
    """Samples in the cache.

    Attributes:
        folder: of the entry; its name is the key.
        shape: of all samples.
        dtype: of torch, by name.
        digest: SHA-256 over those of the blocks.
        unread: why a sample is empty that could not be read, by its position.
        about: what else was found out when it was filled.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str
    digest: str
    unread: dict[int, str]
    about: dict[str, Any]

    @property
    def samples(self) -> Tensor:
        """The samples, mapped into memory: what is read is loaded, and shared by all processes."""
        path = self.folder / _SAMPLES
        numbers, dtype = math.prod(self.shape), getattr(torch, self.dtype)
        if not numbers:
            return torch.empty(self.shape, dtype=dtype)
        return torch.from_file(str(path), shared=False, size=numbers, dtype=dtype).view(self.shape)

    @property
    def bytes(self) -> int:
        """The size of its samples."""
        return math.prod(self.shape) * getattr(torch, self.dtype).itemsize

    @property
    def last_used(self) -> float:
        """When it was last opened, in seconds since 1970."""
        return (self.folder / _ENTRY).stat().st_mtime


def folder(where: str = "auto") -> Path:
    """Return the cache's folder: `where`, or that of the environment, or the user's."""
    if where == "auto":
        where = os.environ.get(FOLDER, "")
    if where:
        return Path(where).expanduser()
    import pooch  # imported here, as it takes a tenth of a second

    return Path(pooch.os_cache("counterpoise")) / "decoded"


def key(*parts: object) -> str:
    """Return the name of an entry, from all that its bytes depend on.

    Example:
        >>> key("photos", 32)
        'b37f4e3e55ea2d66'
    """
    found = hashlib.sha256(f"{VERSION}".encode())
    for part in parts:
        found.update(b"\0" + str(part).encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:16]


def open_entry(place: Path) -> Entry | None:
    """Return a finished entry, which counts as used now; None where there is none."""
    found = _unsealed(place / _ENTRY)
    if found is None or _stamp(place) != found["stamp"]:
        return None
    files.touch(place / _ENTRY)
    unread = {int(k): why for k, why in found["unread"].items()}
    shape, dtype = tuple(found["shape"]), found["dtype"]
    return Entry(place, shape, dtype, found["digest"], unread, found["about"])


def _stamp(place: Path) -> list[int]:
    """Return size and time of the last change of an entry's samples: they are written once."""
    try:
        found = (place / _SAMPLES).stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _sealed(content: dict[str, Any]) -> str:
    """Return JSON with a digest of itself."""
    text = json.dumps(content, sort_keys=True)
    return json.dumps({"content": content, "sha256": hashlib.sha256(text.encode()).hexdigest()})


def _unsealed(path: Path) -> dict[str, Any] | None:
    """Return the content of `_sealed`; None where it is not there, or not as it was written."""
    try:
        found = json.loads(files.read(path, most=_MOST_BYTES))
        text = json.dumps(found["content"], sort_keys=True)
        same = hashlib.sha256(text.encode()).hexdigest() == found["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found["content"] if same else None


def recall(where: str, name: str) -> dict[str, Any] | None:
    """Return what was remembered by a name; None without."""
    return _unsealed(folder(where) / f"{name}.json")


def remember(where: str, name: str, content: dict[str, Any]) -> None:
    """Remember by a name what JSON holds; nothing where the cache cannot be written."""
    with suppress(OSError):
        files.make_folder(folder(where))
        files.write(folder(where) / f"{name}.json", _sealed(content))


def fill(
    place: Path,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    block: Callable[[int, int], Block],
    about: dict[str, Any],
    on_progress: Callable[[int, int], None],
) -> Entry:
    """Fill an entry, or go on with one that was begun, or wait until another process has filled it.

    Args:
        place: the entry's folder.
        shape: of all samples, (N, ...).
        dtype: of the samples.
        block: called with first and end; returns the samples first .. end - 1.
        about: what is to be kept with them; it must be what JSON holds.
        on_progress: called with the numbers of samples that are written and that there are.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    files.make_folder(place)

    def on_wait() -> None:
        on_progress(min(shape[0], _blocks_done(place) * step), shape[0])

    sample = _sample_bytes(shape, dtype)
    step = _block_length(shape, dtype)
    with files.lock(place, on_wait=on_wait):
        if (found := open_entry(place)) is not None:
            return found
        with files.fill(place / _SAMPLES, sample * shape[0]) as write_at:
            done = list(_whole_blocks(place, sample * step))
            digests = [digest for digest, _ in done]
            unread = {k: why for _, found in done for k, why in found.items()}
            saved, pending = time.monotonic(), None
            on_progress(min(shape[0], len(done) * step), shape[0])
            with ThreadPoolExecutor(1) as writer:  # the next block is decoded meanwhile
                for first, end in block_bounds(shape, dtype)[len(done) :]:
                    samples, bad = block(first, end)
                    if pending is not None:
                        digests.append(pending.result())
                        if time.monotonic() - saved > _SAVED_EVERY:
                            _save_progress(place, digests, unread, step)
                            saved = time.monotonic()
                    unread |= {first + k: why for k, why in bad.items()}
                    pending = writer.submit(_write, write_at, first * sample, samples)
                    on_progress(end, shape[0])
                if pending is not None:
                    digests.append(pending.result())
        digest = hashlib.sha256("".join(digests).encode()).hexdigest()
        name = str(dtype).removeprefix("torch.")
        found = {"shape": shape, "dtype": name, "digest": digest, "about": about}
        found |= {"unread": {str(k): why for k, why in unread.items()}, "stamp": _stamp(place)}
        files.write(place / _ENTRY, _sealed(found))
        files.remove(place / _PROGRESS)
        return Entry(place, shape, name, digest, unread, about)


def block_bounds(shape: tuple[int, ...], dtype: torch.dtype) -> list[tuple[int, int]]:
    """Return first and end of the blocks in which samples of a shape, (N, ...), are written."""
    step = _block_length(shape, dtype)
    return [(first, min(first + step, shape[0])) for first in range(0, shape[0], step)]


def _block_length(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return max(1, _BLOCK // _sample_bytes(shape, dtype))


def _sample_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return max(1, math.prod(shape[1:]) * dtype.itemsize)


def name_by_content(entry: Entry) -> Entry:
    """Return the entry under a key that its content gives; one that is there already is taken."""
    name = key("content", entry.shape, entry.dtype, entry.digest, entry.about)
    place = entry.folder.with_name(name)
    found = open_entry(place)
    if found is not None:
        _remove(entry.folder)
        return found
    files.rename(entry.folder, place)
    return replace(entry, folder=place)


def keep(place: Path, tensor: Tensor, about: dict[str, Any]) -> Entry:
    """Return the entry that holds a tensor; it is written unless it is there."""
    found = open_entry(place)
    if found is not None:
        return found
    plain = tensor.detach().cpu()

    def block(first: int, end: int) -> Block:
        return plain[first:end].contiguous().view(-1).view(torch.uint8).numpy(), {}

    return fill(place, tuple(tensor.shape), tensor.dtype, block, about, lambda *_: None)


def entries(where: str = "auto") -> list[Entry]:
    """Return the finished entries of the cache, those that were used last first."""
    root = folder(where)
    places = [p for p in root.iterdir() if _OURS.fullmatch(p.name)] if root.is_dir() else []
    stamps = {p: (p / _ENTRY).stat() for p in places if (p / _ENTRY).is_file()}
    found = [entry for place in stamps if (entry := open_entry(place)) is not None]
    for place, stamp in stamps.items():  # looking at an entry is not using it
        files.touch(place / _ENTRY, stamp.st_mtime)
    return sorted(found, key=lambda e: -e.last_used)


def prune(limit: int, where: str = "auto") -> list[Entry]:
    """Remove entries until the cache has no more than `limit` bytes; return what was removed.

    Those that were not used for the longest time go first, and what was begun and never finished.
    """
    root, whole, removed = folder(where), 0, []
    for entry in entries(where):
        whole += entry.bytes
        if whole > limit:
            _remove(entry.folder)
            removed.append(entry)
    kept = {entry.folder for entry in entries(where)}
    for place in root.iterdir() if root.is_dir() else ():
        if not limit and place.suffix == ".json" and _OURS.fullmatch(place.stem):
            files.remove(place)
        elif _OURS.fullmatch(place.name) and place not in kept and (place / _SAMPLES).exists():
            _remove(place)
    return removed


def _remove(place: Path) -> None:
    """Remove an entry, its `entry.json` first, so that it is none when this is cut short."""
    try:
        with files.lock(place):
            for name in (_ENTRY, _PROGRESS, _SAMPLES):
                files.remove(place / name)
    except TimeoutError:  # it is being filled just now
        return
    files.remove_folder(place)


def _write(write_at: Callable[[int, memoryview], None], offset: int, samples: np.ndarray) -> str:
    """Write a block, and return the digest of its bytes."""
    content = np.ascontiguousarray(samples).view(np.uint8).reshape(-1).data
    write_at(offset, content)
    return hashlib.sha256(content).hexdigest()


def _save_progress(place: Path, digests: list[str], unread: dict[int, str], step: int) -> None:
    end = len(digests) * step
    kept = {str(k): why for k, why in unread.items() if k < end}
    files.write(place / _PROGRESS, _sealed({"digests": digests, "unread": kept, "step": step}))


def _progress(place: Path) -> dict[str, Any]:
    return _unsealed(place / _PROGRESS) or {"digests": [], "unread": {}, "step": 1}


def _blocks_done(place: Path) -> int:
    return len(_progress(place)["digests"])


def _whole_blocks(place: Path, size: int) -> Iterator[tuple[str, dict[int, str]]]:
    """Yield digest and unread samples of the blocks that an earlier process wrote, while whole."""
    kept = _progress(place)
    with files.open_ordinary(place / _SAMPLES) as file:
        for index, digest in enumerate(kept["digests"]):
            if hashlib.sha256(file.read(size)).hexdigest() != digest:
                return
            low, high = index * kept["step"], (index + 1) * kept["step"]
            unread = {int(k): why for k, why in kept["unread"].items()}
            yield digest, {k: why for k, why in unread.items() if low <= k < high}
