"""Running a study: from a plan to finished records, reported as events."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from counterpoise import files
from counterpoise.study import _looks, _schema, record
from counterpoise.study._earlier import up_to_date
from counterpoise.study._features import gather_inputs
from counterpoise.study._more_seeds import next_seeds, progress
from counterpoise.study._open import open_study
from counterpoise.study._prepared import FILE, keep, with_test
from counterpoise.study._ranks import count_devices
from counterpoise.study._work import PLAN, RUNS, STUDY, Work
from counterpoise.study.cautions import ask_doctor, edges, foresee
from counterpoise.study.defaults import Default, carry_over, fill, fit_into
from counterpoise.study.engines import (
    forget,
    opened,
    remove_unfinished,
    run_jobs,
    show_to_others,
    tidy,
)
from counterpoise.study.environment import (
    differences,
    reference_environment,
    run_environment,
)
from counterpoise.study.estimate import Cost, estimate
from counterpoise.study.events import (
    Chosen,
    Event,
    Failed,
    Finished,
    Foreseen,
    Notice,
    OfRun,
    Planned,
    Prepared,
    Unsaved,
)
from counterpoise.study.plan import Plan
from counterpoise.study.plan_file import read, without_engine, write
from counterpoise.study.settings import Engine
from counterpoise.study.spec import (
    AnySpec,
    Job,
    RunSpec,
    Stage,
    labels_of,
)

if TYPE_CHECKING:
    from counterpoise.data import Splits


def stream(
    plans: Mapping[Path, Plan],
    *,
    data: "Mapping[Path, Splits | None] | None" = None,
    workers: int | None = None,
    look_ahead: bool = False,
    on_reading: Callable[[int, int], None] | None = None,
    on_features: Callable[[int, int], None] | None = None,
) -> Iterator[Event]:
    """Run the missing runs of one study or several, side by side, and yield events.

    What a plan leaves open is decided by the data (`defaults.fill`); a study of the same data goes
    on with what was decided when it began. First the references run, which take seconds; then the
    trainings that choose each variant's learning rate; then those that are reported.

    Args:
        plans: what to run, by the study's folder, which is made if it is not there.
        data: a `counterpoise.data.Splits` in place of what a plan's `data` names, by folder.
        workers: runs at a time; None for one a core.
        look_ahead: estimate the time, and let the doctor look at each net; takes seconds.
        on_reading: called with the numbers of images that are read and that there are.
        on_features: the same of those whose features are computed, by a frozen net.

    Yields:
        `Event`s, those of a run and those of a study: `Prepared` and `Foreseen` first, `Planned`
        before each stage, `Chosen` before the last one, and `Unsaved`.

    Raises:
        ValueError: a folder that cannot be written or that another process is using, data that do
            not fit the plan.
    """
    from counterpoise.data.memory import give_back

    for folder, plan in plans.items():
        _check_place(folder, Path(plan.data.source))
    with ExitStack() as locks:
        for plan in plans.values():
            if plan.engine.name == "local":  # a cluster's machines have devices of their own
                count_devices(plan.training.devices)
        for plan in list(plans.values())[:1]:  # studies side by side share an engine
            if said := locks.enter_context(opened(plan.engine)):
                yield Notice(said)
        ready = {
            folder: prepare(
                folder, plan, (data or {}).get(folder), workers, on_reading, on_features
            )
            for folder, plan in plans.items()
        }
        works = []
        for folder in plans:
            locks.enter_context(_held(folder))
            p = ready.pop(folder)
            known = _known_study(folder)
            facts = keep(
                p.splits,
                p.left_out,
                folder,
                known["data"] if known else None,
                p.plan.data.cache,
                p.images,
            )
            works.append(Work(p.plan, folder, facts, p.asked, more=p.plan.most_seeds > 0))
            look = look_ahead and not p.resumed
            yield Prepared(
                folder, p.plan, facts, p.defaults, tuple(foresee(p.plan, p.splits)), look
            )
            cost = p.cost or (estimate(p.plan, p.encoded, workers) if look else None)
            told = tuple(ask_doctor(p.plan, p.encoded)) if look else ()
            give_back()  # what the look needed, before the workers need it
            times = (cost(q) if cost and q else None for q in (p.plan, _longest(p.plan)))
            yield Foreseen(folder, p.plan, told, *times)
        for work in works:
            work.add_references()
            if work.plan.tunes:
                work.add_tuning()
            else:
                work.add_final()
            work.save()
            files.write(work.folder / PLAN, write(work.plan))
            files.make_folder(work.folder / RUNS)
        yield from _stage([w for w in works if w.names("reference")], "reference", workers)
        yield from _stage([work for work in works if work.plan.tunes], "tuning", workers)
        for work in works:
            if work.plan.tunes:
                work.add_final()
                work.save()
            yield Chosen(dict(work.choices), tuple(edges(work.plan, work.choices)))
        yield from _stage(works, "final", workers)
        for work in works:
            yield from _add_seeds(work, workers)
            tidy(work.folder, work.plan.engine)


def _longest(plan: Plan) -> Plan | None:
    """Return a plan with as many seeds as it may have in the end; None where it has them."""
    return replace(plan, seeds=tuple(range(plan.most_seeds))) if plan.most_seeds else None


def _add_seeds(work: Work, workers: int | None) -> Iterator[Event]:
    """Add seeds for all variants alike, while a verdict is open and the plan allows for more."""
    while work.more:
        study = open_study(work.folder)
        number = next_seeds(study)
        work.more = number > len(work.plan.seeds)
        yield Notice(progress(study))
        if work.more:
            work.add_seeds(number)
            files.write(work.folder / PLAN, write(work.plan))
        work.save()
        if work.more:
            yield from _stage([work], "reference", workers)
            yield from _stage([work], "final", workers)
        else:
            show_to_others(work.plan.engine, work.folder)


class _Ready(NamedTuple):
    """A study's data and its plan with nothing left open."""

    plan: Plan
    asked: Plan
    splits: "Splits"
    encoded: "Splits"  # as numbers, where they are cells of a table
    left_out: tuple[str, ...]
    defaults: tuple[Default, ...]
    cost: Cost | None
    resumed: bool
    images: "Splits | None"  # of features, what they are of


