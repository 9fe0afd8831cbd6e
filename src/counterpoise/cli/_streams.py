"""Standard output and standard error."""

import contextlib
import io
import logging
import os
import sys
import warnings
from typing import Any

from counterpoise.text import one_line


def prepare() -> None:
    """Let a warning, of Python or of a log, be one line; write out what a stream cannot encode.

    A stream that whoever started us has closed takes everything, and shows nothing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.lastResort = _Lines(logging.WARNING)
    warnings.showwarning = _warn
    # Of a library's own processes, which it can do without, and we do not ask for.
    warnings.filterwarnings("ignore", ".*joblib will operate in serial mode", UserWarning)


class _Lines(logging.Handler):
    """What becomes of libraries' logs, such as Matplotlib's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        tell(f"counterpoise: {one_line(record.getMessage())}")


def tell(text: str) -> None:
    """Print to standard error."""
    with contextlib.suppress(OSError, ValueError):  # nobody can be told then
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def drop_output() -> None:
    """Write what was printed; what cannot be is dropped, as Python would complain at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _warn(
    message: Warning | str,
    category: Any,
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    tell(f"counterpoise: {one_line(message)}")  # without the line of the code
