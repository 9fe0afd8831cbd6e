"""Elements of SVG charts: scales, ticks, markers, shapes and frames.

Every element is a `Markup` formatted from numbers, constants, and names escaped by `plain`, which
also escapes the values in the page's template. Styles are classes, not attributes, so that a strict
content policy allows them and the dark theme can change them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from counterpoise.text import printable

STYLES = 8  # colours, each with its marker; further variants repeat them with dashes
_MARKERS = (  # of side 2 about the origin
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0 -2 0z",  # circle
    "M-.9 -.9h1.8v1.8h-1.8z",  # square
    "M0 -1.15L1.1 .85H-1.1z",  # triangle
    "M0 -1.25L1.25 0L0 1.25L-1.25 0z",  # diamond
    "M0 1.15L1.1 -.85H-1.1z",  # triangle, point down
    "M-.4 -1.1h.8v.7h.7v.8h-.7v.7h-.8v-.7h-.7v-.8h.7z",  # plus
    "M-1.1 -1.1L1.1 1.1V-1.1L-1.1 1.1z",  # bow tie
    "M0 -1.25L.4 -.4L1.25 0L.4 .4L0 1.25L-.4 .4L-1.25 0L-.4 -.4z",  # star
)


@dataclass(frozen=True)
class Scale:
    """Scale of an axis: function from numbers to pixels.

    Attributes:
        low: number at `start`.
        high: number at `end`.
        start: pixel.
        end: pixel.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a number, rounded to a tenth, not clipped."""
        low, high = (math.log(x) if self.log else x for x in (self.low, self.high))
        at = math.log(value) if self.log else value
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def clipped(self, value: float) -> float:
        """Return the pixel of a number, clipped to the scale."""
        return self(min(max(value, self.low), self.high))


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers within low .. high.

    Example:
        >>> nice_ticks(-0.013, 0.021)
        [-0.01, 0.0, 0.01, 0.02]
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return powers of ten within low .. high.

    Example:
        >>> log_ticks(0.002, 30)
        [0.01, 0.1, 1.0, 10.0]
    """
    first = math.ceil(math.log10(low) - 1e-9)
    last = math.floor(math.log10(high) + 1e-9)
    step = max(1, math.ceil((last - first) / most))
    return [10.0**k for k in range(first, last + 1, step)]


def plain(value: object) -> Markup:
    r"""Return any value as escaped HTML; a `Markup` is HTML already.

    Example:
        >>> plain("<b>\x00")
        Markup('&lt;b&gt;\\x00')
    """
    return value if isinstance(value, Markup) else escape(printable(value))


def mark(variant: int, x: float, y: float, size: float = 4) -> Markup:
    """Return a variant's marker."""
    shape = _MARKERS[variant % STYLES]
    hollow = " hollow" if variant // STYLES % 2 else ""
    return Markup(
        '<path class="mark v{}{}" transform="translate({} {}) scale({})" d="{}"/>'
    ).format(variant % STYLES, hollow, x, y, size, shape)


def key(variant: int) -> Markup:
    """Return a variant's marker for legends and tables."""
    return Markup('<svg class="key" viewBox="0 0 16 16" aria-hidden="true">{}</svg>').format(
        mark(variant, 8, 8, 5)
    )


def path(points: Iterable[tuple[float, float]], css: str) -> Markup:
    """Return a polyline through points."""
    return Markup('<path class="{}" d="M{}"/>').format(css, "L".join(f"{x} {y}" for x, y in points))


def text(x: float, y: float, words: str, css: str = "") -> Markup:
    """Return text at a position."""
    return Markup('<text x="{}" y="{}" class="{}">{}</text>').format(x, y, css, plain(words))


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    """Return a straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, css)


def rect(x: float, y: float, width: float, height: float, css: str) -> Markup:
    """Return a rectangle; a negative width extends to the left."""
    left = round(min(x, x + width), 1)
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(
        left, y, round(abs(width), 1), height, css
    )


def picture(
    width: float, height: float, parts: Sequence[Markup], title: str, description: str
) -> Markup:
    """Return a chart with title and description for screen readers."""
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}">'
        "<title>{title}</title><desc>{desc}</desc>{body}</svg>"
    ).format(
        w=width, h=height, title=plain(title), desc=plain(description), body=Markup("").join(parts)
    )


def strip(width: float, height: float, parts: Sequence[Markup]) -> Markup:
    """Return a chart in the cell of a table, hidden from screen readers, which read its numbers."""
    return Markup(
        '<svg class="strip" aria-hidden="true" viewBox="0 0 {w} {h}" width="{w}" height="{h}">'
        "{body}</svg>"
    ).format(w=width, h=height, body=Markup("").join(parts))
