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
import queue
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

from counterpoise import files
from counterpoise.study import record
from counterpoise.study.engines import _parcel, _ray_nodes
from counterpoise.study.engines._ray_cluster import first_line, idle_gpus, needs_of, too_much
from counterpoise.study.engines.worker import Note
from counterpoise.study.events import Failed, Finished, Joining, Notice, OfRun, Started
from counterpoise.study.settings import Engine
from counterpoise.study.spec import Job
from counterpoise.study.storage import Storage, StoredRun

_TAKEN_EVERY = 0.25  # seconds, from the mailbox
_LOOKED_EVERY = 1.0  # seconds, where nothing happens
_SENT_EVERY = 0.5  # seconds, to it
_COUNTED_EVERY = 5.0  # seconds: machines can come and go
_NOTED_EVERY = 10.0  # seconds, in a storage
_WAITING = 2  # tasks that are submitted ahead, times those that there is room for
_TASK, _MOST_RUNS = 2.0, 32  # seconds of a task of short runs, and its most runs

Heard = tuple[tuple[str, ...], Any, BaseException | None]
"""Runs of a task, their `Result`s or ends, or why there are none; of no run: the mailbox's."""


def run_all(
    jobs: Mapping[str, Job], engine: Engine, *, workers: int | None = None
) -> Iterator[OfRun | Notice]:
    """Do runs as tasks of the cluster, and yield events; see `engines.run_jobs`.

    Each run that is lost with its process or machine is submitted again, `engine.retries` times.
    """
    try:
        driver = _Driver(jobs, engine, workers)
        try:
            yield from driver.events()
        finally:
            driver.close()
    except (exceptions.RayError, OSError) as error:
        raise ValueError(
            f"the Ray cluster and the storage must answer, but: {first_line(error)}; the same "
            "command goes on with what is finished"
        ) from error


@dataclass
class _Flight:
    """A run that is submitted, in a task that may have others, too."""

    task: Any  # ray.ObjectRef
    note: Note | None = None  # from when on it is known to be done


