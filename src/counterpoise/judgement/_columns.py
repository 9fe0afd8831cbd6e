"""The columns of a table: a row a run or an epoch, a column a seed, or a column a variant."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from counterpoise.judgement import _words
from counterpoise.judgement._cells import as_text, doubtful_comma, is_spread, read_scores
from counterpoise.judgement._record import Record, Table
from counterpoise.registry import unknown
from counterpoise.text import listed, one_line

_REPEAT = r"(?:random[ _]?state|seed|run|trial|rep(?:licate|eat|etition)?|fold)"
_OF_SEED = re.compile(
    rf"(?:(?P<metric>.*?)[ _./-]+)?(?P<word>{_REPEAT})[ _=#-]*(?P<seed>\d+)", re.IGNORECASE
)
_SHORT = re.compile(r"(?P<word>s?)(?P<seed>\d+)", re.IGNORECASE)
_INDEX = re.compile(r"Unnamed: 0|index|level_0")
_THOUSANDS = re.compile(r"([+-]?\d{1,3}(?:([.,])\d{3})+)(?!\2)[.,](\d+)")
_COUNTED = re.compile(r"(?P<word>.*[^\W\d])[ _.#=-]*(?P<seed>\d+)")
_BITS = {"8", "16", "32", "64"}
_ALIKE = 10.0  # scores of seeds differ by a smaller factor
_NO_REPEATS = {  # stems that count something else
    *("top", "f", "p", "k", "class", "layer", "level", "stage", "task", "group", "dataset", "data"),
    *("v", "version", "model", "method", "variant", "net", "config", "setup", "system", "baseline"),
    *("map", "ap", "recall", "precision", "hits", "bleu", "rouge", "epoch", "step", "phase"),
}


@dataclass(frozen=True)
class Asked:
    """Columns that were named by whoever asks."""

    variant: tuple[str, ...] = ()
    seed: str = ""
    metric: tuple[str, ...] = ()
    dataset: str = ""

    @property
    def settings(self) -> list[str]:
        """Return those that are no metrics."""
        return [name for name in (*self.variant, self.seed, self.dataset) if name]


def records(table: Table, asked: Asked, notes: list[str]) -> list[Record]:
    """Return a record of each row, once a column a seed or a variant became rows.

    Raises:
        ValueError: no rows, two columns of one name, or a score that is no number.
    """
    frame = _without_index(table.frame)
    frame = frame[[any(map(as_text, row)) for row in frame.itertuples(index=False)]]
    if not len(frame) or not len(frame.columns):
        raise ValueError(f"{table.where} must hold a row a run, but has no rows; add some")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ValueError(
            f"{table.where} must name each column once, but has {twice[0]!r} twice; rename one"
        )
    _check_thousands(frame, table.where)
    notes += table.notes
    frame = _of_one_split(frame, table.where, asked, notes)
    frame, sparse = _with_metrics(frame, asked)
    frame = _long(frame, table, asked, notes)
    scores = _scores(frame, table.where, asked, notes)
    epoch = _words.first_of(_words.EPOCHS, frame.columns)
    epoch = "" if epoch in scores or epoch in asked.settings else epoch
    sparse = sparse or bool(epoch)  # an empty cell was not logged in that row
    steps = read_scores(frame[epoch].tolist()).values if epoch else np.zeros(len(frame))
    state = _words.first_of(_words.STATES, frame.columns)
    cells = {str(name): [as_text(cell) for cell in frame[name]] for name in frame.columns}
    texts = {
        name: cells[name]
        for name in cells
        if name not in (*scores, epoch) and (name in asked.settings or _is_setting(frame, name))
    }
    named = next(
        (n for n in texts if _words.is_run_name(n) and not all(map(str.isdecimal, texts[n]))), ""
    )
    found = []
    for k, row in enumerate(frame.index):
        if epoch and not np.isfinite(steps[k]):
            raise ValueError(
                f"column {epoch!r} of {table.where} must hold numbers, but row {row} has "
                f"{cells[epoch][k]!r}; leave the row out"
            )
        logged = {
            name: [(float(steps[k]), float(values[k]))]
            for name, values in scores.items()
            if not sparse or cells[name][k]
        }
        found.append(
            Record(
                f"row {row} of {table.where}",
                logged,
                {name: column[k] for name, column in texts.items() if name != state},
                texts[named][k] if named else table.name,
                float(steps[k]) if epoch else None,
                texts[state][k].lower().rpartition(".")[2] if state in texts else "",
            )
        )
    return _without_summaries(found, table.where, notes)


def _check_thousands(frame: pd.DataFrame, where: str) -> None:
    for name in frame.columns:
        for row, cell in frame[name].items():
            if isinstance(cell, str) and (found := _THOUSANDS.fullmatch(cell.strip())):
                whole, _, rest = found.groups()
                plain = f"{re.sub('[.,]', '', whole)}.{rest}"
                raise ValueError(
                    f"column {name!r} of {where} must hold numbers, but row {row} has {cell!r}; "
                    f"write {plain}, without marks of thousands"
                )


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame without the index that pandas writes first, or with text of it as "name"."""
    first = str(frame.columns[0]) if len(frame.columns) > 1 else ""
    if not _INDEX.fullmatch(first) or "name" in frame.columns:
        return frame
    return (
        frame.iloc[:, 1:] if _holds_numbers(frame, first) else frame.rename(columns={first: "name"})
    )


