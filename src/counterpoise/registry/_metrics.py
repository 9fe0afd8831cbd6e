"""Rows of the metrics of runs, and how their values and differences are written."""

import math
from dataclasses import dataclass, replace

from counterpoise.registry._member import unknown
from counterpoise.user_code import import_name


@dataclass(frozen=True)
class Metric:
    """Row of the registry: a metric of runs.

    Args:
        label: its name in sentences and tables; with {} where a parameter stands.
        higher_is_better: False for losses, errors and costs.
        margin: the default of the smallest difference that matters; 0 for a metric that is shown
            but cannot decide.
        unit: "%" for shares, whose differences are in points; "nats"; or "" for none.
        classes: 2 where it is of the positive one of two classes, else 0.
        key: the entry of a run's scores.
        bounds: of its parameter, (above, up to); empty without one.
        span: the lowest and the highest value that can be.
        about: its definition, in a line of Markdown.

    Example:
        >>> METRICS["accuracy"].shown(0.8642), METRICS["accuracy"].shown_difference(-0.012)
        ('86.4%', '-1.2 points')
        >>> METRICS["nll"].shown(0.41234), METRICS["cohen_kappa"].shown_difference(0.03)
        ('0.412 nats', '+0.030')
    """

    label: str
    higher_is_better: bool = True
    margin: float = 0.0
    unit: str = "%"
    classes: int = 0
    key: str = ""
    bounds: tuple[float, float] | tuple[()] = ()
    span: tuple[float, float] = (0.0, 1.0)
    about: str = ""

    @property
    def sign(self) -> int:
        """Return 1 where higher is better, else -1: what a score is multiplied with to rank it."""
        return 1 if self.higher_is_better else -1

    @property
    def scale(self) -> float:
        """Return what values are multiplied with to be written: 100 for shares."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def mark(self) -> str:
        """Return what stands behind a value: "%", " nats" or nothing."""
        return "%" if self.unit == "%" else f" {self.unit}".rstrip()

    @property
    def points(self) -> str:
        """Return what stands behind a difference: " points", " nats" or nothing."""
        return " points" if self.unit == "%" else self.mark

    @property
    def decimals(self) -> int:
        """Return as many decimals as show the margin: at 1 point one, at 0.01 nats three."""
        needed = math.ceil(-math.log10(self.scale * (self.margin or 0.01)))
        return max(1, needed) if self.unit == "%" else max(0, needed + 1)

    def rounded(self, value: float) -> float:
        """Return a value or difference as it is written, scaled and rounded, and never -0.0."""
        return round(self.scale * float(value), self.decimals) + 0.0

    def shown(self, value: float | None) -> str:
        """Write a value with its unit; a dash for None."""
        if value is None:
            return "–"
        return f"{self.rounded(value):.{self.decimals}f}{self.mark}"

    def signed(self, difference: float) -> str:
        """Write a difference with its sign, and without its unit."""
        return f"{self.rounded(difference):+.{self.decimals}f}"

    def shown_difference(self, difference: float) -> str:
        """Write a difference with its sign and unit."""
        return self.signed(difference) + self.points

    def possible(self, low: float, high: float) -> tuple[float, float]:
        """Return the ends of an interval of a value, cut to what can be."""
        return max(low, self.span[0]), min(high, self.span[1])

    def possible_difference(self, low: float, high: float) -> tuple[float, float]:
        """Return the ends of an interval of a difference, cut to what can be.

        Example:
            >>> METRICS["accuracy"].possible_difference(0.05, 1.2)
            (0.05, 1.0)
        """
        most = self.span[1] - self.span[0]
        return max(low, -most), min(high, most)


_MEAN = "mean over the classes"
_ANY = (-math.inf, math.inf)
_ROWS = {
    "balanced_accuracy": Metric("balanced accuracy", margin=0.01, about=f"recall, {_MEAN}"),
    "accuracy": Metric("accuracy", margin=0.01, about="share of samples that are right"),
    "macro_f1": Metric("macro-F1", margin=0.01, about=f"F1, {_MEAN}"),
    "worst_recall": Metric("worst-class recall", margin=0.01, about="lowest recall of a class"),
    "mean_average_precision": Metric(
        "mean average precision", margin=0.01, about=f"average precision, one against rest, {_MEAN}"
    ),
    "geometric_mean": Metric(
        "geometric mean of recalls", margin=0.01, about="0 where a class is never found"
    ),
    "matthews": Metric(
        "Matthews correlation",
        margin=0.02,
        unit="",
        span=(-1, 1),
        about="of truth and answer, 0 by chance",
    ),
    "cohen_kappa": Metric(
        "Cohen's kappa",
        margin=0.02,
        unit="",
        span=(-1, 1),
        about="agreement beyond chance, 0 by chance",
    ),
    "macro_auroc": Metric(
        "macro AUROC", margin=0.01, unit="", about=f"area under ROC, one against rest, {_MEAN}"
    ),
    "nll": Metric(
        "negative log-likelihood",
        higher_is_better=False,
        margin=0.01,
        unit="nats",
        span=(0, math.inf),
        about="log-loss of the softmax of the logits; 0.01 is 1% of the true class's probability",
    ),
    "brier": Metric(
        "Brier score",
        higher_is_better=False,
        margin=0.01,
        unit="",
        span=(0, 2),
        about="squared error of the softmax, summed over the classes, 0 to 2",
    ),
    "expected_cost": Metric(
        "expected cost",
        higher_is_better=False,
        margin=0.01,
        unit="",
        span=_ANY,
        about="mean of `costs` over the samples; the margin is 1% of what always the same answer "
        "costs at least on the training split",
    ),
    "f1": Metric("F1", margin=0.01, classes=2, key="positive_f1", about="of the positive class"),
    "f_beta:B": Metric(
        "F-beta of β = {}",
        margin=0.01,
        classes=2,
        bounds=(0, 100),
        about="recall counts B times as much as precision",
    ),
    "recall_at_precision:P": Metric(
        "recall at precision {}",
        margin=0.01,
        classes=2,
        bounds=(0, 1),
        about="highest recall of thresholds with such a precision; 0 where none has it",
    ),
    "auroc": Metric(
        "AUROC", margin=0.01, unit="", classes=2, key="positive_auroc", about="area under ROC"
    ),
    "average_precision": Metric(
        "average precision",
        margin=0.01,
        classes=2,
        key="positive_average_precision",
        about="of the positive class",
    ),
    "expected_calibration_error": Metric("calibration error", higher_is_better=False),
}
METRICS = {word: replace(row, key=row.key or word) for word, row in _ROWS.items()}
PRIMARY = tuple(word for word, row in METRICS.items() if row.margin)  # a plan's `metric`
BESIDE = PRIMARY[:5]  # shown beside the study's metric


def metric(word: str, higher_is_better: bool | None = None) -> Metric:
    """Return the row of a metric: a word of the table, one with its parameter, or `module:name`.

    A function of the user's own may have an attribute `higher_is_better`.

    Args:
        word: such as "accuracy", "f_beta:2" or "mine:profit".
        higher_is_better: of a function of the user's own; None to import it and see.

    Raises:
        ValueError: no such metric or function, or a parameter that is none.

    Example:
        >>> metric("recall_at_precision:0.9").label, metric("mine:loss", False).higher_is_better
        ('recall at precision 0.9', False)
    """
    if word in PRIMARY and not METRICS[word].bounds:
        return METRICS[word]
    name, colon, parameter = word.partition(":")
    found = next((k for k in PRIMARY if k.startswith(f"{name}:")), None)
    if found:
        row = METRICS[found]
        low, high = row.bounds or (0, 0)
        try:
            number = float(parameter)
        except ValueError:
            number = math.nan
        if not low < number <= high:
            raise ValueError(
                f"{found} must have a number above {low:g} and up to {high:g} in place of "
                f"{found[-1]}, but got {word!r}"
            )
        return replace(row, label=row.label.format(f"{number:g}"), key=word)
    if not colon:
        raise ValueError(unknown("metric", word, (*PRIMARY, "module:name")))
    if higher_is_better is None:
        function = import_name("metric", word)
        if not callable(function):
            raise ValueError(
                f"metric {word!r} must be a function of targets and probabilities, but is a "
                f"{type(function).__name__}"
            )
        higher_is_better = bool(getattr(function, "higher_is_better", True))
    label = parameter.rpartition(".")[2].replace("_", " ")
    return Metric(label, higher_is_better, 0.01, "", key=word, span=_ANY)


def parameter_of(word: str) -> float | None:
    """Return the number in a word such as "f_beta:2"; None for all others."""
    return float(word.partition(":")[2]) if metric(word, True).bounds else None


def table_of_metrics() -> str:
    """Return the metrics that a study can be decided by as a table in Markdown."""
    lines = ["| `metric` | name | better | margin | |", "| --- | --- | --- | --- | --- |"]
    for word, row in METRICS.items():
        if row.margin:
            label = row.label.format(word[-1]) + (", two classes" if row.classes == 2 else "")
            margin = f"{row.rounded(row.margin):g}{row.points}".replace("1 points", "1 point")
            better = "higher" if row.higher_is_better else "lower"
            margin = "see there" if word == "expected_cost" else margin
            lines.append(f"| `{word}` | {label} | {better} | {margin} | {row.about} |")
    return "\n".join(lines)
