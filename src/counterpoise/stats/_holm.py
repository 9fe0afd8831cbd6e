"""Holm's correction for multiple comparisons."""

from collections.abc import Iterable

import numpy as np

from counterpoise.stats._interval import Floats


def holm(p_values: Iterable[float]) -> list[float]:
    r"""Adjust p values for multiple comparisons, by Holm's step-down procedure.

    .. math::
        \tilde{p}_k = \max_{j \le k} \min(1, (m - j + 1) \, p_j), \qquad p_1 \le \dots \le p_m

    Rejecting at an adjusted p of at most 0.05 makes any false claim in at most 5% of studies (the
    family-wise error rate), for any dependence between the comparisons, as between those with one
    baseline.

    Source: Holm 1979, Scand. J. Stat. 6, 65.

    Args:
        p_values: One per comparison, from 0 to 1.

    Returns:
        The adjusted p values, in the given order.

    Raises:
        ValueError: If a p value is not from 0 to 1.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(list(p_values), dtype=np.float64)
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        raise ValueError(
            f"holm needs p values from 0 to 1, but got {p[outside][0]}; give 1 for a comparison "
            "that could not be made"
        )
    return holm_adjusted(p).tolist()


def holm_adjusted(p: Floats) -> Floats:
    """Return `holm` along the last axis of an array."""
    order = np.argsort(p, axis=-1)
    left = np.arange(p.shape[-1], 0, -1)
    steps = np.minimum(np.take_along_axis(p, order, -1) * left, 1.0)
    adjusted = np.empty_like(steps)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(steps, axis=-1), -1)
    return adjusted
