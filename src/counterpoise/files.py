"""Atomic file operations; all writing of this package goes through them.

write(path, content)    a temporary file of a random name beside it, synced, renamed, synced
write_all(folder, ...)  several, the last one when the others are sure to last
fill(path, size)        a large file, written part by part, if there is the space
make_folder, remove     folders and removals that outlast a loss of power
lock(folder)            held by one process at a time
open_ordinary, read     ordinary files only; a pipe or a device could block, or never end
digest(path, size)      its SHA-256, if it has that size
check_tree(folder)      a folder from somebody else holds no link that leads out of it
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
_PREFIX, _SUFFIX = ".counterpoise-", ".tmp"
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EISDIR)  # by the system


def write(path: Path, content: bytes | str, lasting: bool = True) -> None:
    """Write a file atomically; a link of that name is replaced, not followed.

    Args:
        path: the file; its folder must exist.
        content: bytes, or text to be written as UTF-8.
        lasting: whether it must outlast a loss of power.

    Raises:
        OSError: the file cannot be written; an older one is unchanged, unless only the last step
            failed, which makes the new name outlast a loss of power.
    """
    _replace(path, content, lasting)
    if lasting:
        _sync(path.parent)


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, each as `write` does, the last of them when the others will last.

    Args:
        folder: where to; it must exist.
        contents: by name, in order.
    """
    *most, last = contents.items()
    for name, content in most:
        _replace(folder / name, content, lasting=True)
    if most:
        _sync(folder)
    write(folder / last[0], last[1])


def _replace(path: Path, content: bytes | str, lasting: bool) -> None:
    content = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _flag("O_NOFOLLOW") | _flag("O_BINARY")
    descriptor = os.open(unfinished, flags, 0o666)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            if lasting:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the first error is the one to report
            os.unlink(unfinished)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


@contextlib.contextmanager
def fill(path: Path, size: int) -> Iterator[Callable[[int, memoryview], None]]:
    """Open a file to be written part by part, in any order, by the function that is yielded.

    What it holds already stays, so that writing can be resumed. It is synced at the end.

    Args:
        path: the file; its folder must exist.
        size: in bytes; where there is not as much space, nothing is written.

    Yields:
        A function of offset and content.

    Raises:
        OSError: the file cannot be written, or there is not as much space.
    """
    flags = os.O_RDWR | os.O_CREAT | _flag("O_NOFOLLOW") | _flag("O_BINARY")
    descriptor = os.open(path, flags, 0o666)

    def write_at(offset: int, content: memoryview) -> None:
        while content:
            written = os.pwrite(descriptor, content, offset)
            offset, content = offset + written, content[written:]

    try:
        if size - os.fstat(descriptor).st_size > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.ftruncate(descriptor, size)
        yield write_at
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_ordinary(path: Path) -> BufferedReader:
    """Open an ordinary file, or a link to one, for reading; refuse pipes and devices.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_BINARY"))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    kind = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(kind, "not an ordinary file", str(path))


def read(path: Path, most: int | None = None) -> bytes:
    """Return the content of an ordinary file.

    Args:
        path: the file, or a link to one.
        most: the largest size in bytes; None for any size.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe or a device.
        ValueError: it has more bytes than `most`.
    """
    with open_ordinary(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise ValueError(f"{path} must have {most} bytes at most, but has {size}")
        return file.read()


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, so that they outlast a loss of power."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):  # made by another process meanwhile
        os.mkdir(path)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_folder(folder: Path) -> None:
    """Remove a folder that holds no more than its lock; another one stays."""
    remove(folder / LOCK)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def rename(folder: Path, place: Path) -> None:
    """Give a folder another name; it is removed where that one is there meanwhile.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        os.rename(folder, place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        for name in os.listdir(folder):
            remove(folder / name)
        remove_folder(folder)
    _sync(place.parent)


def move(path: Path, place: Path) -> None:
    """Put a file in the place of another one, or of none, in one step.

    Raises:
        OSError: it cannot be moved.
    """
    os.replace(path, place)
    _sync(place.parent)


def touch(path: Path, when: float | None = None) -> None:
    """Set the time of a file's last change, to now unless it is given; ignored where it cannot."""
    with contextlib.suppress(OSError):
        os.utime(path, None if when is None else (when, when))


def remove_unfinished(folder: Path, older_than: float = 0.0) -> None:
    """Remove the temporary files of killed writers below a folder.

    Args:
        folder: nobody writes to it, or nobody for that long to the same file.
        older_than: seconds since a file was last written to.
    """
    for entry in _below(folder):
        if not is_unfinished(entry.name):
            continue
        with contextlib.suppress(FileNotFoundError):
            if not older_than or time.time() - entry.stat().st_mtime > older_than:
                remove(Path(entry.path))


def is_unfinished(name: str) -> bool:
    """Return whether a name is that of a temporary file of `write`."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def check_tree(folder: Path) -> None:
    """Refuse a folder that holds anything but folders and ordinary files, at any depth.

    Reading or writing below it could otherwise lead elsewhere, or never end.

    Raises:
        ValueError: a link, a pipe, a socket or a device; the message names it.
        OSError: the folder cannot be read.
    """
    for entry in _below(folder):
        if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
            raise ValueError(
                f"{folder} must hold folders and ordinary files only, but {entry.path} is "
                f"{'a link' if entry.is_symlink() else 'a pipe or a device'}; remove it"
            )


def _below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield every entry below a folder, at any depth; links are not followed."""
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def digest(path: Path, size: int) -> str | None:
    """Return the SHA-256 of an ordinary file of a size; None, unread, for any other size.

    Raises:
        OSError: it cannot be read.
    """
    with open_ordinary(path) as file:
        if os.fstat(file.fileno()).st_size != size:
            return None
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(folder: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Lock a folder, by a file `.lock` in it, against other processes.

    Args:
        folder: the folder to lock.
        on_wait: called every two seconds while another process holds it; None to not wait.

    Raises:
        TimeoutError: another process holds it, and `on_wait` is None.
        OSError: the folder cannot be written.
    """
    held = FileLock(folder / LOCK)
    while True:
        try:
            held.acquire(timeout=0 if on_wait is None else 2)
            break
        except Timeout as error:
            if on_wait is None:
                raise TimeoutError(f"{folder} is held by another process") from error
            on_wait()
    try:
        yield
    finally:
        held.release()


def _flag(name: str) -> int:
    """Return a flag of `os.open` by name; 0 where the system has none."""
    return getattr(os, name, 0)


def _sync(folder: Path) -> None:
    """Write the entries of a folder to disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
