"""Runs of any origin, read into one table."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from counterpoise.judgement import _epochs, _words, readers
from counterpoise.judgement._columns import Asked, records
from counterpoise.judgement._record import Record, Table
from counterpoise.judgement._runs import Runs
from counterpoise.judgement._variants import Keys, keys_of
from counterpoise.registry import unknown
from counterpoise.text import listed

_FAILED = {
    *("crashed", "failed", "failure", "fail", "killed", "error", "timeout", "oom", "diverged"),
    *("cancelled", "canceled", "aborted", "interrupted", "stopped"),
}
_UNFINISHED = {*("running", "pending", "scheduled", "waiting", "preempted", "preempting", "pruned")}


def read_runs(
    sources: Any,
    *,
    variant: str | Sequence[str] = "",
    seed: str = "",
    metric: str | Sequence[str] = (),
    dataset: str = "",
    epoch: str = "",
) -> Runs:
    """Read scores of runs that were trained elsewhere.

    Args:
        sources: a path or several: of tables (CSV, TSV, Parquet, JSON, JSON lines; "-" is standard
            input), of a folder or database of MLflow, of runs of W&B, Lightning's CSVLogger, the
            Trainer of transformers or TensorBoard, or of a folder of any of these. Or a frame of
            pandas or polars, columns by name, records, or `{variant: scores}` with a list or
            `{seed: score}` for each variant.
        variant: the column or parameter that is compared; several as a list, or with commas
            between. Where it is empty, this and the next three are found by their names, and said
            in the notes.
        seed: the column or parameter that pairs runs of different variants.
        metric: those that are judged, the primary one first.
        dataset: the column or parameter that names the data set.
        epoch: which of a run's epochs counts: "last", "best:COLUMN" for the one with the largest
            value of a column, "best:-COLUMN" for the smallest.

    Returns:
        a row a run; failed runs have NaN.

    Raises:
        OSError: a file cannot be read.
        ValueError: a source is no table, names are unknown, a score is no number, two runs have the
            same variant and seed, or several epochs without `epoch`; in one line.

    Example:
        >>> runs = read_runs({"focal": {0: 0.81, 1: 0.83}, "ce": {0: 0.80, 1: 0.79}})
        >>> runs.metrics, runs.frame.values.tolist()[0]
        (('score',), ['focal', 0, '', 0.81])
    """
    parts = variant.split(",") if isinstance(variant, str) else variant
    names = tuple(filter(None, map(str.strip, parts)))
    metrics = tuple(filter(None, [metric] if isinstance(metric, str) else metric))
    asked = Asked(names, seed, tuple(dict.fromkeys(metrics)), dataset)
    notes: list[str] = []
    warnings: list[str] = []
    every: list[Record] = []
    for thing in _read(sources, notes):
        every += records(thing, asked, notes) if isinstance(thing, Table) else [thing]
    every = _stated(every, notes)
    if all(record.state in {*_FAILED, *_UNFINISHED} for record in every):
        raise ValueError("sources must hold finished runs, but hold none; name other ones")
    keys = keys_of(every, asked, notes, warnings)
    every, keys = _finished(every, keys, notes)
    if len(set(keys.variants)) < 2:
        one = keys.variants[0]
        are = f"all are of {one!r}" if one else "no column is named like one"
        raise ValueError(
            f"runs must be of two variants or more, but {are}; name in variant what differs "
            "between them, or give further files"
        )
    groups = _groups(every, keys)
    logged = [_joined([every[k] for k in group]) for group in groups]
    metrics = _metrics(logged, asked, epoch, notes)
    first = [group[0] for group in groups]
    known = {_name_of(keys, k): run for k, run in zip(first, logged, strict=True)}
    warnings += _epochs.ended_early(known, metrics[0])
    frame = pd.DataFrame(
        {
            "variant": [keys.variants[k] for k in first],
            "seed": pd.Series([keys.seeds[k] for k in first], dtype=object),
            "dataset": [keys.datasets[k] for k in first],
        }
    )
    for name in metrics:
        frame[name] = np.array([_epochs.score(run, name, epoch) for run in logged], np.float64)
    frame = _over_folds(frame, [keys.folds[k] for k in first], notes)
    for name in metrics:
        failed = int(frame[name].isna().sum())
        if failed:
            notes.append(
                f"{name}: {failed} of {len(frame)} runs have no score, and count as failed"
            )
    if frame[metrics[0]].isna().all():
        raise ValueError(f"{metrics[0]!r} must have a score, but no run has; name another metric")
    return Runs(frame, metrics, tuple(dict.fromkeys(notes)), tuple(warnings))


def _name_of(keys: Keys, k: int) -> str:
    seed = f" seed {keys.seeds[k]}" if keys.seeds[k] is not None else f" run {k + 1}"
    where = f" on {keys.datasets[k]}" if keys.datasets[k] else ""
    return f"{keys.variants[k]}{where}{seed}"


def _read(sources: Any, notes: list[str]) -> list[Record | Table]:
    """Return what sources hold; those on disk together, as folders may be of one run."""
    several = isinstance(sources, (list, tuple)) and not all(isinstance(s, dict) for s in sources)
    paths: list[Path] = []
    found: list[Record | Table] = []
    for source in sources if several else [sources]:
        if isinstance(source, str) and source == readers.STDIN:
            found.append(readers.read_stdin())
        elif isinstance(source, str) and "://" in source:
            paths.append(_path_of(source))
        elif isinstance(source, (str, Path)):
            paths.append(Path(source).expanduser())
        elif isinstance(source, (Mapping, list, pd.Series)) or hasattr(source, "columns"):
            found.append(readers.from_object(source, "the table"))
        else:
            raise ValueError(
                "sources must be paths, frames, columns or records, but got "
                f"{type(source).__name__}; give a path or a pandas.DataFrame"
            )
    return [*found, *readers.read_paths(paths, notes)]


def _path_of(address: str) -> Path:
    """Return the file or folder that an address as sqlite:///runs.db or file:///runs names."""
    kind, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if kind not in ("sqlite", "file") or host or not slash:
        raise ValueError(
            "sources must be files or folders, sqlite:///FILE or file:///FOLDER, as no server is "
            f"asked for runs, but got {address}; give the folder or database, or a table of its "
            "runs"
        )
    return Path(path) if kind == "sqlite" else Path(unquote(f"/{path}"))


