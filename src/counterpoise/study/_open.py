"""Reading a study from its folder, with all that could have changed in it checked."""

import re
from pathlib import Path

from counterpoise import files
from counterpoise.registry import REFERENCES
from counterpoise.study import _looks, _schema, record
from counterpoise.study._earlier import up_to_date
from counterpoise.study._finished import Record
from counterpoise.study._study import Study
from counterpoise.study._work import PLAN, RUNS, STUDY
from counterpoise.study.plan import reference_label
from counterpoise.study.plan_file import changed_settings, read
from counterpoise.study.spec import RunRow, Stage, run_id, trials_of


def open_study(folder: str | Path) -> Study:
    """Read a study, finished or not.

    Raises:
        ValueError: a folder without a study in it.
        record.Damaged: a finished run whose files have changed, or another file of the study's.
    """
    folder = Path(folder)
    try:
        files.check_tree(folder)
        kept = up_to_date(record.unseal(folder / STUDY))
        _schema.check_study(folder / STUDY, kept)
        plan = read(kept["plan"])
        _schema.check_labels(folder / STUDY, kept, plan.labels)
    except OSError as error:
        raise ValueError(
            f"{folder} must be the folder of a study, but {error.filename}: {error.strerror}; "
            "counterpoise compare makes one"
        ) from error
    except record.OtherFormat:
        raise
    except record.Damaged as error:
        raise record.Damaged(
            f"{error}; counterpoise compare with the same plan and --out {folder} writes it again, "
            "and keeps the runs"
        ) from error
    found: dict[Stage, list[Record]] = {"reference": [], "tuning": [], "final": []}
    for name, row in kept["runs"].items():
        if run := _read_run(folder / RUNS, name, row, len(kept["data"]["class_names"])):
            found[row["stage"]] += (
                Record(label, row["seed"], trial, run, folder / RUNS / name)
                for label, trial in trials_of(row).items()
            )
    labels = [*plan.labels, *map(reference_label, REFERENCES)]
    order = {label: k for k, label in enumerate(labels)}
    for records in found.values():
        records.sort(key=lambda r: (order[r.label], r.seed))
    return Study(
        folder,
        plan,
        {"reading": {}, **kept["data"]},
        tuple(found["final"]),
        tuple(found["tuning"]),
        kept["choices"],
        kept["failed"],
        kept["runs"],
        kept["environment"],
        changed_settings(folder / PLAN, plan),
        tuple(found["reference"]),
        _looks.read(folder, kept["data"]["fingerprint"]),
    )


def _read_run(runs: Path, name: str, row: RunRow, classes: int) -> record.Content | None:
    """Return a finished run, which must be the one that its folder and its row name.

    Raises:
        record.Damaged: it is another one, or not what was written.
    """
    if not re.fullmatch(r"[\w+-]+", name):
        raise record.Damaged(f"{name!r} is no name of a run")
    run = record.read(runs / name)
    if run is None:
        return None
    try:
        spec = run["spec"]
        found = {"seed": spec["seed"], "stage": spec["stage"]}
        if spec["stage"] == "reference":
            found["label"] = reference_label(spec["reference"])
        same = run_id(spec) == name and found.items() <= row.items()
        if "lr" in row["trial"]:  # further fields are left out of a spec where they are as usual
            same = same and row["trial"]["lr"] == spec["training"]["lr"]
    except (LookupError, TypeError, AttributeError):
        same = False
    if not same:
        raise record.Damaged(
            f"{runs / name / record.RUN} is another run's; counterpoise compare with the same plan "
            "trains this one again"
        )
    _schema.check_run(runs / name / record.RUN, run, classes)
    return run
