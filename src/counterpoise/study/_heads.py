"""Heads on vectors that share a process: which runs do, and what an engine is given.

Sharing is for speed alone: each head is trained to the same bits with others or without, so that
groups may be others each time that a study goes on.
"""

import itertools
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

from counterpoise.study.settings import Training
from counterpoise.study.spec import AnySpec, Job, RunSpec

MOST = 16  # heads of a process

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
    heads = all(
        isinstance(s, RunSpec)
        and trains_heads(s.training)
        and ":" not in s.variant.loss + s.variant.sampler
        for s in specs
    )
    return MOST if nodes == 1 and heads else 1


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
    groups = {
        f"heads {a} to {b}" if b - a > 1 else heads[a].folder.name: tuple(heads[a:b])
        for a, b in cuts
    }
    names = {job.folder.name for job in heads}
    return groups | {name: (job,) for name, job in jobs.items() if name not in names}
