"""New data, read as those that a model was trained on."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from counterpoise.data import Column, Splits, TableEncoder, digits, load, read_unseen

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of what training leaves out
N = 60


def kept(data: Splits):
    """What a study keeps of how its data were read."""
    return json.loads(json.dumps(data.reading)), data.columns


def trained(data: Splits) -> dict[str, np.ndarray]:
    """The inputs of all samples by their names."""
    splits = data.named().values()
    return {n: x.numpy() for s in splits for n, x in zip(s.names, s.inputs[:], strict=True)}


def read(source, data: Splits, **settings):
    """All inputs of new data by their names, and the new data."""
    new = read_unseen(source, *kept(data), batch_size=7, **settings)
    found = {}
    for batch in new.batches():
        found |= {new.names[k]: x.numpy() for k, x in zip(batch.index, batch.inputs, strict=True)}
    return found, new


def check_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], names=None) -> None:
    """Check that samples, some by another name, are what they were in training."""
    names = names or {name: name for name in wanted}
    assert names
    assert names.keys() <= found.keys()
    for new, name in names.items():
        np.testing.assert_array_equal(found[new], wanted[name], strict=True)


def cells_of(path):
    """Header and rows of a file of text as they stand there, without its own reading."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        text = file.read()
    separator = next(s for s in (";", "\t", "|", ",") if s in text.partition("\n")[0])
    rows = list(csv.reader(text.splitlines(keepends=True), delimiter=separator))
    return rows[0], rows[1:], separator


def check_table(path, data: Splits, seed: int = 0) -> None:
    """Check that cells are the same whole, in single rows, in another order of rows and columns."""
    wanted = trained(data)
    check_same(read(path, data)[0], wanted)
    header, rows, separator = cells_of(path)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(rows))]
    orders += [[k] for k in {0, len(rows) - 1, *rng.integers(0, len(rows), 8).tolist()}]
    for order in orders:
        columns = rng.permutation(len(header))
        other = path.with_stem(f"{path.stem}-again")
        with other.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, delimiter=separator)
            table.writerows([line[c] for c in columns] for line in [header, *map(rows.__getitem__, order)])
        named = {f"row {k + 2}": f"row {row + 2}" for k, row in enumerate(order)}
        check_same(
            read(other, data)[0], wanted, {a: b for a, b in named.items() if b in wanted}
        )


def write(path, columns: dict[str, list[object]], separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=separator)
        table.writerow([*columns, "y"])
        table.writerows([*row, "ab"[k % 2]] for k, row in enumerate(zip(*columns.values(), strict=True)))
    return path


def dates(form: str, first="2024-01-01", step="7h") -> list[str]:
    return pd.date_range(first, periods=N, freq=step).strftime(form).tolist()


def often(*words: str) -> list[str]:
    return [words[k * k % len(words)] for k in range(N)]


TABLES = {
    "numbers": {
        "plain": [f"{k * 37 / 7:.4g}" for k in range(N)],
        "gaps": often("?", "1", "", "2.5", "N/A", "-0"),
        "thousands": [f"{1000 + 100 * (k % 50):,}" for k in range(N)],
        "money": often("$1,037.50", "-$3", "(2)", "12%", "1e3", "−5"),
        "stray": ["unknown" if k == 7 else f"{k * 11}" for k in range(N)],
        "large": [f"{2**53 + 2 * k}" if k % 9 == 0 else f"{k * 3}" for k in range(N)],
    },
    "commas;": {
        "sure": [f"{k},{k % 7}" for k in range(N)],
        "doubtful": [f"1,{k % 3}00" for k in range(N)],
        "dotted": often("1.037", "2.000", "3.5", "12,5"),
        "grouped": often("1.037", "2.111", "3.037"),
        "whole": [str(k * 13) for k in range(N)],
        "many": often("1.037,50", "€ 3,50", "12 €", "1 037"),
    },
    "tie;": {"point": often("2.732", "6", "5"), "words": often("$2.732", "3", "5")},
    "commas\t": {"a": often("1,5", "2,25", "7"), "b": often("1.037", "8", "9,5")},
    "dates": {
        "iso": dates("%Y-%m-%dT%H:%M:%S"),
        "month/day": dates("%m/%d/%Y", step="3D"),
        "day/month": dates("%d/%m/%Y", step="3D"),
        "doubtful": often("01/02/2024", "03/04/2024", "05/06/2024", ""),
        "named": dates("%d-%b-%y"),
        "born": [f"{k % 27 + 1:02d}.0{k % 9 + 1}.{(40 + k) % 100:02d}" for k in range(N)],
        "soon": [f"{k % 27 + 1:02d}.0{k % 9 + 1}.{60 + k % 9}" for k in range(N - 1)]
        + [(pd.Timestamp.now() + pd.Timedelta(90, "D")).strftime("%d.%m.%y")],
        "some": dates("%d.%m.%Y", step="40D")[:-2] + ["soon", "?"],
        "zone": dates("%Y-%m-%d %H:%M+02:00", step="40D"),
        "compact_date": dates("%Y%m%d", step="5D"),
        "timestamp": [str(1700000000 + 977 * k) for k in range(N)],
        "created_at": [str((1700000000 + 977 * k) * 1000) for k in range(N)],
        "clock": often("12:30", "1:00:36", "23:59:59.5", ""),
        "version": often("3.10.12", "3.9.18", "3.11.10"),
    },
    "words|": {
        "code": [f"{k % 5:03d}" for k in range(N)],
        "flag": often("True", "False"),
        "few": often("red", "blue", "", " green ", "Öl, süß", "10_20"),
        "ids": [str(2**53 + k % 5) for k in range(N)],
        "text": [f"some {w} words {k}" for k, w in enumerate(often("old", "new", "odd"))],
        "lines": often("one", "two", "a|b"),
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_a_cell_is_the_same_number_whatever_stands_around_it(tmp_path, kind):
    separator = kind[-1] if kind[-1] in ";|\t" else ","
    path = write(tmp_path / "a.csv", TABLES[kind], separator)
    data = load(path)
    used = {how["name"] for how in data.reading["columns"]}
    assert used == set(TABLES[kind])
    check_table(path, data)
