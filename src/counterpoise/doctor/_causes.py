"""Find the cause why a net does not learn, by its symptoms and its layers."""

from collections.abc import Iterable, Sequence

from counterpoise.doctor import _symptoms
from counterpoise.doctor._diagnosis import Numbers, Remedy
from counterpoise.doctor._snapshot import Snapshot
from counterpoise.doctor._symptoms import Symptom
from counterpoise.doctor._verdict import HIGH_LOSS, WILL_DIVERGE, describe_losses
from counterpoise.probe import LayerRow

VANISHED_SHARE = 1e-3  # visible share of an output below which its signal has vanished
VANISHED_GRADIENT = 1e-3  # share of the strongest layer's gradient below which one has vanished
EXPLODED_ACTIVATION = 100.0  # times the first layer's activation, above which one has exploded
DEAD_SHARE = 0.95  # dead units from which on a layer counts as dead
TINY_UPDATE = 1e-5  # update ratio below which a layer does not change
LOST_DECREASE = 0.01  # share of the first-order decrease below which the steps have lost it

VANISHES, EXPLODES = "the signal vanishes", "the signal explodes"
GRADIENT, UNITS = "the gradient vanishes", "the units are dead"
TOO_HIGH, TOO_LOW = "the learning rate is too high", "the learning rate is too low"
BOTH = "the signal and the gradient vanish"
UNCLEAR = "no sign of learning within these steps"
CAUSES = (
    _symptoms.NOT_FINITE,
    _symptoms.TARGET_NOT_FINITE,
    _symptoms.ALL_EQUAL,
    _symptoms.ONE_TARGET,
    _symptoms.OUTSIDE,
    _symptoms.UNHELD,
    _symptoms.NO_GRADIENT,
    _symptoms.WRONG_SIGN,
    _symptoms.CONSTANT,
    _symptoms.BROADCAST,
    _symptoms.NOT_A_NUMBER,
    _symptoms.FOREIGN,
    _symptoms.MIXED,
    _symptoms.DROPPED,
    _symptoms.DECAY,
    _symptoms.SYMMETRIC,
    UNITS,
    _symptoms.TWICE,
    _symptoms.SCALE,
    EXPLODES,
    TOO_HIGH,
    BOTH,
    VANISHES,
    _symptoms.TARGET_SCALE,
    GRADIENT,
    TOO_LOW,
    UNCLEAR,
)

_PLAIN = {  # bugs that nothing else explains, whatever helped by chance
    _symptoms.ALL_EQUAL,
    _symptoms.ONE_TARGET,
    _symptoms.CONSTANT,
    _symptoms.NOT_A_NUMBER,
    _symptoms.MIXED,
}

Cause = tuple[str, str | None, str]  # one of CAUSES, the layer if one stands out, a sentence


def find_causes(
    verdict: str,
    n: Numbers,
    symptoms: Sequence[Symptom],
    before: Snapshot,
    after: Snapshot | None,
) -> list[Cause]:
    """Return why a net may not learn, the likeliest cause first.

    Args:
        verdict: "will not learn" or "will diverge".
        n: the numbers that it rests on.
        symptoms: seen before the steps.
        before: the snapshot before the steps.
        after: the last one; None when a loss was not finite.
    """
    rows = [row for row in before.rows if row["calls"]]
    trained = [row for row in before.rows if row["grad_norm"]]
    seen, weak = (
        [(s.cause, s.layer, s.why) for s in symptoms if s.weak == kind] for kind in (False, True)
    )
    layers = [
        _dead_units(rows),
        _explosion(n, rows),
        _vanishing_signal(n, rows, trained),
        _overshooting(n, before, after, trained, verdict),
        _vanishing_gradient(trained),
        _tiny_updates(trained),
    ]
    found = [*seen, *(cause for cause in layers if cause)]
    found.sort(key=lambda cause: CAUSES.index(cause[0]))
    return [*found, *weak] or [(UNCLEAR, None, describe_losses(n))]


def choose_cause(causes: Sequence[Cause], remedies: Sequence[Remedy], n: Numbers) -> Cause:
    """Return the cause that stands out: a plain bug, else the one whose remedy helped.

    Args:
        causes: of `find_causes`.
        remedies: that worked, the best first.
        n: the numbers.
    """
    if not remedies or causes[0][0] in _PLAIN:
        return causes[0]
    helped = [remedy.cause for remedy in remedies]
    for cause in causes:
        if cause[0] in helped:
            return cause
    if causes[0][0] != UNCLEAR:
        return causes[0]
    change = remedies[0].change
    return helped[0] or UNCLEAR, None, f"{describe_losses(n)} It learns with: {change}."


def _explosion(n: Numbers, rows: Sequence[LayerRow]) -> Cause | None:
    if n.loss <= HIGH_LOSS * n.scale:
        return None
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


def _dead_units(rows: Sequence[LayerRow]) -> Cause | None:
    row = _first(row for row in rows if _number(row["dead_share"]) >= DEAD_SHARE)
    if row is None:
        return None
    return UNITS, row["name"], f"{row['dead_share']:.0%} of its units are 0 for every sample."


def _vanishing_signal(
    n: Numbers, rows: Sequence[LayerRow], trained: Sequence[LayerRow]
) -> Cause | None:
    after = n.visible_share if n.visible_share_after is None else n.visible_share_after
    if not max(n.visible_share, after) < VANISHED_SHARE:
        return None
    row = _first(row for row in rows if _number(row["visible_share"]) < VANISHED_SHARE)
    at = f"{_number(row['visible_share']):.2g} at this layer, " if row else ""
    why = f"The visible share is {at}{n.visible_share:.2g} at the net's output."
    gradient = _vanishing_gradient(trained)
    if gradient is not None:
        of = gradient[2].replace("Its gradient", f"The gradient of {gradient[1]}")
        return BOTH, _name(row), f"{why} {of}"
    return VANISHES, _name(row), why


def _overshooting(
    n: Numbers,
    before: Snapshot,
    after: Snapshot | None,
    trained: Sequence[LayerRow],
    verdict: str,
) -> Cause | None:
    """Return the cause when the steps themselves have broken a net that was sound before."""
    row = max(trained, key=_update, default=None)
    step = f" The first step changes the weights there by {_update_text(row)}." if row else ""
    worse = n.loss_after is None or n.loss_after > max(1.5 * n.loss, n.constant_loss + n.scale)
    if verdict == WILL_DIVERGE or worse:
        return TOO_HIGH, _name(row), describe_losses(n) + step
    if after is None:
        return None
    if after.visible_share < VANISHED_SHARE <= before.visible_share / 10:
        why = (
            f"The steps took the visible share of the net's output from {before.visible_share:.2g} "
            f"to {after.visible_share:.2g}."
        )
        broken = _first(
            row
            for row in after.rows
            if row["calls"]
            and (
                _number(row["dead_share"]) >= DEAD_SHARE
                or _number(row["visible_share"]) < VANISHED_SHARE
            )
        )
        return TOO_HIGH, _name(broken), why
    lost = 0 <= after.first_order_decrease < LOST_DECREASE * before.first_order_decrease
    if lost and n.first_order_decrease > LOST_DECREASE**2:
        why = (
            "The steps took what a further one can gain from "
            f"{n.first_order_decrease:.2g} to {n.first_order_decrease_after:.2g} of the loss."
        )
        return TOO_HIGH, _name(row), why
    return None


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
