"""Checks of the file that a report is written to, to protect the files of the study."""

import contextlib
import os
import stat
from pathlib import Path

from counterpoise import files

PAGE = "report.html"
_STUDYS_OWN = (".json", ".toml", ".safetensors", ".csv")  # suffixes of the files of a study


def check_output(study: Path, out: Path) -> None:
    """Refuse to overwrite anything but a report.

    Args:
        study: the study's folder.
        out: the file to write.

    Raises:
        ValueError: a file of the study, under any name; within its folder, anything but
            report.html and new names; a link, a folder, a pipe or a device.
        OSError: an impossible file name.
    """
    path = Path(os.path.realpath(out.parent)) / out.name
    if any(_is_same(folder, study) for folder in path.parent.parents):
        raise ValueError(f"{out} lies among the study's own files; choose another --out")
    found = check_page(path, out)
    within = _is_same(path.parent, study) and path.name != PAGE
    taken = found is not None or path.name.startswith(".") or path.suffix in _STUDYS_OWN
    if (within and taken) or (found is not None and _is_below(found, study)):
        raise ValueError(
            f"{out} is, or may become, a file of the study itself; choose {PAGE} or another --out"
        )


def check_page(path: Path, out: Path | None = None, option: str = "--out") -> os.stat_result | None:
    """Refuse to overwrite anything but a page; return the state of the one that is there.

    Args:
        path: the file to write.
        out: the same as it was asked for, for the message.
        option: that names it on the command line.

    Raises:
        ValueError: a link, a folder, a pipe or a device, or a file that is no page.
        OSError: an impossible file name.
    """
    out = out or path
    found = _state(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}.get(stat.S_IFMT(found.st_mode))
        raise ValueError(
            f"{out} must be a file or a new name, but is {kind or 'a pipe or a device'}; choose "
            f"another {option}"
        )
    if found is not None and path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"{out} is there already, and is no page; choose another {option}, or a name that ends "
            "in .html"
        )
    return found


def write_page(out: Path, content: str) -> None:
    """Write a report and its missing folders, or nothing at all."""
    missing = [folder for folder in out.parents if not folder.exists()]
    try:
        files.make_folder(out.parent)
        files.write(out, content)
    except OSError:
        for folder in missing:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise


def _state(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_same(folder: Path, other: Path) -> bool:
    try:
        return os.path.samefile(folder, other)
    except OSError:  # not there
        return False


def _is_below(found: os.stat_result, study: Path) -> bool:
    """Return whether a file is a hard link to one of the study's, except its report."""
    if found.st_nlink == 1:
        return False
    return any(
        os.path.samestat(found, os.lstat(os.path.join(folder, name)))
        for folder, _, names in os.walk(study)
        for name in names
        if name != PAGE
    )
