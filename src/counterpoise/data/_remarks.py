"""Remarks on how a table was read, gathered so that each kind of them is one line."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

from counterpoise.text import listed


@dataclass
class Remarks:
    """Sentences about columns: three of each kind by name, and how many more there are.

    Attributes:
        path: of the table.
        left_out: columns that are not read, by why; each of one column and of several.
        notes: on how the others were read.
        doubts: on how they were read, but such as a reader should look at.
        gaps: cells that are no numbers or no dates, by what they are not.
        cautions: what may be wrong with them.
    """

    path: Path
    left_out: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    gaps: dict[str, list[str]] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)

    def leave_out(self, name: str, one: str, several: str) -> None:
        """Say that a column is left out: it "is empty", they "are empty"."""
        self.left_out.setdefault((one, several), []).append(repr(name[:80]))

    def note(self, why: str, item: str) -> None:
        """Say something that may be so of several columns."""
        items = self.notes.setdefault(why, [])
        items.extend([item] if item not in items else [])

    def doubt(self, why: str, item: str) -> None:
        """Say something of a column that a reader should look at."""
        items = self.doubts.setdefault(why, [])
        items.extend([item] if item not in items else [])

    def make_gap(self, what: str, item: str) -> None:
        """Say that cells of a column, such as "numbers", are none, and were read as gaps."""
        self.gaps.setdefault(what, []).append(item)

    def warn(self, stacklevel: int) -> None:
        """Warn of what is left out, columns and cells."""
        for (one, several), names in self.left_out.items():
            many = len(names) > 1
            warnings.warn(
                f"{'columns' if many else 'column'} {listed(names)} of {self.path} "
                f"{several if many else one}: left out",
                UserWarning,
                stacklevel=stacklevel + 1,
            )
        for what, items in self.gaps.items():
            warnings.warn(
                f"cells of {self.path} that are no {what} in columns of {what}, read as gaps: "
                f"{listed(items, between='; ')}",
                UserWarning,
                stacklevel=stacklevel + 1,
            )

    def lines(self) -> tuple[str, ...]:
        """Return the notes."""
        return _lines(self.notes)

    def all_cautions(self) -> tuple[str, ...]:
        """Return the cautions, and what a reader should look at."""
        return (*self.cautions, *_lines(self.doubts))


def _lines(said: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(f"{why}: {listed(items, between='; ')}" for why, items in said.items())
