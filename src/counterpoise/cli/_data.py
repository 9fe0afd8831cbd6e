"""`counterpoise data`: what a data set is, before any study of it."""

from typing import TYPE_CHECKING, Any

from counterpoise.cli._arguments import Flag, MaybeFilePath, MaybeWhole, Words
from counterpoise.cli._compare import writing
from counterpoise.cli._plans import make_plan

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from counterpoise.study.overview import Overview

_CLASSES, _COLUMNS = 30, 20  # that the terminal shows
_BAR = 30  # characters


def data(
    data: str,
    *,
    target: str | None = None,
    drop: Words = None,
    keep: Words = None,
    group: str | None = None,
    test: str | None = None,
    split: str | None = None,
    min_samples: MaybeWhole = None,
    small: str | None = None,
    missing_labels: str | None = None,
    image_size: str | None = None,
    resize: str | None = None,
    cache: str | None = None,
    html: MaybeFilePath = None,
    json: Flag = False,
) -> int:
    """Show what a data set is: sizes, classes, columns, splits, and what was left out and why.

    It writes nothing but the page that is asked for; decoded images stay in the cache.

    Parameters
    ----------
    data
        As in `compare`; of a plan.toml its [data].
    target
        As in `compare`.
    drop
        As in `compare`.
    keep
        As in `compare`.
    group
        As in `compare`.
    test
        As in `compare`.
    split
        As in `compare`.
    min_samples
        As in `compare`.
    small
        As in `compare`.
    missing_labels
        As in `compare`.
    image_size
        As in `compare`.
    resize
        As in `compare`.
    cache
        As in `compare`.
    html
        A file for a page with pictures of each class, or with the columns of a table.
    json
        Print it as JSON.
    """
    from counterpoise.cli._shown import Output, shown, waiting, write_json
    from counterpoise.report import render_data
    from counterpoise.study.overview import of_plan
    from counterpoise.study.record import to_json

    chosen = {
        "target": target,
        "drop": drop,
        "keep": keep,
        "group": group,
        "test": test,
        "split": split,
        "min_samples": min_samples,
        "small": small,
        "missing_labels": missing_labels,
        "image_size": image_size,
        "resize": resize,
        "cache": cache,
    }
    plan = make_plan(data, {k: v for k, v in chosen.items() if v is not None})
    with waiting("reading the data"):
        found, splits = of_plan(plan)
    console = Output()
    if json:
        write_json(to_json(found.to_json()))
    else:
        show_overview(console, found)
    if html is not None:
        with writing(html, "--html"):
            page = render_data(splits, found, html)
        if not json:
            console.print(shown("\nThe page: ", (page, "bold")), soft_wrap=True)
    return 0


def show_overview(console: "Console", found: "Overview") -> None:
    """Print a data set in figures."""
    from counterpoise.cli._shown import shown
    from counterpoise.text import one_line

    def say(*parts: object) -> None:
        console.print(shown(*parts), soft_wrap=True)

    say(("Data: ", "bold"), one_line(found.source))
    for note in found.notes:
        say(f"  {one_line(note)}")
    for line in found.lines():
        say(one_line(line))
    for line in found.left_out:
        say(("Left out: ", "yellow"), one_line(line))
    console.print(_classes(found))
    if len(found.order) > _CLASSES:
        say(f"and {len(found.order) - _CLASSES:,} more classes between the largest and smallest")
    if found.columns is not None:
        console.print(_columns(found))
        more = len(found.columns) - _COLUMNS
        if more > 0:
            say(f"and {more:,} more columns: --html has them")
    for caution in found.cautions:
        say(("Caution: ", "yellow"), one_line(caution))


def _table(*titles: str) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        words = title in ("", "kind", "cells", "samples to train on")
        table.add_column(title, justify="left" if words else "right", overflow="fold")
    return table


def _classes(found: "Overview") -> "Table":
    """Return a row a class with a bar; of many classes the largest and the smallest."""
    from rich.bar import Bar

    from counterpoise.cli._shown import shown

    order, half = found.order, _CLASSES // 2
    rows = order if len(order) <= _CLASSES else [*order[:half], *order[-half:]]
    most = max(found.counts["train"])
    table = _table("", *found.counts, "recall\nwithin", "samples to train on")
    for k in rows:
        within = found.recall_within[k]
        table.add_row(
            shown(found.class_names[k]),
            *(f"{counts[k]:,}" for counts in found.counts.values()),
            "–" if within is None else f"±{100 * within:.0f}",
            Bar(most, 0, found.counts["train"][k], width=_BAR),
        )
    return table


def _columns(found: "Overview") -> "Table":
    from counterpoise.cli._shown import shown
    from counterpoise.report import column_words

    table = _table("", "kind", "gaps", "different", "cells")
    for column in (found.columns or ())[:_COLUMNS]:
        row: list[Any] = [column.kind, f"{column.gaps:,}", f"{column.values:,}"]
        table.add_row(shown(column.name), *row, shown(column_words(column)))
    return table
