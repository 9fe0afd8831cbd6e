"""A run on another machine, without a disk in common: what is sent there and what comes back."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise import files
from counterpoise.study import record
from counterpoise.study._prepared import FILE
from counterpoise.study._sources import digest_of, files_of
from counterpoise.study.engines import local
from counterpoise.study.engines.worker import do, ending
from counterpoise.study.environment import run_environment
from counterpoise.study.events import Emit, Failed, Finished, OfRun
from counterpoise.study.process import tune_process
from counterpoise.study.spec import Job
from counterpoise.study.storage import Storage, StoredRun
from counterpoise.user_code import use_folder

if TYPE_CHECKING:
    import numpy as np

_PAUSE, _RATE = 2.0, 1e7  # of checkpoints: seconds at least between two, and bytes a second
_CODE = "code"  # the folder of the user's code
_THREADS = 1  # of torch in each run, as in the engine `local`
_MUST_AGREE = ("counterpoise", "torch", "python", "kernels")

Fetch = Callable[[int], "np.ndarray"]
"""Returns the block of samples that begins with a number."""


@dataclass(frozen=True)
class Samples:
    """The samples of a study, as an entry of the cache that another machine may have, or makes.

    Attributes:
        place: their folder in the cache of the machine that sends them.
        shape: of all samples.
        dtype: of torch, by name.
        digest: of the entry.
    """

    place: Path
    shape: tuple[int, ...]
    dtype: str
    digest: str


@dataclass(frozen=True)
class Parcel:
    """All that the runs of a study need on another machine, but for the samples.

    Attributes:
        splits: the bytes of `data.safetensors`, uint8.
        samples: what the samples are.
        code: the user's own files, by their paths.
        identity: of this machine: `identity`.
        storage: to which records are written; empty to send them back.
    """

    splits: np.ndarray
    samples: Samples
    code: Mapping[str, bytes]
    identity: Mapping[str, str]
    storage: str


@dataclass(frozen=True)
class Result:
    """The end of a run on another machine.

    Attributes:
        end: of the run.
        contents: its files, as `record.collect` returns them; none where a storage has them.
        seconds: that it took.
        events: of the run that were not sent before.
    """

    end: Finished | Failed
    contents: Mapping[str, bytes]
    seconds: float = 0.0
    events: tuple[OfRun, ...] = ()


class LacksSamples(Exception):
    """Raised where a machine has not the samples, and they were not sent along."""


class NodeLost(Exception):
    """Raised where one of several machines of a run was lost."""


def identity() -> dict[str, str]:
    """Return versions, and whether our kernels in C are there: what all machines must agree in."""
    here = run_environment()
    found = {name: here[name] for name in ("counterpoise", "torch")}
    kernels = "C" if here["kernels"].startswith("C ") else "none"
    return {**found, "python": platform.python_version(), "kernels": kernels}


def disagreement(theirs: Mapping[str, str], ours: Mapping[str, str], host: str) -> str:
    """Say in what another machine differs so that its runs would not be comparable; "" if not.

    Example:
        >>> disagreement({"torch": "2.6.0"}, {"torch": "2.7.0"}, "node7")
        'node7 has torch 2.6.0, but this machine has 2.7.0; install the same versions on both'
    """
    for name in _MUST_AGREE:
        one, other = theirs.get(name), ours.get(name)
        if one == other:
            continue
        if name == "kernels":
            with_them, without = (host, "this machine") if one == "C" else ("this machine", host)
            return (
                f"{with_them} has counterpoise's kernels in C and {without} has not, which gives "
                "other last digits; install the same wheel on both, or a C compiler"
            )
        return (
            f"{host} has {name} {one or 'none'}, but this machine has {other}; install the same "
            "versions on both"
        )
    return ""


def pack(jobs: Mapping[str, Job], storage: str) -> Parcel:
    """Return what the runs of one study need.

    Raises:
        ValueError: the samples left the cache, or never were in it, or code that cannot be sent.
    """
    import numpy as np

    from counterpoise.data import cache as kept

    some = next(iter(jobs.values()))
    if isinstance(some.samples, str):
        raise ValueError(
            f"the samples of {some.samples} must be in the cache, from which the engine ray sends "
            "them, but data.cache is 'never'; leave it out, or take the engine local or slurm"
        )
    entry = kept.open_entry(some.samples)
    if entry is None:
        raise ValueError(
            f"the samples in {some.samples} are gone from the cache; the same command reads them "
            "again"
        )
    samples = Samples(some.samples, entry.shape, entry.dtype, entry.digest)
    code: dict[str, bytes] = {}
    for word in sorted({word for job in jobs.values() for word in _sources(job)}):
        code |= files_of(word)
    splits = np.frombuffer(files.read(some.study / FILE), np.uint8)
    return Parcel(splits, samples, code, identity(), storage)


def _sources(job: Job) -> Mapping[str, str | None]:
    """Return the digests of code that a run needs, by its module:name."""
    known = job.spec.sources.items()
    return {word: digest for word, digest in known if ":" in word}  # the rest is weights


def blocks(samples: Samples) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the samples of this machine's cache, block by block, with each one's first number."""
    import torch

    from counterpoise.data import cache as kept

    entry = kept.open_entry(samples.place)
    if entry is None:
        raise FileNotFoundError(f"the samples in {samples.place} are gone from the cache")
    for first, end in kept.block_bounds(entry.shape, getattr(torch, entry.dtype)):
        part = entry.samples[first:end].contiguous().view(-1).view(torch.uint8)
        yield first, part.numpy()


