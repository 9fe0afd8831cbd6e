"""A run on several machines of a Ray cluster: the tasks of those that are not the first one.

The driver reserves the machines as a placement group (STRICT_SPREAD). Its task, on the first one,
starts one on each of the others; they have the first one's parcel, and end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray import exceptions
from ray.util import get_node_ip_address
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup

from counterpoise.study._ranks import told
from counterpoise.study.engines import _parcel
from counterpoise.study.events import Failed, Joining
from counterpoise.study.spec import Job, Nodes

_LAST = 60.0  # seconds that the other machines have to end after the first one has failed


def reserve(nodes: int, needs: Mapping[str, float]) -> PlacementGroup:
    """Reserve as many machines; `needs` are those of a run on each."""
    return placement_group([dict(needs)] * nodes, strategy="STRICT_SPREAD")


def release(group: PlacementGroup) -> None:
    """Give the machines back, and end what still runs there."""
    remove_placement_group(group)


def first_of(group: PlacementGroup) -> InGroup:
    """Return where the first task of a run is done."""
    return InGroup(group, 0)


class Others:
    """The other machines of a run, for the task on the first one.

    Args:
        group: the machines.
        parcel: of the run's study.
        job: the run.
        blocks: the samples, by the number of each block's first one, if they were sent.
    """

    def __init__(
        self,
        group: PlacementGroup,
        parcel: _parcel.Parcel,
        job: Job,
        blocks: Mapping[int, Any] | None,
    ) -> None:
        self.group, self.blocks = group, blocks
        self.parcel, self.tasks = ray.put(replace(parcel, storage="")), list[Any]()
        self.job = replace(job, nodes=Nodes(group.bundle_count, 0, get_node_ip_address()))

    def prepare(self) -> None:
        """Let them take the samples.

        Raises:
            LacksSamples: one has not got them, and they were not sent.
        """
        try:
            ray.get(self._start(_prepare, self.parcel, self.blocks))
        except exceptions.RayTaskError as error:
            raise error.cause or error from error

    def join(self, event: Joining) -> None:
        """Let them take part in the run: the first one waits for them."""
        jobs = [
            replace(self.job, nodes=replace(self.job.nodes, rank=k, port=event.port))
            for k in range(1, self.group.bundle_count)
        ]
        self.tasks = self._start(_take_part, self.parcel, jobs, self.blocks)

    def check(self) -> None:
        """See whether all have ended by themselves, after the first one has failed.

        Raises:
            NodeLost: one was lost, which is why.
        """
        try:
            ray.get(self.tasks, timeout=_LAST)
        except exceptions.RayTaskError:
            return
        except exceptions.RayError as error:
            raise _parcel.NodeLost(str(error)) from error

    def _start(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        started = []
        for k in range(1, self.group.bundle_count):
            needs = self.group.bundle_specs[k]
            task = ray.remote(function).options(
                num_cpus=needs.get("CPU", 0),
                num_gpus=needs.get("GPU", 0),
                memory=needs.get("memory"),
                max_retries=0,
                scheduling_strategy=InGroup(self.group, k),
            )
            started.append(task.remote(*args, k))
        return started


def _prepare(parcel: _parcel.Parcel, blocks: Mapping[int, Any] | None, rank: int) -> None:
    _parcel.prepare(parcel, fetching(blocks))


def _take_part(
    parcel: _parcel.Parcel, jobs: list[Job], blocks: Mapping[int, Any] | None, rank: int
) -> None:
    job = jobs[rank - 1]
    with _parcel.unpacked(parcel) as home, told(job.nodes):
        done = _parcel.do_there(parcel, home, job, None, fetching(blocks), _ignore, _ignore)
        if isinstance(done.end, Failed):
            raise OSError(done.end.reason)


def fetching(blocks: Mapping[int, Any] | None) -> _parcel.Fetch | None:
    """Return a function that fetches blocks of samples from the object store."""
    return (lambda first: ray.get(blocks[first])) if blocks else None


def _ignore(*said: object) -> None:
    """Say nothing: the first machine does."""
