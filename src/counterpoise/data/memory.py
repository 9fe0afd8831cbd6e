"""Free memory, compared with the size of data before they are read."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_INFO = Path("/proc/meminfo")
_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


def check_memory(path: Path, size: int) -> None:
    """Refuse data that need more bytes than the machine has free."""
    free = free_memory()
    if free is not None and size > free:
        raise ValueError(
            f"{path} must fit into memory, but needs {size / 2**30:,.1f} GiB at least, and "
            f"{free / 2**30:,.1f} GiB are free; take fewer or smaller samples"
        )


def free_memory() -> int | None:
    """Return the free memory in bytes; None where it is not known."""
    found = [_available(), _limit()]
    return min((size for size in found if size is not None), default=None)


def give_back() -> None:
    """Give the system the memory back that was freed; glibc alone keeps it, a part a thread."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _available() -> int | None:
    try:
        lines = _INFO.read_text().splitlines()
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:  # all there is, where nobody says what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _limit() -> int | None:
    try:
        return int(_LIMIT.read_text())
    except (OSError, ValueError):  # none is set: "max"
        return None
