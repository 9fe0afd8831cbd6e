"""torch's elastic agent, which starts the processes of a run on one node and watches over them."""

import json
import signal
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import DistError, PrefixStore, TCPStore
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from counterpoise.study.spec import Nodes

_SILENT = 60.0  # seconds, from which on a node is taken for lost
_SAID_EVERY = 1.0  # seconds, that a node is alive
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none


@dataclass(frozen=True)
class Failure:
    """The reason for which an attempt at a run failed.

    Attributes:
        outside: the system was the reason.
        text: a line.
        where: a traceback.
    """

    outside: bool
    text: str
    where: str = ""


class Board:
    """Notes of the nodes of a run to each other, in torch's store on the first one.

    Args:
        host: of the first node.
        port: where it listens; 0 for any.
        first: whether this is the one that keeps it.
        seconds: to wait for it.
    """

    def __init__(self, host: str, port: int, first: bool = False, seconds: float = 300.0) -> None:
        server = TCPStore(
            host,
            port,
            is_master=first,
            timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
            multi_tenant=True,
        )
        self.port: int = server.port
        self._store = PrefixStore("counterpoise", server)

    def tell(self, attempt: int, failure: Failure) -> None:
        """Say why an attempt failed, if nobody has yet."""
        self._store.compare_set(f"failure {attempt}", "", json.dumps(asdict(failure)))

    def failure(self, attempt: int) -> Failure | None:
        """Return why an attempt failed; None if nobody has said it."""
        key = f"failure {attempt}"
        return Failure(**json.loads(self._store.get(key))) if self._store.check([key]) else None

    def live(self, node: int) -> None:
        """Say that a node is alive."""
        self._store.add(f"alive {node}", 1)

    def live_until(self, over: threading.Event, node: int) -> None:
        """Say so every second, in a thread; without the first node there is nobody to tell."""
        with suppress(DistError):
            while not over.wait(_SAID_EVERY):
                self.live(node)

    def lives(self, node: int) -> int:
        """Return how often a node has said so."""
        return self._store.add(f"alive {node}", 0)

    def gather(self, nodes: int, seconds: float) -> Failure | None:
        """Wait until all nodes have said that they are alive; return why one cannot take part.

        Raises:
            ConnectionError: one of them is not there in time.
        """
        until = time.monotonic() + seconds
        while missing := [node for node in range(1, nodes) if not self.lives(node)]:
            if failure := self.failure(0):
                return failure
            if time.monotonic() > until:
                raise ConnectionError(
                    f"node {missing[0]} of its {nodes} (0 to {nodes - 1}) was not there in "
                    f"{seconds:.0f} seconds"
                )
            time.sleep(0.1)
        return None


class Agent(LocalElasticAgent):
    """torch's agent, which also notices more.

    - A process that ends with exit code 0 before its work is done, which it would wait for.
    - Why an attempt failed on any node: then it fails here.
    - A node that is silent.

    Args:
        board: of the nodes.
        nodes: as this one sees them.
        settings: of torch's agent.

    Raises:
        ConnectionError: by `run`, a node is lost.
    """

    def __init__(self, board: Board, nodes: Nodes, **settings: Any) -> None:
        super().__init__(**settings)
        self.board, self.nodes = board, nodes
        self._next = 0.0
        self._heard: dict[int, tuple[int, float]] = {}  # how often from a node, and when

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 0."""
        return self._worker_group.spec.max_restarts - self._remaining_restarts

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result: RunResult = super()._monitor_workers(worker_group)
        if result.state == WorkerState.HEALTHY:
            self._miss_nodes()
            failures = self._ended_early(worker_group)
            if failures or self.board.failure(self.attempt):
                result = RunResult(state=WorkerState.FAILED, failures=failures)
        for rank, failure in result.failures.items():
            number, code = worker_group.workers[0].world_size, failure.exitcode
            which = f"process {rank} of its {number} (0 to {number - 1})"
            text = f"{which} died {self.attempt + 1} times (exit code {code})"
            if code == 0:
                text = f"{which} ended (exit code 0) before the run was done"
            self.board.tell(self.attempt, Failure(code != 0, text))
        return result

    def _ended_early(self, worker_group: WorkerGroup) -> dict[int, ProcessFailure]:
        """Return the processes that have ended although not all are done, by rank."""
        processes = self._pcontext._pc.processes  # type: ignore[union-attr]
        return {
            worker.global_rank: ProcessFailure(worker.local_rank, process.pid, 0, "")
            for worker, process in zip(worker_group.workers, processes, strict=True)
            if process.exitcode == 0
        }

    def _shutdown(self, death_sig: signal.Signals = _KILL, timeout: int = 30) -> None:
        """Kill the processes: where SLURM ends tasks they ignore SIGTERM, and it would wait."""
        super()._shutdown(_KILL, timeout)

    def _miss_nodes(self) -> None:
        """Look at the other nodes' signs of life, on the first one."""
        now = time.monotonic()
        if self.nodes.rank or now < self._next:
            return
        self._next = now + _SAID_EVERY
        for node in range(1, self.nodes.number):
            times = self.board.lives(node)
            before, when = self._heard.get(node, (-1, now))
            if times != before:
                self._heard[node] = times, now
            elif now - when > _SILENT:
                raise ConnectionError(
                    f"node {node} of its {self.nodes.number} (0 to {self.nodes.number - 1}) has "
                    f"said nothing for {_SILENT:.0f} seconds"
                )
