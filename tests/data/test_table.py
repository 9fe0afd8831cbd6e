"""Tables as people write them."""

import csv

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from counterpoise.data import Splits, load, memory


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


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".TSV", "\t")])
def test_iris_is_whole(tmp_path, suffix, separator):
    iris = load_iris()
    path = tmp_path / f"iris{suffix}"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=separator)
        table.writerow(["länge, cm", "b", "c", "d", "species"])
        names = iris.target_names[iris.target]
        table.writerows([*map(float, x), t] for x, t in zip(iris.data, names, strict=True))
    data = load(path)
    assert data.class_names == ("setosa", "versicolor", "virginica")
    wanted = [
        (*x, int(t)) for x, t in zip(iris.data.astype("f4").tolist(), iris.target, strict=True)
    ]
    assert rows(data) == sorted(wanted)
    assert len(data.test) == 30
    assert data.train.inputs.dtype == torch.float32


def test_semicolons_and_decimal_commas(tmp_path):
    lines = "".join(f'{k},5;"a, b";{k % 2}\n' for k in range(6))
    data = load(write(tmp_path / "a.csv", "size, in m;kind;y\n" + lines))
    assert rows(data) == [(k + 0.5, 1.0, k % 2) for k in range(6)]


def test_the_target_column_is_named(tmp_path):
    path = write(
        tmp_path / "a.csv", "target,other,x\n" + "".join(f"{k},{k % 2},1\n" for k in range(6))
    )
    data = load(f"{path}:other")
    assert rows(data) == [(k, 1, k % 2) for k in range(6)]
    assert data.source == f"{path}:other"
    with pytest.raises(
        ValueError, match=r"column 'othre' .* has target, other, x; did you mean 'oth"
    ):
        load(f"{path}:othre")


@pytest.mark.parametrize("word", ["target", "Label", "CLASS"])
def test_the_target_column_is_found_by_name(tmp_path, word):
    lines = "".join(f"{k % 2},{k}\n" for k in range(6))
    data = load(write(tmp_path / "a.csv", f"{word},other\n{lines}"))
    assert rows(data) == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (5, 1)]


def test_whole_numbers_are_ordered_by_value_and_names_kept(tmp_path):
    lines = "".join(f"{k},{name}\n" for k in range(3) for name in ("10", "9", "-2"))
    assert load(write(tmp_path / "a.csv", "x,y\n" + lines)).class_names == ("-2", "9", "10")
    lines = "".join(f"{k},{name}\n" for k in range(3) for name in ("None", "NA", "é, ü", '"x, y"'))
    path = write(tmp_path / "b.csv", "x,y\n" + lines.replace("é, ü", '"é, ü"'))
    assert load(path).class_names == ("NA", "None", "x, y", "é, ü")


def test_text_is_encoded_as_scikit_learn_does(tmp_path):
    cells = [["red", "S"], ["blue", "M"], ["red", "M"]] * 4
    lines = "".join(f"{a}, {b},{k % 2}\n" for k, (a, b) in enumerate(cells))
    data = load(write(tmp_path / "a.csv", "colour,size,y\n" + lines))
    wanted = OneHotEncoder(sparse_output=False).fit_transform(cells)
    assert rows(data) == sorted((*row, k % 2) for k, row in enumerate(wanted.tolist()))


def test_missing_numbers_are_filled_as_scikit_learn_does_from_the_training_part(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (40, 3)).astype(float)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:, 2] = np.arange(40)  # tells the samples apart
    words = ["", "?", "NA", " NaN ", "null"]
    lines = "".join(
        ",".join(words[k % 5] if np.isnan(v) else str(v) for v in row) + f",{k % 2}\n"
        for k, row in enumerate(x)
    )
    data = load(write(tmp_path / "a.csv", "a,b,c,y\n" + lines))
    train, test = (x[split.inputs[:, 2].long()] for split in (data.train, data.test))
    imputer = SimpleImputer(add_indicator=True).fit(train)
    np.testing.assert_allclose(data.train.inputs, imputer.transform(train), rtol=1e-6)
    np.testing.assert_allclose(data.test.inputs, imputer.transform(test), rtol=1e-6)


def test_a_gap_in_text_is_a_kind_of_its_own(tmp_path):
    lines = "".join(f"{'?' if k < 2 else 'ab'[k % 2]},{k % 2}\n" for k in range(8))
    data = load(write(tmp_path / "a.csv", "x,y\n" + lines))
    assert [row[:3] for row in rows(data)].count((0, 0, 1)) == 2
    assert not data.train.inputs.isnan().any()


