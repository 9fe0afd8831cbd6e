"""Where runs happen: here, each in a process of its own, as many at a time as there are cores."""

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

Emit = Callable[[Any], None]
Target = Callable[[Any, Emit], None]

_ATTEMPTS = 2  # a worker that was killed is started once more
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 1 << 30


@dataclass(frozen=True)
class Event:
    """Something that happened to a run: "started", "news", "finished" or "failed"."""

    run: str
    kind: str
    value: Any = None


def run_all(
    target: Target, runs: Mapping[str, Any], *, workers: int | None = None
) -> Iterator[Event]:
    """Call target(payload, emit) for every run, and yield what happens as it happens.

    Each run has a process of its own, so that a worker that leaks or is killed costs one run. A run
    that raises is reported as failed with its reason; one whose process dies is tried once more.
    Each process uses cores / workers threads: more would fight. Leaving the loop early ends all.

    Args:
        target: an importable function; whatever it passes to `emit` arrives as "news".
        runs: name of the run to what it is called with (picklable).
        workers: how many processes at a time; None for one a core.

    Yields:
        Events, in the order in which they arrive; every run ends with "finished" or "failed", whose
        value is the reason.
    """
    cores = os.cpu_count() or 1
    workers = max(1, min(workers or cores, len(runs)))
    waiting = deque((name, 1) for name in runs)
    running: dict[Any, tuple[str, int, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name, attempt = waiting.popleft()
                connection, process = _start(target, runs[name], max(1, cores // workers))
                running[connection] = (name, attempt, process)
                yield Event(name, "started")
            for connection in wait(list(running)):
                name, attempt, process = running[connection]
                kind, value = _receive(connection)
                if kind == "news":
                    yield Event(name, "news", value)
                    continue
                del running[connection]
                process.join()
                if kind != "died":
                    yield Event(name, kind, value)
                elif attempt < _ATTEMPTS:
                    waiting.append((name, attempt + 1))
                else:
                    reason = f"its process died {attempt} times (exit code {process.exitcode})"
                    yield Event(name, "failed", reason)
    finally:
        for _, _, process in running.values():
            process.kill()
            process.join()


def _start(target: Target, payload: Any, threads: int) -> tuple[Connection, Any]:
    """Start a process; return the connection on which it speaks, and the process."""
    linux = sys.platform == "linux"
    context: Any = multiprocessing.get_context("forkserver" if linux else "spawn")
    if linux:
        context.set_forkserver_preload(["torch", "torch._dynamo", "counterpoise.train"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(target, payload, threads, there), daemon=True)
    process.start()
    there.close()  # so that the process's end is the only one, and its death is heard
    return here, process


def _receive(connection: Any) -> tuple[str, Any]:
    """The next message of a process, or that it died without a last one."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return "died", None


def _work(target: Target, payload: Any, threads: int, connection: Connection) -> None:
    """What the process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it ends us
    try:
        tune_process(threads)
        target(payload, lambda value: connection.send(("news", value)))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", f"{type(error).__name__}: {error}"))
    else:
        connection.send(("finished", None))


def tune_process(threads: int) -> None:
    """Make this process a good worker: its number of threads, no denormals, memory that is kept.

    glibc gives memory of some hundred kB back to the system as soon as it is freed, and every
    tensor of that size then costs a page fault per 4 kB when it is next written.
    """
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEEP)
            mallopt(_M_TRIM_THRESHOLD, _KEEP)
