"""Storage that is no folder of this machine: whatever fsspec reads, such as s3://bucket/study.

A study's folder and its copy in a storage have the same layout: `study.json`, `runs/NAME/run.json`.
Objects of a bucket are whole or not there; in a folder, files are renamed into place.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from counterpoise import files
from counterpoise.study import record


class Storage:
    """A folder, a bucket or another place that several machines reach.

    Args:
        where: a path or the URL of one.

    Raises:
        ValueError: the place cannot be reached, or what it needs is not installed.
    """

    def __init__(self, where: str) -> None:
        import fsspec  # torch needs it, too

        self.where = where
        self.fs: Any = None
        self.folder: Path | None = None
        if "://" not in where:
            self.folder = Path(where).expanduser().resolve()
            return
        try:
            self.fs, self.root = fsspec.core.url_to_fs(where)
        except ImportError as error:
            raise ValueError(f"{where}: {error}; pip install 'counterpoise[s3]'") from error
        except Exception as error:  # of the library behind it
            raise ValueError(f"{where} must be a place that can be reached, but {error}") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            OSError: it cannot be written.
        """
        if self.folder is not None:
            files.make_folder((self.folder / name).parent)
            files.write(self.folder / name, content)
        else:
            with _as_os_error(self.where):
                self.fs.pipe_file(f"{self.root}/{name}", content)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        with suppress(FileNotFoundError):
            if self.folder is not None:
                return files.read(self.folder / name)
            with _as_os_error(self.where):
                return self.fs.cat_file(f"{self.root}/{name}")
        return None

    def names(self, folder: str) -> list[str]:
        """Return the names of what a folder holds; none where it is not there."""
        try:
            if self.folder is not None:
                return sorted(p.name for p in (self.folder / folder).iterdir())
            with _as_os_error(self.where):
                self.fs.invalidate_cache()
                found = self.fs.ls(f"{self.root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def tree(self, folder: str) -> set[str]:
        """Return the paths of all files below a folder, relative to it."""
        if self.folder is not None:
            top = self.folder / folder
            return {p.relative_to(top).as_posix() for p in top.glob("*/*")}
        with _as_os_error(self.where):
            self.fs.invalidate_cache()
            top = f"{self.root}/{folder}/"
            found = self.fs.find(top)
        return {path[path.index(top) + len(top) :] for path in found if top in path}

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            if self.folder is not None:
                files.remove(self.folder / name)
            else:
                with _as_os_error(self.where):
                    self.fs.rm_file(f"{self.root}/{name}")

    def check(self) -> None:
        """Write and remove a file.

        Raises:
            ValueError: that is not allowed.
        """
        try:
            self.write(_PROBE, b"")
            self.remove(_PROBE)
        except OSError as error:
            raise ValueError(
                f"{self.where} must be a place that can be written, but: "
                f"{error.strerror or error}; choose another --set engine.storage, or give "
                "permission"
            ) from error


def absolute(where: str) -> str:
    """Return a path as an absolute one, which all machines understand alike; a URL as it is."""
    return where if "://" in where or not where else str(Path(where).expanduser().resolve())


def share(where: str, study: Path) -> None:
    """Copy `study.json`, `looks.json` and the records that a storage lacks into it.

    Raises:
        OSError: the storage cannot be written.
    """
    storage = Storage(where)
    there = storage.tree("runs")
    for run in sorted((study / "runs").glob(f"*/{record.RUN}")):
        name = run.parent.name
        if f"{name}/{record.RUN}" not in there:
            StoredRun(storage, name).place(record.collect(run.parent))
    for name in ("looks.json", "study.json"):
        if (study / name).exists():
            storage.write(name, files.read(study / name))


class StoredRun:
    """A run's folder in a storage.

    Args:
        storage: where.
        name: of the run.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage, self.below = storage, f"runs/{name}"

    def finished(self) -> bool:
        """Return whether its record is there already."""
        return self.storage.read(f"{self.below}/{record.RUN}") is not None

    def forget(self) -> None:
        """Remove the end of its record, which is not whole: it is to be done again."""
        self.storage.remove(f"{self.below}/{record.RUN}")

    def checkpoint(self) -> bytes | None:
        """Return what the run can be resumed from."""
        return self.storage.read(f"{self.below}/{record.CHECKPOINT}")

    def save_checkpoint(self, content: bytes) -> None:
        """Keep what the run can be resumed from."""
        self.storage.write(f"{self.below}/{record.CHECKPOINT}", content)

    def place(self, contents: Mapping[str, bytes]) -> None:
        """Write its files, `run.json` last."""
        for name in sorted(contents, key=lambda name: name == record.RUN):
            self.storage.write(f"{self.below}/{name}", contents[name])
        if record.RUN in contents:
            for name in (record.CHECKPOINT, record.ERROR):
                self.storage.remove(f"{self.below}/{name}")

    def collect(self) -> dict[str, bytes] | None:
        """Return the files of its record; None where it is not finished."""
        last = self.storage.read(f"{self.below}/{record.RUN}")
        names = self.storage.names(self.below) if last is not None else []
        wanted = [name for name in names if name in record.FILES or name == record.TIMING]
        found = {name: self.storage.read(f"{self.below}/{name}") for name in wanted}
        contents = {name: content for name, content in found.items() if content is not None}
        return {**contents, record.RUN: last} if last is not None else None


_PROBE = ".counterpoise-probe"


class _as_os_error:
    """Raise what a library behind fsspec raises as an OSError."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Turn any other error into an OSError."""
        if isinstance(error, Exception) and not isinstance(error, OSError):
            raise OSError(f"{self.where}: {type(error).__name__}: {error}") from error
