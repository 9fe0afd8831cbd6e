"""Learning-rate schedules."""

import math
from collections.abc import Callable

from counterpoise import registry

Schedule = Callable[[float], float]
"""Function from the share of the steps that is done, 0 to 1, to the factor of the learning rate."""


def constant(warmup: float = 0.0) -> Schedule:
    r"""Return a constant schedule with linear warm-up.

    .. math::
        \text{factor}(t) = \min\left(1, \frac{t}{\text{warmup}}\right)

    where t is the share of the steps that is done, from 0 to 1.

    Args:
        warmup: the share of the steps over which the rate rises from 0, 0 <= warmup < 1.

    Raises:
        ValueError: a warmup outside of [0, 1).

    Example:
        >>> from counterpoise.train import constant
        >>> [constant(warmup=0.5)(t) for t in (0.25, 0.5, 1.0)]
        [0.5, 1.0, 1.0]
    """
    _check(warmup)
    return lambda t: min(1.0, t / warmup) if warmup else 1.0


def cosine(warmup: float = 0.0) -> Schedule:
    r"""Return a cosine decay to 0 with linear warm-up.

    .. math::
        \text{factor}(t) = \begin{cases}
            t / \text{warmup} & \text{if } t < \text{warmup} \\
            \frac{1}{2} \left(1 + \cos \pi \frac{t - \text{warmup}}{1 - \text{warmup}}\right)
            & \text{otherwise}
        \end{cases}

    where t is the share of the steps that is done, from 0 to 1.

    Source: Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5, without restarts; warm-up: Goyal
    et al. 2017, arXiv 1706.02677, section 2.2.

    Args:
        warmup: the share of the steps over which the rate rises from 0, 0 <= warmup < 1.

    Raises:
        ValueError: a warmup outside of [0, 1).

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
