"""Checks of where a plan's runs happen."""

from typing import TYPE_CHECKING

from counterpoise.registry import unknown
from counterpoise.study.settings import Engine, bytes_of, seconds_of

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan

_ENGINES = ("local", "ray", "slurm")


def check_engine(e: Engine) -> None:
    """Refuse an engine that is none, and needs that nothing can meet.

    Raises:
        ValueError: any of these.
    """
    if e.name not in _ENGINES:
        raise ValueError(unknown("engine.name", e.name, _ENGINES))
    for name, value, low in (
        ("workers", e.workers, 0),
        ("cpus", e.cpus, 0.01),
        ("gpus", e.gpus, 0),
        ("nodes", e.nodes, 1),
        ("retries", e.retries, 0),
        ("chunk", e.chunk, 0),
    ):
        if not low <= value <= 100_000:
            raise ValueError(f"engine.{name} must be within {low} .. 100000, but got {value}")
    for name, text, parse in (("time", e.time, seconds_of), ("memory", e.memory, bytes_of)):
        try:
            parse(text or "1")
        except ValueError as error:
            raise ValueError(f"engine.{name}: {error}") from error
    if e.gpus > 1 and e.gpus != int(e.gpus):
        raise ValueError(
            f"engine.gpus must be a whole number, or below 1 to share one, but got {e.gpus}"
        )
    if e.memory and bytes_of(e.memory) < 10**6:
        raise ValueError(f"engine.memory must be like 4GB, but got {e.memory!r}, in bytes")
    if e.nodes > 1 and e.name == "local":
        raise ValueError(
            f"engine.nodes = {e.nodes} trains a run on several machines, but the engine is local; "
            'set engine.name = "ray" or "slurm", or training.devices for the GPUs of this one'
        )
    if e.storage and e.name != "ray":
        raise ValueError(
            f"engine.storage is for the engine ray, but the engine is {e.name}, whose runs write "
            "into the study's folder (--out); leave storage out"
        )


def check_devices(plan: "Plan") -> None:
    """Refuse devices of a run that no machine has, and settings of several for one.

    Raises:
        ValueError: any of these.
    """
    t = plan.training
    most = 1024
    if not (t.devices == "all" or (isinstance(t.devices, int) and 1 <= t.devices <= most)):
        raise ValueError(
            f"training.devices must be a number within 1 .. {most}, or 'all' for all GPUs of a "
            f"node, but got {str(t.devices)[:60]!r}"
        )
    if t.shard and t.devices == 1:
        raise ValueError(
            "training.shard = true shares a net among devices, but training.devices is 1; set it "
            "to 2 or more, or to 'all'"
        )
    several = t.devices != 1 or plan.engine.nodes > 1
    other = t.patience or t.compile or t.accumulate != 1 or t.precision == "bfloat16"
    if t.stack_seeds and (several or other or t.pretrained or t.head_alone):
        raise ValueError(
            "training.stack_seeds is of small nets in float32 on one device, and goes with none of "
            "devices, nodes, patience, compile, accumulate, bfloat16, pretrained nets and heads; "
            "set it to false"
        )
    if t.devices == 1 and plan.engine.nodes > 1 and not t.sync_batch_norm:
        raise ValueError(
            "training.sync_batch_norm = false is of several devices, but training.devices is 1 on "
            "each node; set it to 'all'"
        )
    if (t.devices != 1 or plan.engine.nodes > 1) and 0 < plan.engine.gpus < 1:
        raise ValueError(
            f"engine.gpus = {plan.engine.gpus} shares a GPU among runs, but each of the several "
            "devices of a run needs a whole one; set engine.gpus = 1"
        )
