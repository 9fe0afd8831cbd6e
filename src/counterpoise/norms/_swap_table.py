"""The table of what `swap_norm` changes, and why the rest is left."""

from dataclasses import dataclass

from counterpoise.text import html_table

_HEAD = ("layer", "was", "now", "note")


@dataclass(frozen=True)
class Change:
    """One normalization layer: its name, its old and new kind, and a remark."""

    path: str
    was: str
    now: str
    note: str


@dataclass(frozen=True)
class SwapTable:
    """A row for every normalization layer that was found, swapped or left; `print` shows it."""

    changes: tuple[Change, ...]

    def __str__(self) -> str:
        rows = [_HEAD, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"SwapTable({self._summary()})"

    def _repr_html_(self) -> str:
        return html_table(self._summary(), _HEAD, self._rows())

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(c.path or "(the net)", c.was, c.now, c.note) for c in self.changes]

    def _summary(self) -> str:
        left = sum(c.note.startswith("left") for c in self.changes)
        return f"{len(self.changes) - left} layers swapped, {left} left"
