"""Formatting of numbers in the report."""

from collections.abc import Callable, Sequence

from counterpoise.registry import Metric

MINUS = "\N{MINUS SIGN}"
NONE = "–"


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share in percent.

    Example:
        >>> percent(0.8642), percent(None)
        ('86.4%', '–')
    """
    return NONE if share is None else f"{share:.{decimals}%}"


def whole_percent(share: float) -> str:
    """Return a share in whole percent, with <1% and >99% next to the ends.

    Example:
        >>> [whole_percent(x) for x in (0.0, 0.001, 0.5, 0.999, 1.0)]
        ['0%', '<1%', '50%', '>99%', '100%']
    """
    if 0.0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1.0 else f"{share:.0%}"


def points(difference: float | None) -> str:
    """Return a difference of shares in percentage points, with its sign.

    Example:
        >>> points(0.0123), points(-0.0004), points(None)
        ('+1.2', '0.0', '–')
    """
    if difference is None:
        return NONE
    rounded = round(100 * difference, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", MINUS) if rounded else "0.0"


def score(metric: Metric, value: float | None) -> str:
    """Return a value of a metric with its unit.

    Example:
        >>> from counterpoise.registry import METRICS
        >>> score(METRICS["accuracy"], 0.8642), score(METRICS["matthews"], -0.25)
        ('86.4%', '−0.250')
    """
    return metric.shown(value).replace("-", MINUS)


def change(metric: Metric, difference: float | None) -> str:
    """Return a difference of a metric with its sign, in points or its unit, which is left out.

    Example:
        >>> from counterpoise.registry import METRICS
        >>> change(METRICS["accuracy"], 0.0123), change(METRICS["nll"], -0.03)
        ('+1.2', '−0.030')
    """
    if difference is None:
        return NONE
    rounded = metric.rounded(difference)
    return metric.signed(difference).replace("-", MINUS) if rounded else "0.0"


def tick(metric: Metric) -> Callable[[float], str]:
    """Return what writes values of a metric for the ticks of an axis.

    Example:
        >>> from counterpoise.registry import METRICS
        >>> tick(METRICS["accuracy"])(0.5), tick(METRICS["nll"])(0.25)
        ('50%', '0.25')
    """
    return whole_percent if metric.unit == "%" else lambda x: f"{x:g}".replace("-", MINUS)


def tick_change(metric: Metric) -> Callable[[float], str]:
    """Return what writes differences of a metric, in points or its unit, for the ticks of an axis.

    Example:
        >>> from counterpoise.registry import METRICS
        >>> [tick_change(METRICS["accuracy"])(x) for x in (-0.05, 0.0, 0.025)]
        ['−5', '0', '+2.5']
    """
    scale = metric.scale
    return lambda x: f"{scale * x:+g}".replace("-", MINUS) if x else "0"


def cell_points(difference: float) -> str:
    """Return a difference in percentage points for the cell of a matrix.

    Example:
        >>> cell_points(0.0712), cell_points(-0.287)
        ('+7.1', '−29')
    """
    if abs(difference) < 0.0995:
        return points(difference)
    return f"{100 * difference:+.0f}".replace("-", MINUS)


def short(value: float | None) -> str:
    """Return a number of any size with about three digits.

    Example:
        >>> [short(x) for x in (0.00012, 0.5, 1234, 78_042, 3_400_000, None)]
        ['1.2e−4', '0.5', '1,234', '78.0 k', '3.40 M', '–']
    """
    if value is None:
        return NONE
    size = abs(value)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            scaled = value / min(unit, 1e3 if name == "k" else unit)
            return f"{scaled:#.3g}".rstrip(".") + f" {name}"
    if size >= 1000 or value == int(value):
        return f"{value:,.0f}"
    if size >= 1e-3:
        return f"{value:.3g}"
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}".replace("-", MINUS)


def count(n: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun, in the singular or plural.

    Example:
        >>> count(1, "seed"), count(5, "seed"), count(2, "class", "classes")
        ('1 seed', '5 seeds', '2 classes')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def cut(name: str, most: int = 28) -> str:
    """Return a name, shortened if it is long.

    Example:
        >>> cut("abcdefgh", 5)
        'abcd…'
    """
    return name if len(name) <= most else name[: most - 1] + "…"


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of no values."""
    return sum(values) / len(values) if values else None
