"""The engine `slurm`: the runs of a stage are the tasks of an array job, submitted by submitit.

The machines share a file system, with the study's folder and the cache in it. A task does its runs
one after the other, as the local engine does with one worker, and says in a file how they end
(`_arrays.py`); the driver looks at these files, and now and then at SLURM's queue (`_queue.py`),
and submits again what was lost (`_gather.py`). It may be killed: the tasks go on, and the same
command gathers them and submits what is missing.

submitit keeps its files, which it pickles, beside the study's folder, not in it.
"""

import hashlib
import math
import os
import platform
import re
import secrets
import shlex
import shutil
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import counterpoise
from counterpoise import files
from counterpoise.study import record
from counterpoise.study._heads import together
from counterpoise.study._ranks import told
from counterpoise.study._sources import digest_of
from counterpoise.study.engines import _queue, local
from counterpoise.study.engines._arrays import FOLDER, Array, Note
from counterpoise.study.engines._gather import Gathering
from counterpoise.study.engines._groups import do_group, run_grouped
from counterpoise.study.engines._parcel import disagreement
from counterpoise.study.events import Emit, Failed, Finished, Joining, Notice, OfRun, Started
from counterpoise.study.settings import Engine, bytes_of, seconds_of
from counterpoise.study.spec import Job

if TYPE_CHECKING:
    from counterpoise.study.engines._calls import Calls

try:
    from submitit import SlurmExecutor, helpers
    from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError
except ImportError as error:
    raise ValueError(
        f"the engine slurm must be installed, but: {error}; pip install 'counterpoise[slurm]'"
    ) from error

TIME = "2h"  # of a task, if nothing is said; what takes longer is resumed
_MANY = 300  # tasks of an array job, from which on each has several runs
_LOOK = 1.0  # seconds between looks at the files of the tasks
_WARNED = 90  # seconds before its end that a task is told
_ALWAYS = 1_000_000  # times that submitit requeues a task; `Task.checkpoint` ends it before
_OURS = {"array", "chdir", "error", "job-name", "open-mode", "output", "parsable", "signal"}
_OURS |= {"test-only", "time", "wait", "wrap"}
_KEPT = ("PYTHONPATH", "COUNTERPOISE_CACHE")  # environment variables


def check(engine: Engine) -> None:
    """Refuse what SLURM would: a machine without it, another partition, needs that none can meet.

    Raises:
        ValueError: any of these.
    """
    for command in ("sbatch", "srun", "squeue"):
        if shutil.which(command) is None:
            raise ValueError(
                f"the engine slurm needs {command} on the PATH, but there is none; run this on a "
                "machine from which jobs are submitted, or leave --engine slurm out"
            )
    if engine.gpus != int(engine.gpus):
        raise ValueError(
            "engine.gpus must be a whole number on slurm, where no two tasks share a GPU, but got "
            f"{engine.gpus:g}; set {math.ceil(engine.gpus)}"
        )
    for key, value in engine.options.items():
        if any(ours.startswith(key.replace("_", "-")) for ours in _OURS):  # sbatch takes beginnings
            raise ValueError(
                f"engine.options must be those of sbatch that counterpoise does not set, but got "
                f"{key}; leave it out ([engine] has time, workers, chunk)"
            )
        if not re.fullmatch(r"[\w-]+", key) or "\n" in str(value):
            raise ValueError(f"engine.options must be like {{ qos = 'low' }}, but got {key!r}")
    try:
        _queue.call("sbatch", "--test-only", given=script(Path.cwd() / "study", engine, 2, None))
    except ValueError as error:
        if "node configuration is not available" not in str(error):  # or all nodes are drained
            raise ValueError(_refused(str(error))) from error


def _refused(why: str) -> str:
    return f"SLURM must take the array job, but: {why}; change [engine] in the plan, or see sinfo"


def run_all(
    jobs: Mapping[str, Job], engine: Engine, *, workers: int | None = None
) -> Iterator[OfRun | Notice]:
    """Do runs as tasks of array jobs, one a study, and yield events; see `engines.run_jobs`.

    Ctrl-C ends the driver, not the tasks.
    """
    by_study: dict[Path, dict[str, Job]] = {}
    for run, job in jobs.items():
        by_study.setdefault(job.study, {})[run] = job
    every = [
        Gathering(
            theirs,
            study / FOLDER,
            partial(_submit, theirs, study, engine, workers),
            _submissions(study),
            engine.retries,
        )
        for study, theirs in by_study.items()
    ]
    try:
        for gathering in every:
            yield from gathering.begin()
        while any(gathering.waiting for gathering in every):
            for gathering in every:
                yield from gathering.look()
            time.sleep(_LOOK)
    except KeyboardInterrupt as error:
        numbers = [number for gathering in every for number in gathering.numbers]
        raise KeyboardInterrupt(
            f"array job {', '.join(numbers)} goes on; the same command gathers it, and scancel "
            f"{' '.join(numbers)} cancels it"
        ) from error
    for gathering in every:
        gathering.close()


