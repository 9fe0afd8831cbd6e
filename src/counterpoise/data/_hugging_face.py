"""Datasets of the library `datasets`: folders that it saved, and names on the Hugging Face Hub."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from counterpoise.data._groups import check_apart, numbered
from counterpoise.data._hold_out import as_splits
from counterpoise.data._hugging_face_columns import (
    MOST,
    arrays_of,
    classes_of,
    images_of,
    kind_of,
    listed_types,
    values_of,
)
from counterpoise.data._layout import SPLIT_OF
from counterpoise.data._options import TEST_WORDS, Options
from counterpoise.data._rows import Rows
from counterpoise.data._small_classes import settle_named
from counterpoise.data._table_labels import TARGETS
from counterpoise.data._table_splits import check_names
from counterpoise.data.memory import check_memory
from counterpoise.data.splits import Split, Splits
from counterpoise.text import listed, one_line, printable

if TYPE_CHECKING:
    from datasets import Dataset

HUB = "hf:"
_FILES = ({"dataset_info.json", "state.json"}, {"dataset_dict.json"})
_NAME = re.compile(r"(?P<name>[^:]+/[^:]+)(:(?P<config>[^:]+))?")
_TEXT = re.compile(r".* text \d+")  # as columns of free text are called
_COPIES = 3  # of a table


def is_saved_dataset(folder: Path) -> bool:
    """Return whether `datasets` wrote a folder, by `save_to_disk`."""
    return any(all((folder / name).is_file() for name in names) for names in _FILES)


def read_hugging_face(word: str, options: Options) -> Splits:
    """Read the folder of a saved dataset, or "hf:OWNER/NAME" or "hf:OWNER/NAME:CONFIG".

    A column of images is taken, or else one of arrays of numbers, or else all numbers and words as
    a table.

    Raises:
        ValueError: it cannot be read, several columns could be meant, or no column is of such a
            kind.
    """
    named = _splits(word, _loaded(word), options.test)
    first = named["train"].features
    check_names(Path(word), [n for n in (options.target, *options.drop) if n], list(first))
    features = {n: f for n, f in first.items() if n not in options.drop}
    label = _label(word, features, options.target)
    kinds = {n: kind_of(f) for n, f in features.items() if n not in (label, options.group)}
    for what in ("image", "array"):
        found = [name for name, kind in kinds.items() if kind == what]
        if len(found) > 1:
            raise ValueError(
                f"{word} must have one column of {what}s, but has {listed(map(repr, found), MOST)};"
                " drop the others: --drop, or drop in [data]"
            )
        if found:
            return _read_samples(word, named, found[0], what, label, options)
    if "cell" not in kinds.values():
        raise ValueError(
            f"{word} must have a column of images (Image), one of arrays of numbers (Array3D, a "
            "list of numbers) or columns of numbers and words beside that of the classes, but has "
            f"{listed_types(features)}; make numbers of what you have, say embeddings"
        )
    return _read_table(word, named, features, kinds, label, options)


def _loaded(word: str) -> Any:
    """Return what `datasets` reads: a Dataset, or several by their names."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(
            f"{word} is read by a package that is not installed; install it with: pip install "
            "'counterpoise[hf]'"
        ) from error
    match = _NAME.fullmatch(word.removeprefix(HUB))
    if word.startswith(HUB) and match is None:
        raise ValueError(f"{word} must be like hf:OWNER/NAME or hf:OWNER/NAME:CONFIG")
    try:
        if word.startswith(HUB) and match is not None:
            return datasets.load_dataset(match["name"], match["config"])
        return datasets.load_from_disk(word)
    except MemoryError:
        raise
    except Exception as error:  # of the network, of files, of the Hub: of many kinds
        raise ValueError(
            f"{word} must be a dataset that the library datasets reads, but: "
            f"{one_line(error) or type(error).__name__}"
        ) from error


