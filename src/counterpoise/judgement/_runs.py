"""Runs of any origin: their scores, by variant and seed, in one table."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Runs:
    """Scores of runs that somebody else trained.

    Attributes:
        frame: a row a run, with the columns "variant" (text), "seed" (text or integer; all None
            where the source names no seed), "dataset" (text, "" where there is one data set), and
            one column of float64 for each metric, NaN where a run has no score.
        metrics: the names of the metrics' columns, the primary one first.
        notes: a sentence for each thing that was guessed or left out, to be shown.
        warnings: a sentence for each thing that makes verdicts doubtful.
    """

    frame: pd.DataFrame
    metrics: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
