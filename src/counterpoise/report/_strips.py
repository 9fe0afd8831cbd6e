"""Charts in the rows of a table, without labels of their own."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from counterpoise.report._svg import STYLES, Scale, line, mark, nice_ticks, path, rect, strip, text

WIDTH, ROW, PAD = 320, 34, 14


def across(values: Sequence[float], low: float | None = None, width: int = WIDTH) -> Scale:
    """Return a horizontal scale for values.

    Args:
        values: the values to show.
        low: start of the scale; None for slightly below the lowest value.
        width: width of the strips, in pixels.
    """
    least, most = min(values, default=0.0), max(values, default=1.0)
    room = 0.04 * ((most - least) or 1.0)
    return Scale(least - room if low is None else low, most + room, PAD, width - PAD)


def _strip(scale: Scale, height: float, parts: Sequence[Markup]) -> Markup:
    return strip(scale.end + PAD, height, parts)


def axis(scale: Scale, label: Callable[[float], str], about: int = 6) -> Markup:
    """Return the ticks of a column of strips."""
    parts = []
    for tick in nice_ticks(scale.low, scale.high, about):
        parts += [line(scale(tick), 0, scale(tick), 5, "axis")]
        parts += [text(scale(tick), 17, label(tick), "tick middle")]
    return _strip(scale, 22, parts)


def interval(
    variant: int, scale: Scale, middle: float, ends: tuple[float, float] | None, margin: float
) -> Markup:
    """Return a difference with its interval, and the margin as a band."""
    y = ROW / 2
    parts = [
        rect(scale(-margin), 0, scale(margin) - scale(-margin), ROW, "margin"),
        line(scale(0), 0, scale(0), ROW, "zero"),
    ]
    if ends is not None:
        css = f"whisker v{variant % STYLES}"
        low, high = (scale.clipped(end) for end in ends)
        parts += [line(low, y, high, y, css)]
        parts += [_end(scale, e, y, css) for e in ends]
    return _strip(scale, ROW, [*parts, mark(variant, scale.clipped(middle), y, 5)])


def _end(scale: Scale, value: float, y: float, css: str) -> Markup:
    """Return the end of a whisker: a bar, or an arrow head if it is beyond the scale."""
    x = scale.clipped(value)
    if scale.low <= value <= scale.high:
        return line(x, y - 4, x, y + 4, css)
    back = 5 if value < scale.low else -5
    return path([(x + back, y - 4), (x, y), (x + back, y + 4)], f"{css} head")


def dots(scale: Scale, rows: Sequence[tuple[int, float, float, float]]) -> Markup:
    """Return the values of a class, one line per (variant, mean, lowest, highest)."""
    step = 9
    height = step * len(rows) + 9
    parts = [
        line(scale(t), 0, scale(t), height, "grid") for t in nice_ticks(scale.low, scale.high, 6)
    ]
    for k, (variant, mean, low, high) in enumerate(rows):
        y = step * (k + 1)
        parts += [line(scale(low), y, scale(high), y, f"spread v{variant % STYLES}")]
        parts += [mark(variant, scale(mean), y, 3.6)]
    return _strip(scale, height, parts)


def bars(scale: Scale, values: Sequence[float]) -> Markup:
    """Return horizontal bars below each other, the first in a stronger tone."""
    height, gap = 10, 3
    parts = [
        rect(scale(0), 4 + k * (height + gap), max(scale(v) - scale(0), 0.5), height, f"bar bar{k}")
        for k, v in enumerate(values)
    ]
    return _strip(scale, 8 + len(values) * (height + gap) - gap, parts)


def arrow(variant: int, scale: Scale, before: float, after: float) -> Markup:
    """Return an arrow from one value to another."""
    y, start, end = ROW / 2, scale(before), scale(after)
    parts = [line(scale(t), 0, scale(t), ROW, "grid") for t in nice_ticks(scale.low, scale.high, 6)]
    parts += [line(start, y, end, y, f"whisker v{variant % STYLES}")]
    parts += [line(start, y - 6, start, y + 6, f"whisker v{variant % STYLES}")]
    return _strip(scale, ROW, [*parts, mark(variant, end, y, 5)])
