"""Running a study: from a plan to finished records, told as events."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import counterpoise
from counterpoise.study import record
from counterpoise.study._prepared import FACTS, FILE, gather, keep
from counterpoise.study.engines import Event, run_all
from counterpoise.study.plan import Plan, Run, choose, final_runs, run_id, tuning_runs, write

STUDY, PLAN, RUNS = "study.json", "plan.toml", "runs"


@dataclass
class _Work:
    """What a study has to do and has done, as `study.json` holds it."""

    plan: Plan
    folder: Path
    facts: Mapping[str, Any]
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)  # id -> label, seed, lr, stage
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    choices: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)  # the ids of the stage that is on

    def add(self, runs: Sequence[Run]) -> None:
        """Take up the runs of a stage."""
        self.added = []
        for run in runs:
            spec = run.spec(self.plan, self.facts["fingerprint"])
            name = run_id(spec)
            self.specs[name] = spec
            self.runs[name] = {
                "label": self.plan.label(run.variant),
                "seed": run.seed,
                "lr": run.lr,
                "stage": run.stage,
            }
            self.added.append(name)

    def job(self, name: str) -> dict[str, Any]:
        """What a worker needs to do the run."""
        folder = str((self.folder / RUNS / name).resolve())
        return {"spec": self.specs[name], "folder": folder, "study": str(self.folder.resolve())}

    def save(self) -> None:
        """Write `study.json`."""
        content = {
            "labels": list(self.plan.labels),
            "runs": self.runs,
            "choices": self.choices,
            "failed": self.failed,
            "environment": environment(),
        }
        record.write(self.folder / STUDY, record.to_json(content))


def stream(
    plans: Mapping[Path, Plan],
    *,
    data: Mapping[Path, Any] | None = None,
    workers: int | None = None,
) -> Iterator[Event]:
    """Run what is not there yet of one study or several, side by side, and yield what happens.

    First the trainings that choose each variant's learning rate, then those that are reported.

    Args:
        plans: what to run, by the study's folder, which is made if it is not there.
        data: a `counterpoise.data.Data` in place of what a plan's `data` names, by folder.
        workers: runs at a time; None for one a core.

    Yields:
        `Event`s. Of a run: "started", "news" ({"progress": share} or {"row": an epoch's row}),
        "finished" (its value is "kept" if it was there already) and "failed" (the reason). Of a
        study (run = ""): "planned" (what there is to do, before each of the two stages; see
        `_planned`), "chosen" (label -> learning rate) and "unsaved" (what could not be written).

    Raises:
        ValueError: a folder that cannot be written or that another process is using, data that do
            not fit the plan.
    """
    for folder, plan in plans.items():
        _check_place(folder, Path(plan.data))
    gathered = {f: gather(plan, (data or {}).get(f)) for f, plan in plans.items()}
    with ExitStack() as locks:
        works = []
        for folder, plan in plans.items():
            locks.enter_context(_locked(folder))
            facts = keep(gathered.pop(folder), folder)
            record.write(folder / PLAN, write(plan))
            (folder / RUNS).mkdir(exist_ok=True)
            works.append(_Work(plan, folder, facts))
        for work in works:
            work.add(tuning_runs(work.plan))
        yield from _stage([work for work in works if work.runs], workers)
        for work in works:
            work.choices = choose(work.plan, _tuning_scores(work))
            yield Event("", "chosen", dict(work.choices))
            work.add(final_runs(work.plan, work.choices))
        yield from _stage(works, workers)


def _check_place(folder: Path, source: Path) -> None:
    """Refuse to write among a data set's classes, or into a folder that holds something else."""
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"the study's folder must not lie in the data's, whose folders are classes, but "
            f"{folder} lies in {source}; choose another place with --out"
        )
    if folder.is_dir() and not (folder / FACTS).exists():
        ours = (FILE, ".lock")  # of a study that was killed at its beginning
        others = sorted(p.name for p in folder.iterdir() if p.name not in ours)
        others = [name for name in others if not name.endswith(".tmp")]
        if others:
            raise ValueError(
                f"{folder} must be new, empty or a study's folder, but holds "
                f"{', '.join(others[:3])}; choose another place with --out"
            )


def _stage(works: list[_Work], workers: int | None) -> Iterator[Event]:
    """Do the runs that are not done."""
    jobs, owner = {}, {}
    for work in works:
        work.save()
        kept = [name for name in work.added if record.is_done(work.folder / RUNS / name)]
        yield Event("", "planned", _planned(work, kept))
        for name in kept:
            yield Event(name, "finished", "kept")
        for name in work.added:
            if name not in kept:
                jobs[name], owner[name] = work.job(name), work
    for event in run_all(_train_run, jobs, workers=workers) if jobs else ():
        if event.kind == "failed":
            owner[event.run].failed[event.run] = event.value
        yield event
    for work in works:
        try:
            work.save()
        except OSError as error:  # the records are what counts; they are whole or not there
            yield Event("", "unsaved", f"{work.folder / STUDY}: {error.strerror or error}")


def _planned(work: _Work, kept: list[str]) -> dict[str, Any]:
    """What a stage has to do: its runs, which of them are kept, what is left over, the cost."""
    cost = sum(work.facts["train_counts"])
    folders = {p.name for p in (work.folder / RUNS).iterdir() if p.is_dir()}
    return {
        "folder": work.folder,
        "runs": {name: work.runs[name] for name in work.added},
        "kept": kept,
        "left_over": sorted(folders - work.runs.keys()) if work.choices else [],
        # sample passes of each run, and of the whole study with the stage that comes later
        "cost": {name: cost * work.specs[name]["training"]["epochs"] for name in work.added},
        "later": 0
        if work.choices
        else cost * work.plan.training.epochs * len(work.plan.variants) * len(work.plan.seeds),
        "data": dict(work.facts),
    }


def _train_run(job: dict[str, Any], emit: Any) -> None:
    """What a worker calls: here, so that the parent need not import what trains."""
    from counterpoise.study.one_run import train_run

    train_run(job, emit)


def _tuning_scores(work: _Work) -> dict[tuple[str, float], list[float]]:
    """The validation scores of the tuning runs that finished, by label and learning rate."""
    scores: dict[tuple[str, float], list[float]] = {}
    for name in work.added:
        run = record.read(work.folder / RUNS / name)
        if run is not None:
            key = work.runs[name]["label"], work.runs[name]["lr"]
            scores.setdefault(key, []).append(run["validation"][work.plan.metric])
    return scores


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the study's folder, so that no other process runs a study in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder} is in use: another process is running this study; wait for it, or choose "
            "another folder with --out"
        ) from None
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder that can be written, but: {error.strerror or error}; "
            "choose another one with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def environment() -> dict[str, Any]:
    """The versions and the machine that results may depend on."""
    from importlib.metadata import version

    packages = ("torch", "numpy", "scikit-learn", "scipy")
    return {
        "counterpoise": counterpoise.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in packages},
    }


def _processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
