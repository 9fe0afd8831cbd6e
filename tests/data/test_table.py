"""Tables as people write them."""

import csv
import gzip

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import OneHotEncoder

from counterpoise.data import Splits, encoded, load, memory


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def rows(data: Splits) -> list[tuple[float, ...]]:
    """All samples of both splits, each with its class at its end, sorted."""
    return sorted(
        (*row, k)
        for split in (data.train, data.test)
        for row, k in zip(split.inputs.tolist(), split.targets.tolist(), strict=True)
    )


def column(path, cells, **settings):
    """Load a table of one column and one that is harmless, twice as many rows as cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["it", "x", "y"])
        table.writerows([cell, k * k % 7, k % 2] for k, cell in enumerate([*cells, *cells]))
    return load(path, **settings)


def cells_of(data: Splits, name: str) -> list[object]:
    """The different values of a column, sorted, a gap at the end."""
    k = [c.name for c in data.columns].index(name)
    values = torch.cat([data.train.inputs[:, k], data.test.inputs[:, k]])
    kinds = sorted({v for v in values.tolist() if v == v})
    names = data.columns[k].values
    return [names[int(v)] if names else v for v in kinds] + ["gap"] * bool(values.isnan().any())


@pytest.mark.parametrize(
    ("name", "separator", "encoding"),
    [
        ("iris.csv", ",", "utf-8-sig"),
        ("iris.TSV", "\t", "utf-8"),
        ("iris.txt", ";", "cp1252"),
        ("iris.dat", "|", "utf-16"),
        ("iris.csv.gz", "\t", "utf-8"),
    ],
)
def test_iris_is_whole(tmp_path, name, separator, encoding):
    iris = load_iris()
    path = tmp_path / "iris"
    with path.open("w", newline="", encoding=encoding) as file:
        table = csv.writer(file, delimiter=separator)
        table.writerow(["länge, cm", "b", "c", "d", "species"])
        names = iris.target_names[iris.target]
        table.writerows([*map(float, x), t] for x, t in zip(iris.data, names, strict=True))
    packed = gzip.compress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    (tmp_path / name).write_bytes(packed)
    data = load(tmp_path / name)
    assert data.class_names == ("setosa", "versicolor", "virginica")
    wanted = [(*x, int(t)) for x, t in zip(iris.data.tolist(), iris.target, strict=True)]
    assert rows(data) == sorted(wanted)
    assert (data.name, len(data.test)) == ("iris", 30)
    assert data.train.inputs.dtype == torch.float64
    assert any("Windows-1252" in note and "länge" in note for note in data.notes) == (
        encoding == "cp1252"
    )


@pytest.mark.parametrize("suffix", ["parquet", "feather", "xlsx", "csv"])
def test_files_with_types_read_as_their_text_does(tmp_path, suffix):
    """Empty cells, codes, dates, booleans and numbers, as pandas writes them."""
    n = 60
    frame = pd.DataFrame(
        {
            "x": np.where(np.arange(n) % 7 == 0, np.nan, np.arange(n) / 3),
            "n": pd.array([None if k % 9 == 0 else k * k for k in range(n)], "Int64"),
            "code": [f"{k % 5:03d}" for k in range(n)],
            "when": pd.date_range("2024-01-01 10:00", periods=n, freq="7h"),
            "flag": np.arange(n) % 3 == 0,
            "y": ["a", "b"] * (n // 2),
        }
    )
    path = tmp_path / f"t.{suffix}"
    write_to = {"parquet": frame.to_parquet, "feather": frame.to_feather}
    write_to.get(suffix, getattr(frame, f"to_{'excel' if suffix == 'xlsx' else suffix}", None))(
        path, **({"index": False} if suffix in ("xlsx", "csv") else {})
    )
    data = load(path)
    assert [c.name for c in data.columns] == [
        *("x", "n", "code"),
        *(f"when {part}" for part in ("day of month", "weekday", "hour")),
        *("when in days", "flag"),
    ]
    assert cells_of(data, "x")[-2:] == [pytest.approx(59 / 3), "gap"]
    assert cells_of(data, "n")[-2:] == [59 * 59, "gap"]
    assert cells_of(data, "code") == ["000", "001", "002", "003", "004"]
    assert cells_of(data, "flag") == ["False", "True"]
    assert cells_of(data, "when in days")[0] == pd.Timestamp("2024-01-01 10:00").timestamp() / 86400


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"pip install 'counterpoise\[tables\]'") as told:
        load(tmp_path / "a.parquet")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.xlsx", "a.csv.gz", "a.csv.zip"])
def test_damaged_files_are_told_in_one_short_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 no table at all" * 9)
    with pytest.raises(ValueError, match="must be") as told:
        load(tmp_path / name)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600


def test_semicolons_and_decimal_commas(tmp_path):
    lines = "".join(f'{k},5;"a, {"bc"[k // 3]}";{k % 2}\n' for k in range(6))
    data = load(write(tmp_path / "a.csv", "size, in m;kind;y\n" + lines))
    assert rows(data) == [(k + 0.5, k // 3, k % 2) for k in range(6)]
    assert data.columns[1].values == ("a, b", "a, c")


def test_the_target_column_is_named(tmp_path):
    lines = "".join(f"{k * k},{k % 2},{k % 3}\n" for k in range(6))
    path = write(tmp_path / "a.csv", f"target,other,x\n{lines}")
    data = load(f"{path}:other")
    assert rows(data) == sorted((k * k, k % 3, k % 2) for k in range(6))
    assert data.source == f"{path}:other"
    assert rows(load(path, target="other")) == rows(data)
    assert rows(load(path, target="other", drop=["x"])) == [(k * k, k % 2) for k in range(6)]
    with pytest.raises(
        ValueError, match=r"column 'othre' .* has target, other, x; did you mean 'oth"
    ):
        load(f"{path}:othre")
    with pytest.raises(ValueError, match="column 'z' that is asked for"):
        load(path, drop=["z"])


@pytest.mark.parametrize("word", ["target", "Label", "CLASS"])
def test_the_target_column_is_found_by_name(tmp_path, word):
    lines = "".join(f"{k % 2},{k * k}\n" for k in range(6))
    data = load(write(tmp_path / "a.csv", f"{word},other\n{lines}"))
    assert rows(data) == [(k * k, k % 2) for k in range(6)]


def test_whole_numbers_are_ordered_by_value_and_names_kept(tmp_path):
    lines = "".join(f"{k},{name}\n" for k in range(3) for name in ("10", "9", "-2"))
    assert load(write(tmp_path / "a.csv", "x,y\n" + lines)).class_names == ("-2", "9", "10")
    lines = "".join(f"{k},{name}\n" for k in range(3) for name in ("None", "NA", "é, ü", '"x, y"'))
    path = write(tmp_path / "b.csv", "x,y\n" + lines.replace("é, ü", '"é, ü"'))
    data = load(path)
    assert data.class_names == ("NA", "None", "x, y", "é, ü")
    assert any("taken for a class and not for a gap: NA, None" in line for line in data.cautions)


def test_text_is_encoded_as_scikit_learn_does(tmp_path):
    cells = [["red", "S"], ["blue", "M"], ["red", "M"]] * 8
    lines = "".join(f"{a}, {b},{k % 2}\n" for k, (a, b) in enumerate(cells))
    data = encoded(load(write(tmp_path / "a.csv", "colour,size,y\n" + lines)))
    wanted = OneHotEncoder(sparse_output=False).fit_transform(cells)
    assert rows(data) == sorted((*row, k % 2) for k, row in enumerate(wanted.tolist()))


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        (["1,037", "12", "1,200,000"], [12, 1037, 1200000]),
        (["1.037,5", "3,25"], [3.25, 1037.5]),
        (["1.037", "2.5"], [1.037, 2.5]),
        (["1 037", "1\u202f037,5"], [1037, 1037.5]),
        (["$1,037.50", "-$3", "(2)"], [-3, -2, 1037.5]),
        (["€ 3,50", "12 €"], [3.5, 12]),
        (["12%", "3.5 %"], [3.5, 12]),
        (["1e3", "-.5", "2."], [-0.5, 2, 1000]),
        (["\u22125", "7"], [-5, 7]),
        (["007", "12", "3"], ["007", "12", "3"]),
        (["01234", "99999"], ["01234", "99999"]),
        (["10_20", "30_40"], ["10_20", "30_40"]),
        (["0x1A", "0x1B"], ["0x1A", "0x1B"]),
        (["1.2.3", "1.2.4"], ["1.2.3", "1.2.4"]),
        (["True", "False"], ["False", "True"]),
        (["12:30", "1:00:36"], [1.01, 12.5]),
        (["?", "1", " NaN ", "N/A", "null", "2"], [1, 2, "gap"]),
        (["?", "a", "", "b"], ["a", "b", "gap"]),
    ],
)
def test_numbers_and_words_are_told_apart(tmp_path, cells, wanted):
    data = column(tmp_path / "a.csv", cells * 2)
    assert data.columns[0].name == ("it in hours" if cells == ["12:30", "1:00:36"] else "it")
    assert cells_of(data, data.columns[0].name) == wanted


def test_one_column_with_a_decimal_comma_decides_for_those_in_doubt(tmp_path):
    path = tmp_path / "a.csv"
    lines = "".join(f'"{k % 5},{k % 7}","1,{k % 3}00",{k % 2}\n' for k in range(30))
    data = load(write(path, "sure,doubtful,y\n" + lines))
    assert cells_of(data, "doubtful") == [1, 1.1, 1.2]
    assert any("'1,000' is 1 in 'doubtful'" in note for note in data.notes)
    data = column(path, ["1,000", "1,100", "1,200"])
    assert cells_of(data, "it") == [1000, 1100, 1200]


@pytest.mark.parametrize(
    ("cells", "days", "parts"),
    [
        (["2024-02-28", "2024-02-29"], [19781, 19782], "month"),
        (["28.02.2024", "29.02.2024"], [19781, 19782], "month"),
        (["02/28/2024", "02/29/2024"], [19781, 19782], "month"),
        (["28/02/2024", "29/02/2024"], [19781, 19782], "month"),
        (["28-Feb-24", "29-Feb-24"], [19781, 19782], "month"),
        (["2024-02-28T12:00:00Z", "2024-02-29 06:00+00:00"], [19781.5, 19782.25], "hour"),
    ],
)
def test_dates_are_days_and_parts(tmp_path, cells, days, parts):
    data = column(tmp_path / "a.csv", cells * 2)
    assert cells_of(data, "it in days") == days
    assert cells_of(data, "it day of month") == [28, 29]
    assert ("it hour" in [c.name for c in data.columns]) == (parts == "hour")
    assert not any("other way round" in line for line in data.cautions)


def test_a_date_that_can_be_read_in_two_ways_is_said(tmp_path):
    data = column(tmp_path / "a.csv", ["01/02/2024", "03/04/2024"] * 2)
    assert any("other way round" in s and "month/day/year" in s for s in data.cautions)


def test_years_of_two_digits_are_of_the_past_where_all_can_be(tmp_path):
    def years(cells):
        data = column(tmp_path / "a.csv", cells * 2)
        (note,) = [note for note in data.notes if note.startswith("years of two digits")]
        return cells_of(data, "it year"), note.partition(": ")[2]

    born = ["01.02.40", "28.03.68", "29.02.64", "13.05.71", "07.11.99", "30.06.01"]
    assert years(born) == (
        [1940, 1964, 1968, 1971, 1999, 2001],
        "'it' is from 1940 ('01.02.40') to 2001",
    )
    soon = (pd.Timestamp.now() + pd.Timedelta(90, "D")).strftime("%d.%m.%y")
    assert years(["13.05.60", "28.03.61", soon])[0][-2:] == [2060, 2061]


@pytest.mark.parametrize(
    ("cells", "dates"),
    [
        (["3.10.12", "3.9.18", "3.11.10"], False),
        (["3.10.12", "3.31.2"] + ["3.10.13", "3.10.14", "3.1.21"] * 20, False),
        (["3.10.12", "03.11.12", "28.12.14"], True),
        (["3.10.12", "9.11.23"], True),
    ],
)
def test_versions_are_no_dates(tmp_path, cells, dates):
    data = column(tmp_path / "a.csv", cells * 2)
    assert ("it in days" in [c.name for c in data.columns]) == dates


def test_seconds_since_1970_are_dates_where_the_name_says_so(tmp_path):
    for name, power in (("timestamp", 0), ("t", 0), ("created_at", 9)):
        lines = "".join(f"{(1700000000 + k * 977) * 10**power},{k % 2}\n" for k in range(40))
        data = load(write(tmp_path / "a.csv", f"{name},y\n{lines}"))
        dates = [c.name for c in data.columns if c.name.endswith("in days")]
        assert dates == ([] if name == "t" else [f"{name} in days"])
        assert len(encoded(data).train.inputs[:, -1].unique()) == 32


def test_stray_words_among_numbers_are_gaps_and_said(tmp_path):
    cells = ["#VALUE!" if k == 33 else 1000 + 7 * (k % 60) for k in range(200)]
    with pytest.warns(UserWarning, match=r"no numbers .* 'it' \(2, the first '#VALUE!' in row 35"):
        data = column(tmp_path / "a.csv", cells)
    assert (len(cells_of(data, "it")), cells_of(data, "it")[-1]) == (61, "gap")
    cells = ["never" if k % 3 == 0 else k % 60 for k in range(200)]
    with pytest.warns(UserWarning, match="'never' in row 2"):
        data = column(tmp_path / "a.csv", cells)
    assert len(cells_of(data, "it")) == 41


def test_text_of_many_kinds_becomes_few_columns(tmp_path):
    words = ["red", "blue", "green", "old", "new", "house", "car"]
    rng = np.random.default_rng(0)
    cells = [" ".join(rng.choice(words, 4)) + f" {k}" for k in range(80)]
    data = column(tmp_path / "a.csv", [*cells[:40], "", *cells[40:]])
    assert len(data.columns) == 33
    assert "gaps in text, read as text without words: it (2)" in data.notes
    assert any("too many kinds" in s and "'it' (80 kinds" in s for s in data.cautions)
    assert encoded(data).train.inputs.isfinite().all()


def test_a_gap_in_text_is_a_kind_of_its_own(tmp_path):
    lines = "".join(f"{'?' if k < 8 else 'ab'[k % 2]},{k % 2}\n" for k in range(20))
    data = encoded(load(write(tmp_path / "a.csv", "x,y\n" + lines)))
    assert [row[:3] for row in rows(data)].count((0, 0, 1)) == 8


NOISE = "".join(f"{k},{k * k % 11},{k},same,x{k},{k % 2}\n" for k in range(40))


def test_what_numbers_the_rows_or_never_changes_is_left_out_and_said(tmp_path):
    path = write(tmp_path / "a.csv", f",x,Unnamed: 0,const,sample,y\n{NOISE}")
    with pytest.warns(UserWarning, match="left out") as told:
        data = load(path)
    assert [c.name for c in data.columns] == ["x"]
    said = "\n".join(str(w.message) for w in told)
    for name, why in (
        ("", "no name"),
        ("Unnamed: 0", "row number"),
        ("const", "the same value"),
        ("sample", "as an id has"),
    ):
        assert f"column {name!r} of {path} " in said
        assert why in said
    with pytest.warns(UserWarning, match="left out"):
        data = load(path, keep=["Unnamed: 0", "const"])
    assert [c.name for c in data.columns] == ["x", "Unnamed: 0", "const"]


@pytest.mark.parametrize(
    ("name", "cells", "left"),
    [
        ("n", list(range(1, 41)), False),
        ("customerID", [f"{(k * 7919) % 9999}-XY{k}" for k in range(40)], False),
        ("anything", [f"{(k * 7919) % 9999}-XY{k}" for k in range(40)], False),
        ("PassengerId", [(k * 7919) % 10007 for k in range(40)], False),
        ("price", [(k * 7919) % 10007 for k in range(40)], True),
        ("paid", [(k * 7919) % 10007 for k in range(40)], True),
        ("width", [k / 7 for k in range(40)], True),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_id_is_left_out_and_a_measurement_is_not(tmp_path, name, cells, left):
    lines = "".join(f"{cell},{k * k % 11},{k % 2}\n" for k, cell in enumerate(cells))
    data = load(write(tmp_path / "a.csv", f"{name},x,y\n{lines}"))
    assert (name in [c.name for c in data.columns]) == left


def test_a_row_number_that_is_the_only_column_is_kept_and_said(tmp_path):
    data = load(write(tmp_path / "a.csv", "x,y\n" + SIX))
    assert rows(data) == [(k, k % 2) for k in range(6)]
    assert any("'x'" in line and "numbers the rows" in line for line in data.cautions)


def test_a_column_that_gives_the_class_away_is_said_and_kept(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    frame = pd.DataFrame({"x": rng.normal(size=300), "grade": y * 10 + rng.random(300)})
    frame["word"], frame["noise"] = np.array(["p", "q", "r"])[y], rng.integers(0, 9, 300)
    frame.assign(y=y).to_csv(tmp_path / "a.csv", index=False)
    data = load(tmp_path / "a.csv")
    (caution,) = data.cautions
    assert "columns 'grade', 'word' of" in caution
    assert "give the class away" in caution
    assert len(data.columns) == 4


def test_labels_that_differ_by_blanks_or_point_zero_are_one_class(tmp_path):
    lines = "".join(f"{k * k},{('yes ', 'yes', 'no')[k % 3]}\n" for k in range(30))
    data = load(write(tmp_path / "a.csv", "x,y\n" + lines))
    assert data.class_names == ("no", "yes")
    assert any("blanks" in line and "10 in 'y' such as 'yes '" in line for line in data.cautions)
    lines = "".join(f"{k * k},{('1.0', '1', '0')[k % 3]}\n" for k in range(30))
    data = load(write(tmp_path / "a.csv", "x,y\n" + lines))
    assert data.class_names == ("0", "1")
    assert any("'1.0' is class '1'" in line for line in data.cautions)
    lines = "".join(f"{k * k},{('Yes', 'yes', 'no')[k % 3]}\n" for k in range(30))
    data = load(write(tmp_path / "a.csv", "x,y\n" + lines))
    assert data.class_names == ("Yes", "no", "yes")
    assert any("'Yes' and 'yes'" in line for line in data.cautions)


def test_rows_without_a_class_are_refused_counted_or_dropped(tmp_path):
    lines = "".join(f"{k * k},{'' if k % 10 == 3 else k % 2}\n" for k in range(60))
    path = write(tmp_path / "a.csv", "x,y\n" + lines)
    with pytest.raises(ValueError, match="6 of 60 have none: rows 5, 15, 25 and 3 more"):
        load(path)
    with pytest.warns(UserWarning, match="6 rows of .* have no class"):
        data = load(path, missing_labels="drop")
    assert len(rows(data)) == 54
    assert "row 5" not in (*data.train.names, *data.test.names)


def test_messages_name_three_and_how_many_more(tmp_path):
    lines = "".join(f"{k * k},P{k}\n" for k in range(2000))
    with pytest.raises(ValueError, match="and 1,997 more") as told:
        load(write(tmp_path / "a.csv", "x,y\n" + lines))
    assert len(str(told.value)) < 300


def test_many_columns_are_read(tmp_path):
    header = ",".join(f"feature_{k:05d}" for k in range(12_000))
    lines = "".join("0," * 12_000 + f"{'ab'[k % 2]}\n" for k in range(8))
    data = load(write(tmp_path / "a.csv", f"{header},y\n{lines}"))
    assert data.train.inputs.shape[1] == 12_000


SIX = "".join(f"{k},{k % 2}\n" for k in range(6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SIX, r"begin with the columns' names, .* first line is \['0', '0'\]"),
        ("x,x\n" + SIX, "each of its own"),
        ("x\n1\n", "separate the columns by commas or semicolons"),
        ("x;y\n1;0\n2\n", "line 3 of .* must have 2 values as the header has, but has 1"),
        (
            "x,price\n" + "".join(f"{k},{k / 7}\n" for k in range(60)),
            "must hold classes, but 'price' holds 60 different numbers .* by .*a.csv:COLUMN",
        ),
        (
            "x,price\n" + "".join(f"{k},{k * 7}\n" for k in range(60)),
            "must hold classes, but 'price' holds 60 different numbers",
        ),
        ("x,y\n" + "1,\n" * 9, "must have classes in its target column 'y', but it is empty"),
        ("", "a feature and a target column"),
        ("x,y\n", "must hold samples below its header"),
        ("x,y\n" + SIX + "1\n", "line 8 of .* must have 2 values as the header has, but has 1"),
        ("x,y\n" + SIX + "1,2,3\n", "line 8 of .* but has 3"),
        ("\nx,y\n" + SIX + "1,2,3,4\n", "line 9 of .* but has 4"),
        ("# made by hand\nx,y\n" + SIX, "line 2 of .* must have 1|a feature and a target"),
        ("x,y\n" + SIX + "1,\n", "target column 'y', but 1 of 7 have none: row 8; fill"),
        ("x,y\n" + SIX + "inf,1\n", "column 'x' of .* finite, .* the first in row 8"),
        ("x,y\n" + SIX + "1e200,1\n", "column 'x' of .* finite"),
        ("x,y\n" + SIX + "1,2\n", "'2' has 1; add samples"),
        (
            "name,y\n" + "".join(f"n{k},{k % 2}\n" for k in range(60)),
            "must have a feature.* name in keep a column",
        ),
        ('x,y\n1,"0\n', "must be a table"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_read_is_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x,y\n" + b"1,a\n2,b\n" * 3 + b"\x00,a\n", "line 8 holds a NUL"),
        ("x,y\n1,a\n".encode("utf-16-le"), "holds a NUL|a feature and a target"),
        ("x,y\n1,a\n".encode("utf-16")[:-1], "UTF-16 is damaged"),
        (b'x,y\n"' + b"1" * 200_000 + b'",a\n', "must be finite, and below 1e150"),
        (b"x" * 10_000_000, "field larger than field limit|a feature and a target"),
        (b"1" * 100_000 + b",1\n1,a\n", "must begin with the columns' names"),
        (b",y\n" + b"1,a\n2,b\n" * 3, "must have a feature, a column with a name and values"),
        (b"x,y\n" + b",a\n?,b\n" * 3, "must have a feature, a column with a name and values"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_table_is_told_in_one_short_line(tmp_path, content, says):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=says) as told:
        load(tmp_path / "a.csv")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000


def test_cells_that_do_not_fit_into_memory_are_refused_before_they_are_joined(
    tmp_path, monkeypatch
):
    lines = "".join(f"some words {k * k},{'ab'[k % 2]}\n" for k in range(2_000))
    path = write(tmp_path / "a.csv", f"x,y\n{lines}")
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000)
    with pytest.raises(ValueError, match="must fit into memory, but needs"):
        load(path)
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000)  # 32 columns are 1.5 MB
    monkeypatch.setattr(np, "concatenate", None)
    with pytest.raises(ValueError, match="must fit into memory, but needs"):
        load(path)


def test_text_that_unpacks_to_more_than_memory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,y\n" + b"1,a\n" * 10**6))
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    with pytest.raises(ValueError, match="must fit into memory, but needs"):
        load(tmp_path / "a.csv.gz")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_sample_is_named_by_its_row_in_a_spreadsheet(tmp_path):
    lines = [
        f'{k * k},"two\nlines",{k % 2}\n' if k == 3 else f"{k * k},one,{k % 2}\n"
        for k in range(2, 9)
    ]
    path = write(tmp_path / "a.csv", "x,text,y\n" + "".join(lines[:4]) + "\n" + "".join(lines[4:]))
    data = load(path)
    found = {
        int(x): name
        for split in (data.train, data.test)
        for x, name in zip(split.inputs[:, 0], split.names, strict=True)
    }
    # A spreadsheet shows a cell of two lines in one row, and an empty line as a row.
    assert found == {k * k: f"row {k if k < 6 else k + 1}" for k in range(2, 9)}


def test_rows_behind_a_stray_quote_are_kept_or_told(tmp_path):
    lines = [
        f"{k / 8}\t{'xy'[k % 2] * (1 + k % 3)}\t{'no' if k % 3 else 'yes'}\n" for k in range(300)
    ]
    for at, cell in ((18, '"Weird Al'), (218, '"The" band')):
        lines[at] = f"{at / 8}\t{cell}\tno\n"
    path = write(tmp_path / "a.tsv", "x\tname\ty\n" + "".join(lines))
    data = load(path)
    assert [row[0] for row in rows(data)] == [k / 8 for k in range(300)]
    assert any("as characters of the cells" in s and "line 20 " in s for s in data.notes)
    lines[218] = '1\t6"\tno\n'  # a quote that closes, where a cell ends
    assert len(rows(load(write(path, "x\tname\ty\n" + "".join(lines))))) == 300
    lines[219] = '1\t"open\tno\n'  # and one more that never does
    assert len(rows(load(write(path, "x\tname\ty\n" + "".join(lines))))) == 300
    lines[250] = '1\t"a\tb"\tno\n'
    with pytest.raises(ValueError, match="the one in line 20 whole rows would be one cell"):
        load(write(path, "x\tname\ty\n" + "".join(lines)))
    lines = "".join(f'{k % 2},"Dear, all\nbye, now {k}"\n{k % 2},"a, b"\n' for k in range(9))
    assert len(rows(load(write(tmp_path / "b.csv", f"y,words\n{lines}"), target="y"))) == 18


def test_semicolons_win_over_decimal_commas_and_what_else_fits_is_said(tmp_path):
    lines = "".join(f"6{k},5;17{k},0;{'ab'[k % 2]}\n" for k in range(6))
    data = load(write(tmp_path / "a.csv", f"Weight, kg;Height, cm;target\n{lines}"))
    assert rows(data) == [(60.5 + k, 170 + k, k % 2) for k in range(6)]
    assert [c.name for c in data.columns] == ["Weight, kg", "Height, cm"]
    assert not any("separated" in note for note in data.notes)
    lines = "".join(f"{k * k},0;{k % 5},1;{k % 3},{k % 2}\n" for k in range(6))
    data = load(write(tmp_path / "a.csv", f"a,b;c,d;e,y\n{lines}"))
    assert "read as 4 columns, separated by commas; semicolons would make 3" in data.notes


def test_a_point_before_three_digits_is_a_decimal_one_where_another_column_is_not_sure(tmp_path):
    def second(first, cells):
        lines = [f"{first[k % 2]};{cells[k % 3]};{k % 2}\n" for k in range(12)]
        return cells_of(load(write(tmp_path / "a.csv", "a;b;y\n" + "".join(lines))), "b")

    assert second(["8.1", "9"], ["2.732", "6", "5"]) == [2.732, 5, 6]
    assert second(["8", "9"], ["2.732", "6", "5"]) == [2.732, 5, 6]
    assert second(["8,1", "9"], ["2.732", "6", "5"]) == [5, 6, 2732]
    assert second(["8", "9"], ["2,732", "6", "5"]) == [2.732, 5, 6]
    assert second(["8.1", "9"], ["2,732", "6", "5"]) == [5, 6, 2732]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_numbers_too_large_for_a_float_keep_their_digits_or_are_said(tmp_path, suffix):
    ids = 2**53 + np.arange(40)
    y = np.arange(40) % 2
    frame = pd.DataFrame({"n": ids, "few": ids[np.arange(40) % 5], "x": y * 3 % 7, "y": y})
    frame["mixed"] = np.where(np.arange(40) % 9, np.arange(40), ids)
    frame = frame[["n", "few", "mixed", "x", "y"]]
    path = tmp_path / f"a.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path, index=False)
    with pytest.warns(UserWarning, match="'n' of .* another value in every row, as an id has"):
        data = load(path)
    assert cells_of(data, "few") == [str(k) for k in ids[:5]]
    said = "\n".join(data.cautions)
    assert f"read as names: 'few' such as {ids[0]}" in said
    assert f"rounded to 16 digits: 'mixed' such as {ids[0]}" in said
