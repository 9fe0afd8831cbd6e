"""New data, read as those that a model was trained on."""

import csv
import datetime
import json
import re
import time
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from counterpoise.data import (
    Column,
    SampleReader,
    Split,
    Splits,
    TableEncoder,
    digits,
    load,
    read_unseen,
)
from counterpoise.decisions import Rule
from counterpoise.inference import Model

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
            table.writerows(
                [line[c] for c in columns] for line in [header, *map(rows.__getitem__, order)]
            )
        named = {f"row {k + 2}": f"row {row + 2}" for k, row in enumerate(order)}
        check_same(read(other, data)[0], wanted, {a: b for a, b in named.items() if b in wanted})


def write(path, columns: dict[str, list[object]], separator=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=separator)
        table.writerow([*columns, "y"])
        table.writerows(
            [*row, "ab"[k % 2]] for k, row in enumerate(zip(*columns.values(), strict=True))
        )
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
        "both": often("8.1", "12,5", "3,25", "1.037"),
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
        "some": [*dates("%d.%m.%Y", step="40D")[2:], "soon", "?"],
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


def test_years_of_two_digits_stay_what_they_were_in_years_to_come(tmp_path, monkeypatch):
    data = load(write(tmp_path / "a.csv", TABLES["dates"]))
    later = time.time() + 40 * 365 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    check_same(read(tmp_path / "a.csv", data)[0], trained(data))


def test_a_new_cell_takes_commas_as_its_column_or_else_its_file_did(tmp_path):
    data = load(write(tmp_path / "a.csv", TABLES["commas;"], ";"))
    cells = {"whole": "3,5", "both": "8.125", "grouped": "1.000", "sure": "8.1", "many": "2"}
    found, _ = read(cells | {"doubtful": "1.000,5", "dotted": "-1.000"}, data)
    wanted = {"sure": np.nan, "doubtful": 1000.5, "dotted": -1000, "grouped": 1000, "both": 8.125}
    wanted |= {"whole": 3.5, "many": 2}
    np.testing.assert_array_equal(found["row 0"], list(wanted.values()))


def test_a_stray_quote_and_a_doubtful_separator_are_read_as_in_training(tmp_path):
    rows = [[f"{k / 8}", "xy"[k % 2] * (1 + k % 3), "ab"[k % 2]] for k in range(300)]
    rows[18][1], rows[218][1] = '"Weird Al', '"The" band'
    path = tmp_path / "a.tsv"
    path.write_text("x\tname\ty\n" + "".join("\t".join(row) + "\n" for row in rows))
    data = load(path)
    for k in (18, 218, 5):
        one = tmp_path / "one.tsv"
        one.write_text("name\tx\n" + f"{rows[k][1]}\t{rows[k][0]}\n")
        check_same(read(one, data)[0], trained(data), {"row 2": f"row {k + 2}"})
    path = tmp_path / "b.csv"
    path.write_text(
        "a,b;c,y\n" + "".join(f"{k},{k % 5};{k % 7},{'pq'[k % 2]}\n" for k in range(40))
    )
    data = load(path)
    (tmp_path / "one.csv").write_text("b;c,a\n3;3,3\n")
    check_same(read(tmp_path / "one.csv", data)[0], trained(data), {"row 2": "row 5"})


