"""Estimate of the time that a study will take, from a few steps of its net."""

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from counterpoise.study._heads import MOST, trains_heads
from counterpoise.study._ranks import count_devices
from counterpoise.study._runs import epochs_of
from counterpoise.study.plan import Plan
from counterpoise.study.variant import Variant

if TYPE_CHECKING:
    from counterpoise.data import Splits

Cost = Callable[[Plan], float]

_SECONDS, _LONGEST = 0.7, 4.0  # of timing: of this thread, and by the clock
_BUSY = 0.1  # of the time that passes, below which a net is waiting
_START = 3.0  # seconds that a process needs before its first step
_SHARED = 1.25  # times: workers share caches and memory, and validation is looked at
_MOST_TIMED = 4  # kinds of nets; others are taken for the first
_BATCHES = 4  # that are trained on at a time


def estimate(plan: Plan, data: "Splits", workers: int | None) -> Cost | None:
    """Time some steps of the plan's net on its data, and return what plans like it will take.

    Classical models and retrained heads are not counted; they take seconds.

    Args:
        plan: a filled one.
        data: its splits.
        workers: runs at a time; None for one a core.

    Returns:
        A function from a plan with the same net, batch size and data to seconds; None where the
        net cannot be timed: what is wrong with it is reported by its runs.
    """
    if not plan.nets:
        return None
    try:
        kinds = {_kind(plan, v): v for v in reversed(plan.nets)}
        some = list(reversed(kinds.items()))[:_MOST_TIMED]
        known = {kind: _seconds_a_sample(plan, v, data) for kind, v in some}
        first = known[some[0][0]]
    except Exception:  # the user's own net, loss or device may raise anything
        return None
    asked = plan.training.devices
    devices = asked if isinstance(asked, int) else count_devices(asked)
    at_once = workers or max(1, (os.cpu_count() or 1) // devices)
    share = 1 - plan.training.validation * (data.validation is None)
    samples = share * len(data.train)

    def seconds(plan: Plan) -> float:
        tried = [len(plan.trials(v)) * plan.tuning.seeds for v in plan.nets]
        trials, finals = sum(tried), len(plan.nets) * len(plan.seeds)
        passes = 0.0  # over a sample, in seconds
        for n, v in zip(tried, plan.nets, strict=True):
            epochs = n * epochs_of(plan, v, "tuning") + len(plan.seeds) * epochs_of(
                plan, v, "final"
            )
            passes += samples * epochs * known.get(_kind(plan, v), first) * _steps(plan, v)
        rounds = sum(math.ceil(runs / _sharing(plan) / at_once) for runs in (trials, finals))
        lanes = min(at_once, max(trials, finals, 1))
        shared = _SHARED if lanes > 1 else 1.0
        return passes / devices * shared / lanes + rounds * _START

    return seconds


def _kind(plan: Plan, variant: Variant) -> str:
    """Return what the time of a step depends on."""
    t = plan.training_of(variant)
    return repr((t.model, t.augment, t.mix, t.batch_size, t.precision, t.freeze))


def _steps(plan: Plan, variant: Variant) -> int:
    """Return how many steps' time a step takes."""
    return 2 if plan.training_of(variant).sam else 1


def _sharing(plan: Plan) -> int:
    """Return how many runs share a process."""
    return MOST if trains_heads(plan.training) and plan.engine.name != "ray" else 1


def _seconds_a_sample(plan: Plan, variant: Variant, data: "Splits") -> float:
    """Return the time of a training step, a sample, in one thread as in a worker.

    Of heads that are trained together it is the share of one.
    """
    import torch
    import torch.nn.functional as F

    from counterpoise import train
    from counterpoise.data import Rows, Split
    from counterpoise.samplers import ShuffleSampler
    from counterpoise.study._nets import make_net

    t, shape = plan.training_of(variant), tuple(data.train.inputs.shape[1:])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n = _BATCHES * t.batch_size
    begin = time.perf_counter()
    part = Split(data.train.inputs[:n], data.train.targets[:n])
    anew = isinstance(data.train.inputs, Rows) and data.train.inputs.unstored is not None
    reading = (time.perf_counter() - begin) / len(part) if anew else 0.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            loss, number = F.cross_entropy, _sharing(plan)
            nets = [make_net(t, variant, shape, data.num_classes).to(device) for _ in range(number)]
            usual: dict[str, Any] = {"epochs": 1, "batch_size": t.batch_size}
            augment = train.augmentation(t.augment)

            def train_once() -> None:
                if number == 1:
                    train.fit(nets[0], loss, part, lr=1e-6, augment=augment, **usual)
                    return
                rows = ShuffleSampler(part.targets, num_replicas=1, rank=0)
                heads = [train.Head(n, loss, train.make_optimizer(n, lr=1e-6)) for n in nets]
                train.fit_heads(heads, part, sampler=rows, watch={"train": part}, **usual)

            train_once()
            begin, own, times = time.perf_counter(), time.thread_time(), 0
            while not times or (
                time.thread_time() - own < _SECONDS and time.perf_counter() - begin < _LONGEST
            ):
                train_once()
                times += 1
            passed, busy = time.perf_counter() - begin, time.thread_time() - own
            # On a CPU other programs do not count, but a net that waits for something does.
            waits = device.type == "cuda" or busy < _BUSY * passed
            return (passed if waits else busy) / times / number / len(part) + reading
    finally:
        torch.set_num_threads(threads)
