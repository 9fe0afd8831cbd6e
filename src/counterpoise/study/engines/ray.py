"""The engine `ray`: each run is a task of a Ray cluster, without a file system in common.

The driver, which is the process that was started, packs what a study's runs need (`_parcel.py`)
into the object store, from which each machine takes it once. Records come back as the results of
the tasks and are written by the driver, in a thread; or, with a storage, by the workers, and the
driver reads them there. Progress and checkpoints come through an actor, the mailbox.

Ray starts no task again by itself: a run whose process or machine was lost is submitted again with
the checkpoint that came last. When the driver is killed, its tasks end; the same command goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise import files
from counterpoise.study import record
from counterpoise.study.engines import _parcel
from counterpoise.study.engines.worker import Note
from counterpoise.study.events import Failed, Finished, Notice, OfRun, Started
from counterpoise.study.settings import Engine, bytes_of
from counterpoise.study.spec import Job
from counterpoise.study.storage import Storage

try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode
except ImportError as error:
    raise ValueError(
        f"the engine ray must be installed, but: {error}; pip install 'counterpoise[ray]'"
    ) from error

if TYPE_CHECKING:
    import numpy as np

_TAKEN_EVERY = 0.25  # seconds, from the mailbox
_LOOKED_EVERY = 1.0  # seconds, where nothing happens
_SENT_EVERY = 0.5  # seconds, to it
_COUNTED_EVERY = 5.0  # seconds: machines can come and go
_NOTED_EVERY = 10.0  # seconds, in a storage
_ANSWER = 60.0  # seconds, for a machine's first answer
_WAITING = 2  # runs that are submitted ahead, times those that there is room for

STUDY = "study.json"

Ended = tuple[str, Any, BaseException | None]
"""A run, its `Result` or its end, or why there is none; of no run, what the mailbox had."""


@contextmanager
def connected(engine: Engine) -> Iterator[None]:
    """Connect to a cluster, or make one on this machine, and see that its machines fit.

    Raises:
        ValueError: there is none that answers, or one of its machines has other versions.
    """
    if engine.storage:
        Storage(engine.storage).check()
    ours = not ray.is_initialized()
    if ours:
        _connect(engine.address)
    try:
        _check_machines(engine)
        yield
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str) -> None:
    if address.startswith("ray://"):
        raise ValueError(
            f"the address must be that of a cluster which this machine is part of, but got "
            f"{address}; to run from outside: ray job submit --address http://HEAD:8265 -- "
            "counterpoise compare ..."
        )
    try:
        ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever comes
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"a Ray cluster must answer at {address or 'its usual address'}, but: {said}; see that "
            "it runs (ray status), or leave --address out for one on this machine"
        ) from error


def _check_machines(engine: Engine) -> None:
    """Refuse a cluster in which a machine has other versions than this one, or no storage."""
    ours, storage = _parcel.identity(), engine.storage

    def look() -> dict[str, str]:  # goes as code: on a machine without counterpoise it works, too
        try:
            from counterpoise.study.engines import _parcel
            from counterpoise.study.storage import Storage

            found = _parcel.identity()
        except ImportError:
            return {}
        if storage:
            try:
                Storage(storage).check()
            except ValueError as error:
                found["storage"] = str(error)
        return found

    task = ray.remote(num_cpus=0, max_retries=0)(look)
    answers = [
        (
            n["NodeManagerHostname"],
            task.options(scheduling_strategy=OnNode(n["NodeID"], False)).remote(),
        )
        for n in ray.nodes()
        if n["Alive"]
    ]
    for host, answer in answers:
        try:
            found = ray.get(answer, timeout=_ANSWER)
        except exceptions.RayError as error:
            raise ValueError(
                f"{host} must do a task, but: {_first_line(error)}; see ray status, and that "
                "counterpoise is installed there"
            ) from error
        if said := _parcel.disagreement(found, ours, host) or found.get("storage", ""):
            raise ValueError(said)


def run_all(
    jobs: Mapping[str, Job], engine: Engine, *, workers: int | None = None
) -> Iterator[OfRun | Notice]:
    """Do runs as tasks of the cluster, and yield events; see `engines.run_jobs`.

    Each run that is lost with its process or machine is submitted again, `engine.retries` times.
    """
    driver = _Driver(jobs, engine, workers)
    try:
        yield from driver.events()
    finally:
        driver.close()


@dataclass
class _Flight:
    """A run that is submitted."""

    task: Any  # ray.ObjectRef
    note: Note | None = None  # from when on it is known to be done


class _Driver:
    """The runs of a stage, submitted and to be submitted."""

    def __init__(self, jobs: Mapping[str, Job], engine: Engine, workers: int | None) -> None:
        self.jobs, self.engine, self.workers = jobs, engine, workers
        self.waiting, self.flying = deque(jobs), dict[str, _Flight]()
        self.losses: dict[str, int] = {}
        self.ends: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self.writer = ThreadPoolExecutor(1)
        self.storage = Storage(engine.storage) if engine.storage else None
        for study in {job.study for job in jobs.values()} if self.storage else ():
            self.storage.write(STUDY, files.read(study / STUDY))  # type: ignore[union-attr]
        self.parcels, self.samples, self.blocks = {}, {}, {}
        for study in dict.fromkeys(job.study for job in jobs.values()):
            of_study = {name: job for name, job in jobs.items() if job.study == study}
            parcel = _parcel.pack(of_study, engine.storage)
            self.parcels[study], self.samples[study] = ray.put(parcel), parcel.samples
            self.code = parcel.key
        here = OnNode(ray.get_runtime_context().get_node_id(), soft=True)
        options = {"num_cpus": 0, "scheduling_strategy": here}
        self.mailbox: Any = ray.remote(_Mailbox).options(**options).remote()
        self.task = self._task()
        self.counted = self.noted = self.next = 0.0
        self.asked = False  # for news; the answer comes when there are some
        self.room = 1

    def _task(self) -> Any:
        """Return the function that does a run there, with what it needs."""
        e = self.engine
        needs: dict[str, Any] = {"num_cpus": e.cpus, "num_gpus": e.gpus}
        if e.memory:
            needs["memory"] = bytes_of(e.memory)
        # Processes that have imported other code of the user's are not taken.
        apart = {"env_vars": {"COUNTERPOISE_CODE": self.code}} if self.code else None
        return ray.remote(_do).options(max_retries=0, runtime_env=apart, **needs)

    def events(self) -> Iterator[OfRun | Notice]:
        """Submit the runs as there is room, and yield what happens to them."""
        yield from self._gather()
        if said := self._too_much():
            yield Notice(said)
        while self.waiting or self.flying:
            for _ in range(self._window() - len(self.flying)):
                if self.waiting:
                    self._submit(self.waiting.popleft())
            if not self.asked and time.monotonic() > self.next:
                self._ask_for_news()
            with suppress(queue.Empty):
                name, result, error = self.ends.get(timeout=_LOOKED_EVERY)
                yield from self._on_end(name, result, error) if name else self._on_news(result)

    def close(self) -> None:
        """End what still runs."""
        self.writer.shutdown(wait=True)
        with suppress(exceptions.RayError):
            for flight in self.flying.values():
                ray.cancel(flight.task, force=True)
            ray.kill(self.mailbox)
        for flight in self.flying.values():
            if flight.note is not None:
                flight.note.remove()

    def _window(self) -> int:
        """Return how many runs may be submitted and not ended."""
        if time.monotonic() - self.counted > _COUNTED_EVERY:
            self.counted = time.monotonic()
            e, have = self.engine, ray.cluster_resources()
            rooms = [have.get("CPU", 0) / e.cpus]
            rooms += [have.get("GPU", 0) / e.gpus] if e.gpus else []
            self.room = max(1, int(min(rooms)))
        return self.workers or _WAITING * self.room + 1

    def _too_much(self) -> str:
        """Say that no machine has what a run needs; "" where one has."""
        e, needs = self.engine, {"CPU": self.engine.cpus, "GPU": self.engine.gpus}
        needs["memory"] = bytes_of(e.memory or "0")
        have = [n["Resources"] for n in ray.nodes() if n["Alive"]]
        if any(all(m.get(k, 0) >= least for k, least in needs.items()) for m in have):
            return ""
        most = {k: max(m.get(k, 0) for m in have) for k in needs}
        return (
            f"waiting for a machine with room for a run: engine.cpus, gpus and memory ask for "
            f"{e.cpus:g}, {e.gpus:g} and {e.memory or 'any'}, but the machines of the cluster have "
            f"{most['CPU']:g}, {most['GPU']:g} and {most['memory'] / 1e9:.1f}GB at most; if none "
            "will come, stop this and ask for less"
        )

    def _gather(self) -> Iterator[OfRun]:
        """Take what an earlier driver's workers have left in the storage."""
        if self.storage is None:
            return
        there = set(self.storage.names("runs"))
        for name in [name for name in self.waiting if name in there]:
            if self._fetch(name):
                self.waiting.remove(name)
                yield Finished(name)

    def _submit(self, name: str) -> None:
        job = self.jobs[name]
        checkpoint = None
        with suppress(OSError):
            checkpoint = files.read(job.folder / record.CHECKPOINT)
        blocks = self.blocks.get(job.study)
        task = self.task.remote(self.parcels[job.study], job, checkpoint, blocks, self.mailbox)
        self.flying[name] = _Flight(task)

        def on_end(future: Future) -> None:
            error = future.exception()
            self.ends.put((name, None if error else future.result(), error))

        task.future().add_done_callback(on_end)

    def _on_end(
        self, name: str, result: _parcel.Result | None, error: BaseException | None
    ) -> Iterator[OfRun]:
        """Take a run's end: write its record, or submit it again."""
        if isinstance(error, exceptions.RayTaskError) and isinstance(
            error.cause, _parcel.LacksSamples
        ):
            self._send_samples(self.jobs[name].study)
            self._submit(name)
            return
        if error is not None:
            yield from self._on_loss(name, error)
            return
        if result is None:  # its record is written
            yield from self._ended(name, Finished(name))
            return
        if isinstance(result, _parcel.Result):
            self.writer.submit(self._write, name, result)
            return
        yield from self._ended(name, result)

    def _ended(self, name: str, end: OfRun) -> Iterator[OfRun]:
        flight = self.flying.pop(name)
        if flight.note is None:
            yield Started(name)
        else:
            flight.note.remove()
        yield end

    def _write(self, name: str, result: _parcel.Result) -> None:
        """Write what came back, in a thread, and say that it is there."""
        end: OfRun = result.end
        try:
            if self.storage is None:
                record.place(self.jobs[name].folder, result.contents)
            elif isinstance(end, Finished) and not self._fetch(name):
                end = Failed(name, f"its record in {self.storage.where} is not whole", outside=True)
        except OSError as error:
            end = Failed(name, f"{error.filename}: {error.strerror or error}", outside=True)
        self.ends.put((name, end, None))

    def _fetch(self, name: str) -> bool:
        """Copy a finished run out of the storage; return whether it is whole."""
        job = self.jobs[name]
        contents = _parcel.gather_stored(self.storage, name) if self.storage else None
        if contents is None:
            return False
        record.place(job.folder, contents)
        return record.take_up(job.folder, job.spec.to_json()) is not None

    def _on_loss(self, name: str, error: BaseException) -> Iterator[OfRun]:
        self.losses[name] = self.losses.get(name, 0) + 1
        again = not isinstance(error, exceptions.RayTaskError | exceptions.RuntimeEnvSetupError)
        if again and self.losses[name] <= self.engine.retries:
            flight = self.flying.pop(name)
            if flight.note is not None:
                flight.note.remove()
            self.waiting.append(name)
            return
        times = f", {self.losses[name]} times" if again else ""
        reason = f"its task was lost{times}: {_first_line(error)}"
        yield from self._ended(name, Failed(name, reason, outside=True))

    def _send_samples(self, study: Path) -> None:
        """Put the samples into the object store, once."""
        if study not in self.blocks:
            found = _parcel.blocks(self.samples[study])
            self.blocks[study] = {first: ray.put(block) for first, block in found}

    def _ask_for_news(self) -> None:
        self.asked, news = True, self.mailbox.take.remote()

        def on_answer(future: Future) -> None:
            self.ends.put(("", None if future.exception() else future.result(), None))

        news.future().add_done_callback(on_answer)

    def _on_news(self, news: Any) -> Iterator[OfRun]:
        """Yield the events that have come, and write the checkpoints."""
        self.asked, self.next = False, time.monotonic() + _TAKEN_EVERY
        events, checkpoints = news or ([], {})
        for name, content in checkpoints.items():
            if name in self.flying:
                with suppress(OSError):  # the next one may fit
                    files.write(self.jobs[name].folder / record.CHECKPOINT, content)
        for host, event in events:
            flight = self.flying.get(event.run)
            if flight is None:
                continue
            if flight.note is None:
                flight.note = Note(self.jobs[event.run].folder, host)
                yield Started(event.run)
            flight.note.on_event(event)
            if not isinstance(event, Started):
                yield event
        if self.storage is not None and time.monotonic() - self.noted > _NOTED_EVERY:
            self.noted = time.monotonic()
            notes = {name: f.note.content for name, f in self.flying.items() if f.note is not None}
            with suppress(OSError):  # nothing depends on it
                self.storage.write(record.NOTE, json.dumps(notes).encode())