@pytest.mark.parametrize("suffix", ["parquet", "xlsx", "csv"])
def test_files_with_types_and_frames_are_read_as_text_is_and_the_other_way_round(tmp_path, suffix):
    frame = pd.DataFrame(
        {
            "x": np.where(np.arange(N) % 7 == 0, np.nan, np.arange(N) / 4),
            "n": pd.array([None if k % 9 == 0 else k * k for k in range(N)], "Int64"),
            "code": [f"{k % 5:03d}" for k in range(N)],
            "when": pd.date_range("2024-01-01 10:00", periods=N, freq="7h"),
            "flag": np.arange(N) % 3 == 0,
            "kind": pd.Categorical([None if k % 11 == 0 else "pqr"[k % 3] for k in range(N)]),
            "y": ["a", "b"] * (N // 2),
        }
    )
    paths = {kind: tmp_path / f"t.{kind}" for kind in ("parquet", "xlsx", "csv")}
    frame.to_parquet(paths["parquet"])
    frame.to_excel(paths["xlsx"], index=False)
    frame.to_csv(paths["csv"], index=False)
    data = load(paths[suffix])
    wanted = trained(data)
    for path in paths.values():
        check_same(read(path, data)[0], wanted)
    named = {f"row {k}": f"row {k + 2}" for k in range(N)}
    for source in (frame, frame.drop(columns="y")[::-1], frame.to_dict("records")):
        check_same(read(source, data)[0], wanted, named)
    for k in (0, 8, 9):
        check_same(read(frame[k : k + 1], data)[0], wanted, {f"row {k}": f"row {k + 2}"})


def test_times_by_type_are_known_to_a_model_whose_dates_were_text(tmp_path):
    data = load(write(tmp_path / "a.csv", {"day": dates("%d.%m.%y", step="3D"), "x": dates("%j")}))
    when = pd.date_range("2024-01-01", periods=N, freq="3D")
    found, _ = read(pd.DataFrame({"day": when.normalize(), "x": 1}), data)
    wanted = {f"row {k}": trained(data)[f"row {k + 2}"][:-1] for k in range(N)}
    check_same({name: cells[:-1] for name, cells in found.items()}, wanted)
    to_come = pd.Timestamp("2090-01-01")
    found, _ = read(pd.DataFrame({"day": [to_come], "x": 1}), data)
    assert found["row 0"][-2] == to_come.timestamp() / 86400


def test_a_date_of_another_form_or_unit_is_missing(tmp_path):
    data = load(write(tmp_path / "a.csv", TABLES["dates"]))
    cells = {name: cells[0] for name, cells in TABLES["dates"].items()}
    cells |= {"timestamp": "1700000000000", "compact_date": "2024011", "month/day": "31/12/2024"}
    found, new = read(cells, data)
    names = {c.name for c, x in zip(data.columns, found["row 0"], strict=True) if np.isnan(x)}
    assert {name.partition(" ")[0] for name in names} == {"timestamp", "compact_date", "month/day"}
    assert sum("held dates in training" in note for note in new.notes) == 3


def small(tmp_path, separator=","):
    """Ages, plans and a gap, as a model was trained on them."""
    ages = [str(20 + k * k % 37) for k in range(N)]
    return load(
        write(tmp_path / "t.csv", {"age": ages, "plan": often("basic", "gold", "")}, separator)
    )


def test_new_values_are_what_training_called_others(tmp_path):
    columns = {"age": [str(k * k % 37) for k in range(N)], "town": [*"abcdefgh", *"xy" * 26]}
    data = load(write(tmp_path / "t.csv", columns))
    encode = TableEncoder.fit(torch.cat([s.inputs for s in data.named().values()]), data.columns)
    assert encode.features == ("age", "town=x", "town=y", "town: other")
    new = read_unseen([{"town": town, "age": 3} for town in ("x", "Zürich", "a", "A")], *kept(data))
    (batch,) = new.batches()
    assert encode(batch.inputs, new.columns)[:, 1:].tolist() == [[1, 0, 0], *[[0, 0, 1]] * 3]
    assert new.columns[1].values == (*data.columns[1].values, "A", "Zürich")
    (note,) = new.notes
    assert "'town' holds 'Zürich' in row 1, 'A' in row 3, values that training had not" in note
    alone = read_unseen([{"town": "y", "age": 3}], data.reading)  # by values, without positions
    (batch,) = alone.batches()
    assert alone.columns == (Column("age", "number"), Column("town", "category", ("y",)))
    assert encode(batch.inputs, alone.columns)[0, 1:].tolist() == [0, 1, 0]


def test_cells_of_another_kind_are_missing_and_said(tmp_path):
    data = small(tmp_path)
    ages = ["abc", "31", "n/a", "1,5", "abc", "inf", "x", "1e200"]
    path = write(tmp_path / "new.csv", {"age": ages, "plan": ["gold"] * 8})
    found, new = read(path, data)
    assert [k for k, cells in found.items() if not np.isnan(cells[0])] == ["row 3"]
    (note,) = new.notes
    assert note == (
        "column 'age' held numbers in training, but 'abc' in row 2, '1,5' in row 5, 'inf' in row 7 "
        "and 3 more are none: taken as missing"
    )


def test_columns_may_be_more_and_must_not_be_less(tmp_path):
    data = small(tmp_path)
    path = tmp_path / "new.csv"
    path.write_text("who,age,y,why,plan\nme,31,b,x,gold\n\nyou,32,c,x,\nit,33,?,x,gold\n")
    found, new = read(path, data, class_names=data.class_names)
    assert [cells.tolist()[0] for cells in found.values()] == [31, 32, 33]
    assert new.names == ("row 2", "row 4", "row 5")
    assert new.labels == ("b", None, None)
    assert new.notes == [
        "1 empty row: not read",
        "columns 'who', 'why', which were not there in training: not read",
        "1 sample without a label, not to be scored: row 5",
        "1 sample with a label that is no class of the model, not to be scored: row 4 ('c')",
    ]
    path.write_text("Age,plan\n31,gold\n")
    with pytest.raises(
        ValueError, match=r"lacks 'age'; it begins with 'Age', 'plan'; is 'age' cal"
    ):
        read(path, data)
    path.write_text("31,gold\n32,gold\n")
    with pytest.raises(ValueError, match="lacks 'age', 'plan'; it begins with '31', 'gold'"):
        read(path, data)
    path.write_text("age,plan,age\n31,gold,3\n")
    with pytest.raises(ValueError, match="each column once, but has 'age' several times"):
        read(path, data)
    path.write_text("plan;age\ngold;31\n")  # of another separator
    assert read(path, data)[0]["row 2"].tolist() == [31, 2 - 1]


def test_a_single_column_and_columns_called_by_numbers_need_no_label(tmp_path):
    ages = {"age": [f"{k * k % 37},5" for k in range(N)]}
    data = load(write(tmp_path / "t.csv", ages, ";"))
    (tmp_path / "new.csv").write_text("age\n3,5\n")
    assert read(tmp_path / "new.csv", data)[0]["row 2"].tolist() == [3.5]
    pixels = {str(k): [str((k + 3) * i * i % 97) for i in range(N)] for k in range(6)}
    data = load(write(tmp_path / "p.csv", pixels))
    (tmp_path / "new.csv").write_text("5,0,3,2,1,4\n50,0,30,20,10,40\n")
    assert read(tmp_path / "new.csv", data)[0]["row 2"].tolist() == [0, 10, 20, 30, 40, 50]
    assert read(np.arange(6)[None], data)[0]["row 0"].tolist() == [0, 1, 2, 3, 4, 5]


def picture(path, seed, size=(12, 9), mode="RGB", **settings):
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = rng.integers(0, 255, (size[1], size[0], len(mode)), dtype=np.uint8)
    image = Image.fromarray(values.squeeze(), mode=None if mode != "LA" else "LA")
    image.save(path, **settings)


def pictures(root):
    """Photographs upright and on their sides, in colours, grey and transparent, of odd names."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in range(8):
        picture(root / "cat" / f"{k} ü\n#%.jpg", k, (90, 60), exif=exif)
        picture(root / "dog é" / "deeper" / f"{k}.png", 20 + k, (40, 50), "RGBA" if k % 2 else "L")
    return root


def test_images_are_the_same_in_any_folder_or_list(tmp_path):
    data = load(pictures(tmp_path / "train"), image_size=(16, 20), resize="pad")
    wanted = trained(data)
    names = sorted(wanted)
    found, new = read(tmp_path / "train", data, class_names=data.class_names)
    assert (new.names, new.notes, new.unread) == (tuple(names), [], {})
    assert new.labels == tuple(name.partition("/")[0] for name in names)
    check_same(found, wanted)
    flat = tmp_path / "flat"
    places = {}
    for k, name in enumerate(names):
        place = f"{('', 'a/', 'a/b c/')[k % 3]}{k}{name[-4:]}"
        (flat / place).parent.mkdir(parents=True, exist_ok=True)
        (flat / place).write_bytes((tmp_path / "train" / name).read_bytes())
        places[place] = name
    for junk in (".hidden/x.png", "__MACOSX/x.png", "Thumbs.db", "a/read.me", "labels.csv"):
        (flat / junk).parent.mkdir(exist_ok=True)
        (flat / junk).write_bytes(b"x")
    found, new = read(flat, data, class_names=data.class_names)
    check_same(found, wanted, places)
    assert len(found) == 16
    assert new.labels is None
    assert new.notes == ["files that do not end like images: 1 .csv, 1 .me: not read"]
    one = tmp_path / "train" / names[-1]
    check_same(read(one, data)[0], wanted, {one.name: names[-1]})
    paths = [tmp_path / "train" / name for name in names[::-1]]
    check_same(
        read(paths, data)[0], wanted, {str(p): n for p, n in zip(paths, names[::-1], strict=True)}
    )
    sideways = Image.open(paths[-1])
    assert len(read(sideways, data)[0]) == 1
    assert (sideways.size, sideways.mode) == ((90, 60), "RGB")  # it is nobody's but the caller's
    opened = [Image.open(p) for p in paths if p.suffix == ".png"]
    check_same(read(opened, data)[0], wanted, {f"image {k}": n for k, n in enumerate(names[:7:-1])})


def test_images_of_more_bits_keep_the_range_of_training(tmp_path):
    for k in range(12):
        values = np.random.default_rng(k).integers(100, 1100, (9, 9)).astype(np.uint16)
        (tmp_path / "wide" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(tmp_path / "wide" / "ab"[k % 2] / f"{k}.png")
        picture(tmp_path / "plain" / "ab"[k % 2] / f"{k}.png", k, (9, 9), "L")
    data = load(tmp_path / "wide")
    for folder in (tmp_path / "wide", tmp_path / "wide" / "a"):
        names = {n.removeprefix("a/" * (folder.name == "a")): n for n in trained(data)}
        names = {a: b for a, b in names.items() if (folder / a).exists()}
        check_same(read(folder, data)[0], trained(data), names)
    found, new = read(tmp_path / "wide" / "b", load(tmp_path / "plain"))
    assert not found
    assert len(new.unread) == 6
    assert "more than 8 bits a pixel, as no image to train on had" in new.unread["1.png"]


def in_commas(tmp_path) -> Splits:
    """Amounts with decimal commas, days and times of day, as text."""
    columns = {
        "amount": [f"{100 + k * k % 83},{k % 7}5" for k in range(N)],
        "country": often("DE", "AT", "CH"),
        "day": dates("%d.%m.%Y", step="3D"),
        "clock": [f"{k % 24}:{k * 7 % 60:02d}" for k in range(N)],
    }
    return load(write(tmp_path / "commas.csv", columns, ";"))


def test_cells_that_are_numbers_or_times_by_type_are_taken_as_they_are(tmp_path):
    data = in_commas(tmp_path)
    when = pd.Timestamp("2031-05-02 13:45")
    frame = pd.DataFrame(
        {
            "amount": [150.03, 1.037, "1.037,5", 7, Decimal("2.5"), np.float64(-0.125), None],
            "country": "DE",
            "day": [when, "01.02.2024", when.date(), np.datetime64("2024-02-01"), pd.NaT, "", None],
            "clock": [datetime.timedelta(hours=30), datetime.time(1, 30), "1:30", *[None] * 4],
        },
        dtype=object,
    )
    amounts = [150.03, 1.037, 1037.5, 7, 2.5, -0.125, np.nan]
    days = [when.timestamp() / 86400, 19754, when.normalize().timestamp() / 86400, 19754]
    frame.to_excel(tmp_path / "new.xlsx", index=False)
    for source in (frame, frame.to_numpy(), frame.to_dict("records"), tmp_path / "new.xlsx"):
        found, new = read(source, data)
        cells = pd.DataFrame([*found.values()], columns=[c.name for c in new.columns])
        np.testing.assert_array_equal(cells["amount"], amounts)
        np.testing.assert_array_equal(cells["day in days"][:3], days[:3])
        if source is frame:  # pandas writes durations to Excel as numbers
            np.testing.assert_array_equal(cells["clock in hours"][:3], [30, 1.5, 1.5])
            np.testing.assert_array_equal(cells["day in days"][3], days[3])
            assert not new.strays
    wrong = [True, "8.1", np.inf, 10**400, "NaN"]
    _, new = read(pd.DataFrame({"amount": wrong, "country": "DE", "day": "", "clock": ""}), data)
    (said,) = new.strays
    assert "'True' in row 0, '8.1' in row 1, 'inf' in row 2 and 1 more are none" in said
    _, new = read(pd.DataFrame({"amount": [np.inf], "country": "", "day": "", "clock": ""}), data)
    assert "'inf' in row 0 is none" in new.strays[0]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            {"amount": ["n.v."]},
            "column 'amount' of FILE must hold numbers as in training, with a decimal comma, such "
            "as 1,5, but 21 of the 40 cells that are not empty hold none: 'n.v.' in row 2 and 20 "
            "more; write them so, or leave cells without a value empty",
        ),
        ({"amount": ["3.25"]}, "with a decimal comma, such as 1,5, but 21 .*'3.25' in row 2"),
        ({"day": ["2024-02-01"]}, "dates as in training, such as 31.12.2024, but 21 .*'2024-02-01"),
        (
            {"clock": ["noon"], "amount": ["x"], "day": ["1 May"]},
            "column 'amount' .*; the same of 'day', 'clock'$",
        ),
    ],
)
def test_a_column_that_cannot_be_read_is_refused(tmp_path, cells, said):
    data = in_commas(tmp_path)
    path = tmp_path / "new.csv"
    good = {"amount": "3,25", "country": "DE", "day": "01.02.2024", "clock": "12:30"}

    def columns(bad: int, there: int):
        some = {name: cells.get(name, [good[name]]) * bad for name in good}
        return {n: [*c, *[good[n]] * (there - bad), "", "?"] for n, c in some.items()}

    with pytest.raises(ValueError, match=said.replace("FILE", re.escape(str(path)))) as told:
        read(write(path, columns(21, 40), ";"), data)
    assert "\n" not in str(told.value)
    for bad, there in ((20, 40), (19, 19)):
        _, new = read(write(path, columns(bad, there), ";"), data)
        assert len(new.strays) == len(cells)
        assert set(new.strays) <= set(new.notes)


def test_a_column_without_a_value_in_training_is_not_asked_for_numbers():
    reader = SampleReader(pd.DataFrame({"x": range(N), "never": [None] * N}))
    cells, _ = reader(pd.DataFrame({"x": [1.5] * N, "never": ["words"] * N}))
    assert cells[:, 0].tolist() == [1.5] * N
    assert cells[:, 1].isnan().all()


def test_eight_columns_are_named_and_the_rest_counted(tmp_path):
    names = [f"x{k}" for k in range(11)]
    data = load(write(tmp_path / "a.csv", {n: [str(k * k) for k in range(N)] for n in names}))
    _, new = read(dict.fromkeys(names, "abc"), data)
    assert len(new.notes) == 9
    assert new.notes[-1] == "the same of 3 more columns"


class Even:
    """A member of a model that finds all classes alike."""

    def prepare(self, inputs, columns):
        return inputs

    def logits(self, inputs):
        return np.zeros((len(inputs), 2))

    def posterior(self, logits):
        return logits - np.log(2)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_a_model_warns_of_what_it_did_not_read(tmp_path, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table, images = in_commas(tmp_path), load(pictures(tmp_path / "train"))
    picture(tmp_path / "new" / "0.png", 0)
    picture(tmp_path / "new" / "1.png", 1)
    row = {"amount": "1,5", "country": "DE", "day": "01.02.2024", "clock": "12:30"}
    (tmp_path / "new" / "1.png").write_bytes(b"")
    for data, source, good, said in (
        (images, tmp_path / "new", tmp_path / "new" / "0.png", "1 of 2 samples cannot be read"),
        (table, row | {"amount": "8.1"}, row, "column 'amount' held numbers in training, but '8.1"),
    ):
        rows = [{"name": c.name, "kind": c.kind, "values": c.values} for c in data.columns or ()]
        about = {"reading": data.reading, "columns": rows, "variant": "plain"}
        model = Model(("a", "b"), (3, 3), Rule(), about, tmp_path, (Even(),))
        with pytest.warns(UserWarning, match=said) as told:
            getattr(model, method)(source)
        assert [w.filename for w in told] == [__file__]
        getattr(model, method)(good)


def test_a_missing_column_is_not_taken_for_one_that_the_model_needs(tmp_path):
    columns = {name: [str(k * k) for k in range(N)] for name in ("count", "country")}
    data = load(write(tmp_path / "a.csv", columns))
    for more, hint in (({}, ""), ({"county": 1}, r"; is 'count' called 'county' there\?")):
        row = {"country": 1, "y": "a", **more}
        with pytest.raises(ValueError, match="lacks 'count'; it begins with [^;]*" + hint + "$"):
            read(row, data)


def test_broken_images_are_named_as_they_are_met(tmp_path):
    data = load(pictures(tmp_path / "train"))
    for k in range(6):
        picture(tmp_path / "new" / f"{k}.png", k)
    (tmp_path / "new" / "0.png").write_bytes(b"")
    (tmp_path / "new" / "4.png").write_bytes((tmp_path / "new" / "4.png").read_bytes()[:60])
    told = []
    new = read_unseen(
        tmp_path / "new", data.reading, batch_size=2, on_progress=lambda *done: told.append(done)
    )
    assert not new.unread
    batches = new.batches()
    assert next(batches).index.tolist() == [1]
    assert new.unread == {"0.png": "no image of a known format"}
    assert [batch.index.tolist() for batch in batches] == [[2, 3], [5]]
    assert new.unread.keys() == {"0.png", "4.png"}
    assert told == [(2, 6), (4, 6), (6, 6)]
    found, new = read([tmp_path / "new" / "1.png", tmp_path / "new" / "gone.png"], data)
    assert (len(found), list(new.unread.values())) == (1, ["No such file or directory"])


def test_folders_are_labels_where_all_are_classes(tmp_path):
    data = load(pictures(tmp_path / "train"))
    picture(tmp_path / "new" / "test" / "cat" / "1.png", 1)
    picture(tmp_path / "new" / "0.png", 1)
    _, new = read(tmp_path / "new", data, class_names=data.class_names)
    assert new.labels == (None, "cat")
    assert new.notes == ["1 sample without a label, not to be scored: 0.png"]
    picture(tmp_path / "new" / "test" / "cow" / "1.png", 1)
    _, new = read(tmp_path / "new" / "test", data, class_names=data.class_names)
    assert new.labels is None
    assert new.notes == ["folders are not taken for classes, as 'cow' is none of the model's"]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (3, 8, 8), (5,)])
@pytest.mark.parametrize("dtype", ["uint8", "float64", "int32"])
def test_arrays_are_the_same_from_files_and_memory(tmp_path, shape, dtype):
    x = np.random.default_rng(0).integers(0, 255, (N, *shape)).astype(dtype)
    x[:, ..., 0] = np.arange(N).reshape(-1, *[1] * (len(shape) - 1))  # to know them by
    y = np.arange(N) % 2
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "only.npz", anything=x)
    np.save(tmp_path / "a.npy", x)
    data = load(tmp_path / "a.npz")
    every = torch.cat([s.inputs for s in data.named().values()])
    wanted = {f"row {int(sample.flatten()[0])}": sample.numpy() for sample in every}
    assert len(wanted) == N
    for source in ("a.npz", "only.npz", "a.npy", x, torch.from_numpy(x), x.tolist()):
        labelled = isinstance(source, str) and source == "a.npz"
        where = tmp_path / source if isinstance(source, str) else source
        found, new = read(where, data, class_names=data.class_names)
        check_same(found, wanted)
        assert new.labels == (tuple(map(str, y)) if labelled else None)
    check_same(read(x[3], data)[0], wanted, {"row 0": "row 3"})


def test_images_are_read_for_a_model_of_small_arrays(tmp_path):
    data = digits()
    assert data.reading == {
        "kind": "images", "shape": [1, 8, 8], "resize": "crop", "low": None, "high": None
    }  # fmt: skip
    image = data.test.inputs[3, 0].numpy()
    Image.fromarray(image).save(tmp_path / "3.png")
    (found,) = read(tmp_path, data)[0].values()
    np.testing.assert_array_equal(found[0], image)
    np.savez(tmp_path / "a.npz", x=image[None], y=[3])
    names = ("zero", "one", "two", "three")
    new = read_unseen(tmp_path / "a.npz", data.reading, class_names=names)
    assert new.labels == ("three",)
    assert new.notes == ["labels are numbers: taken for the positions of the classes, from 0 on"]


def test_numbers_that_are_none_are_skipped_and_named():
    data = vectors()
    x = np.ones((5, 3), np.float32)
    x[2, 1], x[4, 0] = np.nan, np.inf
    found, new = read(x, data)
    assert list(found) == ["row 0", "row 1", "row 3"]
    assert new.unread == dict.fromkeys(("row 2", "row 4"), "numbers that are NaN or infinite")


def vectors() -> Splits:
    split = Split(torch.zeros(2, 3), torch.tensor([0, 1]))
    return Splits("a", split, split, ("p", "q"), "here")


def test_what_cannot_be_read_is_told_in_one_line(tmp_path):
    (tmp_path / "train").mkdir()
    table, images = small(tmp_path), load(pictures(tmp_path / "train"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "head.csv").write_text("age,plan\n")
    (tmp_path / "note.txt").write_text("words alone\n")
    np.savez(tmp_path / "two.npz", a=np.ones(3), b=np.ones(3))
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY no array")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    for source, data, said in (
        ("gone.csv", table, "must be a table .* which is not there"),
        ("empty", table, "must be a table .* which is none"),
        ("empty.csv", table, "lacks 'age', 'plan'|must hold samples"),
        ("head.csv", table, "must hold samples below its header"),
        ("note.txt", table, "must hold samples"),
        (np.ones((2, 5)), table, r"array of the 2 columns .* got a ndarray of shape \(2, 5\)"),
        (pd.DataFrame({"age": []}), table, "must hold samples"),
        (7, table, "got a int"),
        ("gone", images, "must be images.* which is not there"),
        ("empty", images, "must hold images .* but holds no file"),
        ("t.csv", images, "must be images.*t.csv, which is none"),
        (np.ones((2, 7)), images, r"of the shape \(N, 3, 32, 32\) as in training.* got \(2, 7\)"),
        (np.full((1, 3, 32, 32), 0.5), images, "whole numbers from 0 to 255 .* row 0 has 0.5"),
        ("empty", vectors(), "must be arrays .* which is none"),
        ("two.npz", vectors(), "or as its only array, but holds a, b"),
        ("bad.npy", vectors(), "must be a plain array"),
        ("objects.npy", vectors(), "must be a plain array"),
        (np.ones((0, 3)), vectors(), "must hold samples"),
        (np.array([["a", "b", "c"]]), vectors(), "must be numbers"),
        ([[1, 2, 3], [1]], vectors(), "must be a file, a folder or an array, got a list"),
    ):
        where = tmp_path / source if isinstance(source, str) else source
        with pytest.raises(ValueError, match=said) as told:
            read_unseen(where, *kept(data))
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 600
    for reading in (
        {},
        {"kind": "table"},
        {**table.reading, "columns": [{"name": "age", "read": "pickle"}]},
        {**table.reading, "columns": table.reading["columns"][:1]},
        {**images.reading, "shape": [2, "a", 4]},
        {"kind": "arrays", "shape": [3], "dtype": "load"},
    ):
        source = {"table": tmp_path / "t.csv", "arrays": np.ones((2, 3))}.get(reading.get("kind"))
        with pytest.raises(ValueError, match="reading"):
            read_unseen(tmp_path / "train" if source is None else source, reading, table.columns)
