"""Calls of the first node of a task on SLURM to the others, to take part in its runs.

They wait at torch's store on the first one, at a port that follows from the task's number: for a
run, and the port where its processes meet, or for the end. If the first one dies, so do they.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count

from torch.distributed import DistError, TCPStore

from counterpoise.study.spec import Nodes

_EVER = timedelta(days=365)
_LEFT = timedelta(seconds=30)  # in which the others hear of the end


class Calls:
    """Calls from the first node of a task to the others.

    Args:
        host: of the first node.
        port: there.
        rank: of this node.
        number: of nodes.
    """

    def __init__(self, host: str, port: int, rank: int, number: int) -> None:
        self.here = Nodes(number, rank, host)
        self._sent = 0
        self._store = TCPStore(
            host, port, is_master=rank == 0, timeout=_EVER, wait_for_workers=False
        )

    def send(self, run: str, port: int) -> None:
        """Call the others to a run."""
        self._store.set(f"call {self._sent}", json.dumps([run, port]))
        self._sent += 1

    def end(self) -> None:
        """Let the others end, and wait until they have heard it."""
        self.send("", 0)
        with suppress(DistError):
            self._store.wait([f"left {k}" for k in range(1, self.here.number)], _LEFT)

    def __iter__(self) -> Iterator[tuple[str, Nodes]]:
        """Yield the runs to which this node is called, and where they meet."""
        for k in count():
            run, port = json.loads(self._store.get(f"call {k}"))
            if not run:
                self._store.set(f"left {self.here.rank}", "")
                return
            yield run, Nodes(self.here.number, self.here.rank, self.here.host, port)
