"""The local engine: each run in a process of its own, as many at a time as there are cores."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar, cast

from counterpoise.study.engines._gpus import Gpus
from counterpoise.study.engines.worker import ending
from counterpoise.study.events import Emit, Epoch, Failed, Finished, OfRun, Started
from counterpoise.study.process import (
    die_with_parent,
    tune_process,
    without_current_folder,
    without_main,
)

Payload = TypeVar("Payload")
Target = Callable[[Payload, Emit], None]

# What every worker needs and would import for itself: optimizers load _dynamo, scores sklearn.
_PRELOADED = [
    "torch",
    "torch._dynamo",
    "sklearn.metrics",
    "counterpoise.references",
    "counterpoise.study._together",
]
_ATTEMPTS = 2  # a worker that was killed is started once more


def run_all(
    target: Target[Payload],
    runs: Mapping[str, Payload],
    *,
    workers: int | None = None,
    threads: int = 1,
    devices: int = 1,
    place: bool = True,
) -> Iterator[OfRun]:
    """Call target(payload, emit) for every run, and yield events as they happen.

    Each run has a process of its own, so that a worker that leaks or is killed costs one run. A run
    that raises is reported as failed with its reason; one whose process dies is tried once more.
    Each process uses `threads` threads, whatever the number of workers, so that sums are taken in
    the same order and results do not depend on it. Leaving the loop early ends all.

    Args:
        target: an importable function; the events that it passes to `emit` are yielded here, also
            those of other names.
        runs: name of the run to what it is called with (picklable).
        workers: how many processes at a time; None for one a core, and on GPUs no more than their
            memory holds (`_gpus.py`).
        threads: of each process, for torch's operations on the CPU.
        devices: GPUs, or processes on the CPU, that a run has to itself.
        place: assign a GPU to each run; False where this process has been assigned its own.

    Yields:
        Events, in the order in which they arrive; every run ends with `Finished` or `Failed`.
    """
    gpus = _gpus() if place else None
    if gpus is not None:
        gpus.each = devices
    at_once = workers or (os.cpu_count() or 1) // devices
    asked, workers = workers, max(1, min(at_once, len(runs)))
    waiting = deque((name, 1) for name in runs)
    running: dict[Connection, tuple[str, int, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name, attempt = waiting[0]
                device = None if gpus is None else gpus.assign(name, at_once=asked is not None)
                if gpus is not None and device is None:
                    break
                waiting.popleft()
                connection, process = _start(target, name, runs[name], threads, device)
                running[connection] = (name, attempt, process)
                yield Started(name)
            for connection in cast("list[Connection]", wait(list(running))):
                name, attempt, process = running[connection]
                sent = _receive(connection)
                event = _died(name, attempt, process) if sent is None else sent
                ended = event.run == name and isinstance(event, Finished | Failed)
                if gpus is not None and (ended or isinstance(event, Epoch)):
                    gpus.on_event(replace(event, run=name))
                if ended:
                    del running[connection]
                    process.join()
                if sent is None and attempt < _ATTEMPTS:
                    waiting.append((name, attempt + 1))
                else:
                    yield event
    finally:
        for *_, process in running.values():
            process.kill()
            process.join()


def _gpus() -> Gpus | None:
    """Return the GPUs that this process may use; None without any."""
    import torch

    if not torch.cuda.is_available():
        return None
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else [str(k) for k in range(torch.cuda.device_count())]
    return Gpus(names, lambda k: torch.cuda.mem_get_info(k)[0])


def start_server() -> None:
    """Start the process of which the workers are forked, which imports what each of them needs.

    It and all workers ignore the signals that are ignored now. Other systems than Linux have none.
    """
    if sys.platform == "linux":
        from multiprocessing import forkserver

        multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOADED)
        with without_main(), without_current_folder():
            forkserver.ensure_running()


def _start(
    target: Target[Payload], run: str, payload: Payload, threads: int, device: str | None
) -> tuple[Connection, BaseProcess]:
    """Start a process; return the connection on which it sends events, and the process."""
    context = multiprocessing.get_context("spawn")
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
    here, there = context.Pipe(duplex=False)
    work = (target, run, payload, threads, device, there)
    process = context.Process(target=_work, args=work, daemon=True)
    with without_main(), without_current_folder():
        for pause in (0.1, 0.5, 2.0, None):
            try:
                process.start()
                break
            except (EOFError, OSError):  # the server was killed just now; the next try restarts it
                if pause is None:
                    raise
                time.sleep(pause)
    there.close()  # so that the process's end is the only one, and its death is noticed
    return here, process


def _receive(connection: Connection) -> OfRun | None:
    """Return the next event that a process sends; None if it died without a last one."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def _died(run: str, attempt: int, process: BaseProcess) -> Failed:
    """Return the end of a run whose process died."""
    process.join()
    reason = f"its process died {attempt} times (exit code {process.exitcode})"
    return Failed(run, reason, outside=True)


def _work(
    target: Target[Payload],
    run: str,
    payload: Payload,
    threads: int,
    device: str | None,
    connection: Connection,
) -> None:
    """Do a run, in its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it ends us
    threading.Thread(target=die_with_parent, daemon=True).start()
    multiprocessing.current_process().daemon = False  # a daemon may start none to read data

    def work() -> None:
        if device is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = device
        tune_process(threads)
        target(payload, connection.send)

    last = ending(run, work)
    with contextlib.suppress(OSError):  # nobody listens any more
        connection.send(last)
