"""Variant, seed and data set of each run, by its settings or by its name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.judgement import _words
from counterpoise.judgement._cells import read_scores
from counterpoise.judgement._columns import Asked
from counterpoise.judgement._record import Record
from counterpoise.registry import unknown
from counterpoise.text import listed

_END = r"(?=$|[/_.,\s-])"
_CUT = r"(?:^|[/_.,\s-]+)"
_STATED = re.compile(rf"{_CUT}(?:random_?state|rng|seed)[_=.\s-]*(?P<seed>\d+){_END}", re.I)
_OTHERS = (  # taken where they leave one name to several runs
    re.compile(r"/(?P<seed>\d+)$"),
    re.compile(rf"{_CUT}s[_=]?(?P<seed>\d+)$", re.I),
    re.compile(rf"{_CUT}(?:run|trial|rep|replicate|repeat|fold)[_=.\s-]*(?P<seed>\d+){_END}", re.I),
    re.compile(r"(?:^|/)version_(?P<version>\d+)$"),  # Lightning counts: it is no seed
    _COUNTED := re.compile(r"[_-](?P<seed>\d+)$"),  # where all count alike, unlike resnet_18
)

_NAME = "name"  # of the runs, without their seeds


@dataclass(frozen=True)
class Keys:
    """Variant, seed (all None where a run has none), data set and fold of each run.

    `folds` are "" where folds pair runs or there are none; `differing` are further settings that
    are not the same in all of them.
    """

    variants: list[str]
    seeds: list[str | int | None]
    datasets: list[str]
    folds: list[str]
    differing: tuple[str, ...]


def keys_of(records: Sequence[Record], asked: Asked, notes: list[str], warnings: list[str]) -> Keys:
    """Return what each record is a run of, and note by which columns or names.

    Raises:
        ValueError: an unknown name, or a run without a value of one.
    """
    known = list(dict.fromkeys(name for record in records for name in record.settings))
    for kind, names in (
        ("variant", asked.variant),
        ("seed", (asked.seed,)),
        ("dataset", (asked.dataset,)),
    ):
        for name in filter(None, names):
            if name not in known and (kind, name) != ("variant", _NAME):
                raise ValueError(unknown(kind, name, known))
    names, from_names = split_names([record.name for record in records])
    values = {n: [r.settings.get(n, "").strip() for r in records] for n in known}
    values.setdefault(_NAME, names)
    seed = asked.seed or _seed_column(values)
    data = asked.dataset or _words.first_of(_words.DATASETS, values)
    datasets = _filled(records, values, data, "dataset") if data else []
    rest = {name: cells for name, cells in values.items() if name not in (seed, data)}
    differing, own = _differing(rest, names)
    columns = asked.variant or _columns(differing)
    if own and not asked.variant:
        notes.append(f"no variants, as they differ in every run: {listed(own)}")
    known_as = values if asked.variant else {**values, _NAME: names}
    if not columns:  # all runs are of one
        columns = [_words.first_of((*_words.STRONG, *_words.WEAK), values) or _NAME]
    chosen = {name: known_as[name] for name in columns}
    if not asked.variant and _same_runs(names, chosen):
        chosen = {_NAME: names}
    (first, *more) = chosen
    if asked.variant or (not more and first != _NAME and _is_plain(first)):
        for name in chosen:
            _filled(records, chosen, name, "variant")
    by = "the runs' names" if list(chosen) == [_NAME] else listed(map(repr, chosen), most=8)
    notes.append(f"variant: by {by}")
    if len(set(datasets)) > 1:
        notes.append(f"dataset: by {data!r}")
    else:
        datasets = [""] * len(records)
    fold = _folds(values, seed)
    seeds = (
        _from_column(records, values, seed, notes)
        if seed
        else _from_names(records, from_names, notes)
    )
    if fold:
        notes.append(f"folds: those of a seed, by {fold!r}, are averaged first")
    elif _words.word(seed) in _words.FOLDS:
        warnings.append(
            "folds are no seeds: they share training samples, so that intervals are too narrow"
        )
    variants = _labels(chosen)
    others = {name: cells for name, cells in differing.items() if name not in chosen}
    within = [n for n, cells in others.items() if n != _NAME and not _follows(cells, variants)]
    if within and not asked.variant:
        warnings.append(
            f"runs of one variant differ in {listed(within)}; name all that differs as variant"
        )
    with_it = [n for n, cells in others.items() if n != _NAME and _follows(cells, variants)]
    if with_it and list(chosen) != [_NAME]:
        verb = "differ" if len(with_it) > 1 else "differs"
        warnings.append(f"{listed(with_it)} {verb} between these variants as well")
    return Keys(
        variants,
        seeds,
        datasets,
        _filled(records, values, fold, "fold") if fold else [""] * len(records),
        tuple(others),
    )


def _same_runs(names: list[str], chosen: dict[str, list[str]]) -> bool:
    """Return whether runs' names tell apart what settings do, and are better than `lr=0.1`."""
    (first, *others) = chosen
    if not others and not all(read_scores([cell]).numbers for cell in set(chosen[first])):
        return False
    rows = list(zip(*chosen.values(), strict=True))
    return len(set(names)) == len(set(rows)) == len(set(zip(names, rows, strict=True)))


