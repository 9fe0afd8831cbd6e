"""Readers of results that others' tools left on disk; a row of the registry each."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.judgement._record import Record, Table
from counterpoise.judgement.readers import (
    _lightning,
    _mlflow,
    _table,
    _tensorboard,
    _trainer_state,
    _wandb,
)
from counterpoise.judgement.readers._table import STDIN, from_object, read_stdin
from counterpoise.text import listed

__all__ = ["READERS", "STDIN", "Reader", "from_object", "read_paths", "read_stdin"]


@dataclass(frozen=True)
class Reader:
    """Row of the registry of readers.

    Args:
        label: the tool whose results it reads.
        find: returns those of some files, or of the folders above them, that it reads.
        read: returns the runs of what it found.
    """

    label: str
    find: Callable[[Sequence[Path]], list[Path]]
    read: Callable[[Sequence[Path]], Sequence[Record | Table]]


READERS = {  # of a folder, the first that finds something reads
    "mlflow": Reader("MLflow", _mlflow.find, _mlflow.read),
    "wandb": Reader("W&B", _wandb.find, _wandb.read),
    "trainer_state": Reader(
        "the Trainer of transformers", _trainer_state.find, _trainer_state.read
    ),
    "lightning": Reader("Lightning's CSVLogger", _lightning.find, _lightning.read),
    "tensorboard": Reader("TensorBoard", _tensorboard.find, _tensorboard.read),
    "table": Reader("tables", _table.find, _table.read),
}


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield files, also of linked folders, but not of hidden ones, where MLflow keeps the deleted.

    Raises:
        ValueError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise ValueError(
            f"{error.filename} must be a folder that can be read, but: {error.strerror}; allow it, "
            "or name the others"
        )

    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if (path := Path(place, name)).is_file())


def read_paths(paths: Sequence[Path], notes: list[str]) -> list[Record | Table]:
    """Return the runs of files and of all files below folders, by the first reader that has some.

    Raises:
        ValueError: a path is not there, or nothing that a reader reads.
    """
    found: dict[str, dict[Path, None]] = {}
    for path in paths:
        word, there = _find(path, notes)
        found.setdefault(word, {}).update(dict.fromkeys(there))  # once, where folders overlap
    return [thing for word, there in found.items() for thing in READERS[word].read(list(there))]


def _find(path: Path, notes: list[str]) -> tuple[str, list[Path]]:
    """Return the reader of a file or folder, and what it reads there."""
    if not path.exists():
        raise ValueError(
            f"sources must be files or folders, but there is no {path}; check its name"
        )
    if not path.is_file() and not path.is_dir():
        raise ValueError(f"{path} must be a file or folder, but is a pipe or a device; - reads one")
    files = sorted(_files_below(path)) if path.is_dir() else [path]
    found = {word: there for word, r in READERS.items() if (there := r.find(files))}
    if path.is_file():
        return next(iter(found.items()), ("table", [path]))
    if not found:
        labels = listed((r.label for r in READERS.values()), most=len(READERS))
        raise ValueError(f"{path} must hold results of {labels}, but holds none; name the files")
    word, *others = found
    also = [READERS[other].label for other in others if other != "table"]
    left = f"; those of {listed(also)} are left out" if also else ""
    notes.append(f"{path}: results of {READERS[word].label}{left}")
    return word, found[word]
