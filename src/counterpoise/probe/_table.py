"""Rows as text."""

from collections.abc import Sequence
from typing import Any

HEADINGS = {
    "name": "layer",
    "kind": "kind",
    "activation_rms": "activation",
    "visible_share": "visible",
    "dead_share": "dead",
    "grad_norm": "gradient",
    "update_ratio": "update",
}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table of fixed columns, numbers to two digits."""
    lines = [list(HEADINGS.values())]
    lines += [[_cell(key, row[key]) for key in HEADINGS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: list[str], widths: list[int]) -> str:
    words = [c.ljust(w) for c, w in zip(cells[:2], widths[:2], strict=True)]
    return "  ".join([*words, *map(str.rjust, cells[2:], widths[2:])]).rstrip()


def _cell(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value or "(the net)"
    if value is None:
        return "-"
    return f"{value:.0%}" if key == "dead_share" else f"{value:.2g}"