class _Driver:
    """The runs of a stage, submitted and to be submitted."""

    def __init__(self, jobs: Mapping[str, Job], engine: Engine, workers: int | None) -> None:
        self.jobs, self.engine, self.workers = jobs, engine, workers
        self.needs = needs_of(engine)
        self.waiting, self.flying = deque(jobs), dict[str, _Flight]()
        self.losses: dict[str, int] = {}
        self.groups: dict[tuple[str, ...], Any] = {}  # of machines, where a run needs several
        self.tasks, self.each = 0, 0.0  # that are submitted; seconds of a run, about
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self.writer = ThreadPoolExecutor(1)
        self.storage = Storage(engine.storage) if engine.storage else None
        self.parcels, self.samples, self.blocks = {}, {}, {}
        for study in dict.fromkeys(job.study for job in jobs.values()):
            of_study = {name: job for name, job in jobs.items() if job.study == study}
            parcel = _parcel.pack(of_study, engine.storage)
            self.parcels[study], self.samples[study] = ray.put(parcel), parcel.samples
        here = OnNode(ray.get_runtime_context().get_node_id(), soft=True)
        options = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1}
        self.mailbox: Any = ray.remote(_Mailbox).options(**options).remote()
        self.task = self._task()
        self.counted = self.noted = self.next = 0.0
        self.asked = False  # for news; the answer comes when there are some
        self.room = 1

    def _task(self, **where: Any) -> Any:
        """Return the function that does a run there, with what it needs."""
        needs = self.needs
        options = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "max_retries": 0}
        return _REMOTE.options(memory=needs["memory"] or None, **options, **where)

    def events(self) -> Iterator[OfRun | Notice]:
        """Submit the runs as there is room, and yield what happens to them."""
        yield from self._gather()
        for said in filter(None, (too_much(self.engine), idle_gpus(self.engine))):
            yield Notice(said)
        while self.waiting or self.flying:
            for _ in range(self._window() - self.tasks):
                if self.waiting:
                    self._submit(self._next())
            if not self.asked and time.monotonic() > self.next:
                self._ask_for_news()
            with suppress(queue.Empty):
                names, found, error = self.heard.get(timeout=_LOOKED_EVERY)
                yield from self._on_end(names, found, error) if names else self._on_news(found)

    def close(self) -> None:
        """End what still runs."""
        self.writer.shutdown(wait=True)
        with suppress(exceptions.RayError):
            for flight in self.flying.values():
                ray.cancel(flight.task, force=True)
            for group in self.groups.values():
                _ray_nodes.release(group)
            ray.kill(self.mailbox)
        for flight in self.flying.values():
            if flight.note is not None:
                flight.note.remove()
        if self.storage is not None and self.noted:
            with suppress(OSError):
                self.storage.remove(record.NOTE)

    def _window(self) -> int:
        """Return how many tasks may be submitted and not ended."""
        if time.monotonic() - self.counted > _COUNTED_EVERY:
            self.counted = time.monotonic()
            e, have = self.engine, ray.cluster_resources()
            rooms = [have.get("CPU", 0) / e.cpus]
            rooms += [have.get("GPU", 0) / e.gpus] if e.gpus else []
            self.room = max(1, int(min(rooms) / e.nodes))
        return self.workers or _WAITING * self.room + 1

    def _gather(self) -> Iterator[OfRun]:
        """Take what an earlier driver's workers have left in the storage."""
        if self.storage is None:
            return
        there = set(self.storage.names("runs"))
        for name in [name for name in self.waiting if name in there]:
            if not StoredRun(self.storage, name).finished():
                continue
            if self._fetch(name):
                self.waiting.remove(name)
                yield Finished(name)
            else:
                StoredRun(self.storage, name).forget()

    def _next(self) -> tuple[str, ...]:
        """Return the runs of the next task: several where they take less than two seconds.

        What a task costs the driver, about 4 ms, is then shared. A run that was lost is alone.
        """
        first = self.waiting.popleft()
        number = int(_TASK / self.each) if self.each else 1
        number = min(number, _MOST_RUNS, len(self.waiting) // (2 * self.room) + 1)
        number = 1 if self.engine.nodes > 1 else number
        names = [first]
        while self.waiting and len(names) < number:
            more = self.waiting[0]
            if self.losses.keys() & {first, more}:
                break
            if self.jobs[more].study != self.jobs[first].study:
                break
            names.append(self.waiting.popleft())
        return tuple(names)

    def _submit(self, names: tuple[str, ...]) -> None:
        todo, study = [], self.jobs[names[0]].study
        for name in names:
            checkpoint = None
            with suppress(OSError):
                checkpoint = files.read(self.jobs[name].folder / record.CHECKPOINT)
            todo.append((self.jobs[name], checkpoint))
        args, task, group = (self.parcels[study], todo, self.blocks.get(study)), self.task, None
        if self.engine.nodes > 1:
            needs = {k: least for k, least in self.needs.items() if least}
            self.groups[names] = group = _ray_nodes.reserve(self.engine.nodes, needs)
            task = self._task(scheduling_strategy=_ray_nodes.first_of(group))
        task = task.remote(*args, self.mailbox, group)
        self.tasks += 1
        self.flying |= {name: _Flight(task) for name in names}

        def on_end(future: Future) -> None:
            error = future.exception()
            self.heard.put((names, None if error else future.result(), error))

        task.future().add_done_callback(on_end)

    def _on_end(
        self, names: tuple[str, ...], found: Any, error: BaseException | None
    ) -> Iterator[OfRun]:
        """Take the end of a task: write the records of its runs, or submit them again."""
        if error is None and isinstance(found[0], tuple):  # the records are written
            for end, events in found:
                yield from self._ended(end, events)
            return
        self.tasks -= 1
        if group := self.groups.pop(names, None):
            _ray_nodes.release(group)
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, exceptions.OwnerDiedError):  # that is this process: it was cut off
            raise cause
        if error is None:
            self.each = sum(result.seconds for result in found) / len(found)
            self.writer.submit(self._write, names, found)
        elif isinstance(cause, _parcel.LacksSamples):
            self._send_samples(self.jobs[names[0]].study)
            self._submit(names)
        else:
            for name in names:
                yield from self._on_loss(name, error)

    def _ended(self, end: Finished | Failed, events: Sequence[OfRun] = ()) -> Iterator[OfRun]:
        flight = self.flying.pop(end.run)
        if flight.note is None:
            yield Started(end.run)
        else:
            flight.note.remove()
        yield from events
        yield end

    def _write(self, names: tuple[str, ...], results: list[_parcel.Result]) -> None:
        """Write what came back, in a thread, and say that it is there."""
        pairs = zip(names, results, strict=True)
        ends = [(self._written(name, found), found.events) for name, found in pairs]
        self.heard.put((names, ends, None))

    def _written(self, name: str, result: _parcel.Result) -> Finished | Failed:
        try:
            folder = self.jobs[name].folder
            if self.storage is None:
                record.place(folder, result.contents)
            elif isinstance(result.end, Failed):
                why = self.storage.read(f"runs/{name}/{record.ERROR}")
                record.place(folder, {record.ERROR: why} if why else {})
            elif not self._fetch(name):
                return Failed(name, f"its record in {self.storage.where} is not whole", True)
        except (OSError, record.Damaged) as error:
            return Failed(name, f"its record cannot be written: {error}", outside=True)
        return result.end

    def _fetch(self, name: str) -> bool:
        """Copy a finished run out of the storage; return whether it is whole."""
        job = self.jobs[name]
        contents = StoredRun(self.storage, name).collect() if self.storage else None
        if contents is None:
            return False
        record.place(job.folder, contents)
        return record.take_up(job.folder, job.spec.to_json()) is not None

    def _on_loss(self, name: str, error: BaseException) -> Iterator[OfRun]:
        self.losses[name] = self.losses.get(name, 0) + 1
        final = exceptions.RayTaskError | exceptions.RuntimeEnvSetupError
        lost = isinstance(getattr(error, "cause", None), _parcel.NodeLost)
        again = lost or not isinstance(error, final)
        if again and self.losses[name] <= self.engine.retries:
            flight = self.flying.pop(name)
            if flight.note is not None:
                flight.note.remove()
            self.waiting.append(name)
            return
        times = f", {self.losses[name]} times" if again else ""
        reason = f"its task was lost{times}: {first_line(error)}"
        yield from self._ended(Failed(name, reason, outside=True))

    def _send_samples(self, study: Path) -> None:
        """Put the samples into the object store, once."""
        if study not in self.blocks:
            found = _parcel.blocks(self.samples[study])
            self.blocks[study] = {first: ray.put(block) for first, block in found}

    def _ask_for_news(self) -> None:
        self.asked, news = True, self.mailbox.take.remote()

        def on_answer(future: Future) -> None:
            self.heard.put(((), None if future.exception() else future.result(), None))

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
    todo: list[tuple[Job, bytes | None]],
    blocks: Mapping[int, Any] | None,
    mailbox: Any,
    group: Any = None,
) -> list[_parcel.Result]:
    """Do runs one after another, in a worker; each comes with its checkpoint, if it has one.

    On a group of machines there is one, which the others take part in.
    """
    others = _ray_nodes.Others(group, parcel, todo[0][0], blocks) if group else None
    if others is not None:
        others.prepare()
        todo = [(others.job, todo[0][1])]
    host, pending, sent = socket.gethostname(), list[OfRun](), time.monotonic()

    def emit(event: OfRun) -> None:
        nonlocal sent
        if isinstance(event, Joining):
            if others is not None:
                others.join(event)
            return
        pending.append(event)
        if time.monotonic() - sent > _SENT_EVERY:
            mailbox.put.remote(host, list(pending))
            pending.clear()
            sent = time.monotonic()

    def send_checkpoint(name: str, content: bytes) -> None:
        mailbox.put_checkpoint.remote(name, content)

    results, given = [], _ray_nodes.fetching(blocks)
    with _parcel.unpacked(parcel) as home:
        for job, checkpoint in todo:
            done = _parcel.do_there(parcel, home, job, checkpoint, given, emit, send_checkpoint)
            if others is not None and isinstance(done.end, Failed) and done.end.outside:
                others.check()
            results.append(replace(done, events=tuple(pending)))
            pending.clear()
    return results


_REMOTE: Any = ray.remote(_do)
