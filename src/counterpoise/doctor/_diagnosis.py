"""The doctor's findings as data, and how they read."""

import itertools
from dataclasses import dataclass
from typing import Any

from counterpoise.doctor._trial import Trial
from counterpoise.probe._table import table

LEARNS, IDLES, DIVERGES = "will learn", "will not learn", "will diverge"


@dataclass(frozen=True)
class Numbers:
    """What the verdict rests on.

    Attributes:
        guess: the lowest loss of an output that is the same for every sample.
        loss: before the steps.
        loss_after: after them, on the same samples; None when they could not be finished.
        highest_loss: of all steps; infinite when one was not finite.
        visible_share: of the net's output: its variance over the samples / its second moment.
        visible_share_after: the same after the steps.
        promise: the share of `guess` by which one step along the part of the gradient that tells
            samples apart would lower the loss, to first order.
        promise_after: the same after the steps.
        signal: promise_after * sqrt(visible_share_after), what the next steps have to go by.
        growth: the least factor by which `signal` grew from one round of steps to the next; 1 if
            there were less than three rounds, or if it shrank.
    """

    guess: float
    loss: float
    loss_after: float | None
    highest_loss: float
    visible_share: float
    visible_share_after: float | None
    promise: float
    promise_after: float | None
    signal: float | None
    growth: float

    @property
    def fall(self) -> float | None:
        """By what share of guessing's loss the steps brought the loss below it."""
        return None if self.loss_after is None else (self.guess - self.loss_after) / self.scale

    @property
    def scale(self) -> float:
        """The size of guessing's loss, or 1 where that is 0."""
        return abs(self.guess) or 1.0


def numbers(trial: Trial) -> Numbers:
    """Put a trial's numbers together."""
    before, after = trial.before, trial.after
    return Numbers(
        guess=before.guess,
        loss=before.loss,
        loss_after=after.loss if after else None,
        highest_loss=trial.highest_loss,
        visible_share=before.visible_share,
        visible_share_after=after.visible_share if after else None,
        promise=before.promise,
        promise_after=after.promise if after else None,
        signal=after.signal if after else None,
        growth=_growth([look.signal for look in trial.looks[1:]]),
    )


def _growth(signals: list[float]) -> float:
    factors = [b / a if a else 1.0 for a, b in itertools.pairwise(signals)]
    return max(1.0, min(factors)) if len(factors) > 1 else 1.0


@dataclass(frozen=True)
class Remedy:
    """A change that was tried on a copy, and what became of the copy.

    Attributes:
        change: what was changed, in words.
        verdict: on the changed copy.
        worked: whether the verdict is now "will learn".
        numbers: of the changed copy; the diagnosis has those of the net as it is.
        steps: how many it was trained; 0 when its promise was too small from the start.
    """

    change: str
    verdict: str
    worked: bool
    numbers: Numbers
    steps: int


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a net, if anything, where, and what was seen to help.

    Attributes:
        verdict: "will learn", "will not learn" or "will diverge".
        sure: False when the numbers are close to a threshold.
        cause: one of the causes that docs/doctor.md names; None for a net that will learn.
        place: the name of the layer where it breaks, or None where no layer stands out.
        why: the numbers behind it, in a sentence.
        numbers: what the verdict rests on.
        remedies: everything that was tried, what worked first, the lowest loss foremost.
        rows: a dict a layer before the steps, as `counterpoise.probe.watch` has them.
        rows_after: the same after the steps; empty when they could not be finished.
        steps: how many were taken; 0 when the promise was too small from the start.
        notes: what else the reader should know.
    """

    verdict: str
    sure: bool
    cause: str | None
    place: str | None
    why: str
    numbers: Numbers
    remedies: tuple[Remedy, ...]
    rows: tuple[dict[str, Any], ...]
    rows_after: tuple[dict[str, Any], ...]
    steps: int
    notes: tuple[str, ...] = ()

    @property
    def recommended(self) -> tuple[Remedy, ...]:
        """The remedies that changed the verdict to "will learn"."""
        return tuple(remedy for remedy in self.remedies if remedy.worked)

    def __str__(self) -> str:
        parts = [self._verdict(), self.why, *self._tried(), *self.notes]
        return "\n".join([*parts, "", table(self.rows)])

    def _verdict(self) -> str:
        words = self.verdict.capitalize() if self.sure else f"Close, but {self.verdict}"
        where = f" at {self.place}" if self.place else ""
        return f"{words}: {self.cause}{where}." if self.cause else f"{words}."

    def _tried(self) -> list[str]:
        if not self.remedies:
            return []
        worked = [f"  {i}. {_line(remedy)}" for i, remedy in enumerate(self.recommended, 1)]
        failed = [f"  - {_line(remedy)}" for remedy in self.remedies if not remedy.worked]
        head = ["What helps, tried on copies:" if worked else "Nothing of what was tried helps:"]
        between = ["What does not:"] if worked and failed else []
        return [*head, *worked, *between, *failed]


def _line(remedy: Remedy) -> str:
    n = remedy.numbers
    loss = "not finite" if n.loss_after is None else f"{n.loss_after:.3g}"
    steps = "not trained"
    if remedy.steps:
        steps = f"loss {n.loss:.3g} -> {loss} in {remedy.steps} steps"
    share = "below 1e-10" if n.visible_share < 1e-10 else f"{n.visible_share:.2g}"
    return f"{remedy.change}: {remedy.verdict} (visible share {share}, {steps})"