def _found(samples: Samples) -> Path | None:
    from counterpoise.data import cache as kept

    for place in (samples.place, _own_place(samples)):
        entry = kept.open_entry(place)
        if entry is not None and entry.digest == samples.digest:
            return place
    return None


def _own_place(samples: Samples) -> Path:
    """Return the place for samples that were sent, in the cache of this machine."""
    from counterpoise.data import cache as kept

    return kept.folder() / kept.key("sent", samples.digest)


def prepare(parcel: Parcel, fetch: Fetch | None) -> Path:
    """See that this machine has the sender's versions, and take the samples; return their folder.

    Raises:
        LacksSamples: see `fetch` of `do_there`.
        OSError: other versions, or the cache cannot be written.
    """
    if said := disagreement(identity(), parcel.identity, socket.gethostname()):
        raise OSError(said)
    return _take_samples(parcel.samples, fetch)


def _take_samples(samples: Samples, fetch: Fetch | None) -> Path:
    """Return the samples' folder in the cache of this machine, filled once for all its processes.

    Raises:
        LacksSamples: they are not there, and there is no `fetch`.
        OSError: the cache cannot be written.
    """
    import torch

    from counterpoise.data import cache as kept

    place = _found(samples)
    if place is not None:
        return place
    if fetch is None:
        raise LacksSamples(socket.gethostname())
    place = _own_place(samples)
    about = {"source": f"sent from {samples.place}", "notes": []}
    dtype = getattr(torch, samples.dtype)
    try:
        entry = kept.fill(
            place, samples.shape, dtype, lambda first, _: (fetch(first), {}), about, _quiet
        )
    except OSError as error:
        raise OSError(
            f"the samples cannot be stored in {place.parent}: {error.strerror or error}; make room "
            "there, or set COUNTERPOISE_CACHE to another disk"
        ) from error
    if entry.digest != samples.digest:
        raise OSError(f"{place} holds other samples than were sent; remove it")
    return place


def _quiet(done: int, whole: int) -> None:
    """Report nothing."""


@contextmanager
def unpacked(parcel: Parcel) -> Iterator[Path]:
    """Write what runs need into a new folder, which is removed at the end; yield the folder.

    Those of killed processes are removed as well.
    """
    ours = f"counterpoise-{socket.gethostname()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{ours}*"):
        number = left.name.removeprefix(ours).partition("-")[0]
        if number.isdecimal() and not Path("/proc", number).exists() and Path("/proc").exists():
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{ours}{os.getpid()}-") as folder:
        home = Path(folder)
        for name, content in parcel.code.items():
            files.make_folder((home / _CODE / name).parent)
            files.write(home / _CODE / name, content, lasting=False)
        files.write(home / FILE, parcel.splits.tobytes(), lasting=False)
        yield home