def _stated(every: Sequence[Record], notes: list[str]) -> list[Record]:
    """Return records without failed ones that do not say what they are of."""
    ended = [record for record in every if record.state not in {*_FAILED, *_UNFINISHED}]
    said = {
        n for n in (ended[0].settings if ended else ()) if all(r.settings.get(n) for r in ended)
    }
    vague = [
        record
        for record in every
        if record.state in {*_FAILED, *_UNFINISHED} and not all(map(record.settings.get, said))
    ]
    if vague:
        states = listed(_counted([record.state for record in vague]))
        notes.append(f"runs that ended early, without all parameters, are left out: {states}")
    gone = set(map(id, vague))
    return [record for record in every if id(record) not in gone]


def _finished(every: Sequence[Record], keys: Keys, notes: list[str]) -> tuple[list[Record], Keys]:
    """Return runs that ended; failed ones, that were not run again, without their scores."""
    whole = list(zip(keys.variants, keys.seeds, keys.datasets, keys.folds, strict=True))
    ended = {
        key
        for key, r in zip(whole, every, strict=True)
        if r.state not in {*_FAILED, *_UNFINISHED} and key[1] is not None
    }
    kept, left, again, lost = [], [], [], []
    for k, (record, key) in enumerate(zip(every, whole, strict=True)):
        failed = record.state in _FAILED
        said = f"{record.state} of {key[0]}"
        if record.state in _UNFINISHED:
            left.append(said)
        elif failed and key in ended:
            again.append(said)
        elif failed:
            lost.append(said)
            record.scores = {}
            ended |= {key} if key[1] is not None and record.step is None else set()
            kept.append(k)
        else:
            kept.append(k)
    for why, states in (
        ("runs that are not finished are left out", left),
        ("left out, as they were run again", again),
        ("runs that count as failed", lost),
    ):
        if states:
            notes.append(f"{why}: {listed(_counted(states))}")
    return [every[k] for k in kept], Keys(
        [keys.variants[k] for k in kept],
        [keys.seeds[k] for k in kept],
        [keys.datasets[k] for k in kept],
        [keys.folds[k] for k in kept],
        keys.differing,
    )


