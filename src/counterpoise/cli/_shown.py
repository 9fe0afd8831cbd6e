"""What is printed: text in which rich reads no markup and a terminal no commands."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from counterpoise.text import printable, printable_json


class Output(Console):
    """rich's console, which leaves it to `main` what a closed pipe means."""

    def on_broken_pipe(self) -> None:
        """Raise the error on; rich itself exits with the code of a run that failed."""
        raise


def shown(*parts: Any) -> Text:
    """Return parts, one after the other, as text; a pair is what to show and rich's style for it.

    Nothing in a part is markup, an emoji code or a number to be coloured.

    Example:
        >>> shown(("failed:", "red"), " [/b] :smile:").plain
        'failed: [/b] :smile:'
    """
    text = Text()
    for part in parts:
        what, style = part if isinstance(part, tuple) else (part, "")
        text.append(printable(what), style)
    return text


def write(text: str) -> None:
    """Write text that is laid out already, such as a table by lines."""
    sys.stdout.write(printable(text))


def write_json(text: str) -> None:
    """Write JSON."""
    sys.stdout.write(printable_json(text))
