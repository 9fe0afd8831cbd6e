"""Decide a verdict. docs/doctor.md has the source of each threshold."""

from collections.abc import Sequence

from counterpoise.doctor._diagnosis import Numbers
from counterpoise.doctor._symptoms import Symptom

WILL_LEARN, WILL_NOT_LEARN, WILL_DIVERGE = "will learn", "will not learn", "will diverge"

IMPROVED = 0.04  # improvement above which a net learns
LEARNING_SIGNAL = 8e-4  # above it a net that had no time for all steps is said to learn
ROUNDS_AHEAD = 7  # rounds over which a growing signal is drawn out
HIGH_LOSS = 30.0  # times the loss of guessing; above it, a net that does not learn diverges
CLEARLY_IMPROVED = 0.25  # improvement above which no more steps are taken
FURTHER = 0.01  # of its loss, by which a net that was trained before has to improve
NO_DECREASE = 1e-9  # first-order decrease below which none are either, if the loss is still
SURE = 2.5  # factor past a threshold from which on a verdict is sure


def decide_verdict(
    n: Numbers, symptoms: Sequence[Symptom] = (), *, stopped: bool = False
) -> tuple[str, bool]:
    """Return the verdict, and whether the numbers are far from the thresholds.

    Args:
        n: the numbers.
        symptoms: seen before the steps.
        stopped: whether the steps ended before they had shown what they were planned to show.
    """
    if n.improvement is None or n.learning_signal is None:
        return WILL_DIVERGE, True
    fatal = any(symptom.fatal for symptom in symptoms)
    if _has_learned(n) and not fatal:
        return WILL_LEARN, n.improvement > SURE * IMPROVED
    signal = n.learning_signal / LEARNING_SIGNAL
    later = signal * min(n.growth, 1e6) ** ROUNDS_AHEAD
    near = n.improvement > -0.5  # far above guessing, a signal says nothing
    if stopped and not fatal and near and later > 1:
        return WILL_LEARN, False
    high = n.highest_loss > HIGH_LOSS * n.scale
    rising = later > 1 / SURE and near
    sure = fatal or high or (not stopped and not rising and n.improvement < IMPROVED / SURE)
    return WILL_DIVERGE if high and not fatal else WILL_NOT_LEARN, sure


def is_undecided(n: Numbers) -> bool:
    """Return whether further steps could change the verdict."""
    if n.improvement is None or n.first_order_decrease_after is None:
        return False
    still = abs(n.first_order_decrease_after) <= NO_DECREASE and n.loss_after == n.loss
    return not still and not (n.improvement > CLEARLY_IMPROVED and _has_learned(n))


def _has_learned(n: Numbers) -> bool:
    """Return whether a net is better than guessing, and its steps have made it so, or better."""
    if n.improvement is None or n.loss_after is None:
        return False
    fell = n.loss - n.loss_after
    already = n.improvement > CLEARLY_IMPROVED  # as of a net that was trained before
    enough = fell > IMPROVED / 2 * n.scale or (already and fell > FURTHER * abs(n.loss))
    return n.improvement > IMPROVED and enough


def describe_losses(n: Numbers) -> str:
    """Return a sentence on the loss before and after the steps."""
    after = "one that is not finite" if n.loss_after is None else f"{n.loss_after:.3g}"
    held = ""
    gained = n.held_out_improvement is None or n.held_out_improvement > 0
    if not gained and (n.improvement or 0.0) > IMPROVED:
        held = " Held-out samples do not gain: so far it learns by heart."
    return (
        f"The steps took the loss from {n.loss:.3g} to {after}; the best constant output has "
        f"{n.constant_loss:.3g}.{held}"
    )
