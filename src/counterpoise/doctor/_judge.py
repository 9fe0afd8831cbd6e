"""From numbers to a verdict, a cause and a place. docs/doctor.md tells what set each threshold."""

from collections.abc import Iterable, Sequence
from typing import Any

from counterpoise.doctor._diagnosis import DIVERGES, IDLES, LEARNS, Numbers
from counterpoise.doctor._trial import Trial

BLOWN_UP = 30.0  # times guessing's loss; above, a net that does not learn is said to diverge
FALL = 0.02  # share of guessing's loss: after a fall by so much it is learning already
SIGNAL = 8e-4  # of `Numbers.signal`, now or, as it grows, after AHEAD rounds; then it is on its way
AHEAD = 7  # rounds still to come, of the ten within which it is to learn
CLEAR = 0.25  # share of guessing's loss: after a fall by so much no more steps are taken
TOO_SMALL = 1e-9  # promise below which none are either
SURE = 3.0  # how many times past a threshold counts as far from it

BLIND = 1e-3  # visible share of the output below which the signal is the cause
FADED = 1e-3  # a layer's gradient over the strongest one, below which it vanishes
GROWN = 100.0  # activation over the first layer's, above which it explodes
DEAD = 0.95  # share of dead units with which a layer lets nothing pass
STILL = 1e-5  # update-to-weight ratio below which a layer does not move

NOTHING = "nothing to train"
VANISHES, EXPLODES = "the signal vanishes", "the signal explodes"
GRADIENT, UNITS = "the gradient vanishes", "the units are dead"
TOO_HIGH, TOO_LOW = "the learning rate is too high", "the learning rate is too low"
UNCLEAR = "no single cause stands out"
CAUSES = (NOTHING, VANISHES, EXPLODES, GRADIENT, UNITS, TOO_HIGH, TOO_LOW, UNCLEAR)

Row = dict[str, Any]
Blame = tuple[str, str | None, str]


def judge(n: Numbers) -> tuple[str, bool]:
    """The verdict, and whether it is far from the thresholds."""
    if n.fall is None or n.signal is None:
        return DIVERGES, True
    merit = max(n.fall / FALL, n.signal * min(n.growth, 1e6) ** AHEAD / SIGNAL)
    now = max(n.fall / FALL, n.signal / SIGNAL)
    sure = now > SURE or merit < 1 / SURE
    if merit > 1:
        return LEARNS, sure
    return DIVERGES if n.highest_loss > BLOWN_UP * n.scale else IDLES, sure


def is_open(n: Numbers) -> bool:
    """Whether further steps could change the verdict."""
    if n.fall is None or n.promise_after is None:
        return False
    return n.fall < CLEAR and n.promise_after > TOO_SMALL


def blame(verdict: str, n: Numbers, trial: Trial) -> Blame:
    """The cause, the layer where it shows (None for none), and the numbers in a sentence."""
    rows = [row for row in trial.before.rows if row["calls"]]
    trained = [row for row in trial.before.rows if row["grad_norm"]]
    if not trained and n.promise == 0:
        why = "No weight gets a gradient: all are frozen, or the loss ignores them."
        return _dead(rows) or (NOTHING, None, why)
    if verdict == DIVERGES:
        return _blame_blow_up(n, rows, trained)
    return (
        _dead(rows)
        or _blind(n, rows)
        or _overshot(n, trial)
        or _faded(trained)
        or _still(trained)
        or (UNCLEAR, None, losses(n))
    )


def _blame_blow_up(n: Numbers, rows: Sequence[Row], trained: Sequence[Row]) -> Blame:
    first = rows[0]["activation_rms"] if rows else 0.0
    grown = _first(row for row in rows if row["activation_rms"] > GROWN * first)
    if n.loss > BLOWN_UP * n.scale:
        place = grown or (max(rows, key=lambda row: row["activation_rms"]) if rows else None)
        size = f", behind the first {first:.2g}" if grown else ""
        at = f"The activation there is {place['activation_rms']:.2g}{size}; " if place else ""
        why = f"{at}the loss starts at {n.loss:.3g}, where guessing has {n.guess:.3g}."
        return EXPLODES, _name(place), why
    place = max(trained, key=lambda row: row["update_ratio"] or 0.0, default=None)
    step = f" The first step changes the weights there by {_ratio(place)}." if place else ""
    return TOO_HIGH, _name(place), losses(n) + step


def _dead(rows: Sequence[Row]) -> Blame | None:
    row = _first(row for row in rows if (row["dead_share"] or 0.0) >= DEAD)
    if row is None:
        return None
    return UNITS, row["name"], f"{row['dead_share']:.0%} of its units give 0 for every sample."


def _blind(n: Numbers, rows: Sequence[Row]) -> Blame | None:
    if not n.visible_share < BLIND:
        return None
    row = _first(row for row in rows if row["visible_share"] < BLIND)
    share = row["visible_share"] if row else n.visible_share
    at = f"only {share:.2g} of its output's second moment depends on the input; " if row else ""
    why = f"{at}of the net's output, {n.visible_share:.2g}."
    return VANISHES, _name(row), why[0].upper() + why[1:]


def _overshot(n: Numbers, trial: Trial) -> Blame | None:
    """The steps themselves have ruined what was sound before."""
    after = trial.after
    if after is None or not (after.visible_share < BLIND or after.promise < 0.01 * n.promise):
        return None
    called = [row for row in after.rows if row["calls"]]
    row = _first(
        r for r in called if (r["dead_share"] or 0.0) >= DEAD or r["visible_share"] < BLIND
    )
    why = (
        f"{len(trial.losses)} steps took the output's visible share from {n.visible_share:.2g} to "
        f"{after.visible_share:.2g}."
    )
    return TOO_HIGH, _name(row), why


def _faded(trained: Sequence[Row]) -> Blame | None:
    strongest = max((row["grad_norm"] for row in trained), default=0.0)
    faded = [row for row in trained if row["grad_norm"] < FADED * strongest]
    if not faded:
        return None
    row = faded[-1]  # backward, it is the first that the gradient hardly reaches
    ratio = row["grad_norm"] / strongest
    return GRADIENT, row["name"], f"Its gradient is {ratio:.2g} of the strongest layer's."


def _still(trained: Sequence[Row]) -> Blame | None:
    fastest = max(trained, key=lambda row: row["update_ratio"] or 0.0, default=None)
    if fastest is None or (fastest["update_ratio"] or 0.0) >= STILL:
        return None
    return TOO_LOW, None, f"A step changes no layer's weights by more than {_ratio(fastest)}."


def losses(n: Numbers) -> str:
    """What became of the loss, in a sentence."""
    after = "something that is not finite" if n.loss_after is None else f"{n.loss_after:.3g}"
    return f"The steps took the loss from {n.loss:.3g} to {after}; guessing has {n.guess:.3g}."


def _ratio(row: Row) -> str:
    ratio = row["update_ratio"]
    return "an unknown part" if ratio is None else f"{ratio:.2g} of their size"


def _name(row: Row | None) -> str | None:
    return row["name"] if row else None


def _first(rows: Iterable[Row]) -> Row | None:
    return next(iter(rows), None)