def prepare(
    folder: Path,
    asked: Plan,
    data: "Splits | None",
    workers: int | None,
    on_reading: Callable[[int, int], None] | None,
    on_features: Callable[[int, int], None] | None = None,
) -> _Ready:
    """Read the data and decide what is open; nothing is written into the study's folder."""
    from counterpoise.data import encoded, fingerprint
    from counterpoise.study._check_data import check_plan_on

    engine, asked = asked.engine, without_engine(asked)
    known = _known_study(folder)
    before, decided = _plans_of(known)
    plan = carry_over(asked, before, decided) if before and decided else asked
    splits, left_out, images = gather_inputs(plan, data, on_reading, on_features)
    resumed = False
    if known is not None and (plan.test == "fixed" or splits.held_out):
        resumed = known["data"]["fingerprint"] == fingerprint(with_test(plan, splits))
    if plan != asked and not resumed:  # the data are others now
        plan = asked
        splits, left_out, images = gather_inputs(plan, data, on_reading, on_features)
    shaped = resumed and before is not None and before.time == asked.time
    plan, defaults = fill(plan, splits)
    splits = with_test(plan, splits)
    images = None if images is None else with_test(plan, images)
    numbers = encoded(splits)
    check_plan_on(plan, numbers)
    cost = None
    if plan.time and not shaped:
        cost = estimate(plan, numbers, workers)
        if cost is not None:
            plan, gave_way = fit_into(plan, asked, cost)
            changed = {d.setting for d in gave_way}
            defaults = (*(d for d in defaults if d.setting not in changed), *gave_way)
    if before and asked == decided:  # the study's own plan.toml
        asked = before
    resumed = resumed and not defaults
    plan, asked = replace(plan, engine=engine), replace(asked, engine=engine)
    return _Ready(plan, asked, splits, numbers, left_out, defaults, cost, resumed, images)


def _plans_of(known: record.Content | None) -> tuple[Plan | None, Plan | None]:
    """Return the plan that was asked for and the one that was decided; None for unknown ones."""
    try:
        asked, plan = (read(known[k]) for k in ("asked", "plan")) if known else (None, None)
        return (without_engine(asked), without_engine(plan)) if asked and plan else (None, None)
    except ValueError:
        return None, None


def _check_place(folder: Path, source: Path) -> None:
    """Refuse to write among a data set's classes, or into a folder that holds something else."""
    if source.is_dir() and folder.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"the study's folder must not lie in the data's, whose folders are classes, but "
            f"{folder} lies in {source}; choose another place with --out"
        )
    if folder.is_dir() and not (folder / STUDY).exists():
        ours = (FILE, files.LOCK)  # of a study that was killed at its beginning
        names = sorted(p.name for p in folder.iterdir())
        others = [name for name in names if name not in ours and not files.is_unfinished(name)]
        if others:
            raise ValueError(
                f"{folder} must be new, empty or a study's folder, but holds "
                f"{', '.join(others[:3])}; choose another place with --out"
            )


