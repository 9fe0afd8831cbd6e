"""Checks of a study's files, so that readers find every field of the right kind.

Digests reveal accidents. This reveals files that somebody put together: each `check_` function
raises `record.Damaged` for the first thing that is not as counterpoise writes it.
"""

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from counterpoise.metrics import Evaluation
from counterpoise.registry import REFERENCES
from counterpoise.study import record
from counterpoise.study.plan import reference_label
from counterpoise.study.record import Content
from counterpoise.study.spec import Stage, labels_of

_BINS = 15
_LATER = {"geometric_mean", "matthews", "cohen_kappa", "auroc", "macro_auroc"}  # not in all records
_LARGEST = 1e300  # sums and squares of what is shown stay finite
_CHARACTERS = 10**6
Fits = Callable[[Any], bool]


def check_study(path: Path, kept: Content) -> None:
    """Check the content of `study.json`, but for its plan."""
    tables = dict.fromkeys(("plan", "asked", "data"), _mapping())
    _need(path, kept, {**tables, "environment": _mapping(_plain)})
    data = kept["data"]
    _need(path, data, {"class_names": _list(_text)})
    number = len(data["class_names"])
    counts = _list(_count, number)
    wanted: dict[str, Fits] = {
        **dict.fromkeys(("name", "source", "fingerprint", "entry", "sha256"), _text),
        "bytes": _count,
        "train_counts": counts,
        "test_counts": lambda value: counts(value) and sum(value) > 0,
        "shape": _list(_count),
        "notes": _list(_text),
        "left_out": _list(_text),
        "cautions": _list(_text),
    }
    if "reading" in data:  # studies of earlier versions have none
        wanted["reading"] = _mapping()
    if "images" in data:
        wanted["images"] = _text
    _need(path, data, wanted)
    _need(path, kept, {"runs": _mapping(_row), "choices": _mapping(_trial)})
    _need(path, kept, {"failed": _mapping(_text)})
    if not kept["failed"].keys() <= kept["runs"].keys():
        raise record.Damaged(f"{path} lists runs that failed, and does not name them")


def check_looks(path: Path, kept: Content) -> None:
    """Check the content of a `looks.json`."""
    _need(path, kept, {"data": _text, "looks": _list(_look)})


def check_labels(path: Path, kept: Content, labels: Sequence[str]) -> None:
    """Check that the runs and rates of `study.json` are those of its variants and references."""
    rows, references = kept["runs"].values(), set(map(reference_label, REFERENCES))
    classical = {row["label"] for row in rows if row["stage"] == "reference"}
    named = {k for row in rows if row["stage"] != "reference" for k in labels_of(row)}
    named |= kept["choices"].keys()
    if not (named <= set(labels) and classical <= references):
        raise record.Damaged(f"{path} holds runs of variants that its plan has not")


def check_run(path: Path, run: Content, classes: int) -> None:
    """Check the content of a `run.json` whose `spec` is known to be right."""
    wanted: dict[str, Fits] = {
        "environment": _mapping(_text),
        "train_counts": _list(_count, classes),
        "seen_counts": _list(_number, classes),
    }
    _need(path, run, wanted)
    if "variant" in run["spec"]:  # of a net
        _need(path, run, {"parameters": _count})
    if run["spec"]["stage"] != "tuning":
        _need(path, run, {"test": _mapping()})
    for kind in ("validation", "test", "adjusted", "normalized"):
        if run.get(kind) is not None:
            _need(path, run, {kind: _mapping()})
            _check_scores(path, run[kind], classes)
    if "last" in run:  # of the last weights, where the net has averaged ones
        _need(path, run, {"last": _mapping(lambda scores: isinstance(scores, dict))})
        for scores in run["last"].values():
            _check_scores(path, scores, classes)
    if "devices" in run:
        _need(path, run, {"devices": _list(_count)})
    if "cosine_scale" in run:
        _need(path, run, {"cosine_scale": _number})
    if "link" in run:
        _need(path, run, {"link": _mapping()})
    for tau in ("tau", "tau_norm"):
        if run.get(tau) is not None:
            _need(path, run, {tau: _number})


def check_timing(path: Path, timing: Content) -> None:
    """Check the content of a `timing.json`."""
    _need(path, timing, {"seconds": lambda value: _number(value) and 0 <= value < 1e12})
    if timing.get("peak_memory_mb") is not None:
        _need(path, timing, {"peak_memory_mb": _number})