def _counted(words: Sequence[str]) -> list[str]:
    return [f"{n} {word}" for word, n in Counter(words).items()]


def _over_folds(frame: pd.DataFrame, folds: list[str], notes: list[str]) -> pd.DataFrame:
    """Return the mean over the folds of each seed, where both are named; NaN where one is missing.

    A seed must have all folds that it has with any variant.
    """
    if not any(folds):
        return frame
    keys = ["variant", "seed", "dataset"]
    found = frame.assign(fold=folds).groupby(keys, sort=False)
    metrics = [name for name in frame.columns if name not in keys]
    means = found[metrics].agg(lambda scores: scores.to_numpy().mean()).reset_index()
    have = found["fold"].nunique().to_numpy()
    every = frame.assign(fold=folds).groupby(["seed", "dataset"])["fold"].nunique()
    want = [every[seed, data] for seed, data in zip(means["seed"], means["dataset"], strict=True)]
    short = have < np.array(want)
    means.loc[short, metrics] = np.nan
    lacking = [f"{v} with seed {s}" for v, s in means.loc[short, keys[:2]].itertuples(index=False)]
    if lacking:
        notes.append(f"without all folds, which counts as failed: {listed(lacking)}")
    return means


def _groups(every: Sequence[Record], keys: Keys) -> list[list[int]]:
    """Return the places of each run's records: one, or the rows of its epochs or metrics.

    Raises:
        ValueError: two runs are of the same variant, seed and data set.
    """
    found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    each = zip(keys.variants, keys.seeds, keys.datasets, keys.folds, strict=True)
    for k, (v, s, d, fold) in enumerate(each):
        own = fold if s is not None else k if every[k].step is None else every[k].name
        found[v, s, d, own].append(k)
    for (v, s, d, _), group in found.items():
        metrics = [name for k in group for name in every[k].scores]
        if len(metrics) > len(set(metrics)) and any(every[k].step is None for k in group):
            where = f"{every[group[0]].where} and {every[group[1]].where}"
            also = f", such as {listed(keys.differing)}" if keys.differing else ""
            raise ValueError(
                f"a variant must have one run a seed{' and data set' if d else ''}, but {where} "
                f"are both of {v!r}, seed {s}; leave one out, or name in variant all that differs"
                f"{also}"
            )
    return list(found.values())


def _joined(rows: Sequence[Record]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        for name, values in row.scores.items():
            found[name] += values
    return dict(found)


def _metrics(
    logged: Sequence[_epochs.Logged], asked: Asked, epoch: str, notes: list[str]
) -> tuple[str, ...]:
    """Return the metrics to judge, the primary one first, and note the choice.

    Raises:
        ValueError: none, an unknown one, or none with one value a run and no epoch was chosen.
    """
    known = list(dict.fromkeys(name for run in logged for name in run))
    for name in asked.metric:
        if name not in known:
            raise ValueError(unknown("metric", name, known))
    _epochs.check_epoch(epoch, known)
    others = [name for name in known if _words.can_be_metric(name)]
    like = [name for name in others if _words.rank(name) is not None]
    found = list(asked.metric) or _words.preferred(like or others)
    if not found:
        raise ValueError(
            "runs must have a metric, a column of numbers beside seeds, steps, times and "
            "hyperparameters, but have none; name it in metric"
        )
    several = [name for name in found if _epochs.has_epochs(logged, name)]
    if epoch and several:
        notes.append(_epochs.note_on_choice(logged, epoch, several[0]))
    elif several:
        single = [name for name in found if name not in several]
        if asked.metric or not single:
            _epochs.check_chosen(logged, several[0])
        found = single
        notes.append(f"left out, as no epoch is chosen: {listed(several)}")
    elif epoch.startswith(_epochs.BEST):
        raise ValueError(
            f"epoch must be left empty where each run has one score, but got {epoch!r}; MLflow and "
            "W&B keep the last value of a run"
        )
    unread = [name for name in others if like and name not in like]
    if unread and not asked.metric:
        notes.append(f"not read as metrics: {listed(unread)}; name them as metric")
    if not asked.metric and len(found) > 1:
        notes.append(
            f"judged by {found[0]}, the first of: {listed(found, most=6)}; test scores come first, "
            "losses last"
        )
    return tuple(found)