def tidy(study: Path) -> None:
    """Remove the array jobs that have ended of a study whose runs are all done."""

    def submit(runs: Sequence[str], alone: Sequence[str]) -> Array:
        raise AssertionError("there is nothing to submit")

    Gathering({}, study / FOLDER, submit, _submissions(study), 0).close()


def _submit(
    jobs: Mapping[str, Job],
    study: Path,
    engine: Engine,
    workers: int | None,
    runs: Sequence[str],
    alone: Sequence[str],
) -> Array:
    """Submit runs as an array job, which is kept before it is submitted.

    Raises:
        ValueError: SLURM refuses it.
    """
    some = together([jobs[run].spec for run in runs], engine.nodes)
    tasks = chunks(runs, engine, len(alone), some) + [[run] for run in alone]
    array = Array(study / FOLDER, f"counterpoise-{secrets.token_hex(4)}", tasks)
    array.save()
    made = _executor(study, engine, len(tasks), workers, array.name)
    try:
        with _outside_of_jobs(), redirect_stderr(StringIO()):
            submitted = made.submit_array(
                [
                    Task({r: jobs[r] for r in names}, array.note(k), engine.retries, engine.nodes)
                    for k, names in enumerate(tasks)
                ]
            )
    except (FailedJobError, FailedSubmissionError) as error:
        array.remove()
        for path in made.folder.glob(f"{'?' * 32}.pkl"):  # as it calls them before they are taken
            files.remove(path)
        raise ValueError(_refused(" ".join(str(error).split()))) from error
    finally:
        for path in made.folder.glob(".submission_file_*"):
            files.remove(path)
    array.number = submitted[0].job_id.partition("_")[0]
    array.save()
    return array


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Submit from within a job as from outside: its tasks inherit nothing of that job."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    settings = os.environ.get("SLURM_CONF")
    with helpers.clean_env():
        if settings is not None:
            os.environ["SLURM_CONF"] = settings
        yield


def script(study: Path, engine: Engine, tasks: int, workers: int | None) -> str:
    """Return the script that is given to sbatch for an array job; nothing is written.

    Args:
        study: the study's folder.
        engine: what a task needs.
        tasks: how many there are.
        workers: tasks at a time.
    """
    made = _executor(study, engine, tasks, workers, "counterpoise")
    made.parameters["map_count"] = tasks
    return made._make_submission_file_text(made._submitit_command_str, "")


def chunks(runs: Sequence[str], engine: Engine, others: int = 0, some: int = 1) -> list[list[str]]:
    """Return the runs of each task: `engine.chunk` of them, or more where an array is full.

    Args:
        runs: all of them.
        engine: with its `chunk`; 0 for one run a task, and more from 300 tasks on.
        others: tasks that the array job has besides.
        some: runs that share a process, and so a task where nothing else is said.
    """
    most = max(1, _queue.largest_array() - others)
    least = math.ceil(len(runs) / (most if engine.chunk else min(most, _MANY)))
    size = max(engine.chunk or some, least)
    return [list(runs[k : k + size]) for k in range(0, len(runs), size)]


def _executor(
    study: Path, engine: Engine, tasks: int, workers: int | None, name: str
) -> SlurmExecutor:
    """Return submitit's executor."""
    minutes, cpus = math.ceil(seconds_of(engine.time or TIME) / 60), math.ceil(engine.cpus)
    made = SlurmExecutor(_submissions(study), max_num_timeout=_ALWAYS)
    kept = [f"export {k}={shlex.quote(os.environ[k])}" for k in _KEPT if k in os.environ]
    options = {k.replace("_", "-"): v for k, v in engine.options.items() if v is not False}
    usual: dict[str, Any] = {"chdir": os.getcwd()}
    if "no-requeue" not in options:
        usual["requeue"] = True
    parameters: dict[str, Any] = {
        "job_name": name,
        "time": minutes,
        "cpus_per_task": cpus,
        "array_parallelism": workers or tasks,
        "signal_delay_s": min(_WARNED, 20 * minutes),
        "wckey": None,
        "setup": [*kept, "export PYTHONSAFEPATH=1"],  # as the local engine's processes
        "srun_args": [f"--cpus-per-task={cpus}"],  # from 22.05 on srun does not take sbatch's
        "additional_parameters": usual | options,
    }
    if engine.nodes > 1:
        parameters |= {"nodes": engine.nodes, "ntasks_per_node": 1}
        parameters["srun_args"] += ["--kill-on-bad-exit=1"]  # if a node is lost, on all of them
    if engine.memory:
        parameters["mem"] = f"{math.ceil(bytes_of(engine.memory) / 2**20)}M"
    if engine.gpus:
        parameters["gpus_per_node"] = int(engine.gpus)
    if engine.partition:
        parameters["partition"] = engine.partition
    made.update_parameters(**parameters)
    return made