def _of_one_split(frame: pd.DataFrame, where: str, asked: Asked, notes: list[str]) -> pd.DataFrame:
    """Return the rows of the test split, where a column says of which split each row is."""
    name = _words.first_of(_words.PARTS, frame.columns)
    if not name or name in asked.settings:
        return frame
    splits = frame[name].map(lambda cell: _words.split_of(as_text(cell)))
    if splits.nunique() < 2:
        return frame
    kept = frame[splits == splits.min()]
    split = as_text(kept[name].iloc[0])
    notes.append(f"{where}: rows with {name} {split!r} are read alone")
    words = (*_words.SEEDS, *_words.REPEATS, *_words.STRONG, *_words.DATASETS)
    keys = [
        n
        for n in map(str, frame.columns.drop(name))
        if not _words.is_kept_beside(n)
        and (_words.word(n) in words or not _holds_numbers(frame, n))
    ]
    have = set(kept[keys].itertuples(index=False, name=None))
    lost = frame[keys].drop_duplicates()
    lost = lost[[row not in have for row in lost.itertuples(index=False, name=None)]]
    if 0 < len(lost) < len(have):
        notes.append(f"{where}: {len(lost)} runs have no row of {split!r}, and count as failed")
        kept = pd.concat([kept, lost.reindex(columns=frame.columns)])
    return kept.drop(columns=name)


def _with_metrics(frame: pd.DataFrame, asked: Asked) -> tuple[pd.DataFrame, bool]:
    """Return a column a metric, where each row names its metric, and whether that was so."""
    named = _words.first_of(_words.METRICS, frame.columns)
    valued = _words.first_of(_words.VALUES, frame.columns)
    if not named or not valued or named in asked.settings or _holds_numbers(frame, named):
        return frame, False
    metrics = frame[named].map(as_text)
    columns = {m: frame[valued].astype(object).where(metrics == m, "") for m in metrics.unique()}
    return frame.drop(columns=[named, valued]).assign(**columns), True


def _long(frame: pd.DataFrame, table: Table, asked: Asked, notes: list[str]) -> pd.DataFrame:
    """Return a row a run, where each column is a seed's or a variant's."""
    names, where = [str(name) for name in frame.columns], table.where
    found: dict[str, re.Match[str]] = {}
    if not asked.seed and not any(_words.word(name) in _words.SEEDS for name in names):
        found = _seeds_of(frame, names)
    if not found:
        return _from_variants(frame, table, asked, notes)
    seeds = _words.word(next(iter(found.values()))["word"]) or "seed"
    left = [n for n in names if n not in found and _is_summary(frame, n, list(found))]
    if left:
        notes.append(f"{where}: columns of means or spreads are left out: {listed(left)}")
    kept = [n for n in names if n not in found and n not in left]
    known = _words.metric_in(table.name)
    rows: dict[tuple[int, str], dict[str, object]] = {}
    _check_cells(frame, found, where)
    for name, match in found.items():
        metric = match.groupdict().get("metric") or known or "score"
        for k, cell in enumerate(frame[name]):
            row = rows.setdefault((k, match["seed"]), {})
            row[metric] = cell
    column = "fold" if seeds in _words.FOLDS else "seed"
    long = pd.DataFrame(
        [
            {**frame[kept].iloc[k].to_dict(), column: seed, **cells}
            for (k, seed), cells in rows.items()
        ],
        index=[frame.index[k] for k, _ in rows],
    )
    notes.append(f"{where}: columns {listed(found)} are read as one {column} each")
    return long


