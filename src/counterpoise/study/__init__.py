"""A fair comparison: a plan, its runs, and their records.

plan.py      what to run: frozen dataclasses, and `plan.toml`, the same on disk
defaults.py  what a plan leaves open, decided by the data
cautions.py  what will go wrong, said before
overview.py  the data in figures, before any study
estimate.py  how long it will take
settings.py  how trainings are done: the tables of that plan
_runs.py     the runs of a plan
spec.py      what one run is asked for; its digest names the run's folder
_stream.py   running it: first the references, then the learning rates are chosen, then what is
             reported is trained
_dry_run.py  the script that SLURM would be given
events.py    what happens on the way
engines/     where runs happen: on this machine, or on a cluster
one_run.py   what one run does
_scoring.py  its scores
process.py   how a process of ours starts and ends
_ranks.py    the same in several processes, a device each
record.py    what is kept of it, whole or not at all
_work.py     its runs, done and to do
_study.py    what is read back, without torch
_finished.py one finished run of it
_looks.py    when its verdicts were read, and the rule that they follow
_more_seeds.py how many seeds come next, while a verdict is open
_after_training.py  scores of its variants without another training
_open.py     reading it
_again.py    finished runs done once more, for an export
_progress.py showing that it goes on, for callers in Python
"""

import hashlib
import os
import urllib.parse
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from counterpoise.registry import name_of, unknown
from counterpoise.study._after_training import AfterTraining, Ensemble
from counterpoise.study._again import Again, fit_classical, refit
from counterpoise.study._check import NAMED_DATA
from counterpoise.study._dry_run import dry_run
from counterpoise.study._finished import Record
from counterpoise.study._nets import make_net, open_backbone
from counterpoise.study._open import open_study
from counterpoise.study._prepared import Kept, gather
from counterpoise.study._progress import show_progress
from counterpoise.study._stream import STUDY, stream
from counterpoise.study._study import Study
from counterpoise.study.events import Event, Failed, Prepared
from counterpoise.study.plan import Plan
from counterpoise.study.plan_file import read_file
from counterpoise.study.settings import Data, Engine, Imbalance, Training, Tuning
from counterpoise.study.variant import Variant

if TYPE_CHECKING:
    from counterpoise.data import Splits

__all__ = [
    "STUDY",
    "AfterTraining",
    "Again",
    "Data",
    "Engine",
    "Ensemble",
    "Event",
    "Imbalance",
    "Kept",
    "Plan",
    "Record",
    "Study",
    "Training",
    "Tuning",
    "Variant",
    "compare",
    "dry_run",
    "fit_classical",
    "gather",
    "make_net",
    "open_backbone",
    "open_study",
    "refit",
    "stream",
]

_LONGEST = 200  # characters of a folder's name; file systems take 255 bytes

Word = str | Callable[..., object]


class Settings(TypedDict, total=False):
    """The fields of `Plan` that `compare` takes by name besides."""

    axes: Mapping[str, Any]
    design: str
    variant: tuple[Variant, ...]
    metric: str
    margin: float
    costs: str
    baseline: str
    references: bool
    most_seeds: int
    sequential: bool
    on_other_environment: str
    tuning: Tuning
    time: str
    engine: Engine


