"""One run in several processes, started by torch's elastic launcher."""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

from counterpoise.study.events import Emit
from counterpoise.study.process import (
    die_with_parent,
    tune_process,
    without_current_folder,
    without_main,
)
from counterpoise.study.spec import Nodes
from counterpoise.user_code import RaisedElsewhere, RaisedOutside, raised

if TYPE_CHECKING:
    import torch

    from counterpoise.study._agent import Failure

Payload = TypeVar("Payload")
Target = Callable[[Payload, Emit, int, int], None]
_ALONE = Nodes()

_RESTARTS = 1  # of all processes of a run, when one of them was killed
_GATHERED = 300  # seconds, in which all nodes must be there
_SIGNALS = {
    getattr(signal, k) for k in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if k in dir(signal)
}
_CROWD = 4  # processes a core: more would be a slip
_LINGER = 2.0  # seconds, in which a process that was killed is noticed before those it leaves


def _ignore(said: object) -> None:
    """Say nothing."""


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


def launch(
    target: Target[Payload],
    payload: Payload,
    number: int,
    emit: Emit,
    nodes: Nodes = _ALONE,
    on_open: Callable[[int], None] = _ignore,
) -> None:
    """Call target(payload, emit, rank, size) in each of `number` processes, on each node.

    When one of them is killed, all are started once more; the target resumes from what it saved.
    They end with this process. Each node of a run calls this.

    Args:
        target: an importable function; it may `join` the others in torch.distributed.
        payload: what it is called with, picklable.
        number: of processes on this node, a GPU each where there are any.
        emit: called with the events of the first process, on the first node.
        nodes: of the run.
        on_open: called on the first of several nodes with the port where it waits for the others.

    Raises:
        RaisedElsewhere: what one of them raised; the text says it, and a note has its traceback.
        ChildProcessError: one of them was killed again and again.
        ConnectionError: a node is lost, or was not there in five minutes.
    """
    import torch
    from torch.distributed import DistError
    from torch.distributed.elastic.agent.server import WorkerSpec
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import create_rdzv_handler

    from counterpoise.study._agent import Agent, Board

    method = "forkserver" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["counterpoise.study.one_run"])
    here, there = context.Pipe(duplex=False)
    refused: list[Exception] = []
    reader = threading.Thread(target=_pass_on, args=(here, emit, refused), daemon=True)
    reader.start()
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = ""  # ours stay; torch 2.6 does not ask
    failed, over = None, threading.Event()
    try:
        board = Board(nodes.host, nodes.port, first=nodes.rank == 0)
        if nodes.rank:
            board.live(nodes.rank)
            alive = Board(nodes.host, nodes.port).live_until
            threading.Thread(target=alive, args=(over, nodes.rank), daemon=True).start()
        elif nodes.number > 1:
            on_open(board.port)
            failed = board.gather(nodes.number, _GATHERED)
        meeting = RendezvousParameters(
            *("static", f"{nodes.host}:{board.port}", "counterpoise", nodes.number, nodes.number),
            rank=nodes.rank,
            timeout=_GATHERED,
        )
        spec = WorkerSpec(
            role="run",
            local_world_size=number,
            entrypoint=_work,
            args=(target, payload, there, torch.get_num_threads()),
            rdzv_handler=create_rdzv_handler(meeting),
            max_restarts=_RESTARTS,
            monitor_interval=0.1,
            master_addr=nodes.host,
            master_port=board.port,
        )
        logs = DefaultLogsSpecs(log_dir=os.devnull)
        agent = Agent(board, nodes, spec=spec, logs_specs=logs, start_method=method)
        with (
            _may_have_children(),
            _in_silence(),
            _same_signals(),
            without_main(),
            without_current_folder(),
        ):
            if failed is None and agent.run().is_failed():
                failed = board.failure(agent.attempt)
    except DistError as error:
        said = f"the nodes of the run must meet, but: {' '.join(str(error).split())[:200]}"
        raise ConnectionError(said) from error
    finally:
        over.set()
        there.send(None)  # the last that is read
        reader.join()
    if failed is not None:
        raise _error(failed)
    if refused:
        raise refused[0]


@contextlib.contextmanager
def told(nodes: Nodes) -> Iterator[None]:
    """Tell the first node of a run what is raised on another one before its processes begin."""
    try:
        yield
    except BaseException as error:
        if nodes.rank:
            with contextlib.suppress(RuntimeError):  # that node may have ended the run
                _tell(error, nodes.host, nodes.port)
        raise


def join(backend: str) -> None:
    """Join the other processes in torch.distributed; called by a target of `launch`.

    The launcher's store outlives a restart, and with it the addresses of processes that are gone.
    """
    import torch.distributed as dist

    store, rank, number = next(dist.rendezvous("env://"))
    ours = dist.PrefixStore(f"try {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=ours, rank=rank, world_size=number)


def of_first(content: bytes, device: "torch.device") -> bytes:
    """Return the bytes that the first process gives, in all that have joined."""
    import torch
    import torch.distributed as dist

    size = torch.tensor(len(content), device=device)
    dist.broadcast(size, 0)
    sent = torch.frombuffer(bytearray(content or 1), dtype=torch.uint8)
    sent = (torch.empty(int(size), dtype=torch.uint8) if dist.get_rank() else sent).to(device)
    if size:
        dist.broadcast(sent, 0)
    return sent.cpu().numpy().tobytes() if size else b""


def _error(failure: "Failure") -> Exception:
    """Return the error of the process that failed first."""
    if not failure.where:
        return (ChildProcessError if failure.outside else RaisedElsewhere)(failure.text)
    error = (RaisedOutside if failure.outside else RaisedElsewhere)(failure.text)
    error.add_note(failure.where)
    return error


def _pass_on(here: Connection, emit: Emit, refused: list[Exception]) -> None:
    """Receive what the first process sends, until None: it would wait for a reader."""
    while (sent := here.recv()) is not None:
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
        time.sleep(_LINGER * isinstance(error, RuntimeError))  # perhaps another one was killed
        with contextlib.suppress(RuntimeError):
            _tell(error, os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        os._exit(1)


def _tell(error: BaseException, host: str, port: int) -> None:
    """Say what was raised in this process, before the agent sees that it has ended."""
    from counterpoise.study._agent import Board, Failure

    outside, where = isinstance(error, OSError), "".join(traceback.format_exception(error))
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    where = f"on {socket.gethostname()}, in process {os.environ.get('RANK', '?')}:\n{where}"
    Board(host, port, seconds=10).tell(attempt, Failure(outside, raised(error), where))


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
