"""The array jobs of a study, as JSON in its folder `slurm/`.

slurm/NAME.json     an array job: the runs of each task; written before it is submitted, under whose
                    name SLURM knows it, and removed when all is gathered
slurm/NAME/3.json   what task 3 says: the run that it is doing, and how the others ended

A driver that was killed finds here what is queued, so that nothing is submitted twice.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from counterpoise import files

FOLDER = "slurm"
_MOST_BYTES = 2**26


@dataclass
class Note:
    """The words of a task.

    Attributes:
        host: where it is.
        running: the run that it is doing.
        ended: how the others ended: None with a record, else the reason, and whether the machine
            was the reason.
    """

    host: str = ""
    running: str = ""
    ended: dict[str, tuple[str, bool] | None] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it."""
        files.write(path, json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Note":
        """Return the note in a file; an empty one where there is none."""
        try:
            found = _read(path)
            ended = {
                str(run): None if end is None else (str(end[0]), bool(end[1]))
                for run, end in found["ended"].items()
            }
            return cls(str(found["host"]), str(found["running"]), ended)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return cls()


@dataclass
class Array:
    """An array job.

    Attributes:
        folder: in which it is kept.
        name: its name in SLURM's queue.
        tasks: the runs of each task.
        number: of the job; "" where its driver was killed before it knew.
    """

    folder: Path
    name: str
    tasks: list[list[str]]
    number: str = ""
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, task: int) -> Path:
        """Return the file in which a task says how far it is."""
        return self.folder / self.name / f"{task}.json"

    def save(self) -> None:
        """Write it."""
        files.make_folder(self.folder / self.name)
        content = {"number": self.number, "tasks": self.tasks}
        files.write(self.folder / f"{self.name}.json", json.dumps(content))

    def remove(self) -> None:
        """Remove it, and what its tasks said."""
        files.remove(self.folder / f"{self.name}.json")
        notes = self.folder / self.name
        for name in os.listdir(notes):
            files.remove(notes / name)
        files.remove_folder(notes)

    def news(self) -> Iterator[tuple[int, Note]]:
        """Yield task and note of those that have said something since the last time."""
        with os.scandir(self.folder / self.name) as entries:
            for entry in entries:
                stem = entry.name.removesuffix(".json")
                if not stem.isdecimal() or int(stem) >= len(self.tasks):
                    continue
                stat = entry.stat()
                stamp = stat.st_mtime_ns, stat.st_ino
                if self._seen.get(stem) != stamp:
                    self._seen[stem] = stamp
                    yield int(stem), Note.read(Path(entry.path))

    def forget(self, task: int) -> None:
        """Have what a task said among the next news again."""
        self._seen.pop(str(task), None)


def saved(folder: Path) -> list[Array]:
    """Return the array jobs that are not gathered yet; a file that is none counts for nothing."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = _read(path)
            number, tasks = content["number"], [list(map(str, runs)) for runs in content["tasks"]]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if re.fullmatch(r"\d*", str(number)) and (folder / path.stem).is_dir():
            found.append(Array(folder, path.stem, tasks, str(number)))
    return found


def _read(path: Path) -> Any:
    return json.loads(files.read(path, most=_MOST_BYTES))