def test_an_empty_column_is_left_out(tmp_path):
    lines = "".join(f",{k},{k % 2}\n" for k in range(6))
    with pytest.warns(UserWarning, match="column 'nothing' of .* is empty"):
        assert load(write(tmp_path / "a.csv", "nothing,x,y\n" + lines)).train.inputs.shape[1] == 1


def test_a_column_without_a_name_is_left_out(tmp_path):
    """Such as the line numbers that pandas writes."""
    lines = "".join(f"{k},{k * k},{k % 2}\n" for k in range(6))
    with pytest.warns(UserWarning, match="no name and was left out"):
        data = load(write(tmp_path / "a.csv", ",x,y\n" + lines))
    assert rows(data) == [(k * k, k % 2) for k in range(6)]


SIX = "".join(f"{k},{k % 2}\n" for k in range(6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SIX, r"begin with the columns' names, .* first line is \['0', '0'\]"),
        ("x,x\n" + SIX, "each of its own"),
        ("x y\n1 0\n", "separate the columns by commas or semicolons"),
        ("x;y\n1;0\n2\n", "line 3 of .* must have 2 values as the header has, but has 1"),
        (
            "x,price\n" + "".join(f"{k},{k / 7}\n" for k in range(60)),
            "must hold classes, but 'price' holds 60 different numbers .* by .*a.csv:COLUMN",
        ),
        ("", "a feature and a target column"),
        ("x,y\n", "must hold samples below its header"),
        ("x,y\n" + SIX + "1\n", "line 8 of .* must have 2 values as the header has, but has 1"),
        ("x,y\n" + SIX + "1,2,3\n", "line 8 of .* but has 3"),
        ("x,y\n" + SIX + "1,\n", "target column 'y', but 1 have none, the first being sample 7"),
        ("x,y\n" + SIX + "inf,1\n", "column 'x' of .* finite in float32, but line 7"),
        ("x,y\n" + SIX + "1e39,1\n", "column 'x' of .* finite in float32"),
        ("x,y\n" + SIX + "1,2\n", "'2' has 1; add samples"),
        (
            "name,y\n" + "".join(f"n{k},{k % 2}\n" for k in range(60)),
            "column 'name' of .* 60 kinds in 60 lines, such as 'n0'; remove it",
        ),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(write(tmp_path / "a.csv", text))


def test_other_encodings_are_explained(tmp_path):
    path = write(tmp_path / "a.csv", "x,größe\n" + SIX, "latin-1")
    with pytest.raises(ValueError, match="a table in UTF-8"):
        load(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x,y\n" + b"1,a\n2,b\n" * 3 + b"\x00,a\n", "line 8 holds a NUL"),
        ("x,y\n1,a\n".encode("utf-16"), "in UTF-8, but: 'utf-8' codec"),
        ("x,y\n1,a\n".encode("utf-16-le"), "holds a NUL|a feature and a target"),
        ("größe,y\n1,a\n".encode("latin-1"), "in UTF-8, but: 'utf-8' codec"),
        (b'x,y\n"' + b"1" * 200_000 + b'",a\n', "field larger than field limit"),
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


def test_kinds_that_do_not_fit_into_memory_are_refused_before_they_are_columns(
    tmp_path, monkeypatch
):
    """Each kind is a column: 40,000 lines of 20,000 kinds are 4.8 GB."""
    lines = "".join(f"k{k % 20_000},{'ab'[k % 2]}\n" for k in range(40_000))
    monkeypatch.setattr(memory, "free_memory", lambda: 2**30)
    monkeypatch.setattr(np, "eye", None)
    with pytest.raises(ValueError, match=r"must fit into memory, but needs 4\.5 GiB at least"):
        load(write(tmp_path / "a.csv", f"x,y\n{lines}"))


def test_a_sample_is_named_by_its_row_in_a_spreadsheet(tmp_path):
    lines = [f'{k},"two\nlines",{k % 2}\n' if k == 3 else f"{k},one,{k % 2}\n" for k in range(2, 9)]
    path = write(tmp_path / "a.csv", "x,text,y\n" + "".join(lines[:4]) + "\n" + "".join(lines[4:]))
    data = load(path)
    found = {
        int(x): name
        for split in (data.train, data.test)
        for x, name in zip(split.inputs[:, 0], split.names, strict=True)
    }
    # A spreadsheet shows a cell of two lines in one row, and an empty line as a row.
    assert found == {k: f"row {k if k < 6 else k + 1}" for k in range(2, 9)}
