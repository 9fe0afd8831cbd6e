"""Every operation on the files below a folder: told in order, made to fail, and what is left then.

`Operations` replaces the functions of `os` that change files, and `fcntl.flock`, by ones that log.
`Disk` is told such a log and knows which bytes a process finds that is started after a crash.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

FULL = ("open to write", "write", "mkdir")  # the operations that a full disk refuses


@dataclass(frozen=True)
class Operation:
    """One of open, write, fsync, replace, unlink, mkdir and lock."""

    kind: str
    path: str
    content: bytes = b""
    target: str = ""

    @property
    def name(self):
        return f"{self.kind} {Path(self.path).name} {Path(self.target).name}".rstrip()


class Operations:
    """Log what happens below a folder; let an operation fail.

    Args:
        root: the folder.
        fail_at: the number of the operation that fails; None for none.
        error: the errno that it fails with.
        lasting: all that follow and need room fail, too.
        before: called with the number of each operation before it is done.
    """

    def __init__(self, root, fail_at=None, error=errno.EIO, lasting=False, before=None):
        self.root = os.path.realpath(root)
        self.fail_at, self.error, self.lasting, self.before = fail_at, error, lasting, before
        self.log = []
        self._paths = {}  # of descriptors
        self._real = {}

    def __enter__(self):
        for module, name in (
            *((os, n) for n in ("open", "write", "fsync", "replace", "rename", "close")),
            *((os, n) for n in ("unlink", "remove", "mkdir", "rmdir")),
            (fcntl, "flock"),
        ):
            self._real[name] = (module, getattr(module, name))
            setattr(module, name, getattr(self, f"_{name}"))
        return self

    def __exit__(self, *_):
        for name, (module, real) in self._real.items():
            setattr(module, name, real)

    def _call(self, name, *args, **kwargs):
        return self._real[name][1](*args, **kwargs)

    def _below(self, path):
        """The path seen from the root; None for others."""
        if not isinstance(path, str | os.PathLike):
            return None
        folder, name = os.path.split(os.path.abspath(path))
        whole = os.path.join(os.path.realpath(folder), name)
        inside = whole == self.root or whole.startswith(self.root + os.sep)
        return os.path.relpath(whole, self.root) if inside else None

    def _add(self, operation):
        number = len(self.log)
        self.log.append(operation)
        if self.before is not None:
            self.before(number)
        if self.fail_at is None or number < self.fail_at:
            return
        if number == self.fail_at or (self.lasting and operation.kind in FULL):
            raise OSError(self.error, os.strerror(self.error), operation.path)

    def _open(self, path, flags, mode=0o777, **kwargs):
        below = self._below(path)
        if below is None:
            return self._call("open", path, flags, mode, **kwargs)
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        new = flags & os.O_CREAT and not os.path.lexists(path)
        self._add(Operation("open to write" if writes else "open", below, b"new" if new else b""))
        descriptor = self._call("open", path, flags, mode, **kwargs)
        self._paths[descriptor] = below
        return descriptor

    def _write(self, descriptor, content):
        if descriptor not in self._paths:
            return self._call("write", descriptor, content)
        self._add(Operation("write", self._paths[descriptor], bytes(content)))
        return self._call("write", descriptor, content)

    def _fsync(self, descriptor):
        if descriptor in self._paths:
            self._add(Operation("fsync", self._paths[descriptor]))
        return self._call("fsync", descriptor)

    def _close(self, descriptor):
        self._paths.pop(descriptor, None)
        return self._call("close", descriptor)

    def _flock(self, descriptor, how):
        if descriptor in self._paths and not how & fcntl.LOCK_UN:
            self._add(Operation("lock", self._paths[descriptor]))
        return self._call("flock", descriptor, how)

    def _replace(self, source, target, **kwargs):
        below = self._below(source)
        if below is not None:
            self._add(Operation("replace", below, target=self._below(target) or "outside"))
            for descriptor, path in self._paths.items():
                if path == below:
                    self._paths[descriptor] = self._below(target)
        return self._call("replace", source, target, **kwargs)

    _rename = _replace

    def _change(self, name, path, *args, **kwargs):
        below = self._below(path)
        if below is not None:
            self._add(Operation(name, below))
        return self._call(name, path, *args, **kwargs)

    def _unlink(self, path, **kwargs):
        return self._change("unlink", path, **kwargs)

    def _remove(self, path, **kwargs):
        return self._change("unlink", path, **kwargs)

    def _mkdir(self, path, *args, **kwargs):
        return self._change("mkdir", path, *args, **kwargs)

    def _rmdir(self, path, **kwargs):
        return self._change("rmdir", path, **kwargs)


class _File:
    def __init__(self, content=b""):
        self.now = self.synced = content


_FOLDER = None


class Disk:
    """What is below a folder, as a running system sees it and as it outlasts a loss of power.

    Until a file is synced its content may be lost, until a folder is synced the names in it.
    """

    def __init__(self, folder):
        self.now, self.synced = {".": _FOLDER}, {".": _FOLDER}
        for path in sorted(Path(folder).rglob("*")):
            entry = _File(path.read_bytes()) if path.is_file() else _FOLDER
            self.now[str(path.relative_to(folder))] = entry
        self.synced = dict(self.now)

    def do(self, operation):
        """Carry out an operation of a log."""
        path = operation.path
        if operation.kind == "open to write" and operation.content:
            self.now[path] = _File()
        elif operation.kind == "write":
            self.now[path].now += operation.content
        elif operation.kind == "fsync":
            self._sync(path)
        elif operation.kind == "replace":
            self.now[operation.target] = self.now.pop(path)
        elif operation.kind in ("unlink", "rmdir"):
            self.now.pop(path, None)
        elif operation.kind == "mkdir":
            self.now.setdefault(path, _FOLDER)

    def _sync(self, path):
        if self.now.get(path) is not _FOLDER:
            self.now[path].synced = self.now[path].now
            return
        inside = {p: e for p, e in self.now.items() if os.path.dirname(p) == path.removeprefix(".")}
        gone = [p for p in self.synced if os.path.dirname(p) == path.removeprefix(".")]
        for p in gone:
            if p != ".":
                del self.synced[p]
        self.synced |= inside

    def killed(self):
        """What is there after the process was killed: all that it did."""
        return {p: e and e.now for p, e in self.now.items()}

    def torn(self, operation):
        """The same, killed in the middle of a write; None for another operation."""
        if operation.kind != "write":
            return None
        half = self.now[operation.path].now + operation.content[: len(operation.content) // 2]
        return self.killed() | {operation.path: half}

    def lost(self):
        """What is there after a loss of power: what was synced, under names that were."""
        return {p: e and e.synced for p, e in self.synced.items() if self._outlasts(p)}

    def _outlasts(self, path):
        """Whether the names of all folders above a path were synced, too."""
        return path == "." or (path in self.synced and self._outlasts(os.path.dirname(path) or "."))

    def reordered(self):
        """The same, where all names were written in time and the contents were not."""
        return {p: e and e.synced for p, e in self.now.items()}


def lay_out(state, folder):
    """Write what a `Disk` says into an empty folder; what lies in no folder is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(state):
        place = Path(folder, path)
        with contextlib.suppress(FileNotFoundError):
            if state[path] is None:
                place.mkdir()
            else:
                place.write_bytes(state[path])
