"""Shared parts of all figures: size, colours, hatches, escaped names, columns, files."""

import io
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from counterpoise import files
from counterpoise.text import one_line, printable

Floats = npt.NDArray[np.float64]
Record = Mapping[str, object]

DPI = 130
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++")
MARKERS = ("o", "s", "^", "D", "v", "P")
LONGEST = 40  # characters of a name; a longer one is cut off
CAPTION = {"fontsize": 9, "color": "#444444"}


def plain(text: str) -> str:
    r"""Return text escaped for Matplotlib, so that it is not read as mathtext.

    Example:
        >>> plain("$x^$")
        '\\$x^\\$'
    """
    return printable(text).replace("$", r"\$")


def plain_name(name: str) -> str:
    """Return the name of a class or variant escaped for Matplotlib, shortened to one line."""
    line = one_line(name)
    return plain(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…")


def legend_name(name: str) -> str:
    """Return a name for a legend, which would skip one that is empty or begins with _."""
    shown = plain_name(name)
    return f" {shown}" if not shown or shown.startswith("_") else shown


def styles() -> list[dict[str, Any]]:
    """Yield fill and hatch of one variant after the other."""
    return [{"facecolor": c, "hatch": h} for c, h in zip(COLOURS, HATCHES, strict=True)] * 4


def swatches(names: Iterable[str]) -> list[Patch]:
    """Return the legend handles of bars."""
    return [
        Patch(label=legend_name(name), edgecolor="black", linewidth=0.6, **style)
        for name, style in zip(names, styles(), strict=False)
    ]


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG or PDF, atomically.

    Equal figures give equal bytes; a PDF embeds its fonts as TrueType, as journals require.
    Characters without a glyph in the font are drawn as empty boxes.

    Args:
        figure: the figure.
        path: the file, ending in .png or .pdf; missing folders are made, an older file is replaced.

    Returns:
        The path.

    Raises:
        ValueError: when the name ends in something else.
        OSError: when the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Figure(), Path(folder) / "empty.png").name
        'empty.png'
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in ("png", "pdf"):
        raise ValueError(
            f"save needs a name ending in .png or .pdf, but got {target.name!r}; rename it"
        )
    drawn = io.BytesIO()
    with rc_context({"pdf.fonttype": 42}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ ", UserWarning)
        dated = {"CreationDate": None} if kind == "pdf" else {}
        figure.savefig(drawn, dpi=DPI, format=kind, metadata=dated)
    files.make_folder(target.parent)
    files.write(target, drawn.getvalue())
    return target


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, with constrained layout and the Agg canvas."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float = 6.4, height: float = 4.2) -> Axes:
    """Return the axes to draw on: those given, or those of a new figure of this size in inches."""
    return new_figure(width, height).subplots() if ax is None else ax


def variant_style(index: int) -> dict[str, Any]:
    """Return colour and marker of the variant of this index."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def column(records: Sequence[Record], key: str) -> Floats:
    """Return the values of a key in all records; NaN where it is absent or None."""
    values = [record.get(key) for record in records]
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def need_some(function: str, named: Mapping[str, object]) -> None:
    """Refuse an empty mapping, and one with empty lists."""
    if not named:
        raise ValueError(f"{function} needs at least one entry, but got none; pass name: numbers")
    for name, value in named.items():
        if isinstance(value, Sequence) and not value:
            raise ValueError(f"{function} needs records for {name!r}, but got none; leave it out")


def check_classes(
    function: str, shape: tuple[int, ...], class_names: Sequence[str], axes: int
) -> None:
    """Refuse numbers that do not have one entry per class name on each axis."""
    if shape != (len(class_names),) * axes:
        raise ValueError(
            f"{function} needs one entry per class on each axis, but got shape {shape} and "
            f"{len(class_names)} class names; pass the names of all classes"
        )