def _check_cells(frame: pd.DataFrame, names: Iterable[str], where: str) -> None:
    """Raise where a cell is no number, and no word for a score that is missing."""
    for name in names:
        bad = read_scores(frame[name].tolist()).bad
        if bad is not None and not is_spread(frame[name].iloc[bad]):
            raise ValueError(
                f"column {name!r} of {where} must hold numbers, but row {frame.index[bad]} has "
                f"{one_line(as_text(frame[name].iloc[bad]))!r}; correct it, or leave the cell "
                "empty where the run failed"
            )


def _seeds_of(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, re.Match[str]]:
    """Return the columns that are a seed each, two or more: by their words, or as they count."""
    read = {name: read_scores(frame[name].tolist()) for name in names}
    numbers = [name for name in names if read[name].numbers or read[name].bad is None]
    for pattern in (_OF_SEED, _SHORT):
        if len(found := {n: m for n in numbers if (m := pattern.fullmatch(n))}) > 1:
            return found
    found = {n: m for n in numbers if (m := _COUNTED.fullmatch(n))}
    stems = {_words.word(match["word"]) for match in found.values()}
    counts = sorted(int(match["seed"]) for match in found.values())
    sizes = [np.nanmedian(np.abs(read[n].values)) for n in found if read[n].numbers]
    alike = (
        len(found) > 1
        and len(stems) == 1
        and stems.isdisjoint(_NO_REPEATS)
        and counts in (list(range(len(counts))), list(range(1, len(counts) + 1)))
        and max(sizes) <= _ALIKE * min(sizes)
        and len(numbers) < len(names)  # a column of text says which variant a row is of
        and not any(_words.rank(n) is not None for n in numbers if n not in found)
    )
    return found if alike else {}


