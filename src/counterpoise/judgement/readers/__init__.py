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

__all__ = ["READERS", "STDIN", "Reader", "from_object", "read_path", "read_stdin"]


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
    """Yield files, but not those in hidden folders, where MLflow keeps what was deleted."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names)


def read_path(path: Path, notes: list[str]) -> Sequence[Record | Table]:
    """Return the runs of a file or of all files below a folder, by the first reader that has some.

    Raises:
        ValueError: there is nothing, or nothing that a reader reads.
    """
    if not path.exists():
        raise ValueError(
            f"sources must be files or folders, but there is no {path}; check its name"
        )
    files = [path]
    if path.is_dir():
        files = sorted(_files_below(path))
    found = {word: there for word, r in READERS.items() if (there := r.find(files))}
    if not found and path.is_file():
        found = {"table": [path]}
    if not found:
        labels = listed((r.label for r in READERS.values()), most=len(READERS))
        raise ValueError(f"{path} must hold results of {labels}, but holds none; name the files")
    word, *others = found
    if path.is_dir():
        also = [READERS[other].label for other in others if other != "table"]
        left = f"; those of {listed(also)} are left out" if also else ""
        notes.append(f"{path}: results of {READERS[word].label}{left}")
    return READERS[word].read(found[word])