def _stage(works: list[Work], stage: Stage, workers: int | None) -> Iterator[Event]:
    """Do the runs of a stage that are not done."""
    jobs: dict[str, Job] = {}
    owner: dict[str, Work] = {}
    for work in works:
        names = [name for name in work.names(stage) if name not in work.planned]
        work.planned.update(names)
        kept = _take_up(work, names)
        yield _planned(work, stage, names, kept)
        for name in kept:
            yield Finished(name, kept=True)
        for name in names:
            if name not in kept:
                jobs[name], owner[name] = work.job(name), work
    for event in _run_jobs(jobs, works[0].plan.engine, workers) if jobs else ():
        if isinstance(event, Failed):
            work = owner[event.run]
            work.failed[event.run] = event.reason
            if event.outside:
                work.undecided.update(labels_of(work.runs[event.run]))
        yield event
    for work in works:
        try:
            work.save()
            if stage == "final":
                data, seeds = work.facts["fingerprint"], work.common_seeds()
                _looks.add(work.folder, work.plan, data, seeds)
            show_to_others(work.plan.engine, work.folder)
        except OSError as error:  # the records are what counts; they are whole or not there
            yield Unsaved(f"{work.folder / STUDY}: {error.strerror or error}")


def _run_jobs(
    jobs: Mapping[str, Job], engine: Engine, workers: int | None
) -> Iterator[OfRun | Notice]:
    """Do runs; each may read its samples in as many processes as it has cores, one at least."""
    cores = os.cpu_count() or 1
    at_once = min(workers or engine.workers or cores, len(jobs))
    share = cores // at_once if engine.name == "local" else int(engine.cpus)
    some = {name: replace(job, readers=max(1, share)) for name, job in jobs.items()}
    return run_jobs(some, engine, workers=workers)


def _take_up(work: Work, names: list[str]) -> dict[str, list[str]]:
    """Return those that are finished, and how the environment of each differs from this one."""
    kept = {}
    for name in names:
        folder = work.folder / RUNS / name
        run = record.take_up(folder, work.specs[name].to_json())
        if run is not None:
            net = isinstance(work.specs[name], RunSpec)
            here = run_environment() if net else reference_environment()
            kept[name] = differences(run["environment"], here)
            if kept[name] and work.plan.on_other_environment == "rerun":
                files.remove(folder / record.RUN)
                forget(work.plan.engine, name)
                del kept[name]
    return kept


def _planned(work: Work, stage: Stage, names: list[str], kept: Mapping[str, list[str]]) -> Planned:
    """Describe a stage before it begins."""
    samples, later = sum(work.facts["train_counts"]), work.later(stage)
    folders = {p.name for p in (work.folder / RUNS).iterdir() if p.is_dir()}
    return Planned(
        folder=work.folder,
        runs={name: work.runs[name] for name in names},
        kept=tuple(kept),
        other_environment={name: said for name, said in kept.items() if said},
        left_over=tuple(sorted(folders - work.runs.keys()))
        if stage == "final" and work.choices and not work.more
        else (),
        cost={name: samples * _passes(work.specs[name]) for name in names},
        later=samples * sum(map(_passes, later.values())),
        runs_later=len(later),
    )


def _passes(spec: AnySpec) -> int:
    """Return how often a run sees the data; a classical model takes about as long as an epoch."""
    return spec.training.epochs if isinstance(spec, RunSpec) else 1


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the study's folder, so that no other process runs a study in it, and tidy it.

    Nothing in it may lead out of it: it can be a stranger's.
    """
    with ExitStack() as held:
        try:
            files.make_folder(folder)
            files.check_tree(folder)
            held.enter_context(files.lock(folder))
            remove_unfinished(folder)
        except TimeoutError as error:
            raise ValueError(
                f"{folder} is in use: another process is running this study; wait for it, or "
                "choose another folder with --out"
            ) from error
        except OSError as error:
            raise ValueError(
                f"{folder} must be a folder that can be written, but: {error.strerror or error}; "
                "choose another one with --out"
            ) from error
        yield


def _known_study(folder: Path) -> record.Content | None:
    """Return the content of `study.json`; None for a new study, or a damaged one.

    Raises:
        record.OtherFormat: another version of counterpoise made the study.
        record.Damaged: its looks were changed, which nothing can restore.
    """
    try:
        files.check_tree(folder)
        kept = up_to_date(record.unseal(folder / STUDY))
        _schema.check_study(folder / STUDY, kept)
    except record.OtherFormat:
        raise
    except (OSError, record.Damaged):
        return None
    _looks.read(folder, kept["data"]["fingerprint"])
    return kept