def _splits(word: str, found: Any, test: str) -> dict[str, Dataset]:
    """Return the datasets by what they are for: train, validation and test, as far as there are."""
    by_name: dict[str, Dataset] = dict(found) if isinstance(found, dict) else {"train": found}
    if test not in TEST_WORDS and test not in by_name:
        raise ValueError(
            f"test must be {', '.join(TEST_WORDS)} or the name of a split of {word}, which are "
            f"{listed(by_name, MOST)}, got {test!r}"
        )
    if len(by_name) == 1:
        return {"train": next(iter(by_name.values()))}
    meant: dict[str, list[str]] = {}
    for name in by_name:
        split = "test" if name == test else SPLIT_OF.get(name.lower().replace("-", "_"), "")
        if test in TEST_WORDS or split != "test" or name == test:
            meant.setdefault(split, []).append(name)
    if others := meant.pop("", []):
        warnings.warn(
            f"splits of {word} that are neither train, validation nor test were not read: "
            f"{listed(others)}",
            stacklevel=5,
        )
    doubled = [names for names in meant.values() if len(names) > 1]
    if doubled or "train" not in meant:
        raise ValueError(
            f"{word} must have one split train, and validation and test once at most, but has "
            f"{listed(by_name, MOST)}; save those that are meant, under these names"
        )
    order = [split for split in ("train", "validation", "test") if split in meant]
    return {split: by_name[meant[split][0]] for split in order}


def _label(word: str, features: Mapping[str, Any], target: str) -> str:
    """Return the column of the classes; "" where nothing says which it is."""
    import datasets

    if target:
        return target
    found = [name for name, f in features.items() if isinstance(f, datasets.ClassLabel)]
    if len(found) > 1:
        raise ValueError(
            f"{word} must have one column of classes, but {listed(map(repr, found), MOST)} are of "
            "type ClassLabel: name one by --target (target in [data])"
        )
    if found:
        return found[0]
    return next(
        (n for n, f in features.items() if n.lower() in TARGETS and kind_of(f) == "cell"), ""
    )


def _read_samples(
    word: str, named: dict[str, Dataset], column: str, kind: str, label: str, options: Options
) -> Splits:
    """Read images or arrays into the cache, and split them."""
    options.check(
        f"a dataset of {kind}s", "target", "drop", "group", "test", "missing_labels"
    )  # by columns of it
    if not label:
        raise ValueError(
            f"{word} must have a column of classes, of type ClassLabel or called "
            f"{', '.join(TARGETS)}, but has {listed_types(named['train'].features)}; name it by "
            "--target (target in [data])"
        )
    wanted = [name for name in (column, label, options.group) if name]
    for dataset in named.values():
        check_names(Path(word), wanted, list(dataset.features))
    words = {split: values_of(d, label) for split, d in named.items()}
    named, words = _with_classes(word, named, words, label, options.missing_labels)
    kept = {
        split: [k for k, w in enumerate(found) if w is not None] for split, found in words.items()
    }
    names = [f"{split}[{k}]" for split, d in named.items() for k in range(len(d))]
    read = images_of if kind == "image" else arrays_of
    entry = read(word, named, column, names, options)
    class_names, of_split = classes_of(named["train"].features[label], words)
    groups, by = None, f"column {options.group!r}" if options.group else ""
    if options.group:
        cells = [w for d in named.values() for w in values_of(d, options.group)]
        groups = numbered([(k,) if w is None else w for k, w in enumerate(cells)])
    splits, first = {}, 0
    for split, targets in of_split.items():
        rows = torch.tensor(kept[split], dtype=torch.int64) + first
        there = torch.tensor([k not in entry.unread for k in rows.tolist()], dtype=torch.bool)
        rows, first = rows[there], first + len(named[split])
        splits[split] = Split(
            Rows(entry.samples, rows, entry),
            targets[there],
            tuple(names[k] for k in rows.tolist()),
            None if groups is None else groups[rows],
        )
    splits, class_names = settle_named(splits, class_names, options)
    name = word.removeprefix(HUB) if word.startswith(HUB) else Path(word).resolve().name
    name, source = printable(name), printable(word)
    data = as_splits(
        name, source, splits["train"], splits.get("test"), class_names, options.seed, by
    )
    unused = [repr(n) for n in named["train"].features if n not in (*wanted, *options.drop)]
    notes = (
        f"{sum(map(len, splits.values())):,} samples of a Hugging Face dataset: {kind}s from "
        f"column {column!r}, classes from {label!r}",
        *entry.about["notes"],
        *([f"columns that are not used: {listed(unused)}"] if unused else ()),
        *_note_on_validation(splits),
        *data.notes,
    )
    reading = entry.about.get("reading", {})  # of images; of arrays the inputs say it
    data = replace(data, notes=notes, validation=splits.get("validation"), reading=reading)
    check_apart(data)
    return data


