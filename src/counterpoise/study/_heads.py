"""Heads on vectors that share a process: which runs do, and what an engine is given.

Sharing is for speed alone: each head is trained to the same bits with others or without, so that
groups may be others each time that a study goes on.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from counterpoise.study.events import Failed, Finished, OfRun
from counterpoise.study.spec import AnySpec, Job, RunSpec

MOST = 16  # heads of a process

Groups = dict[str, tuple[Job, ...]]


def trains_head(spec: AnySpec) -> bool:
    """Return whether a run trains a head on vectors, as `train.fit_heads` can."""
    if not isinstance(spec, RunSpec) or not spec.training.head_alone:
        return False
    t = spec.training
    plain = not t.patience and not t.compile and t.accumulate == 1 and t.devices == 1
    return plain and t.augment == "none" and t.precision in ("auto", "float32")


def together(specs: Iterable[AnySpec], nodes: int) -> int:
    """Return how many of such runs share a process."""
    return MOST if nodes == 1 and all(map(trains_head, specs)) else 1


def streams(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return heads by their batches: those of the same data, seed, sampler and settings but lr."""
    found: dict[Hashable, list[Job]] = {}
    for job in jobs:
        if isinstance(spec := job.spec, RunSpec):
            settings = replace(spec.training, lr=0.0)
            key = (job.study, spec.stage, spec.seed, spec.variant.sampler, spec.test, settings)
            found.setdefault(key, []).append(job)
    return list(found.values())


def grouped(jobs: Mapping[str, Job], at_once: int = 1) -> Groups:
    """Return the runs of each process.

    Args:
        jobs: by the name of the run.
        at_once: processes at a time, which are to have about the same to do.

    Returns:
        By a name, heads in full rounds of groups of 16 at most; by its own, each other run alone.
    """
    some = [j for j in jobs.values() if together([j.spec], j.nodes.number) > 1]
    heads = [job for stream in streams(some) for job in stream]
    number = min(len(heads), -(-len(heads) // (MOST * at_once)) * at_once)
    cuts = itertools.pairwise(k * len(heads) // number for k in range(number + 1 if number else 0))
    groups = {f"heads {a} to {b}": tuple(heads[a:b]) for a, b in cuts}
    names = {job.folder.name for job in heads}
    return groups | {name: (job,) for name, job in jobs.items() if name not in names}


def run_grouped(
    jobs: Mapping[str, Job], at_once: int, run: Callable[[Groups], Iterator[OfRun]]
) -> Iterator[OfRun]:
    """Do runs, heads in groups, and yield the events of each.

    A head whose group did not come to its end, as another one ended the process, is done alone.

    Args:
        jobs: by the name of the run.
        at_once: processes at a time.
        run: does groups, each in a process of its own, and yields the events of processes, by the
            groups' names, and those that `worker.do_group` emits.
    """
    left = dict(jobs)
    for event in run(grouped(jobs, at_once)):
        if event.run in left:
            if isinstance(event, Finished | Failed):
                del left[event.run]
            yield event
    if left:
        yield from run({name: (job,) for name, job in left.items()})
