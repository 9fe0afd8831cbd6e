"""Engines: where the runs of a study happen.

worker.py  what all of them call: one function that does a run
local.py   this machine: each run in a process of its own; heads on vectors share one
ray.py     a Ray cluster: each run is a task
slurm.py   a SLURM cluster: the runs are the tasks of an array job

Each has `run_all(jobs, engine, ...)`, which yields the events of the runs; every run ends with one
`Finished` or `Failed`. A run that is done twice, as a connection was lost, writes the same bytes
twice: at least once is enough.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from counterpoise import files
from counterpoise.study._heads import seeds_together
from counterpoise.study._ranks import count_devices
from counterpoise.study.engines._groups import do_group, run_grouped
from counterpoise.study.engines.local import run_all as run_here
from counterpoise.study.events import Notice, OfRun
from counterpoise.study.settings import Engine
from counterpoise.study.spec import AnySpec, Job, RunSpec
from counterpoise.study.storage import Storage, StoredRun, absolute, share

_LONGEST_WRITING = 600.0  # seconds that a file takes


def remove_unfinished(study: Path) -> None:
    """Remove the temporary files of killed writers from a study's folder, which this process holds.

    While an array job of SLURM is queued its tasks write there; they are done with a file soon.
    """
    queued = (study / "slurm").is_dir()
    files.remove_unfinished(study, older_than=_LONGEST_WRITING if queued else 0.0)


def forget(engine: Engine, run: str) -> None:
    """Let a run be done again although its record may be in a storage."""
    if engine.storage:
        StoredRun(Storage(absolute(engine.storage)), run).forget()


def show_to_others(engine: Engine, study: Path) -> None:
    """Copy a study's state and records into its storage, if it has one."""
    if engine.storage:
        share(absolute(engine.storage), study)


def tidy(study: Path, engine: Engine) -> None:
    """Remove what an engine keeps in a study's folder, now that its runs have ended."""
    if engine.name == "slurm" and (study / "slurm").is_dir():  # its driver was killed late
        from counterpoise.study.engines.slurm import tidy as tidy_slurm

        tidy_slurm(study.resolve())


@contextmanager
def opened(engine: Engine) -> Iterator[str]:
    """Connect to where an engine does runs; of those that need no connection, do nothing.

    Yields:
        A sentence on what it is connected to, or "".

    Raises:
        ValueError: it is not installed, does not answer, or has machines that do not fit.
    """
    if engine.name == "slurm":
        from counterpoise.study.engines.slurm import check  # an extra's

        check(engine)
    if engine.name != "ray":
        yield ""
        return
    from counterpoise.study.engines._ray_cluster import connected  # an extra's

    with connected(replace(engine, storage=absolute(engine.storage))) as said:
        yield said


def run_jobs(
    jobs: Mapping[str, Job], engine: Engine, *, workers: int | None = None
) -> Iterator[OfRun | Notice]:
    """Do runs where an engine does them, and yield events as they happen.

    Args:
        jobs: by the name of the run.
        engine: which one, and what a run needs.
        workers: runs at a time; None for what the machine or the cluster has room for.

    Raises:
        ValueError: the engine is not there; nothing was started.
    """
    workers = workers or engine.workers or None
    engine, devices = for_runs(engine, [job.spec for job in jobs.values()])
    if engine.name == "ray":
        from counterpoise.study.engines.ray import run_all as run_on_ray

        return run_on_ray(jobs, engine, workers=workers)
    if engine.name == "slurm":
        from counterpoise.study.engines.slurm import run_all as run_on_slurm

        return run_on_slurm(seeds_together(jobs), engine, workers=workers)
    run = partial(run_here, do_group, workers=workers, devices=devices)
    return run_grouped(jobs, workers or os.cpu_count() or 1, run)


def for_runs(engine: Engine, specs: Iterable[AnySpec]) -> tuple[Engine, int]:
    """Return an engine with what all devices of a run need on a node, and how many these are.

    "all" are those of this machine. Runs that train no net need one node.

    Raises:
        ValueError: this machine has fewer GPUs, and the runs are to be here.
    """
    every = {spec.training.devices for spec in specs if isinstance(spec, RunSpec)}
    if engine.name == "local":
        devices = max(map(count_devices, every), default=1)
    else:
        devices = max((n for n in every if isinstance(n, int)), default=1)
    needs = {"cpus": engine.cpus * devices, "gpus": engine.gpus * devices}
    nodes = engine.nodes if every else 1
    return replace(engine, **needs, nodes=nodes, storage=absolute(engine.storage)), devices