def _note_on_validation(splits: Mapping[str, object]) -> list[str]:
    if "validation" not in splits or "test" in splits:
        return []
    return [
        "choices are made on the split validation; a test split is held out of the training "
        "samples (--test with that split's name would test on it instead)"
    ]


def _with_classes(
    word: str,
    named: dict[str, Dataset],
    words: dict[str, list[Any]],
    label: str,
    missing: str,
) -> tuple[dict[str, Dataset], dict[str, list[Any]]]:
    """Return the splits that have rows with a class; refuse those without, or say that they go."""
    for split, found in words.items():
        absent = [k for k, w in enumerate(found) if w is None]
        if absent and missing == "refuse":
            raise ValueError(
                f"each row of {word} must have a class in column {label!r}, but {len(absent):,} of "
                f"{len(found):,} of the {split} split have none: "
                f"{listed(f'{split}[{k}]' for k in absent)}; --missing-labels drop (missing_labels "
                "in [data]) leaves them out"
            )
        if absent:
            warnings.warn(
                f"{len(absent):,} rows of the {split} split of {word} have no class in column "
                f"{label!r}: left out",
                stacklevel=5,
            )
    there = [split for split, found in words.items() if any(w is not None for w in found)]
    if "train" not in there:
        raise ValueError(f"{word} must have samples to train on that have a class, but has none")
    return {k: named[k] for k in there}, {k: words[k] for k in there}


def _read_table(
    word: str,
    named: dict[str, Dataset],
    features: Mapping[str, Any],
    kinds: Mapping[str, str],
    label: str,
    options: Options,
) -> Splits:
    """Read all numbers and words as a table."""
    import pandas as pd

    from counterpoise.data._table import read_cells  # it takes half a second to import
    from counterpoise.data._table_file import Table

    path = Path(word)
    if len(named) > 1 and (options.split or "test" not in named):
        raise ValueError(
            f"{word} must be split by its own splits, {listed(named)}, with one to test on, "
            + ("or by split; save one of them alone" if options.split else "such as --test NAME")
        )
    check_memory(path, _COPIES * sum(d.data.nbytes for d in named.values()))
    header = [n for n in features if n in (label, options.group) or kinds[n] == "cell"]
    if others := [f"{n!r} ({type(features[n]).__name__})" for n in features if n not in header]:
        warnings.warn(
            f"columns of {word} that are neither numbers nor words were left out: {listed(others)}",
            stacklevel=4,
        )
    frames = []
    for split, dataset in named.items():
        check_names(path, header, list(dataset.features))
        plain = cast("Dataset", dataset.select_columns(header).with_format(None))
        frame = cast("pd.DataFrame", plain.to_pandas())
        for name in (n for n in header if hasattr(features[n], "names")):  # of a ClassLabel
            frame[name] = pd.Series(values_of(dataset, name), dtype=object)
        frame = frame[header]
        if len(named) > 1:
            frame = frame.assign(**{_split_column(header): split})
        frames.append(frame)
    rows = np.concatenate([np.arange(len(frame)) for frame in frames])
    frame = pd.concat(frames, ignore_index=True)
    columns = [str(name).strip() for name in frame.columns]
    frame.columns = list(range(len(columns)))
    settled = replace(options, target=label, test="auto" if len(named) > 1 else options.test)
    if len(named) > 1:
        settled = replace(settled, split=columns[-1], drop=())
    else:
        settled = replace(settled, drop=())
    data = read_cells(Table(path, columns, frame, rows, "", [], True), settled)
    if all(_TEXT.fullmatch(column.name) for column in data.columns or ()):
        raise ValueError(
            f"{word} must have images, arrays of numbers, or a column of numbers or of words of "
            f"few kinds, but {listed(map(repr, kinds))} hold free text alone; make numbers of it, "
            "say embeddings"
        )
    return replace(data, source=printable(word))


def _split_column(header: Sequence[str]) -> str:
    """Return a name that no column has."""
    return next(n for n in (f"split{'_' * k}" for k in itertools.count()) if n not in header)
