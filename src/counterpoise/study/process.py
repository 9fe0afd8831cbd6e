"""The start and the end of a process of ours, whatever started it."""

import contextlib
import ctypes
import multiprocessing
import os
import sys
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP = 1 << 30


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Keep the caller's script out of the workers, which need no more than their imports.

    Otherwise each worker would execute the script first, and one without an
    `if __name__ == "__main__"` would start the study again.
    """
    main = sys.modules["__main__"]
    kept = {k: main.__dict__.pop(k) for k in ("__file__", "__spec__") if k in main.__dict__}
    main.__dict__["__spec__"] = None
    try:
        yield
    finally:
        del main.__dict__["__spec__"]
        main.__dict__.update(kept)


@contextlib.contextmanager
def without_current_folder() -> Iterator[None]:
    """Let the processes that are started import nothing from the current folder by themselves.

    They begin as `python -c`, which would look there first, for `signal` or `secrets`, too. What a
    plan names is found there later, as in the parent.
    """
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def die_with_parent() -> None:
    """End this process when the one that asked for it is gone: nobody would get its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def tune_process(threads: int) -> None:
    """Make this process a good worker: its number of threads, no denormals, memory that is kept.

    glibc gives memory of some hundred kB back to the system as soon as it is freed, and every
    tensor of that size then costs a page fault per 4 kB when it is next written.
    """
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEEP)
            mallopt(_M_TRIM_THRESHOLD, _KEEP)


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has held, in MB; None where it is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
