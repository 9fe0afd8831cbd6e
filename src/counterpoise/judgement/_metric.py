"""The row of a metric that is known by its name and scores alone."""

import re
from dataclasses import replace

import numpy as np

from counterpoise.registry import Metric
from counterpoise.stats import t_interval

_LOWER = (
    ".*loss|.*error|.*entropy|err|nll|perplexity|ppl|r?mse|mae|mape|brier|ece|fid|[wce]er|regret|"
    "cost|divergence|distance|latency|seconds"
)
_SHARES = "error|err|[wce]er"  # of those
_NO_SHARES = "squared|absolute|mcc|matthews|kappa|auc|auroc|roc|r2|correlation"
_PERCENT = 10  # a mean from here to 100 is taken for percentages


def metric_of(
    name: str,
    scores: list[float],
    baseline: list[float],
    margin: float | None = None,
    lower_is_better: bool | None = None,
) -> tuple[Metric, list[str]]:
    """Return the row of a metric, and a note for each thing that was guessed.

    The direction is guessed by the words of the name. The margin is 0.01 where all scores lie in
    0..1, 1 where they are percentages, else 1% of the baseline's mean, to one digit; so it is of
    losses, too, which can be of any size.

    Args:
        name: of the metric.
        scores: all finite ones, at least one.
        baseline: those of the baseline.
        margin: the smallest difference that matters; None to guess.
        lower_is_better: None to guess.

    Example:
        >>> metric_of("test/accuracy", [0.81, 0.84], [0.81])[0].shown_difference(0.01)
        '+1.0 points'
        >>> metric_of("valLoss", [2.31, 1.84], [2.31])[1][0]
        'lower is better, by the name valLoss; say --no-lower-is-better where it is not'
    """
    words = re.findall("[a-z]+[0-9]*", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())
    notes = []
    if lower_is_better is None:
        lower_is_better = _among(words, _LOWER) and "neg" not in words
        side, other = ("lower", "--no-lower") if lower_is_better else ("higher", "--lower")
        notes.append(f"{side} is better, by the name {name}; say {other}-is-better where it is not")
    share = (not lower_is_better or _among(words, _SHARES)) and not _among(words, _NO_SHARES)
    low, high = min(scores), max(scores)
    row = Metric(name, not lower_is_better, key=name, unit="")
    if low >= 0 and high <= 1 and (share or not lower_is_better):
        row = replace(row, margin=0.01, unit="%" if share else "")
        why = "all scores lie in 0..1"
    elif share and low >= 0 and high <= 100 and np.mean(scores) >= _PERCENT:
        row, why = replace(row, margin=1.0), "scores look like percentages"
    else:
        mean = abs(t_interval(baseline or scores).estimate) or max(map(abs, scores))
        row, why = replace(row, margin=float(f"{mean / 100:.1g}")), "1% of the baseline's mean"
    if margin is not None:
        return replace(row, margin=margin), notes
    notes.append(
        f"differences of less than {size(row)} do not matter: a guess, as {why}; say --margin"
    )
    return row, notes


def _among(words: list[str], pattern: str) -> bool:
    return any(re.fullmatch(pattern, word) for word in words)


def size(row: Metric) -> str:
    """Write the margin of a metric.

    Example:
        >>> size(Metric("accuracy", margin=0.01)), size(Metric("loss", margin=0.02, unit=""))
        ('1 point', '0.02')
    """
    return f"{row.scale * row.margin:g}{row.points}".replace("1 points", "1 point")
