"""A page about runs that were trained elsewhere: the verdicts, as in a study's report."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from counterpoise.judgement import Family, Judgement
from counterpoise.report._html import policy, source, template
from counterpoise.report._numbers import MINUS, tick_change
from counterpoise.report._output import check_page, write_page
from counterpoise.report._story import difference_row, forest_scale
from counterpoise.report._strips import axis
from counterpoise.report._svg import key


def render_judgement(found: Judgement, out: str | Path) -> Path:
    """Write a page about a judgement: one HTML file that needs no other file, network or script.

    Args:
        found: of `judgement.judge`.
        out: the file to write. Missing folders are made.

    Returns:
        The file, which is written whole or not at all.

    Raises:
        ValueError: an `out` that is there and is no page.
        OSError: the file cannot be written.
    """
    path = Path(out)
    check_page(path, option="--html")
    style = source("style.css")
    content = template("judgement.html.j2").render(
        found=found,
        metric=found.families[0].metric,
        style=Markup(style),
        policy=policy(style),
        forests=[_forest(family, found) for family in found.families],
        others=_signed(*found.secondary_rows()) if found.secondary else None,
        over=found.datasets_rows() if found.datasets else None,
    )
    write_page(path, content)
    return path


def _forest(family: Family, found: Judgement) -> dict[str, Any]:
    """Return a row a variant, the best mean first, each with its difference."""
    metric, known = family.metric, {v.variant: v for v in family.verdicts}
    scale = forest_scale([v.interval for v in family.verdicts if v.interval], metric.margin)
    index = {name: k for k, name in enumerate(found.variants)}
    means = {name: mean.estimate for name, mean in family.means.items() if mean}
    rows = []
    for name in sorted(family.scores, key=lambda name: -metric.sign * means.get(name, 0.0)):
        row = difference_row(index[name], known.get(name), name in means, scale, metric)
        runs, mean = family.cells(name)
        head = {"key": key(index[name]), "label": name, "runs": runs}
        rows.append(row | head | {"score": re.sub("^-", MINUS, mean)})
    return {
        "dataset": family.dataset,
        "rows": rows,
        "axis": axis(scale, tick_change(metric)),
    }


def _signed(head: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[Any, Any]:
    """Return head and rows with minus signs instead of hyphens before numbers."""
    return head, [[row[0], *(re.sub("^-", MINUS, cell) for cell in row[1:])] for row in rows]