def check_rows(path: Path, rows: object, texts: Sequence[str], counts: Sequence[str]) -> None:
    """Check a list of rows of numbers or None, but for the columns of texts and counts."""
    if not isinstance(rows, list):
        raise record.Damaged(f"{path} does not hold rows")
    known: dict[str, Fits] = {**dict.fromkeys(texts, _text), **dict.fromkeys(counts, _count)}
    for row in rows:
        if not isinstance(row, dict):
            raise record.Damaged(f"{path} holds a row that is none")
        _need(path, row, known | dict.fromkeys(row.keys() - known.keys(), _maybe))


def check_arrays(path: Path, arrays: Mapping[str, object], sizes: Mapping[str, int]) -> None:
    """Check the arrays of a `predictions.npz`.

    Args:
        path: the file, for the message.
        arrays: what it holds.
        sizes: of each split that it must hold, the number of samples; that of "classes"; and that
            of all samples, "pool", among which `test_rows` are positions.
    """
    classes = sizes["classes"]
    for name in ("test", "validation"):
        logits, targets = (arrays.get(f"{name}_{kind}") for kind in ("logits", "targets"))
        if logits is None and name not in sizes:
            continue
        fits = (
            isinstance(logits, np.ndarray)
            and isinstance(targets, np.ndarray)
            and logits.dtype.kind == "f"
            and logits.ndim == 2
            and logits.shape[1] == classes
            and targets.dtype.kind in "iu"
            and targets.shape == (len(logits),)
            and len(logits) == sizes.get(name, len(logits))
            and bool(((targets >= 0) & (targets < classes)).all())
        )
        if not fits:
            raise record.Damaged(f"{path} does not hold the {name} split's logits and targets")
    rows = arrays.get("test_rows")
    if rows is not None and not _are_rows(rows, sizes["test"], sizes["pool"]):
        raise record.Damaged(f"{path} does not hold the positions of the test samples")


def _are_rows(rows: object, number: int, pool: int) -> bool:
    """Return whether these are so many positions of other samples each, in order."""
    return (
        isinstance(rows, np.ndarray)
        and rows.dtype.kind in "iu"
        and rows.shape == (number,)
        and bool((np.diff(rows) > 0).all())
        and (not number or (rows[0] >= 0 and rows[-1] < pool))
    )


def _check_scores(path: Path, scores: Content, classes: int) -> None:
    """Refuse scores of another form; earlier records lack some, and a study's own metric is one."""
    wanted = {k: x for k, x in _of_scores(classes).items() if k in scores or k not in _LATER}
    others = dict.fromkeys(scores.keys() - wanted.keys(), _maybe)
    _need(path, scores, wanted | others)


@cache
def _of_scores(classes: int) -> dict[str, Fits]:
    """Return the check of each field of `metrics.Evaluation`."""
    wanted: dict[str, Fits] = {}
    for name, kind in typing.get_type_hints(Evaluation).items():
        if name == "confusion_cells":
            cells = _list(_cell(classes))
            wanted[name] = lambda value, cells=cells: bool(value) and cells(value)
        elif kind in (float, int) or isinstance(kind, types.UnionType):
            wanted[name] = _maybe
        else:
            wanted[name] = _list(_maybe, _BINS if name.startswith("bin_") else classes)
    return wanted


def _need(path: Path, content: Mapping[str, object], wanted: Mapping[str, Fits]) -> None:
    for key, fits in wanted.items():
        if key not in content or not fits(content[key]):
            raise record.Damaged(f"{path} does not hold {key!r} as counterpoise writes it")


def _number(value: object) -> TypeGuard[int | float]:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and abs(value) < _LARGEST


def _maybe(value: object) -> bool:
    return value is None or _number(value)


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _CHARACTERS


def _plain(value: object) -> bool:
    return value is None or _text(value) or _number(value)


def _row(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _text(value.get("label"))
        and _trial(value.get("trial"))
        and _mapping(_trial)(value.get("also", {}))
        and type(value.get("seed")) is int
        and value.get("stage") in typing.get_args(Stage)
    )


def _look(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"seeds", "rule", "last"}
        and value["rule"] in ("fixed", "sequential")
        and all(map(_count, (value["seeds"], value["last"])))
        and 2 <= value["seeds"] <= value["last"]
    )


def _trial(value: object) -> bool:
    return _mapping(lambda x: isinstance(x, bool) or _plain(x))(value)


def _list(item: Fits, length: int | None = None) -> Fits:
    return lambda value: (
        isinstance(value, list)
        and (length is None or len(value) == length)
        and all(map(item, value))
    )


def _mapping(item: Fits = lambda value: True) -> Fits:
    return lambda value: (
        isinstance(value, dict) and all(map(_text, value)) and all(map(item, value.values()))
    )


def _cell(classes: int) -> Fits:
    return lambda value: (
        isinstance(value, list)
        and len(value) == 3
        and all(map(_count, value))
        and max(value[:2]) < classes
    )
