"""Storage that is no folder of this machine: whatever fsspec reads, such as s3://bucket/study.

A study's folder and its copy in a storage have the same layout: `study.json`, `runs/NAME/run.json`.
Objects of a bucket are whole or not there; in a folder, files are renamed into place.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from counterpoise import files


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
                f"{error.strerror or error}; choose another --storage, or give permission"
            ) from error


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