class _Mailbox:
    """The actor that keeps what workers send until the driver takes it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, OfRun]] = []
        self.checkpoints: dict[str, bytes] = {}
        self.some = asyncio.Event()

    async def put(self, host: str, events: list[OfRun]) -> None:
        """Keep events."""
        self.events += [(host, event) for event in events]
        self.some.set()

    async def put_checkpoint(self, name: str, content: bytes) -> None:
        """Keep a run's checkpoint, in place of an earlier one."""
        self.checkpoints[name] = content
        self.some.set()

    async def take(self) -> tuple[list[tuple[str, OfRun]], dict[str, bytes]]:
        """Return all that has come, as soon as something has, and forget it."""
        await self.some.wait()
        self.some.clear()
        taken, self.events, self.checkpoints = (self.events, self.checkpoints), [], {}
        return taken


def _do(
    parcel: _parcel.Parcel,
    job: Job,
    checkpoint: bytes | None,
    blocks: Mapping[int, Any] | None,
    mailbox: Any,
) -> _parcel.Result:
    """Do a run, in a worker."""
    host, pending, sent = socket.gethostname(), list[OfRun](), time.monotonic()

    def emit(event: OfRun) -> None:
        nonlocal sent
        pending.append(event)
        if time.monotonic() - sent > _SENT_EVERY:
            mailbox.put.remote(host, list(pending))
            pending.clear()
            sent = time.monotonic()

    def fetch(first: int) -> np.ndarray:
        return ray.get(blocks[first])  # type: ignore[index]

    name = job.folder.name
    send: Callable[[bytes], None] = lambda found: mailbox.put_checkpoint.remote(name, found)  # noqa: E731
    return _parcel.do_there(parcel, job, checkpoint, fetch if blocks else None, emit, send)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
