"""Charts with two axes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from counterpoise.report._numbers import whole_percent
from counterpoise.report._svg import (
    STYLES,
    Scale,
    line,
    log_ticks,
    mark,
    nice_ticks,
    path,
    picture,
    rect,
    text,
)

Floats = npt.NDArray[np.float64]
Points = Sequence[tuple[float, float]]
_RIGHT = 20  # room for half of the last tick


@dataclass
class Panel:
    """Chart with two axes.

    Attributes:
        x: scale of the horizontal axis.
        y: scale of the vertical axis; its `start` is the lower pixel.
        parts: SVG elements drawn so far.
    """

    x: Scale
    y: Scale
    parts: list[Markup] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        size: tuple[int, int],
        left: int = 44,
        log: bool = False,
    ) -> "Panel":
        """Return a panel whose axes span the given ranges; with `log` the y axis is logarithmic."""
        width, height = size
        return cls(Scale(*x, left, width - _RIGHT), Scale(*y, height - 34, 10, log))

    def axes(
        self, x_name: str, x_label: Callable[[float], str], y_label: Callable[[float], str]
    ) -> None:
        """Draw grid, ticks and the name of the x axis; the heading of a panel names the y axis."""
        ticks = (log_ticks if self.y.log else nice_ticks)(self.y.low, self.y.high, 4)
        for t in ticks:
            self.parts += [line(self.x.start, self.y(t), self.x.end, self.y(t), "grid")]
            self.parts += [text(self.x.start - 6, self.y(t) + 3.5, y_label(t), "tick end")]
        for t in nice_ticks(self.x.low, self.x.high, 4):
            self.parts += [text(self.x(t), self.y.start + 15, x_label(t), "tick middle")]
        self.parts += [line(self.x.start, self.y.start, self.x.end, self.y.start, "axis")]
        middle = (self.x.start + self.x.end) / 2
        self.parts += [text(middle, self.y.start + 29, x_name, "tick middle")]

    def line(self, points: Points, css: str) -> None:
        """Draw a line through points."""
        if points:
            self.parts.append(path([(self.x(a), self.y(b)) for a, b in points], css))

    def band(self, low: Points, high: Points, css: str) -> None:
        """Fill the area between two lines."""
        self.line([*low, *reversed(high)], css)

    def dots(self, variant: int, points: Points, size: float = 3.4) -> None:
        """Draw a variant's markers."""
        self.parts += [mark(variant, self.x(a), self.y(b), size) for a, b in points]

    def picture(self, title: str, description: str) -> Markup:
        """Return the chart as SVG."""
        width, height = self.x.end + _RIGHT, self.y.start + 34
        return picture(width, height, self.parts, title, description)


def lines_of_all(series: Mapping[int, Points], panel: Panel) -> None:
    """Draw the line of every variant, with markers that do not overlap those of the others."""
    for k, (variant, points) in enumerate(series.items()):
        panel.line(points, f"curve v{variant % STYLES}")
        panel.dots(variant, points[k % max(len(points), 1) :: len(series)])


def calibration(
    variant: int,
    bins: Sequence[tuple[float, float, float]],
    title: str,
    description: str,
    before: Sequence[tuple[float, float, float]] = (),
) -> Markup:
    """Return a reliability diagram of bins (confidence, accuracy, share of the samples).

    Those of `before` are a thin dashed line.
    """
    panel = Panel.of((0, 1), (0, 1), (290, 260))
    panel.axes("confidence", whole_percent, whole_percent)
    for confidence, _, share in bins:
        height = 0.25 * share * (panel.y.start - panel.y.end)
        x = panel.x(confidence)
        panel.parts.append(rect(x - 4, panel.y.start - height, 8, round(height, 1), "weight"))
    panel.line([(0, 0), (1, 1)], "ideal")
    panel.line([(confidence, right) for confidence, right, _ in before], "curve baseline")
    points = [(confidence, right) for confidence, right, _ in bins]
    lines_of_all({variant: points}, panel)
    return panel.picture(title, description)


def banded(
    variant: int,
    x: Floats,
    lines: tuple[Floats, Floats],
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
    words: tuple[str, str, str],
    point: tuple[float, float] | None = None,
) -> Markup:
    """Return a chart of a variant's mean and band over the seeds, and another's mean.

    Args:
        variant: its index, for the colour.
        x: where the curves are known, (K).
        lines: the variant's and the other's, a row a seed, (S, K); the latter may be empty.
        x_ends: of the axis.
        y_ends: of the axis.
        words: names of the axis x and of the chart, and its description.
        point: to be marked.
    """
    own, beside = (np.clip(a, *y_ends) for a in lines)
    css = f"v{variant % STYLES}"
    label: Callable[[float], str] = whole_percent if y_ends[1] <= 1 else "{:g}".format
    panel = Panel.of(x_ends, y_ends, (330, 230))
    panel.axes(words[0], whole_percent, label)
    panel.band(points_of(x, own.min(0)), points_of(x, own.max(0)), f"band {css}")
    if beside.size:
        panel.line(points_of(x, beside.mean(0)), "curve baseline")
    panel.line(points_of(x, own.mean(0)), f"curve {css}")
    if point:
        panel.dots(variant, [(point[0], min(point[1], y_ends[1]))], 5)
    return panel.picture(words[1], words[2])


def points_of(x: Floats, y: Floats) -> list[tuple[float, float]]:
    return list(zip(x.tolist(), y.tolist(), strict=True))
