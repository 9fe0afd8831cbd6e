"""Checks of what a plan says of averaged weights, sharpness-aware steps and retrained heads."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan
    from counterpoise.study.settings import Training


def check_stages(plan: "Plan", t: "Training") -> None:
    """Refuse such settings for trainings that cannot have them.

    Raises:
        ValueError: it is one.
    """
    others = _others(t, several=t.devices != 1 or plan.engine.nodes > 1)
    for key, other in others.items():
        if other:
            raise ValueError(
                f"training.{key} = {getattr(t, key)!r} does not go with {other}; leave one of them "
                "out"
            )


def _others(t: "Training", several: bool) -> dict[str, str]:
    """Return what each method that is asked for does not go with, "" where there is none of it."""
    together = "heads on vectors, which are trained together" if t.head_alone else ""
    together = "training.stack_seeds" if t.stack_seeds else together
    shard = "training.shard" if t.shard else ""
    found = {}
    if t.ema:
        best = "training.patience, which takes the weights of one epoch" if t.patience else ""
        found["ema"] = together or shard or best
    if t.sam:
        found["sam"] = together or shard
    if t.retrain != "none":
        found["retrain"] = together or ("several devices" if several else "")
    return found