def do_there(
    parcel: Parcel,
    home: Path,
    job: Job,
    checkpoint: bytes | None,
    fetch: Fetch | None,
    emit: Emit,
    send_checkpoint: Callable[[str, bytes], None],
) -> Result:
    """Do a run on the machine that this process is on.

    One with code of the user's has a process of its own, as with the local engine.

    Args:
        parcel: of the study.
        home: of `unpacked`.
        job: the run, with the paths of the machine that sent it.
        checkpoint: to resume from.
        fetch: called for the samples where this machine has not got them; None if they were not
            sent.
        emit: called with the run's events, but for its end.
        send_checkpoint: called now and then with the run and what it can be resumed from.

    Raises:
        LacksSamples: see `fetch`.
    """
    host, name, begun = socket.gethostname(), job.folder.name, time.monotonic()
    contents: dict[str, bytes] = {}
    try:
        samples = prepare(parcel, fetch)
        here = replace(job, folder=home / "runs" / name, study=home, samples=samples)
        if not parcel.storage:
            end, contents = _do_here(here, checkpoint, emit, partial(send_checkpoint, name))
        else:
            stored = StoredRun(Storage(parcel.storage), name)
            end: Finished | Failed = Finished(name)
            if not stored.finished():
                last = stored.checkpoint() or checkpoint
                end, files_of_run = _do_here(here, last, emit, stored.save_checkpoint)
                stored.place(files_of_run)
    except OSError as error:
        end = Failed(name, error.strerror or str(error), outside=True)
    if isinstance(end, Failed):
        reason = re.sub(rf"/?{re.escape(str(home / _CODE).lstrip('/'))}/", "", end.reason)
        end = replace(end, reason=f"{reason} (on {host})")
    return Result(end, contents, time.monotonic() - begun)


def _do_here(
    job: Job, checkpoint: bytes | None, emit: Emit, send_checkpoint: Callable[[bytes], None]
) -> tuple[Finished | Failed, dict[str, bytes]]:
    """Do a run in a folder of this process; return how it ended, and its files."""
    name = job.folder.name
    files.make_folder(job.folder)
    if checkpoint is not None:
        files.write(job.folder / record.CHECKPOINT, checkpoint, lasting=False)
    sender = _Sender(job.folder, emit, send_checkpoint)
    if not _sources(job):
        tune_process(_THREADS)
        end = ending(name, lambda: do(job, sender.on_event))
    else:
        end = Failed(name, "its process did not say how it ended", outside=True)
        for event in local.run_all(_do_with_code, {name: job}, workers=1, place=False):
            if isinstance(event, Finished | Failed):
                end = event
            else:
                sender.on_event(event)
    contents = record.collect(job.folder)
    shutil.rmtree(job.folder, ignore_errors=True)
    return end, contents


def _do_with_code(job: Job, emit: Emit) -> None:
    """Do a run with code that was sent, in its own process.

    Raises:
        OSError: what this machine imports by these names is other code.
    """
    use_folder(job.study / _CODE)
    for word, digest in _sources(job).items():
        if digest_of(word) != digest:
            raise OSError(f"another version of {word} is here; install the same everywhere")
    do(job, emit)


class _Sender:
    """Passes events on, and the run's checkpoint now and then."""

    def __init__(self, folder: Path, emit: Emit, send: Callable[[bytes], None]) -> None:
        self.path, self.emit, self.send = folder / record.CHECKPOINT, emit, send
        self.next, self.version = time.monotonic() + _PAUSE, 0

    def on_event(self, event: OfRun) -> None:
        """Pass an event on; send the checkpoint if it is another one than that sent last."""
        self.emit(event)
        if time.monotonic() < self.next:
            return
        with suppress(OSError):  # there is none yet, or the storage does not answer just now
            version = os.stat(self.path).st_mtime_ns
            if version != self.version:
                content = files.read(self.path)
                self.send(content)
                self.next = time.monotonic() + max(_PAUSE, len(content) / _RATE)
                self.version = version
