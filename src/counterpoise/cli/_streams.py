"""Standard output and standard error."""

import contextlib
import io
import logging
import os
import sys
import warnings

from counterpoise.text import one_line


def prepare() -> None:
    """Print warnings and logs as one line each; escape characters that a stream cannot encode.

    A stream that is closed already is replaced by one that discards everything.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.lastResort = _Lines(logging.WARNING)
    warnings.showwarning = _warn
    # About a library's own processes, which are not used here.
    warnings.filterwarnings("ignore", ".*joblib will operate in serial mode", UserWarning)


class _Lines(logging.Handler):
    """Handler that prints libraries' logs, such as Matplotlib's, as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        print_error(f"counterpoise: {one_line(record.getMessage())}")


def print_error(text: str) -> None:
    """Print to standard error."""
    with contextlib.suppress(OSError, ValueError):  # it cannot be reported then
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def drop_output() -> None:
    """Flush standard output; drop the rest if it fails, as Python would report it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def _warn(
    message: Warning | str,
    category: object,
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    print_error(f"counterpoise: {one_line(message)}")  # without the line of the code
