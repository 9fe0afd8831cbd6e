"""`counterpoise compare`, `plan` and `show`: a study from the command line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from counterpoise.cli._arguments import (
    FilePath,
    Flag,
    MaybeFilePath,
    MaybeWhole,
    Seeds,
    Words,
    also,
    check_name,
    of,
    panel,
)
from counterpoise.cli._plans import make_plan, on_engine
from counterpoise.registry import (
    CLASSICAL,
    DEFAULT_LOSSES,
    LOSSES,
    MODELS,
    NORMS,
    PLAIN_NORMS,
    SAMPLERS,
)

if TYPE_CHECKING:
    from counterpoise.study import Study

READING, NETS, RUNS = map(panel, ("Reading the data", "Nets", "Runs and output"))


def compare(
    data: str,
    *,
    losses: Annotated[
        Words, of(LOSSES, more="; +drw behind one", default=" ".join(DEFAULT_LOSSES))
    ] = None,
    norms: Annotated[Words, of(PLAIN_NORMS, NORMS, default="by the data")] = None,
    samplers: Annotated[Words, of(SAMPLERS, default="shuffle")] = None,
    classical: Annotated[
        Words, of(CLASSICAL, more=" or package.module:name; +balanced behind one", default="none")
    ] = None,
    vary: Words = None,
    design: str | None = None,
    tune: Words = None,
    model: Annotated[
        str | None,
        of(
            MODELS,
            more=", timm:NAME, torchvision:NAME, package.module:name; or a classical model, alone",
            default="by the data",
        ),
    ] = None,
    seeds: Seeds = None,
    epochs: MaybeWhole = None,
    time: str | None = None,
    target: str | None = None,
    out: MaybeFilePath = None,
    set: Words = None,
    test: Annotated[str | None, READING] = None,
    split: Annotated[str | None, READING] = None,
    group: Annotated[str | None, READING] = None,
    drop: Annotated[Words, READING] = None,
    keep: Annotated[Words, READING] = None,
    min_samples: Annotated[MaybeWhole, READING] = None,
    small: Annotated[str | None, READING] = None,
    missing_labels: Annotated[str | None, READING] = None,
    image_size: Annotated[str | None, READING] = None,
    resize: Annotated[str | None, READING] = None,
    imbalance: Annotated[str | None, READING] = None,
    lr: Annotated[str | None, NETS] = None,
    batch_size: Annotated[MaybeWhole, NETS] = None,
    features: Annotated[Flag, NETS] = False,
    weights: Annotated[str | None, NETS] = None,
    head: Annotated[str | None, NETS] = None,
    references: Annotated[
        bool | None, also("Classical models beside the nets, in seconds"), RUNS
    ] = None,
    workers: Annotated[MaybeWhole, RUNS] = None,
    engine: Annotated[str | None, RUNS] = None,
    dry_run: Annotated[Flag, RUNS] = False,
    quiet: Annotated[Flag, RUNS] = False,
    json: Annotated[Flag, RUNS] = False,
) -> int:
    """Compare norms, losses, samplers, any setting of the training and classical models.

    On your data, over several seeds. Finished runs are kept, and the same command resumes a study.
    A plan holds all settings, each with a comment: `counterpoise plan` writes one, and
    `counterpoise compare plan.toml` runs it.

    Parameters
    ----------
    data
        fashion_mnist, digits, a folder of images (a folder a class), a .npz, a table (.csv,
        .parquet, .xlsx, ...), hf:OWNER/NAME, package.module:name; or a plan.toml.
    vary
        Any other setting and the values to compare, such as weight_decay=5e-4,5e-3 or
        mix=none,mixup; may be repeated. The loss is cross_entropy then, if none is named.
    design
        cross: all combinations; one_by_one: the first values, and each change alone;
        leave_one_out: all changes, and all but one each [default: cross].
    tune
        Settings that are chosen for each variant beside the learning rate, equally for all, such
        as weight_decay=1e-4,1e-3,1e-2.
    seeds
        Number of seeds; or auto:20, five and then more, up to 20, while a verdict is open
        [default: 5].
    epochs
        Passes over the training split [default: by the data].
    time
        A budget such as 15m or 2h: fewer learning rates, seeds and epochs, until it is kept.
    target
        The column of the classes [default: target, label, class or the last one].
    out
        The study's folder [default: studies/NAME; for a study's plan.toml that study's].
    set
        Any setting of a plan for all variants, such as weight_decay=5e-3, metric=macro_f1,
        engine.address=HOST:PORT or data.cache=FOLDER.
    test
        A file or folder to test on; held_out, a fixed fifth of each class; or per_seed, another
        fifth for each seed [default: the data's own, else held_out, or per_seed where a class is
        small].
    split
        A column that says train, validation or test; or time:COLUMN, the past to train on.
    group
        A column, or a pattern of file names: no group is in two splits.
    drop
        Columns that are not read.
    keep
        Columns that are read although they look like row numbers.
    min_samples
        Samples that a class must have [default: one in each split].
    small
        Classes with fewer: refuse, drop or merge, into other [default: refuse].
    missing_labels
        Rows of a table without a class: refuse or drop [default: refuse].
    image_size
        Pixels a side to which images are scaled, or HEIGHTxWIDTH [default: by the files].
    resize
        crop, squash or pad [default: crop].
    imbalance
        A profile of class sizes for the training split, such as exponential:100.
    lr
        A number, or auto: chosen for each variant from the same grid [default: auto].
    batch_size
        Samples per step [default: by the data].
    features
        Freeze a pretrained net, compute its features once, and train nothing but heads on them.
    weights
        Of timm: and torchvision: nets: pretrained, none, or a file [default: pretrained].
    head
        Of such a net: linear, cosine or mlp [default: linear].
    workers
        Runs at a time [default: one per core; on a cluster, what it has room for].
    engine
        Where runs happen: local, ray or slurm; a run's needs are [engine] of a plan
        [default: local].
    dry_run
        Print the script for slurm, and submit nothing.
    quiet
        Print the results only.
    json
        Print the results as JSON.
    """
    from counterpoise.cli._board import Board
    from counterpoise.cli._shown import Output, shown, write_json
    from counterpoise.cli._tables import results_json, show_study
    from counterpoise.report import render, write_predictions
    from counterpoise.study import dry_run as scripts
    from counterpoise.study import open_study, stream, study_of, usual_folder

    if workers is not None and workers < 1:
        raise ValueError(f"--workers must be >= 1, but got {workers}")
    chosen = {
        "norms": norms,
        "losses": losses,
        "samplers": samplers,
        "classical": classical,
        "vary": vary,
        "design": design,
        "tune": tune,
        "set": set,
        "seeds": seeds,
        "model": model,
        "weights": weights,
        "features": features or None,
        "head": head,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "imbalance": imbalance,
        "target": target,
        "drop": drop,
        "keep": keep,
        "group": group,
        "test": test,
        "split": split,
        "min_samples": min_samples,
        "small": small,
        "missing_labels": missing_labels,
        "image_size": image_size,
        "resize": resize,
        "time": time,
        "references": references,
    }
    plan = make_plan(data, {k: v for k, v in chosen.items() if v is not None})
    plan = on_engine(plan, {} if engine is None else {"name": engine})
    home = study_of(data) if data.endswith(".toml") else None
    folder = out or home or usual_folder(plan)
    console = Output(quiet=json)
    board = Board(console, plan.metric, quiet or json)
    if dry_run:
        for text in scripts(folder, plan, workers=workers):
            console.print(shown(text), soft_wrap=True)
        return 0
    look_ahead = not (quiet or json)
    board.watch(
        stream(
            {folder: plan},
            workers=workers,
            look_ahead=look_ahead,
            on_reading=board.on_reading,
            on_features=board.on_features,
        )
    )
    study = open_study(folder)
    if json:
        write_json(results_json(study))
    else:
        show_study(console, study)
    try:
        page, table = render(study), write_predictions(study)
    except OSError as error:
        said = shown(("\nThe report could not be written:", "red"), f" {error}")
        console.print(said, soft_wrap=True)
        return 1
    console.print(shown("\nThe report: ", (page, "bold")), soft_wrap=True)
    if table:
        console.print(shown(_of_predictions(study, table)), soft_wrap=True)
    return 1 if board.failed else 0


def plan(
    file: FilePath = Path("plan.toml"),
    *,
    data: str = "fashion_mnist",
    norms: Words = None,
    losses: Words = None,
    samplers: Words = None,
    classical: Words = None,
) -> int:
    """Write a plan with every setting and a comment on each, to be edited and then run.

    Parameters
    ----------
    file
        The file to write.
    data
        The data, as in `compare`.
    norms
        As in `compare`.
    losses
        As in `compare`.
    samplers
        As in `compare`.
    classical
        As in `compare`.
    """
    from counterpoise import files
    from counterpoise.cli._shown import Output, shown
    from counterpoise.study.plan_file import write

    chosen = {"norms": norms, "losses": losses, "samplers": samplers, "classical": classical}
    made = make_plan(data, {k: v for k, v in chosen.items() if v is not None})
    if os.path.lexists(file):
        raise ValueError(f"{file} exists already; remove it, or name another file")
    try:
        files.write(file, write(made))
    except OSError as error:
        raise ValueError(f"{file} must be a file that can be written: {error.strerror}") from error
    said = f"{file} written: {made.size}. Run it with: counterpoise compare {file}"
    Output().print(shown(said), soft_wrap=True)
    return 0


def show(study: str, *, watch: Flag = False, json: Flag = False) -> int:
    """Print the results of a study, finished or not; or watch it while it runs.

    Parameters
    ----------
    study
        The study's folder; with --watch also a storage, such as s3://bucket/study.
    watch
        Show what is done, running where, failed, and the time left, until all is done.
    json
        As JSON.
    """
    from counterpoise.cli._shown import Output, write_json
    from counterpoise.cli._tables import results_json, show_study
    from counterpoise.study import open_study

    check_name(study)
    if watch:
        from counterpoise.cli._watch import watch_study

        watch_study(Output(quiet=json), study)
    if "://" in study:
        if not watch:
            raise ValueError(f"show needs the study's folder, but got {study}; add --watch")
        return 0
    found = open_study(Path(study))
    if json:
        write_json(results_json(found))
    else:
        show_study(Output(), found)
    return 0


def report(study: FilePath, *, out: MaybeFilePath = None, figures: Flag = False) -> int:
    """Write a study's report as one self-contained HTML file; without --out, predictions.csv too.

    Parameters
    ----------
    study
        The study's folder, finished or not.
    out
        The file to write [default: report.html in that folder].
    figures
        Write the charts as PNG and PDF too, into a folder next to the report.
    """
    from counterpoise.cli._shown import Output, shown
    from counterpoise.report import render, write_figures, write_predictions
    from counterpoise.study import open_study

    found, console = open_study(study), Output()
    page = out or study / "report.html"
    with writing(page):
        page = render(found, out)
    console.print(shown("The report: ", page), soft_wrap=True)
    if out is None:
        with writing(study / "predictions.csv"):
            table = write_predictions(found)
        if table:
            console.print(shown(_of_predictions(found, table)), soft_wrap=True)
    if figures:
        folder = page.parent / "figures"
        with writing(folder):
            drawn = write_figures(found, folder)
        console.print(shown(f"{len(drawn)} figures in {folder}"), soft_wrap=True)
    return 0


def _of_predictions(study: "Study", table: Path) -> str:
    from counterpoise.findings import best_and_reason

    label, why = best_and_reason(study)
    return f"What {label} ({why}) answers to every test sample: {table}"


@contextlib.contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Name the file that could not be written, not its temporary one, in the error."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(path)):
            raise  # it is a file to be read
        raise ValueError(
            f"{path} must be possible to write, but: {error.strerror or error}; choose another "
            f"{option}"
        ) from error
