"""Decide a verdict and find its cause. docs/doctor.md has the source of each threshold."""

from collections.abc import Iterable, Sequence

from counterpoise.doctor._diagnosis import Numbers
from counterpoise.doctor._snapshot import Snapshot
from counterpoise.probe import LayerRow

WILL_LEARN, WILL_NOT_LEARN, WILL_DIVERGE = "will learn", "will not learn", "will diverge"

IMPROVED = 0.02  # improvement above which a net is learning already
LEARNING_SIGNAL = 8e-4  # above it, now or, as it grows, after ROUNDS_AHEAD rounds, a net will learn
ROUNDS_AHEAD = 7  # rounds still to come, of the ten within which a net is to learn
HIGH_LOSS = 30.0  # times the constant loss; above it, a net that does not learn is said to diverge
CLEARLY_IMPROVED = 0.25  # improvement above which no more steps are taken
NO_DECREASE = 1e-9  # first-order decrease below which none are either
SURE = 3.0  # factor past a threshold from which on a verdict is sure

VANISHED_SHARE = 1e-3  # visible share of an output below which its signal has vanished
VANISHED_GRADIENT = 1e-3  # share of the strongest layer's gradient below which one has vanished
EXPLODED_ACTIVATION = 100.0  # times the first layer's activation, above which one has exploded
DEAD_SHARE = 0.95  # dead units from which on a layer counts as dead
TINY_UPDATE = 1e-5  # update ratio below which a layer does not change
LOST_DECREASE = 0.01  # share of the first-order decrease below which the steps have lost it

NOTHING = "nothing to train"
VANISHES, EXPLODES = "the signal vanishes", "the signal explodes"
GRADIENT, UNITS = "the gradient vanishes", "the units are dead"
TOO_HIGH, TOO_LOW = "the learning rate is too high", "the learning rate is too low"
UNCLEAR = "no single cause stands out"
CAUSES = (NOTHING, VANISHES, EXPLODES, GRADIENT, UNITS, TOO_HIGH, TOO_LOW, UNCLEAR)

Cause = tuple[str, str | None, str]  # one of CAUSES, the layer if one stands out, a sentence


def decide_verdict(n: Numbers) -> tuple[str, bool]:
    """Return the verdict, and whether the numbers are far from the thresholds."""
    if n.improvement is None or n.learning_signal is None:
        return WILL_DIVERGE, True
    improvement, signal = n.improvement / IMPROVED, n.learning_signal / LEARNING_SIGNAL
    now = max(improvement, signal)
    later = max(improvement, signal * min(n.growth, 1e6) ** ROUNDS_AHEAD)
    sure = now > SURE or later < 1 / SURE
    if later > 1:
        return WILL_LEARN, sure
    return WILL_DIVERGE if n.highest_loss > HIGH_LOSS * n.scale else WILL_NOT_LEARN, sure


def is_undecided(n: Numbers) -> bool:
    """Return whether further steps could change the verdict."""
    if n.improvement is None or n.first_order_decrease_after is None:
        return False
    return n.improvement < CLEARLY_IMPROVED and n.first_order_decrease_after > NO_DECREASE


def find_cause(verdict: str, n: Numbers, before: Snapshot, after: Snapshot | None) -> Cause:
    """Return why a net does not learn, the layer where it shows, and the numbers in a sentence.

    Args:
        verdict: "will not learn" or "will diverge".
        n: the numbers that it rests on.
        before: the snapshot before the steps.
        after: the last one; None when a loss was not finite.
    """
    rows = [row for row in before.rows if row["calls"]]
    trained = [row for row in before.rows if row["grad_norm"]]
    if not trained and n.first_order_decrease == 0:
        why = "No weight gets a gradient: all are frozen, or the loss ignores them."
        return _dead_units(rows) or (NOTHING, None, why)
    if verdict == WILL_DIVERGE:
        return _divergence(n, rows, trained)
    return (
        _dead_units(rows)
        or _vanishing_signal(n, rows)
        or _overshooting(n, after)
        or _vanishing_gradient(trained)
        or _tiny_updates(trained)
        or (UNCLEAR, None, describe_losses(n))
    )


