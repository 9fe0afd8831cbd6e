"""The variants of a study as the report's sections share them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from counterpoise.report._numbers import mean
from counterpoise.report._svg import key
from counterpoise.study import Record, Study


@dataclass(frozen=True, eq=False)
class Entry:
    """A variant with what ran of it.

    Attributes:
        place: where it stands among the variants, which sets its colour and marker; 0 is the
            baseline.
        label: its name.
        records: its finished runs, by seed.
    """

    place: int
    label: str
    records: tuple[Record, ...]

    @property
    def key(self) -> Markup:
        """Its marker."""
        return key(self.place)

    def scores(self, metric: str, kind: str = "test") -> list[Any]:
        """Return a score of every run that has it."""
        found = [(r.run.get(kind) or {}).get(metric) for r in self.records]
        return [value for value in found if value is not None]

    def mean(self, metric: str, kind: str = "test") -> float | None:
        """Return its mean over the seeds."""
        return mean(self.scores(metric, kind))

    def recalls(self) -> list[list[float | None]]:
        """Return every seed's recalls; None for classes without test samples."""
        every = zip(self.scores("recall"), self.scores("support"), strict=True)
        return [[r if n else None for r, n in zip(*both, strict=True)] for both in every]

    @cached_property
    def timing(self) -> Mapping[str, float | None]:
        """Return the means of seconds and peak_memory_mb."""
        found = [r.timing for r in self.records]
        return {
            what: mean([t[what] for t in found if t.get(what) is not None])
            for what in ("seconds", "peak_memory_mb")
        }


def entries(study: Study) -> list[Entry]:
    """Return all variants, the baseline first."""
    return [Entry(k, label, tuple(study.of(label))) for k, label in enumerate(study.labels)]