def compare(
    data: "str | Path | Data | Plan | Splits",
    *,
    norms: Sequence[Word] = ("auto",),
    losses: Sequence[Word] = ("auto",),
    samplers: Sequence[Word] = ("shuffle",),
    classical: Sequence[Word] = (),
    seeds: int | str | Sequence[int] | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    on_event: Callable[[Event], None] | None = None,
    progress: bool | None = None,
    training: Training | None = None,
    imbalance: Imbalance | None = None,
    **settings: Unpack[Settings],
) -> Study:
    """Train every norm with every loss and every sampler over several seeds, and compare.

    Per seed all variants get the same split, the same order of samples and the same initial
    weights; each gets the same budget to choose its learning rate, on validation and on seeds that
    are not reported; the test split is read once, after all choices. Classical models on the same
    splits stand beside them, unless `references=False`. Runs that are in `out` already
    are not trained again, so a study that was stopped goes on where it was.

    Args:
        data: whatever `data.load` reads ("fashion_mnist", a folder of images, a .csv, ...), a
            `Data` that says how it is read, a `data.Splits`; or a `Plan` or the path of a
            plan.toml, which then say all the rest.
        norms: words ("none", "batch", "layer", ...), or importable functions like theirs; "auto"
            for the usual one of such data.
        losses: words or importable functions; with "+drw" behind one, class weights set in late;
            "auto" for cross entropy, logit-adjusted and weighted, or cross entropy alone where axes
            are compared.
        samplers: words or importable functions.
        classical: classical models that are variants beside the nets: words ("random_forest", ...;
            with "+balanced" behind one, its classes are weighted) or importable classes with
            scikit-learn's interface. `training=Training(model="random_forest")` trains no net.
        seeds: how many, or which; None for five, or fewer if `time` asks for it; "auto:20" for
            five and then more, up to 20, while a verdict is open.
        out: the study's folder; None for that in which the plan.toml lies, or else for studies/
            and the name of the data.
        workers: runs at a time; None for one a core.
        on_event: called with each `Event`, say to draw progress.
        progress: whether to show progress on standard error: None for a bar in a terminal or
            notebook, unless there is an `on_event`; True for lines elsewhere, too.
        training: how every variant is trained; what it leaves open is decided by the data, as
            `defaults.fill` describes.
        imbalance: a profile of class sizes to lay over the data.
        **settings: the other fields of `Plan`: axes and design (any setting compared:
            `axes={"weight_decay": [5e-4, 5e-3], "mix": ["none", "mixup"]}`), variant, metric,
            margin, costs, baseline, references, sequential, most_seeds, on_other_environment,
            tuning, time, engine (such as `Engine("ray")`, see `docs/ray.md`).

    Returns:
        The study: `study.verdicts()`, `study.scores()`, `study.records`. A run that fails does not
        end it: it is warned of, and `study.failed` has the reasons.

    Raises:
        TypeError: a setting that there is none of; the message has the nearest.
        ValueError: what cannot be run, with what must hold, what came and what to do.

    Example:
        >>> from counterpoise.study import Training, compare
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = compare("digits", losses=["cross_entropy", "focal"], seeds=2, out=folder,
        ...                     training=Training(model="mlp", epochs=2, lr=0.1))
        ...     print(study.labels, len(study.records))
        ('cross_entropy', 'focal') 4
    """
    from counterpoise.data import fingerprint

    given = {"norms": norms, "losses": losses, "samplers": samplers, "seeds": seeds}
    given["classical"] = classical
    given |= {"training": training, "imbalance": imbalance}
    loaded = None
    for name in settings.keys() - Plan.__dataclass_fields__.keys():
        raise TypeError(_no_setting(name))
    if isinstance(data, Plan):
        _check_alone(given, settings, "dataclasses.replace(plan, ...)")
        plan = data
    elif isinstance(data, str | Path) and str(data).endswith(".toml"):
        _check_alone(given, settings, f"write it into {data}")
        plan = read_file(Path(data))
        out = study_of(data) if out is None else out
    else:
        loaded = None if isinstance(data, str | Path | Data) else _as_data(data)
        if not isinstance(data, Data):
            data = Data(str(data) if loaded is None else loaded.name)
        plan = Plan(
            data=data,
            norms=tuple(map(name_of, norms)),
            losses=tuple(map(name_of, losses)),
            samplers=tuple(map(name_of, samplers)),
            classical=tuple(map(name_of, classical)),
            seeds=cast("tuple[int, ...]", () if seeds is None else seeds),
            training=training or Training(),
            imbalance=imbalance or Imbalance(),
            **settings,
        )
    if out is None:
        out = usual_folder(plan, "" if loaded is None else fingerprint(loaded))
    folder = Path(out)
    if progress is None and on_event is not None:
        progress = False
    with show_progress(progress, folder.name) as show:
        events = stream(
            {folder: plan},
            data={folder: loaded},
            workers=workers,
            look_ahead=show is not None,
        )
        for event in events:
            if show is not None:
                show(event)
            if isinstance(event, Prepared):
                for line in event.facts["left_out"]:
                    warnings.warn(line, stacklevel=2)
            if isinstance(event, Failed):
                warnings.warn(f"{event.run} failed: {event.reason}", stacklevel=2)
            if on_event is not None:
                on_event(event)
    return open_study(folder)


def _as_data(data: object) -> "Splits":
    """Refuse an object that is no data set before its name is looked up."""
    from counterpoise.data import Splits

    if not isinstance(data, Splits):
        raise TypeError(
            f"data must be a name, a path, a plan or a data.Splits, but got {type(data).__name__}; "
            "make a data.Splits of it"
        )
    return data


def _check_alone(given: Mapping[str, object], settings: Iterable[str], remedy: str) -> None:
    """Refuse settings given beside a plan, which holds them all."""
    usual = compare.__kwdefaults__ or {}
    beside = [*(name for name, value in given.items() if value != usual[name]), *settings]
    if beside:
        raise ValueError(f"a plan says all of a study, but {', '.join(beside)} came too; {remedy}")


def _no_setting(name: str) -> str:
    """Say where a setting belongs, or which one may be meant."""
    for kind in (Training, Tuning, Imbalance, Engine):
        if name in kind.__dataclass_fields__:
            field = kind.__name__.lower()
            return f"{name} belongs into {field}: compare(..., {field}={kind.__name__}({name}=...))"
    return unknown("a setting of compare", name, Plan.__dataclass_fields__)


def usual_folder(plan: Plan, fingerprint: str = "") -> Path:
    """Return the folder of a study of these data, if nothing else is said.

    Two data sets never share one: it is named like the way to the data from the current folder,
    with what a file name cannot hold written as %XX. Data that were given as an object are
    distinguished by their fingerprint.

    Example:
        >>> print(usual_folder(Plan("photos/train")), usual_folder(Plan("photos/test")))
        studies/photos%2Ftrain studies/photos%2Ftest
    """
    name = f"{plan.data.source} {fingerprint[:8]}" if fingerprint else _from_here(plan.data.source)
    quoted = urllib.parse.quote(name, safe=" +,=@~()[]")
    if len(quoted) > _LONGEST:
        quoted = f"{quoted[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return Path("studies") / quoted


def study_of(plan_file: str | Path) -> Path | None:
    """Return the study's folder that a plan.toml lies in; None if it lies in none."""
    folder = Path(plan_file).parent
    return folder if (folder / STUDY).is_file() else None


def _from_here(source: str) -> str:
    """Return a path of data, or that before ":column", as it is seen from the current folder."""
    if source in NAMED_DATA:
        return source
    file, colon, column = source.rpartition(":")
    path = source if os.path.exists(source) or not os.path.exists(file) else file
    if not os.path.exists(path):
        return source
    seen = os.path.relpath(path)
    return (f"./{seen}" if seen in NAMED_DATA else seen) + (colon + column if path == file else "")