def _is_summary(frame: pd.DataFrame, name: str, seeds: list[str]) -> bool:
    """Return whether a column is of means or spreads of those of seeds, by its name or numbers."""
    if not _holds_numbers(frame, name):
        return _words.is_summary(name)
    if _words.holds_summaries(name):
        return True
    values = read_scores(frame[name].tolist()).values
    every = np.array([read_scores(frame[seed].tolist()).values for seed in seeds])
    digits = max(len(as_text(cell).replace(",", ".").partition(".")[2]) for cell in frame[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows without a score, and spreads of one
        found = (np.nanmean(every, 0), np.nanmedian(every, 0))
        found += (np.nanstd(every, 0), np.nanstd(every, 0, ddof=1))
    off = 0.51 * 10.0**-digits
    return any(np.allclose(values, x, rtol=0, atol=off, equal_nan=True) for x in found)


def _from_variants(
    frame: pd.DataFrame, table: Table, asked: Asked, notes: list[str]
) -> pd.DataFrame:
    """Return a row a run of a table whose columns are variants; others as they are.

    Such a table has no column that is named like a variant or a metric, numbers alone, and at most
    a column of seeds and one of data sets.
    """
    names = [str(name) for name in frame.columns]
    seed = asked.seed or _words.first_of((*_words.SEEDS, *_words.REPEATS), names)
    data = asked.dataset or _words.first_of(_words.DATASETS, names)
    keys = [name for name in (data, seed) if name]
    rest = [name for name in names if name not in keys and not _words.is_summary(name)]
    known = (*_words.STRONG, *_words.WEAK, *_words.NAMES, *_words.DATASETS)
    read = [read_scores(frame[name].tolist()) for name in rest]
    plain = (
        len(rest) > 1
        and not asked.variant
        and not asked.metric
        and not any(
            _words.rank(n) is not None or not _words.can_be_metric(n) or _words.word(n) in known
            for n in rest
        )
        and all(x.numbers or x.bad is None for x in read)
        and sum(x.numbers > 0 for x in read) > 1
    )
    if not plain:
        _check_long(frame, table.where, asked, names)
        return frame
    _check_cells(frame, rest, table.where)
    notes.append(f"{table.where}: columns {listed(rest)} are read as one variant each")
    metric = _words.metric_in(table.name) or "score"
    return frame.melt(keys, rest, "variant", metric, ignore_index=False)


def _check_long(frame: pd.DataFrame, where: str, asked: Asked, names: list[str]) -> None:
    """Raise where rows and columns may both be variants, as in a paper's table of results.

    Raises:
        ValueError: one unnamed column of text, a row each, and columns that no metric is named as.
    """
    first, *rest = names
    unclear = (
        first == "name"
        and len(rest) > 1
        and frame[first].is_unique
        and not any((asked.variant, asked.seed, asked.metric, asked.dataset))
        and all(_holds_numbers(frame, n) for n in rest)
        and not any(_words.rank(n) is not None or not _words.can_be_metric(n) for n in rest)
    )
    if unclear:
        raise ValueError(
            f"{where} must say what its rows are, but names its first column for none; call it "
            "dataset or variant, or give a row a run: dataset, variant, seed, score"
        )


def _holds_numbers(frame: pd.DataFrame, name: str) -> bool:
    read = read_scores(frame[name].tolist())
    return read.bad is None and read.numbers > 0


def _scores(
    frame: pd.DataFrame, where: str, asked: Asked, notes: list[str]
) -> dict[str, np.ndarray]:
    """Return the columns of scores: those asked for and those named like metrics, or all numbers.

    Raises:
        ValueError: a column that is asked for, or named like a metric, holds other text, too.
    """
    for name in asked.metric:
        if name not in frame.columns:
            raise ValueError(unknown(f"metric of {where}", name, map(str, frame.columns)))
    others = [
        str(name)
        for name in frame.columns
        if name not in (*asked.settings, *asked.metric)
        and _words.can_be_metric(str(name))
        and not _is_constant(frame[name], str(name))
    ]
    read = {name: read_scores(frame[name].tolist()) for name in (*asked.metric, *others)}
    like = [name for name in others if _words.rank(name) is not None]
    spread = next((n for n in (*asked.metric, *others) if any(map(is_spread, frame[n]))), "")
    if spread:
        cell = next(cell for cell in frame[spread] if is_spread(cell))
        raise ValueError(
            f"column {spread!r} of {where} must hold the score of each run, but holds "
            f"{one_line(cell)!r}; means cannot be judged, runs can: give a row a run"
        )
    known = [*asked.metric, *(n for n in like if read[n].numbers)]
    chosen = known or [n for n in others if read[n].bad is None and read[n].numbers]
    repeats = (*_words.SEEDS, *_words.REPEATS)
    bare = not asked.seed and not _words.first_of(repeats, frame.columns)
    spreads = [n for n in map(str, frame.columns) if bare and _words.is_spread(n)]
    spreads = [n for n in spreads if _holds_numbers(frame, n)]
    if spreads and not asked.metric:
        raise ValueError(
            f"{where} must hold the score of each run, but {spreads[0]!r} is a column of spreads; "
            "means cannot be judged, runs can: give a row a run"
        )
    unread = [n for n in others if n not in chosen and read[n].numbers]
    unread = [n for n in unread if read[n].bad is None and not _is_setting(frame, n)]
    if unread and not asked.metric:
        notes.append(f"not read as metrics: {listed(unread)}; name them as metric")
    _check_cells(frame, chosen, where)
    for name in chosen:
        column, cells = read[name], frame[name].tolist()
        if column.percents:
            bare = [k for k, c in enumerate(cells) if "%" not in str(c) and column.values[k] > 1]
            if bare:
                raise ValueError(
                    f"column {name!r} of {where} must have one unit, but has % in some cells and "
                    f"{as_text(cells[bare[0]])} in row {frame.index[bare[0]]}; write % in all"
                )
            notes.append(f"{name}: cells in percent, {column.percents} of them, are read as shares")
        if column.commas and (doubtful := doubtful_comma(cells)):
            raise ValueError(
                f"column {name!r} of {where} must hold numbers of one meaning, but {doubtful} may "
                f"be {doubtful.replace(',', '')} or {doubtful.replace(',', '.')}; write which"
            )
        if column.commas:
            notes.append(f"{name}: decimal commas, in {column.commas} cells")
    return {name: read[name].values for name in chosen}


def _is_constant(column: pd.Series, name: str) -> bool:
    """Return whether a column is a setting of all runs, or of bits as precision may be."""
    if "precision" in _words.word(name) and {*map(as_text, column)} <= _BITS:
        return True
    return _words.rank(name) is None and len(column) > 1 and column.map(as_text).nunique() == 1


def _is_setting(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a column is of text, or its numbers seem to be a seed or a hyperparameter."""
    known = (*_words.SEEDS, *_words.REPEATS, *_words.STRONG, *_words.DATASETS)
    if _words.word(name) in known or _words.is_setting(name) or not _holds_numbers(frame, name):
        return True
    shared = bool((frame[name].value_counts() > 1).all())  # by several runs, as no measurement is
    return (shared and _words.can_be_metric(name)) or _is_constant(frame[name], name)


def _without_summaries(found: Sequence[Record], where: str, notes: list[str]) -> list[Record]:
    """Return records without the rows of means and spreads that people write below their runs."""
    kept = [r for r in found if not any(map(_words.is_summary, r.settings.values()))]
    if len(kept) < len(found):
        notes.append(f"{where}: {len(found) - len(kept)} rows of means or spreads are left out")
    return kept
