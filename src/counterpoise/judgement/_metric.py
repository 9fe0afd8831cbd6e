"""The row of a metric that is known by its name and scores alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from counterpoise.judgement import _words
from counterpoise.registry import Metric
from counterpoise.stats import t_interval

_SHARES = r"error|err|[wce]er|fpr\d*|fnr\d*"  # of those of which lower is better
_UNBOUNDED = "reward|rewards|return|returns|psnr|gain|profit|elo"
_NO_SHARES = f"squared|absolute|mcc|matthews|kappa|auc|auroc|roc|r2|correlation|{_UNBOUNDED}"
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

    Raises:
        ValueError: a margin of 1 or more, where scores lie in 0..1.

    Example:
        >>> metric_of("test/accuracy", [0.81, 0.84], [0.81])[0].shown_difference(0.01)
        '+1.0 points'
        >>> metric_of("valLoss", [2.31, 1.84], [2.31])[1][0]
        'direction: lower is better (by the name valLoss)'
    """
    words = _words_of(name)
    notes = []
    if lower_is_better is None:
        lower_is_better = _words.lower_is_better(name)
        side = "lower" if lower_is_better else "higher"
        said = _words.says_what(name)
        why = f"by the name {name}" if said else f"taken so, as the name {name} does not say"
        notes.append(f"direction: {side} is better ({why})")
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
    if margin is None and not row.margin:
        raise ValueError(
            f"margin must be named where the baseline's scores are 0, as those of {name}; give the "
            "smallest difference that matters to you"
        )
    if margin is None:
        return row, [*notes, f"margin: {size(row)} (a guess: {why})"]
    if margin >= 1 and low >= 0 and high <= 1:
        points = f"where 1 is 100 points; give {margin / 100:g} for {margin:g} point"
        points += "s" * (margin != 1)
        raise ValueError(
            f"margin must be below 1, but got {margin:g}: scores lie in 0..1, "
            f"{points if row.unit else 'so that no difference is larger'}"
        )
    return replace(row, margin=margin), notes


def check_unit(name: str, scores: Mapping[str, Sequence[float]]) -> None:
    """Raise unless all scores are shares, or all percentages.

    Args:
        name: of the metric.
        scores: by variant, and data set.

    Raises:
        ValueError: some lie in 0..1 and would, in percent, lie among the others.
    """
    words = _words_of(name)
    if _among(words, _UNBOUNDED) or (_words.lower_is_better(name) and not _among(words, _SHARES)):
        return
    every = [(x, who) for who, xs in scores.items() for x in xs]
    shares = [pair for pair in every if 0 < pair[0] <= 1]
    percents = [pair for pair in every if pair[0] > 1]
    if not shares or not percents or min(every)[0] < 0 or max(every)[0] > 100:
        return
    low, high, middle = min(percents), max(percents), 100 * float(np.median([x for x, _ in shares]))
    if low[0] >= _PERCENT and low[0] / 2 <= middle <= 2 * high[0]:
        (share, one), (percent, other) = shares[0], high
        raise ValueError(
            f"{name} must have one unit, but {one} has {share:g}, in 0..1, and {other} has "
            f"{percent:g}; write all as shares, or all in percent"
        )


def _words_of(name: str) -> list[str]:
    return re.findall("[a-z]+[0-9]*", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _among(words: list[str], pattern: str) -> bool:
    return any(re.fullmatch(pattern, word) for word in words)


def size(row: Metric) -> str:
    """Write the margin of a metric.

    Example:
        >>> size(Metric("accuracy", margin=0.01)), size(Metric("loss", margin=0.02, unit=""))
        ('1 point', '0.02')
    """
    return f"{row.scale * row.margin:g}{row.points}".replace("1 points", "1 point")