def describe_losses(n: Numbers) -> str:
    """Return a sentence on the loss before and after the steps."""
    after = "one that is not finite" if n.loss_after is None else f"{n.loss_after:.3g}"
    return (
        f"The steps took the loss from {n.loss:.3g} to {after}; the best constant output has "
        f"{n.constant_loss:.3g}."
    )


def _divergence(n: Numbers, rows: Sequence[LayerRow], trained: Sequence[LayerRow]) -> Cause:
    if n.loss > HIGH_LOSS * n.scale:
        first = _number(rows[0]["activation_rms"]) if rows else 0.0
        exploded = _first(r for r in rows if _activation(r) > EXPLODED_ACTIVATION * first)
        row = exploded or max(rows, key=_activation, default=None)
        of_first = f", after {first:.2g} in the first layer" if exploded else ""
        at = f"The activation there is {_activation(row):.2g}{of_first}; " if row else ""
        why = (
            f"{at}the loss starts at {n.loss:.3g}, where the best constant output has "
            f"{n.constant_loss:.3g}."
        )
        return EXPLODES, _name(row), why[0].upper() + why[1:]
    row = max(trained, key=_update, default=None)
    step = f" The first step changes the weights there by {_update_text(row)}." if row else ""
    return TOO_HIGH, _name(row), describe_losses(n) + step


def _dead_units(rows: Sequence[LayerRow]) -> Cause | None:
    row = _first(row for row in rows if _number(row["dead_share"]) >= DEAD_SHARE)
    if row is None:
        return None
    return UNITS, row["name"], f"{row['dead_share']:.0%} of its units are 0 for every sample."


def _vanishing_signal(n: Numbers, rows: Sequence[LayerRow]) -> Cause | None:
    if not n.visible_share < VANISHED_SHARE:
        return None
    row = _first(row for row in rows if _number(row["visible_share"]) < VANISHED_SHARE)
    at = f"{_number(row['visible_share']):.2g} at this layer, " if row else ""
    why = f"The visible share is {at}{n.visible_share:.2g} at the net's output."
    return VANISHES, _name(row), why


def _overshooting(n: Numbers, after: Snapshot | None) -> Cause | None:
    """Return the cause when the steps themselves have broken a net that was sound before."""
    if after is None:
        return None
    lost = after.first_order_decrease < LOST_DECREASE * n.first_order_decrease
    if not (after.visible_share < VANISHED_SHARE or lost):
        return None
    row = _first(
        row
        for row in after.rows
        if row["calls"]
        and (
            _number(row["dead_share"]) >= DEAD_SHARE
            or _number(row["visible_share"]) < VANISHED_SHARE
        )
    )
    why = (
        f"The steps took the visible share of the net's output from {n.visible_share:.2g} to "
        f"{after.visible_share:.2g}."
    )
    return TOO_HIGH, _name(row), why


def _vanishing_gradient(trained: Sequence[LayerRow]) -> Cause | None:
    strongest = max((_number(row["grad_norm"]) for row in trained), default=0.0)
    shares = [(row["name"], _number(row["grad_norm"]) / strongest) for row in trained]
    vanished = [(name, share) for name, share in shares if share < VANISHED_GRADIENT]
    if not vanished:
        return None
    name, share = vanished[-1]  # the first one in the order of the backward pass
    return GRADIENT, name, f"Its gradient is {share:.2g} of the strongest layer's."


def _tiny_updates(trained: Sequence[LayerRow]) -> Cause | None:
    largest = max(trained, key=_update, default=None)
    if largest is None or _update(largest) >= TINY_UPDATE:
        return None
    return TOO_LOW, None, f"A step changes no layer's weights by more than {_update_text(largest)}."


def _update_text(row: LayerRow) -> str:
    ratio = row["update_ratio"]
    return "an unknown share" if ratio is None else f"{ratio:.2g} of their size"


def _update(row: LayerRow) -> float:
    return _number(row["update_ratio"])


def _activation(row: LayerRow) -> float:
    return _number(row["activation_rms"])


def _number(value: float | None) -> float:
    return value or 0.0


def _name(row: LayerRow | None) -> str | None:
    return row["name"] if row else None


def _first(rows: Iterable[LayerRow]) -> LayerRow | None:
    return next(iter(rows), None)
