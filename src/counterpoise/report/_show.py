"""The report, inline in a notebook."""

from dataclasses import dataclass
from pathlib import Path

from counterpoise.report._page import render
from counterpoise.study import Study
from counterpoise.text import html


@dataclass(frozen=True)
class Page:
    """A report that has been written; a notebook shows it in a frame.

    Attributes:
        path: the file.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        content = html(self.path.read_text(encoding="utf-8"))
        return (
            f'<iframe srcdoc="{content}" title="{html(self.path)}" sandbox '
            'style="width: 100%; height: 45em; border: 0"></iframe>'
        )


def show(study: Study | str | Path, out: str | Path | None = None) -> Page:
    """Write the report of a study, and return the page, which a notebook shows inline.

    Arguments and errors: those of `render`, which returns the path alone.
    """
    return Page(render(study, out))
