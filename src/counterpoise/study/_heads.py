"""Runs that share a process: heads on vectors, and seeds of a small net.

Sharing is for speed alone, and groups may be others each time that a study goes on: on a CPU each
head is trained to the same bits with others or without. Stacked seeds, and heads on a GPU, are
equal up to rounding.
"""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from counterpoise.study.settings import Training
from counterpoise.study.spec import AnySpec, Job, RunSpec

MOST = 16  # runs of a process

Groups = dict[str, tuple[Job, ...]]


def trains_heads(t: Training) -> bool:
    """Return whether runs with these settings train heads on vectors, as `train.fit_heads` can."""
    plain = not t.patience and not t.compile and t.accumulate == 1 and t.devices == 1
    plain = plain and t.augment == "none" and t.precision in ("auto", "float32")
    return plain and bool(t.head_alone)


def together(specs: Iterable[AnySpec], nodes: int) -> int:
    """Return how many of such runs share a process.

    A loss or sampler of the user's own may draw random numbers, and is alone with them.
    """
    shared = all(
        isinstance(s, RunSpec)
        and (trains_heads(s.training) or s.training.stack_seeds)
        and ":" not in s.variant.loss + s.variant.sampler
        for s in specs
    )
    return MOST if nodes == 1 and shared else 1


def streams(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return the runs that are trained in one loop.

    Heads by their batches: those of the same data, seed, sampler and settings but what is their
    optimizer's. Seeds that are stacked: those of the same data, variant and settings.
    """
    found: dict[Hashable, list[Job]] = {}
    for job in jobs:
        if isinstance(spec := job.spec, RunSpec):
            own: Hashable = repr(spec.variant), spec.training
            if not spec.training.stack_seeds:
                same = replace(spec.training, lr=0.0, weight_decay=0.0, momentum=0.0)
                drawn = spec.variant.sampler, repr(spec.variant.sampler_settings)
                own = drawn, spec.seed, same
            found.setdefault((job.study, spec.stage, spec.test, own), []).append(job)
    return list(found.values())


def grouped(jobs: Mapping[str, Job], at_once: int = 1) -> Groups:
    """Return the runs of each process.

    Args:
        jobs: by the name of the run.
        at_once: processes at a time, which are to have about the same to do.

    Returns:
        By a name, heads in full rounds of groups of 16 at most, and seeds that are stacked in
        groups of 16 at most; by its own, each other run alone.
    """
    some = [j for j in jobs.values() if together([j.spec], j.nodes.number) > 1]
    heads = [job for stream in streams(some) if not _stacked(stream) for job in stream]
    groups = {f"heads {k}": cut for k, cut in enumerate(_cut(heads, at_once)) if len(cut) > 1}
    for stream in filter(_stacked, streams(some)):
        if len(stream) > 1:
            groups |= {f"seeds with {cut[0].folder.name}": cut for cut in _cut(stream, 1)}
    names = {job.folder.name for group in groups.values() for job in group}
    return groups | {name: (job,) for name, job in jobs.items() if name not in names}


def seeds_together(jobs: Mapping[str, Job]) -> dict[str, Job]:
    """Return the runs with the stacked seeds of a variant one after the other, for tasks of 16."""
    beside = [job for stream in streams(jobs.values()) if _stacked(stream) for job in stream]
    return {job.folder.name: job for job in beside} | dict(jobs)


def _stacked(stream: Sequence[Job]) -> bool:
    spec = stream[0].spec
    return isinstance(spec, RunSpec) and spec.training.stack_seeds


def _cut(jobs: Sequence[Job], at_once: int) -> list[tuple[Job, ...]]:
    """Return full rounds of groups of about the same size."""
    number = min(len(jobs), -(-len(jobs) // (MOST * at_once)) * at_once)
    edges = [k * len(jobs) // number for k in range(number + 1 if number else 0)]
    return [tuple(jobs[a:b]) for a, b in itertools.pairwise(edges)]
