"""One run in several processes, started by torch's elastic launcher."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from counterpoise.study.events import Emit
from counterpoise.study.process import (
    die_with_parent,
    tune_process,
    without_current_folder,
    without_main,
)
from counterpoise.user_code import RaisedElsewhere, RaisedOutside, raised

Payload = TypeVar("Payload")
Target = Callable[[Payload, Emit, int, int], None]

_RESTARTS = 1  # of all processes of a run, when one of them was killed
_MOST_BYTES = 1500  # of a text: a pipe takes 4096 at once, with no other process's in between
_SIGNALS = {
    getattr(signal, k) for k in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if k in dir(signal)
}
_CROWD = 4  # processes a core: more would be a slip
_LINGER = 2.0  # seconds, in which a process that was killed is noticed before those it leaves


def count_devices(devices: int | str) -> int:
    """Return the number of processes that `training.devices` stands for here.

    Raises:
        ValueError: more GPUs than there are.
    """
    if devices == 1:
        return 1
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if devices == "all":
        return max(1, gpus)
    number = int(devices)
    if gpus and number > gpus:
        raise ValueError(
            f"training.devices = {number} needs as many GPUs, but here are {gpus}; set "
            'training.devices = "all" for those that there are'
        )
    cores = os.cpu_count() or 1
    if not gpus and number > _CROWD * cores:
        raise ValueError(
            f"training.devices = {number} starts as many processes, but here are {cores} cores and "
            "no GPU; set it to a smaller number, or leave it out"
        )
    return number


def launch(target: Target[Payload], payload: Payload, number: int, emit: Emit) -> None:
    """Call target(payload, emit, rank, number) in each of `number` processes.

    When one of them is killed, all are started once more; the target resumes from what it saved.
    They end with this process.

    Args:
        target: an importable function; it may `join` the others in torch.distributed.
        payload: what it is called with, picklable.
        number: of processes, a GPU each where there are any.
        emit: called here with the events of the first process.

    Raises:
        RaisedElsewhere: what one of them raised; the text says it, and a note has its traceback.
        ChildProcessError: one of them was killed again and again.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    method = "forkserver" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["counterpoise.study.one_run"])
    here, there = context.Pipe(duplex=False)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=_RESTARTS,
        start_method=method,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )
    config.signals_to_handle = ""  # ours stay; torch 2.6 does not ask
    errors: dict[int, _Error] = {}  # of the last try, by rank
    refused: list[Exception] = []
    reader = threading.Thread(target=_pass_on, args=(here, emit, errors, refused), daemon=True)
    reader.start()
    failed = None
    try:
        with (
            _may_have_children(),
            _in_silence(),
            _same_signals(),
            without_main(),
            without_current_folder(),
        ):
            elastic_launch(config, _work)(target, payload, there, torch.get_num_threads())
    except ChildFailedError as error:
        failed = error.get_first_failure()
    finally:
        there.send(None)  # the last that is read
        reader.join()
    if failed is not None:
        rank, failure = failed
        raise _error(rank, number, failure.exitcode, errors)
    if refused:
        raise refused[0]


def join(backend: str) -> None:
    """Join the other processes in torch.distributed; called by a target of `launch`.

    The launcher's store outlives a restart, and with it the addresses of processes that are gone.
    """
    import torch.distributed as dist

    store, rank, number = next(dist.rendezvous("env://"))
    ours = dist.PrefixStore(f"try {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=ours, rank=rank, world_size=number)


@dataclass(frozen=True)
class _Error:
    """An error of one of the processes."""

    rank: int
    outside: bool
    text: str
    where: str  # its traceback


def _error(rank: int, number: int, exit_code: int, errors: dict[int, _Error]) -> Exception:
    """Return the error of the process that failed first."""
    if exit_code < 0 or not errors:
        return ChildProcessError(
            f"process {rank} of its {number} (0 to {number - 1}) died {_RESTARTS + 1} times (exit "
            f"code {exit_code})"
        )
    found = errors.get(rank) or next(iter(errors.values()))
    error = (RaisedOutside if found.outside else RaisedElsewhere)(found.text)
    error.add_note(f"in process {found.rank} of its {number}:\n{found.where}")
    return error


def _pass_on(
    here: Connection, emit: Emit, errors: dict[int, _Error], refused: list[Exception]
) -> None:
    """Receive what the processes send, until None: they would wait for a reader."""
    while (sent := here.recv()) is not None:
        if isinstance(sent, _Error):
            errors[sent.rank] = sent
            continue
        errors.clear()  # they are running again
        try:
            if not refused:
                emit(sent)
        except Exception as error:  # nobody listens any more
            refused.append(error)


def _work(target: Target[Any], payload: Any, there: Connection, threads: int) -> None:
    """Do a run's share, in one of its processes."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    rank, number = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        tune_process(threads)
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        target(payload, _ignore if rank else there.send, rank, number)
    except BaseException as error:
        text, where = raised(error).encode("utf-8", "replace"), traceback.format_exc().encode()
        sent = (b.decode("utf-8", "ignore") for b in (text[:_MOST_BYTES], where[-_MOST_BYTES:]))
        with contextlib.suppress(OSError):
            there.send(_Error(rank, isinstance(error, OSError), *sent))
        time.sleep(_LINGER * isinstance(error, RuntimeError))  # perhaps another one was killed
        os._exit(1)


def _ignore(event: object) -> None:
    """Say nothing: the first process does."""


@contextlib.contextmanager
def _may_have_children() -> Iterator[None]:
    """Let this process start others, although it is daemonic: they end with it by themselves."""
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    daemonic = config.pop("daemon", None)
    try:
        yield
    finally:
        if daemonic is not None:
            config["daemon"] = daemonic


@contextlib.contextmanager
def _same_signals() -> Iterator[None]:
    """Put signal handlers back in place of the launcher's, which it leaves behind."""
    kept = {s: signal.getsignal(s) for s in map(signal.Signals, _SIGNALS)}
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread, nor did the launcher
            for number, handler in kept.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Keep the launcher's log off the terminal: what it says is in the error, in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