def _follows(cells: list[str], variants: list[str]) -> bool:
    """Return whether a setting is the same in all runs of a variant, and differs between some."""
    return len(set(zip(cells, variants, strict=True))) == len(set(variants))


def split_names(names: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Return names without what tells repeated runs apart, and the seeds in them.

    Example:
        >>> split_names(["out/focal_seed0", "out/focal_seed1", "out/ce_seed0"])
        (['focal', 'focal', 'ce'], ['0', '1', '0'])
        >>> split_names(["ce/version_0", "ce/version_1", "focal/version_0"])
        (['ce', 'ce', 'focal'], [None, None, None])
    """
    short = _without_shared(names, numbers=False)
    stated = any(_STATED.search(name) for name in short)
    for pattern in [_STATED] if stated else _OTHERS:
        found = [list(pattern.finditer(name))[-1:] for name in short]
        rest = [_without(name, m[0]) if m else name for name, m in zip(short, found, strict=True)]
        seeds = [m[0].groupdict().get("seed") if m else None for m in found]
        repeated = len(set(rest)) < len(set(short))
        if stated or (repeated and (pattern is not _COUNTED or _count_alike(rest, seeds))):
            return _without_shared(rest), seeds
    return _without_shared(short), [None] * len(names)


def _without(name: str, found: re.Match[str]) -> str:
    """Return a path without a part of it, and what stood between that and the rest."""
    before, after = name[: found.start()], name[found.end() :]
    if not before or found[0].startswith("/"):
        after = after.lstrip("_-., ")
    return f"{before}{'/' * found[0].startswith('/')}{after}".strip("/_-., ").replace("//", "/")


def _count_alike(names: Sequence[str], numbers: Sequence[str | None]) -> bool:
    """Return whether two names or more have the same numbers, from 0 or 1 on."""
    counts: dict[str, list[str | None]] = {}
    for name, number in zip(names, numbers, strict=True):
        counts.setdefault(name, []).append(number)
    first, *others = [sorted(map(str, count)) for count in counts.values()]
    ranges = [sorted(str(k + start) for k in range(len(first))) for start in (0, 1)]
    return first in ranges and bool(others) and all(other == first for other in others)


def _without_shared(names: Sequence[str], numbers: bool = True) -> list[str]:
    """Return paths without the folders that all begin or end with; those with numbers or not."""
    parts = [name.split("/") for name in names]
    if len(set(names)) < 2:
        return [name.rpartition("/")[2] for name in names] if numbers else list(names)
    for end in (0, -1):
        while all(len(p) > 1 and p[end] == parts[0][end] for p in parts) and (
            numbers or not re.search(r"\d", parts[0][end])
        ):
            for p in parts:
                del p[end]
    return ["/".join(p) for p in parts]


def _seed_column(values: dict[str, list[str]]) -> str:
    """Return the column that is the seed: by its name, or whole numbers that count the runs."""
    stated = _words.first_of(_words.SEEDS, values)
    counting = [
        name
        for word in _words.REPEATS
        if (name := _words.first_of([word], values)) and all(map(str.isdecimal, values[name]))
    ]
    if stated and len(set(values[stated])) == 1 and counting:
        return counting[0]
    return stated or next(iter(counting), "")


def _filled(
    records: Sequence[Record], values: dict[str, list[str]], name: str, kind: str
) -> list[str]:
    """Return a column without gaps."""
    if "" in values[name]:
        where = records[values[name].index("")].where
        raise ValueError(
            f"{kind} {name!r} must have a value for each run, but {where} has none; name another "
            f"{kind}, or leave the run out"
        )
    return values[name]


def _folds(values: dict[str, list[str]], seed: str) -> str:
    """Return the column of folds that stands beside that of seeds; "" without one."""
    name = _words.first_of(_words.FOLDS, values) if seed else ""
    return name if name not in ("", seed) and len(set(values[name])) > 1 else ""


def _from_column(
    records: Sequence[Record], values: dict[str, list[str]], name: str, notes: list[str]
) -> list[str | int | None]:
    """Return what pairs runs: the seeds, or what counts them."""
    cells, word = _filled(records, values, name, "seed"), _words.word(name)
    counts = word in _words.REPEATS and word not in _words.FOLDS
    only = "; nothing else is named like one" if counts else ""
    notes.append(f"seed: by {name!r}{only}")
    return _as_numbers(cells)


def _from_names(
    records: Sequence[Record], seeds: list[str | None], notes: list[str]
) -> list[str | int | None]:
    texts = [text for text in seeds if text is not None]
    if len(texts) == len(seeds):
        notes.append("seed: by the runs' names")
        return _as_numbers(texts)
    where = records[seeds.index(None)].where
    notes.append(f"seed: none, as {where} names none; runs are not paired")
    return [None] * len(seeds)


def _as_numbers(texts: list[str]) -> list[str | int | None]:
    """Return whole numbers as such, however they are written: 1, 1.0 and 1e0."""
    values = read_scores(texts).values
    whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)
    found = [int(v) if is_whole else t for t, v, is_whole in zip(texts, values, whole, strict=True)]
    return list(found if whole.all() else map(str, found))


def _differing(
    values: dict[str, list[str]], names: list[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return settings that differ between runs, the likeliest variant first, and those not taken.

    The names of the runs come last. Seeds, times and places are no variants, and neither is what
    differs in every run, where another one does not.
    """
    found = {
        name: cells
        for name, cells in values.items()
        if len(set(cells)) > 1
        and not _words.is_kept_beside(name)
        and _words.word(name) not in _words.REPEATS
        and not _words.is_run_name(name)
        and "seed" not in _words.word(name).split("_")
        and not (_words.counts(name) and 2 * len(set(cells)) > len(cells))
    }
    if len(set(names)) > 1:
        found[_NAME] = names
    shared = {name: cells for name, cells in found.items() if len(set(cells)) < len(cells)}
    order = (*_words.STRONG, *_words.WEAK)

    def place(name: str) -> tuple[int, str]:
        word = _words.word(name)
        numbers = read_scores(list(set(found[name]))).bad is None
        if word in _words.STRONG or (word in order and not numbers):
            return order.index(word), name
        return len(order) + (2 if name == _NAME else numbers), name

    own = [name for name in found if shared and name not in shared and name != _NAME]
    return {name: found[name] for name in sorted(shared or found, key=place)}, own


def _columns(differing: dict[str, list[str]]) -> list[str]:
    """Return the column named as a variant is, or as few as tell apart all that differ."""
    first = next(iter(differing), "")
    if _words.word(first) in _words.STRONG:
        return [first]
    chosen: list[str] = []
    for name in differing:
        before = len(set(zip(*(differing[n] for n in chosen), strict=True)))
        if len(set(zip(*(differing[n] for n in (*chosen, name)), strict=True))) > max(before, 1):
            chosen.append(name)
    return chosen


def _labels(chosen: dict[str, list[str]]) -> list[str]:
    """Return the values of one column, or of several as `lr=0.1, norm=group`."""
    (first, *others) = chosen
    if not others:
        none = "" if first == _NAME else f"no {first}"
        return [cell or none for cell in chosen[first]]
    rows = (zip(chosen, row, strict=True) for row in zip(*chosen.values(), strict=True))
    return [", ".join(f"{n}={v}" for n, v in row if v) or f"no {first}" for row in rows]


def _is_plain(name: str) -> bool:
    """Return whether the values of a column are names of variants by themselves."""
    return _words.word(name) in (*_words.STRONG, *_words.WEAK) or _words.is_run_name(name)
