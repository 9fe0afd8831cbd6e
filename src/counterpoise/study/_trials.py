"""The trials of a variant: the values of its tuned fields, one list for all variants."""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.study.settings import is_number
from counterpoise.study.variant import Trial

_SEED = 0  # of the points; all studies have the same


def trial_list(lists: Mapping[str, Sequence[Any]], number: int) -> tuple[Trial, ...]:
    """Return the values to try: all combinations, or points drawn between the ends of each list.

    Points are the first of a scrambled Sobol sequence, spread over the logarithms; of words and of
    yes and no each comes equally often. The same fields give the same points in every study.

    Args:
        lists: values by field.
        number: of points; 0 for all combinations.

    Example:
        >>> trial_list({"lr": (0.1, 0.01), "mix": ("none", "mixup")}, 0)[0]
        {'lr': 0.01, 'mix': 'none'}
        >>> len(trial_list({"lr": (0.001, 0.1), "weight_decay": (1e-5, 1e-2)}, 8))
        8
    """
    if not lists:
        return ()
    ordered = {k: sorted(v) if all(map(is_number, v)) else list(v) for k, v in lists.items()}
    if not number:
        found = itertools.product(*ordered.values())
        return tuple(dict(zip(ordered, values, strict=True)) for values in found)
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it is balanced for powers of two
        points = qmc.Sobol(len(ordered), seed=_SEED).random(number)
    drawn = [
        {k: _at(values, float(u)) for (k, values), u in zip(ordered.items(), row, strict=True)}
        for row in points
    ]
    return distinct(drawn)


def distinct(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return trials, each once."""
    return tuple({repr(trial): trial for trial in trials}.values())


def _at(values: Sequence[Any], u: float) -> Any:
    """Return the value at a share of the way from the first to the last."""
    if not all(map(is_number, values)):
        return values[min(len(values) - 1, int(u * len(values)))]
    low, high = values[0], values[-1]
    x = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return round(x) if isinstance(low, int) and isinstance(high, int) else float(f"{x:.3g}")
