"""The diagnosis as data and as text."""

from dataclasses import dataclass

from counterpoise.probe import LayerRow
from counterpoise.probe.layer import LEGEND, format_rows, table_cells
from counterpoise.text import html, html_table


@dataclass(frozen=True)
class Numbers:
    r"""The numbers that a verdict rests on.

    With the loss gradients of the outputs, less their mean over the samples, backpropagated to the
    weights w as g, and one optimizer step along g from w to w',

    .. math::
        \text{first-order decrease} = \frac{\langle g, w - w' \rangle}{|L_\text{constant}|}, \qquad
        \text{learning signal} = \text{first-order decrease} \cdot \sqrt{\text{visible share}}

    Attributes:
        constant_loss: the lowest loss of an output that is the same for every sample.
        loss: before the steps.
        loss_after: after them, on the same samples, at most 256; None when they could not be
            finished. Of training and evaluation mode the lower one counts.
        highest_loss: of all steps; infinite when one was not finite.
        visible_share: of the net's output: its variance over the inputs divided by its second
            moment.
        visible_share_after: the same after the steps.
        first_order_decrease: the share of the constant loss that one step removes, to first order,
            by distinguishing the samples; on other samples than those that gave the step.
        first_order_decrease_after: the same after the steps.
        learning_signal: after the steps.
        growth: the smallest factor by which the learning signal grew from one round of steps to the
            next; 1 if there were less than three rounds, or if it shrank.
        held_out_improvement: improvement on samples that no step saw; None where few are given.
    """

    constant_loss: float
    loss: float
    loss_after: float | None
    highest_loss: float
    visible_share: float
    visible_share_after: float | None
    first_order_decrease: float
    first_order_decrease_after: float | None
    learning_signal: float | None
    growth: float
    held_out_improvement: float | None = None

    @property
    def improvement(self) -> float | None:
        """(constant_loss - loss_after) / scale, a skill score; R² for the squared error."""
        if self.loss_after is None:
            return None
        return (self.constant_loss - self.loss_after) / self.scale

    @property
    def scale(self) -> float:
        """|constant_loss|, or 1 where that is nearly 0."""
        return abs(self.constant_loss) if abs(self.constant_loss) > 1e-6 else 1.0


@dataclass(frozen=True)
class Remedy:
    """A change that was tried on a copy of the net, and its outcome.

    Attributes:
        change: a description, such as "learning rate 0.01".
        verdict: on the modified copy.
        worked: whether that verdict is "will learn", and held-out samples, where there are any,
            improved as well.
        cause: what it is a remedy for.
        numbers: of the modified copy; the diagnosis has those of the net as it is.
        steps: of the modified copy's training; 0 when its first-order decrease was too small.
    """

    change: str
    verdict: str
    worked: bool
    numbers: Numbers
    steps: int
    cause: str = ""

    def __str__(self) -> str:
        n = self.numbers
        share = "below 1e-10" if n.visible_share < 1e-10 else f"{n.visible_share:.2g}"
        loss = "not finite" if n.loss_after is None else f"{n.loss_after:.3g}"
        trained = (
            f"loss {n.loss:.3g} -> {loss} in {self.steps} steps" if self.steps else "not trained"
        )
        return f"{self.change}: {self.verdict} (visible share {share}, {trained})"


@dataclass(frozen=True)
class Check:
    """A check for bugs, on one batch.

    Attributes:
        name: what should hold.
        passed: whether it does; None where it could not be told.
        why: the numbers, where it does not.
    """

    name: str
    passed: bool | None
    why: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis: the verdict, and if a net will not learn the cause, the layer and the remedies.

    Attributes:
        verdict: "will learn", "will not learn" or "will diverge".
        sure: False when the numbers are close to a threshold.
        cause: one of `CAUSES`; None for a net that will learn.
        layer: the name of the layer where it breaks, or None where no layer stands out.
        why: the numbers behind it, in a sentence.
        numbers: those that the verdict rests on.
        remedies: all that were tried, those that worked first, the lowest loss foremost.
        rows: one dict a layer before the steps, as `counterpoise.probe.watch` has them.
        rows_after: the same after the steps; empty when they could not be finished.
        steps: how many were taken; 0 when the first-order decrease was too small from the start.
        notes: on the net's mode, and on measurements and remedies that were not possible.
        checks: for bugs, on one batch.
    """

    verdict: str
    sure: bool
    cause: str | None
    layer: str | None
    why: str
    numbers: Numbers
    remedies: tuple[Remedy, ...]
    rows: tuple[LayerRow, ...]
    rows_after: tuple[LayerRow, ...]
    steps: int
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def recommended(self) -> tuple[Remedy, ...]:
        """The remedies that changed the verdict to "will learn"."""
        return tuple(remedy for remedy in self.remedies if remedy.worked)

    def __repr__(self) -> str:
        return f"Diagnosis({self._verdict_line()!r}, {len(self.recommended)} remedies help)"

    def _repr_html_(self) -> str:
        said = [self.why, *self._remedy_lines(), *self._check_lines(), *self.notes]
        head, *rows = table_cells(self.rows)
        lines = [
            f"<p><b>{html(self._verdict_line())}</b></p>",
            *(f"<div>{html(s)}</div>" for s in said),
        ]
        return "\n".join([*lines, html_table("", head, rows), f"<p>{html(LEGEND)}</p>"])

    def __str__(self) -> str:
        said = (*self._remedy_lines(), *self._check_lines(), *self.notes)
        lines = [self._verdict_line(), self.why, *said]
        return "\n".join([*lines, "", format_rows(self.rows)])

    def _verdict_line(self) -> str:
        verdict = self.verdict.capitalize() if self.sure else f"Close, but {self.verdict}"
        where = f" at {self.layer}" if self.layer else ""
        return f"{verdict}: {self.cause}{where}." if self.cause else f"{verdict}."

    def _check_lines(self) -> list[str]:
        return [f"Not so: {c.name}. {c.why}".rstrip() for c in self.checks if c.passed is False]

    def _remedy_lines(self) -> list[str]:
        if not self.remedies:
            return []
        worked = [f"  {i}. {remedy}" for i, remedy in enumerate(self.recommended, 1)]
        failed = [f"  - {remedy}" for remedy in self.remedies if not remedy.worked]
        if not worked:
            return ["None of the remedies tried on copies helps:", *failed]
        other = ["Remedies that do not:", *failed] if failed else []
        return ["Remedies that help, tried on copies:", *worked, *other]
