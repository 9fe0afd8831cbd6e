"""A page about a data set, before any study of it: classes, pictures or columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from counterpoise.report._html import policy, source, template
from counterpoise.report._numbers import NONE, percent, short
from counterpoise.report._output import check_page, write_page
from counterpoise.report._strips import across, bars
from counterpoise.report._thumbnails import data_uri
from counterpoise.study.overview import ColumnFacts, Overview

if TYPE_CHECKING:
    from counterpoise.data import Splits

_CLASSES, _PICTURES, _SIDE = 30, 8, 72  # of the contact sheet: classes, pictures of each, pixels
_ROWS = 200  # classes or columns of a table


def render_data(data: "Splits", found: Overview, out: str | Path) -> Path:
    """Write a page about a data set: one HTML file that needs no other file, network or script.

    Args:
        data: its splits.
        found: their `study.overview.overview`.
        out: the file to write. Missing folders are made.

    Returns:
        The file, which is written whole or not at all.

    Raises:
        ValueError: an `out` that is there and is no page, or that lies among the data.
        OSError: the file cannot be written.
    """
    path = Path(out)
    check_page(path)
    folder = Path(found.source)
    if folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{out} must not lie in the data's folder; choose another name")
    style = source("style.css")
    content = template("data.html.j2").render(
        found=found,
        title=f"What is in {found.name}?",
        style=Markup(style),
        policy=policy(style),
        cautions=[f"{said[:1].upper()}{said[1:]}." for said in found.cautions],
        **_classes(found),
        **_sheet(data, found),
        **_columns(found),
    )
    write_page(path, content)
    return path


def _classes(found: Overview) -> dict[str, Any]:
    """Return a row a class, the largest first; of very many, the largest and the smallest."""
    order = found.order
    shown = order if len(order) <= _ROWS else [*order[: _ROWS // 2], *order[-_ROWS // 2 :]]
    splits = list(found.counts)
    scale = across([n for counts in found.counts.values() for n in counts], low=0)
    rows = [
        {
            "name": found.class_names[k],
            "counts": [f"{found.counts[split][k]:,}" for split in splits],
            "bar": bars(scale, [found.counts[split][k] for split in splits]),
            "within": NONE if (w := found.recall_within[k]) is None else f"±{100 * w:.0f}",
        }
        for k in shown
    ]
    return {"rows": rows, "splits": splits, "rows_left": len(order) - len(shown)}


def _sheet(data: "Splits", found: Overview) -> dict[str, Any]:
    """Return some pictures of each class, spread over its training samples."""
    if found.kind != "images" or found.shape[0] not in (1, 3):
        return {"sheet": [], "sheet_left": 0}
    targets, inputs = data.train.targets.numpy(), data.train.inputs
    sheet = []
    for k in found.order[:_CLASSES]:
        own = np.flatnonzero(targets == k)
        chosen = own[np.linspace(0, len(own) - 1, min(len(own), _PICTURES)).astype(int)]
        uris = [data_uri(inputs[i : i + 1].numpy()[0], _SIDE) for i in chosen.tolist()]
        sheet.append({"name": found.class_names[k], "samples": f"{len(own):,}", "uris": uris})
    return {"sheet": sheet, "sheet_left": len(found.order) - len(sheet)}


def _columns(found: Overview) -> dict[str, Any]:
    """Return a row a column."""
    columns, samples = found.columns or (), sum(found.counts["train"])
    rows = [
        {
            "name": column.name,
            "kind": column.kind,
            "gaps": percent(column.gaps / samples) if column.gaps else "none",
            "values": f"{column.values:,}",
            "said": column_words(column),
        }
        for column in columns[:_ROWS]
    ]
    return {"columns": rows, "columns_left": len(columns) - len(rows)}


def column_words(column: ColumnFacts) -> str:
    """Return a column's range, or its most frequent values."""
    if column.kind == "category":
        more = column.values - len(column.frequent)
        said = ", ".join(f"{value} ({n:,})" for value, n in column.frequent)
        return said + (f" and {more:,} more" if more else "")
    if column.low is None:
        return NONE
    return f"{short(column.low)} to {short(column.high)}, half below {short(column.middle)}"