def _submissions(study: Path) -> Path:
    """Return the folder of submitit's files; in its path % stands for what SLURM puts there."""
    name = re.sub(r"[^\w.+-]", "_", study.name)
    if name != study.name:
        name += f"-{hashlib.sha256(study.name.encode()).hexdigest()[:8]}"
    if "%" in str(study.parent):
        raise ValueError(
            f"the path of a study must have no % for SLURM, but is {study}; choose another --out"
        )
    return study.with_name(f"{name}.slurm")


def versions() -> dict[str, str]:
    """Return the versions in which all machines must agree."""
    return {
        "counterpoise": counterpoise.__version__,
        "torch": version("torch"),
        "python": platform.python_version(),
    }


class Task:
    """A task of an array job: some runs, one after the other. submitit pickles it.

    On several nodes each calls it; the first one does the runs, and the others take part in them.

    Args:
        jobs: the runs, by name.
        note: the file in which it says how they end.
        retries: how often it is requeued although no epoch was finished.
        nodes: of each run.
    """

    def __init__(self, jobs: Mapping[str, Job], note: Path, retries: int, nodes: int = 1) -> None:
        self.jobs, self.path, self.retries, self.nodes = dict(jobs), note, retries, nodes
        self.versions = versions()  # of the driver
        self.note, self.ended_before, self.idle = Note(), 0, 0
        self.stamp: int | None = None  # of the checkpoint from which a run was begun

    def __call__(self) -> None:
        """Do the runs that have not ended yet, or this node's part of them."""
        if self.nodes == 1:
            self._do_all()
            return
        from counterpoise.study.engines._calls import Calls  # with torch, which drivers need not

        there = helpers.TorchDistributedEnvironment()
        calls = Calls(there.master_addr, there.master_port, there.rank, there.world_size)
        if there.rank == 0:
            self._do_all(calls)
            calls.end()
            return
        _start_server()
        for run, nodes in calls:
            job = replace(self.jobs[run], nodes=nodes)
            deque(local.run_all(_do, {run: (job,)}, workers=1, place=False), maxlen=0)

    def _do_all(self, calls: "Calls | None" = None) -> None:
        self.note = Note.read(self.path)
        self.note.host = socket.gethostname()
        self.ended_before = len(self.note.ended)
        left = {run: job for run, job in self.jobs.items() if run not in self.note.ended}
        if reason := disagreement(versions(), self.versions, self.note.host):
            self.note.ended |= dict.fromkeys(left, (reason, True))
            self.note.write(self.path)
            return
        if calls is not None:
            left = {run: replace(job, nodes=calls.here) for run, job in left.items()}
        _start_server()
        for event in run_grouped(left, 1, partial(local.run_all, _do, workers=1, place=False)):
            match event:
                case Joining(run, port) if calls is not None:
                    calls.send(run, port)
                    continue
                case Started(run):
                    self.note.running = run
                    self.stamp = record.checkpoint_time(self.jobs[run].folder)
                case Finished(run):
                    self.note.ended[run] = None
                case Failed(run, reason, outside):
                    self.note.ended[run] = reason, outside
                case _:
                    continue
            self.note.write(self.path)

    def checkpoint(self) -> DelayedSubmission:
        """Return what is to be done when it is requeued: its time is up, or its node is wanted.

        A run of which no epoch was finished in this time, `retries` times over, has failed.
        """
        run = self.note.running
        job = self.jobs.get(run)
        ended = len(self.note.ended) > self.ended_before
        forward = ended or (job is not None and record.checkpoint_time(job.folder) != self.stamp)
        self.idle = 0 if forward else self.idle + 1
        if self.idle > self.retries and run not in self.note.ended:
            reason = f"no epoch was finished in {self.idle} times that its task ran"
            self.note.ended[run] = f"{reason}; give it more time (engine.time)", True
            self.note.write(self.path)
            self.idle = 0
        return DelayedSubmission(self)


def _do(jobs: Sequence[Job], emit: Emit) -> None:
    """Do a run, or heads together, if what they were submitted for is here and still the same."""
    places = (
        (jobs[0].study, "the study's folder", "--out"),
        (Path(jobs[0].samples), "the cache of its samples", "--set data.cache"),
    )
    with told(jobs[0].nodes):
        for path, what, flag in places:
            if not path.is_dir():
                raise FileNotFoundError(
                    f"{what}, {path}, is not on {socket.gethostname()}: SLURM's machines must "
                    f"share the disk that it is on; choose such a place with {flag}"
                )
        for word, digest in {p for j in jobs for p in j.spec.sources.items()}:
            if ":" in word and digest_of(word) != digest:  # the rest is weights
                raise OSError(f"{word} has changed since this was submitted; compare again")
        do_group(jobs, emit)


def _start_server() -> None:
    """Start the process of the runs' processes, which are left alone when the task is told to end.

    SLURM tells all of them; it is the task's own process that answers.
    """
    told = signal.SIGTERM, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2
    before = {k: signal.signal(k, signal.SIG_IGN) for k in told}
    try:
        local.start_server()
    finally:
        for k, handler in before.items():
            signal.signal(k, handler)
