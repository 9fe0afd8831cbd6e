"""Verdicts on the differences between variants that were trained elsewhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from counterpoise import stats
from counterpoise.arguments import as_integer
from counterpoise.judgement._judgement import Family, Judgement
from counterpoise.judgement._metric import check_unit, metric_of, size
from counterpoise.judgement._names import alike, lookalikes, named
from counterpoise.judgement._read_runs import read_runs
from counterpoise.judgement._runs import Runs
from counterpoise.registry import Metric
from counterpoise.text import listed

_BASELINES = ("baseline", "base", "default", "control", "vanilla", "main", "plain")


def judge(
    runs: Any,
    *,
    variant: str | Sequence[str] = "",
    seed: str = "",
    metric: str | Sequence[str] = (),
    dataset: str = "",
    epoch: str = "",
    baseline: str = "",
    margin: float | None = None,
    lower_is_better: bool | None = None,
    looks: int = 1,
    unpaired: bool = False,
    chance: float | None = None,
    confidence: float = 0.95,
) -> Judgement:
    """Judge runs of any origin: is a difference between variants more than noise?

    Every variant is compared with the baseline as `stats.compare_variants` does: on common seeds
    where at least half are common, else by Welch's t interval. One metric decides. Each of s other
    metrics, and each of d data sets, is a family of verdicts by itself at a confidence of
    1 - (1 - confidence) / (s d). Over data sets the variants' means are compared by Wilcoxon's test
    (`Judgement.datasets`).

    Args:
        runs: `Runs`, or all that `read_runs` reads: files, folders, data frames, dicts, records.
        variant: The column that names the variants, as the next four for `read_runs` alone.
        seed: The column of seeds.
        metric: The metrics, the one that decides first.
        dataset: The column of data sets.
        epoch: The rows that count where there is one an epoch.
        baseline: The variant that the others are compared with; "" for one with such a name as
            baseline, base or default, else the first.
        margin: The smallest difference that matters, in units of the metric that decides; None to
            guess it by the scores.
        lower_is_better: Of the metric that decides; None to guess it by the name.
        looks: How often the same runs are judged while seeds are added: verdicts stay valid if
            they are read at most so many times.
        unpaired: Whether equal seeds mean nothing, so that runs are compared as independent ones.
        chance: Expected score of a guess, by the metric that decides, to report runs that did not
            learn. Only where higher is better.
        confidence: Of all the claims of a family together.

    Returns:
        The verdicts; guesses are in its notes.

    Raises:
        TypeError: margin, chance or confidence is no number.
        ValueError: The runs cannot be read, there is no score at all, the baseline is unknown, or
            margin, confidence or looks is out of its range.

    Source: docs/statistics.md; over data sets Demšar 2006, JMLR 7, 1.

    Example:
        >>> scores = {"plain": [0.71, 0.74, 0.70, 0.73, 0.72], "new": [0.78, 0.8, 0.76, 0.78, 0.79]}
        >>> rows = [(name, k, x) for name, xs in scores.items() for k, x in enumerate(xs)]
        >>> frame = pd.DataFrame(rows, columns=["variant", "seed", "accuracy"])
        >>> judge(frame).verdicts[0].words
        'better, by at least the margin'
    """
    as_integer("looks", looks, 1)
    for name, number in (("margin", margin), ("chance", chance), ("confidence", confidence)):
        if number is not None and (isinstance(number, (bool, str)) or not np.isreal(number)):
            raise TypeError(
                f"{name} must be a number, but got {number!r}; 0.01 is one point of scores in 0..1"
            )
    stats.t_interval([0.0], confidence)  # refuses one out of range
    if not isinstance(metric, (str, list, tuple)):
        raise TypeError(
            f"metric must be a name or a list of names, but got {metric!r}; give that of a column"
        )
    names = (metric,) if isinstance(metric, str) else tuple(metric)
    columns = {
        "variant": variant,
        "seed": seed,
        "metric": names,
        "dataset": dataset,
        "epoch": epoch,
    }
    if not isinstance(runs, Runs):
        runs = read_runs(runs, **columns)
    elif any(columns.values()):
        raise ValueError(
            "variant, seed, metric, dataset and epoch are for runs that are to be read"
        )
    frame, notes = runs.frame, list(runs.notes)
    variants = list(dict.fromkeys(frame["variant"]))
    base, guesses = _baseline(variants, baseline)
    frame, left_out = _with_baseline(frame, base)
    sets = list(dict.fromkeys(frame["dataset"]))
    others = runs.metrics[1:]
    paired = None if not unpaired and frame["seed"].notna().all() else False
    if paired is None:
        _check_once(frame)
    strict = 1 - (1 - confidence) / len(sets)
    rule = {"baseline": base, "paired": paired, "looks": looks}

    row, said = _metric(frame, runs.metrics[0], base, margin, lower_is_better)
    notes = [*guesses, *said, *sorted(notes, key=_is_minor), *left_out]
    warnings = [*runs.warnings, *lookalikes(variants), *_missing(frame)]
    if chance is not None:
        _check_chance(chance, row, frame[row.key])
    primary = _families(frame, row, sets, confidence=strict, chance=chance, **rule)
    warnings += [
        f"{line}{f' ({family.dataset})' * bool(family.dataset)}"
        for family in primary
        for line in family.without_partner
    ]
    notes += dict.fromkeys(line for family in primary for line in family.all_equal)
    secondary, others_said = {}, []
    for name in others:
        found, _ = _metric(frame, name, base)
        level = 1 - (1 - strict) / len(others)
        secondary[name] = _families(frame, found, sets, confidence=level, **rule)
        better = "higher" if found.higher_is_better else "lower"
        others_said.append(f"{name} ({better} is better, margin {size(found)})")
    if others:
        notes.append(
            f"{row.label} decides; the other metrics are secondary, together at confidence "
            f"{confidence:g}, so that claims by them are rarer: {', '.join(others_said)}"
        )
    over = None
    if len(sets) > 1:
        from counterpoise.judgement._datasets import over_datasets

        means = {name: {} for name in variants}
        for family in primary:
            for name, mean in family.means.items():
                means[name] |= {family.dataset: mean.estimate} if mean else {}
        over = over_datasets(
            means, base, higher_is_better=row.higher_is_better, confidence=confidence
        )
    return Judgement(
        base, primary, secondary, over, confidence, looks, tuple(notes), tuple(warnings)
    )


def _is_minor(note: str) -> bool:
    """Return whether a note is of no guess that decides the verdicts, to stand below those."""
    return not note.startswith(("judged by", "not read as", "epoch:", "folds:"))


def _check_chance(chance: float, row: Metric, scores: pd.Series) -> None:
    if not row.higher_is_better:
        raise ValueError(f"chance needs a metric of which higher is better, but got {row.label}")
    low, high = scores.min(), scores.max()
    if not min(low, 0) <= chance <= high:
        raise ValueError(
            f"chance must be the score of a guess, at most {high:g} by these runs, but got "
            f"{chance:g}; 0.1 is that of ten classes where scores lie in 0..1"
        )


def _baseline(variants: list[str], asked: str) -> tuple[str, list[str]]:
    if asked:
        return named(variants, str(asked)), []
    like = [found for word in _BASELINES if len(found := alike(variants, word)) == 1]
    name, why = (like[0][0], "by its name") if like else (variants[0], "the first that was read")
    return name, [f"baseline: {name} ({why})"]


def _missing(frame: pd.DataFrame) -> list[str]:
    """Return a sentence for each variant without a run of a seed that most others have."""
    said = []
    for name, part in frame[frame["seed"].notna()].groupby("dataset", sort=False):
        seeds = part.groupby("variant", sort=False)["seed"].agg(set)
        for variant, own in seeds.items():
            others = seeds.drop(variant)
            if not any(2 * len(own & other) >= min(len(own), len(other)) for other in others):
                continue  # runs that share no seeds are not paired
            every = dict.fromkeys(part["seed"])
            lacks = [
                s for s in every if s not in own and 2 * sum(s in x for x in others) >= len(others)
            ]
            if lacks:
                where = f" on {name}" if name else ""
                said.append(f"{variant}{where} has no run with seed {listed(lacks)}")
    return said


def _with_baseline(frame: pd.DataFrame, baseline: str) -> tuple[pd.DataFrame, list[str]]:
    """Leave out data sets on which the baseline has no run."""
    known = set(frame.loc[frame["variant"] == baseline, "dataset"])
    lacking = [name for name in dict.fromkeys(frame["dataset"]) if name not in known]
    notes = [f"left out, as {baseline} has no run on it: {name}" for name in lacking]
    return frame[frame["dataset"].isin(known)], notes


def _check_once(frame: pd.DataFrame) -> None:
    columns = ["variant", "seed", "dataset"]
    twice = frame[frame.duplicated(columns)]
    if len(twice):
        name, seed = twice.iloc[0][columns[:2]]
        times = int((frame[columns] == twice.iloc[0][columns]).all(axis=1).sum())
        raise ValueError(
            f"each variant must have one run a seed, but {name} has {times} of {seed}; name the "
            "column that tells them apart by --variant or --dataset, or say --unpaired"
        )


def _metric(
    frame: pd.DataFrame,
    name: str,
    baseline: str,
    margin: float | None = None,
    lower_is_better: bool | None = None,
) -> tuple[Metric, list[str]]:
    finite = frame[np.isfinite(frame[name])]
    if finite.empty:
        raise ValueError(
            f"{name} must have a score in some run, but all {len(frame)} runs have none; name "
            "another metric"
        )
    groups = finite.groupby(["variant", "dataset"], sort=False)[name]
    check_unit(name, {" on ".join(filter(None, key)): list(xs) for key, xs in groups})
    before = finite.loc[finite["variant"] == baseline, name]
    return metric_of(name, finite[name].tolist(), before.tolist(), margin, lower_is_better)


def _families(
    frame: pd.DataFrame,
    row: Metric,
    sets: list[str],
    *,
    baseline: str,
    paired: bool | None,
    looks: int,
    confidence: float,
    chance: float | None = None,
) -> tuple[Family, ...]:
    """Return the verdicts by a metric, a family a data set."""
    families = []
    for name in sets:
        part = frame[frame["dataset"] == name]
        scores: dict[Any, dict[Any, float | None]] = {}
        for number, (variant, seed, score) in enumerate(
            zip(part["variant"], part["seed"], part[row.key], strict=True)
        ):
            key = number if paired is False else seed
            scores.setdefault(variant, {})[key] = score if np.isfinite(score) else None
        most = max(map(len, scores.values()))
        if looks > 1 and most > stats.MOST_LOOKED_AT:
            raise ValueError(
                f"looks can be several for {stats.MOST_LOOKED_AT} runs a variant at most, but "
                f"there are {most}; judge them once"
            )
        verdicts = stats.compare_variants(
            scores,
            baseline,
            margin=row.margin,
            confidence=confidence,
            chance=chance,
            higher_is_better=row.higher_is_better,
            unit=row.unit,
            paired=paired,
            looks=stats.Looks(last=max(200, most), at_most=looks) if looks > 1 else None,
        )
        families.append(Family(row, name, scores, tuple(verdicts), confidence))
    return tuple(families)
