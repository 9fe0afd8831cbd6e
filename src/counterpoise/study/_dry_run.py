"""The script of a study that SLURM would be given, without giving it."""

import os
from collections.abc import Iterator
from pathlib import Path

from counterpoise.study import record
from counterpoise.study._heads import together
from counterpoise.study._measure import measure_of
from counterpoise.study._runs import final_runs, reference_runs, tuning_runs
from counterpoise.study._stream import prepare
from counterpoise.study._work import RUNS
from counterpoise.study.engines import for_runs, opened
from counterpoise.study.plan import Plan
from counterpoise.study.spec import run_id


def dry_run(folder: Path, plan: Plan, *, workers: int | None = None) -> Iterator[str]:
    """Yield, for each stage of a study, the script that would be submitted; nothing is written.

    The data are read, as what the plan leaves open is decided by them.

    Args:
        folder: the study's; the runs that it has are not submitted.
        plan: with the engine slurm.
        workers: tasks at a time.

    Raises:
        ValueError: another engine, or what `stream` refuses.
    """
    if plan.engine.name != "slurm":
        raise ValueError(
            "a dry run prints the script for SLURM, but the engine is "
            f"{plan.engine.name}; add --engine slurm, or leave --dry-run out"
        )
    with opened(plan.engine):
        from counterpoise.data import fingerprint
        from counterpoise.study.engines.slurm import chunks, script  # an extra's

        ready = prepare(folder, plan, None, workers, None)
    plan, data = ready.plan, fingerprint(ready.splits)
    some = {
        k: next(iter(plan.trials(v)), {}) for k, v in zip(plan.labels, plan.variants, strict=True)
    }
    names = ready.splits.class_names
    counts = ready.splits.train.targets.bincount(minlength=len(names)).tolist()
    measure = measure_of(plan, names, counts)
    stages = {
        "reference": reference_runs(plan, data, ready.splits.train.inputs.shape[1:], measure),
        "tuning": tuning_runs(plan, data, measure),
        "final": final_runs(plan, data, some, measure),
    }
    for stage, runs in stages.items():
        specs = {run_id(run.spec.to_json()): run.spec for run in runs}
        names = list(specs)
        missing = [n for n in names if not os.path.exists(folder / RUNS / n / record.RUN)]
        if missing:
            engine, _ = for_runs(plan.engine, specs.values())
            tasks = chunks(missing, engine, some=together(specs.values(), engine.nodes))
            size = max(map(len, tasks))
            yield (
                f"# {stage}: {len(missing)} of {len(names)} runs in {len(tasks)} tasks, "
                f"{'one' if size == 1 else f'up to {size}'} each\n"
                + script(folder.resolve(), engine, len(tasks), workers or engine.workers)
            )
