"""Runs as their sources have them, before it is known what is a variant and what a seed."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass
class Record:
    """A run, or a row of a table, which may be one epoch of a run.

    Attributes:
        where: the source, for messages: "row 7 of results.csv", or a run's folder.
        scores: by metric, the step and the value of each time that it was logged.
        settings: parameters, tags and the cells of a table that are no scores.
        name: of the run, or the path of its folder.
        step: epoch of a table's row; None for a whole run.
        state: of the run in its tracker; "" where it says none.
    """

    where: str
    scores: dict[str, list[tuple[float, float]]]
    settings: dict[str, str] = field(default_factory=dict)
    name: str = ""
    step: float | None = None
    state: str = ""


@dataclass(frozen=True)
class Table:
    """The cells of a table.

    Attributes:
        frame: its index counts the rows as a spreadsheet does.
        where: its source, for messages.
        name: the path of its file without the ending; "" where it has none.
        notes: a sentence for each thing that was guessed to read its text.
    """

    frame: pd.DataFrame
    where: str
    name: str = ""
    notes: tuple[str, ...] = ()
