"""Printing of text without rich markup and without control sequences."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.text import Text

from counterpoise.text import printable, printable_json

_PATIENCE, _PAUSE = 1.5, 10.0  # seconds without a word: at the beginning, and later


class Output(Console):
    """rich's console, except that a broken pipe is left to `main`."""

    def on_broken_pipe(self) -> None:
        """Re-raise the error; rich itself would exit with the code of a failed run."""
        raise


def shown(*parts: object) -> Text:
    """Return parts as one rich text; a part may be a pair of text and style.

    Markup and emoji codes are shown as they are, and numbers are not coloured.

    Example:
        >>> shown(("failed:", "red"), " [/b] :smile:").plain
        'failed: [/b] :smile:'
    """
    text = Text()
    for part in parts:
        what, style = part if isinstance(part, tuple) else (part, "")
        text.append(printable(what), style)
    return text


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being done: by a spinner in a terminal, else by a line.

    Yields a function that is told what is done next.
    """
    console = Output(stderr=True)
    if console.is_terminal:
        with console.status(shown(what)) as status:
            yield lambda text: status.update(shown(text))
        return
    late = threading.Timer(_PATIENCE, sys.stderr.write, [f"{what}\n"])
    late.start()
    try:
        yield lambda text: console.print(shown(text), soft_wrap=True)
    finally:
        late.cancel()


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many of how many are done: as a bar, or in a log as lines."""
    console, last = Output(stderr=True), time.monotonic()
    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console)
    task = bar.add_task(what, total=None)

    def tell(done: int, whole: int) -> None:
        nonlocal last
        bar.update(task, completed=done, total=whole)
        if not console.is_terminal and time.monotonic() - last > _PAUSE:
            last = time.monotonic()
            sys.stderr.write(f"{what}: {done:,} of {whole:,}\n")

    if not console.is_terminal:
        with waiting(what):
            yield tell
        return
    with bar:
        yield tell


def write(text: str) -> None:
    """Write text to standard output without wrapping, such as a table."""
    sys.stdout.write(printable(text))


def write_json(text: str) -> None:
    """Write JSON to standard output."""
    sys.stdout.write(printable_json(text))
