"""The variants of a study with their finished runs, for all sections of the report."""

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
    """Variant of a study with its finished runs.

    Attributes:
        index: index among the variants, which sets colour and marker; 0 is the baseline.
        label: name of the variant.
        records: the finished runs, by seed.
    """

    index: int
    label: str
    records: tuple[Record, ...]

    @property
    def key(self) -> Markup:
        """Return the variant's marker for legends and tables."""
        return key(self.index)

    def scores(self, metric: str, kind: str = "test") -> list[Any]:
        """Return a metric of every run that has it."""
        found = [(r.run.get(kind) or {}).get(metric) for r in self.records]
        return [value for value in found if value is not None]

    def mean(self, metric: str, kind: str = "test") -> float | None:
        """Return the mean of a metric over the seeds."""
        return mean(self.scores(metric, kind))

    def recalls(self) -> list[list[float | None]]:
        """Return the recall per class of every seed; None for classes without test samples."""
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
