"""How the learning rate changes in the course of a training."""

import math
from collections.abc import Callable

from counterpoise import registry

Schedule = Callable[[float], float]
"""From the share of the training that is done, 0 .. 1, to the factor of the learning rate."""


def constant(warmup: float = 0.0) -> Schedule:
    """The same learning rate throughout, after a linear rise.

        factor(t) = min(1, t / warmup),    t: the share of the steps that is done

    Args:
        warmup: the share of the training over which the rate rises from 0, 0 .. 1 (without 1).

    Raises:
        ValueError: a warmup outside of that.

    Example:
        >>> from counterpoise.train import constant
        >>> [constant(warmup=0.5)(t) for t in (0.25, 0.5, 1.0)]
        [0.5, 1.0, 1.0]
    """
    _check(warmup)
    return lambda t: min(1.0, t / warmup) if warmup else 1.0


def cosine(warmup: float = 0.0) -> Schedule:
    """Half a cosine from the full learning rate to 0, after a linear rise.

        factor(t) = t / warmup                                        for t < warmup
                    (1 + cos(pi * (t - warmup) / (1 - warmup))) / 2   otherwise

    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5, without restarts; the rise: Goyal
    et al. 2017, arXiv 1706.02677, section 2.2.

    Args:
        warmup: the share of the training over which the rate rises from 0, 0 .. 1 (without 1).

    Raises:
        ValueError: a warmup outside of that.

    Example:
        >>> from counterpoise.train import cosine
        >>> [round(cosine()(t), 3) for t in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]
    """
    _check(warmup)

    def factor(t: float) -> float:
        if t < warmup:
            return t / warmup
        return (1 + math.cos(math.pi * (t - warmup) / (1 - warmup))) / 2

    return factor


def _check(warmup: float) -> None:
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup must be a share of the training, 0 .. 1, but got {warmup}")


SCHEDULES: dict[str, Callable[[float], Schedule]] = {
    name: member.load() for name, member in registry.SCHEDULES.items()
}
