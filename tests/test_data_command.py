"""`counterpoise data`: what a data set is, in the terminal, as JSON and as a page."""

import base64
import html
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from counterpoise.cli._app import run
from counterpoise.cli._data import show_overview
from counterpoise.cli._shown import Output
from counterpoise.data import Column, Split, Splits
from counterpoise.report import render_data
from counterpoise.study.overview import overview


def pictures(folder, classes, shape=(12, 20, 3)):
    """A folder of images, ever fewer of a class."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(max(4, 24 - k)):
            pixels = rng.integers(0, 255, shape, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    (folder / classes[0] / "notes.txt").write_text("no image")


def mixed():
    """Cells of a number and a category, with gaps, in three groups."""
    nan = float("nan")
    cells = [[1.0, 0], [2.5, 1], [nan, 1], [4.0, nan], [-3.0, 1], [0.5, 2]]
    columns = (Column("income", "number"), Column("town", "category", ("Ulm", "[b]Bonn", "Köln")))
    train = Split(
        torch.tensor(cells, dtype=torch.float64),
        torch.tensor([0, 0, 0, 0, 1, 1]),
        groups=torch.tensor([4, 4, 5, 5, 6, 6]),
    )
    test = Split(train.inputs[:3], train.targets[[0, 4, 5]], groups=torch.tensor([7, 8, 8]))
    return Splits("mixed", train, test, ("no", "<b>yes"), "made", ("a note",), columns=columns)


def test_figures_are_those_of_pandas_and_statsmodels():
    found = overview(mixed(), ["3 rows without a class"])
    income, town = found.columns
    cells = pd.Series([1.0, 2.5, np.nan, 4.0, -3.0, 0.5])
    assert (income.gaps, income.values) == (cells.isna().sum(), cells.nunique())
    assert [income.low, income.middle, income.high] == [cells.min(), cells.median(), cells.max()]
    assert (town.kind, town.gaps, town.values) == ("category", 1, 3)
    assert town.frequent == (("[b]Bonn", 3), ("Ulm", 1), ("Köln", 1))
    assert found.counts == {"train": [4, 2], "test": [1, 2]}
    assert found.groups == {"train": 3, "test": 2}
    assert found.ratio == 2
    for within, n in zip(found.recall_within, (1, 2), strict=True):
        low, high = proportion_confint(n // 2, n, method="wilson")
        assert within == pytest.approx((high - low) / 2)


def test_the_terminal_shows_all_of_it_as_text(capsys):
    show_overview(Output(width=100), overview(mixed(), ["3 rows [/b] without a class"]))
    said = capsys.readouterr().out
    for words in (
        "Data: made",
        "a note",
        "Table of 2 columns: 1 of numbers, 1 of categories",
        "Samples: 6 in train, 3 in test",
        "none of which is in two splits: 3 in train, 2 in test",
        "2 classes; the largest is 2 times the smallest",
        "Left out: 3 rows [/b] without a class",
        "[b]Bonn (3), Ulm (1), Köln (1)",
        "-3 to 4, half below 1",
        "Caution: few test samples: 1 of no (±40 points)",
    ):
        assert words in said, words
    assert re.search(r"^ <b>yes +2 +2 +±41 +█+", said, re.MULTILINE)


def test_json_has_every_class_and_what_was_left_out_and_nothing_is_written(tmp_path, capsys):
    pictures(tmp_path / "pics", [f"class {k:02}" for k in range(33)])
    before = sorted(tmp_path.rglob("*"))
    assert run(["data", str(tmp_path / "pics"), "--json", "--image-size", "8"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(tmp_path.rglob("*")) == before
    assert found["shape"] == [3, 8, 8]
    assert len(found["class_names"]) == 33
    whole = [a + b for a, b in zip(found["counts"]["train"], found["counts"]["test"], strict=True)]
    assert whole == [max(4, 24 - k) for k in range(33)]
    assert any(".txt" in line for line in found["left_out"])


def test_the_page_has_some_pictures_of_each_class_and_needs_nothing_else(tmp_path, capsys):
    pictures(tmp_path / "pics", ["A <i>b", *(f"class {k:02}" for k in range(32))])
    page = tmp_path / "new" / "page.html"
    assert run(["data", str(tmp_path / "pics"), "--html", str(page)]) == 0
    assert "and 3 more classes between" in capsys.readouterr().out
    text = page.read_text()
    uris = re.findall(r'<img src="data:image/png;base64,([^"]+)"', text)
    sheet = text.partition('id="pictures"')[2]
    names = [html.unescape(n) for n in re.findall(r'<bdi title="([^"]*)">', sheet)]
    assert len(names) == 30
    assert "A <i>b" in names
    assert "<i>" not in text
    assert "And 3 more classes." in sheet
    counts = [r.count("<img") for r in sheet.split("<tr>")[2:]]
    assert counts[0] == 8
    assert max(counts) == 8
    assert Image.open(io.BytesIO(base64.b64decode(uris[0]))).size == (20, 12)
    assert not re.search(r"<script|https?://|<link|url\(", text)
    assert list(page.parent.iterdir()) == [page]


def test_a_page_of_a_table_has_its_columns(tmp_path):
    page = render_data(mixed(), overview(mixed()), tmp_path / "page.html").read_text()
    cells = [html.unescape(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", page)]
    assert {"number", "category", "16.7%", "[b]Bonn (3), Ulm (1), Köln (1)"} <= {*cells}
    assert "&lt;b&gt;yes" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [("kept.txt", "is there already, and is no page"), ("pics/page.html", "must not lie in")],
)
def test_no_page_is_written_over_anything_else_or_among_the_data(tmp_path, name, said):
    pictures(tmp_path / "pics", ["a", "b"])
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ValueError, match=said):
        run(["data", str(tmp_path / "pics"), "--html", str(tmp_path / name)])
    assert (tmp_path / "kept.txt").read_text() == "mine"
    assert not (tmp_path / "pics" / "page.html").exists()


def test_the_options_are_those_of_compare(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'crop'"):
        run(["data", "digits", "--resize", "crob"])
    with pytest.raises(ValueError, match="--image-size must be like 224"):
        run(["data", "digits", "--image-size", "big"])


def test_small_classes_are_merged_as_the_flags_say(tmp_path, capsys):
    pictures(tmp_path / "pics", [f"class {k:02}" for k in range(21)])  # 24 of the first, 4 of last
    flags = ["--min-samples", "6", "--image-size", "8"]
    assert run(["data", str(tmp_path / "pics"), *flags, "--small", "merge", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["class_names"][-2:] == ["class 18", "other"]
    assert sum(found["counts"][split][-1] for split in ("train", "test")) == 5 + 4
    assert any(
        "'class 19' has 5, 'class 20' has 4: merged into 'other'" in line
        for line in found["left_out"]
    )
    with pytest.raises(ValueError, match=r"must have 6 samples at least .* set small \(--small"):
        run(["data", str(tmp_path / "pics"), *flags])


def test_it_says_what_a_study_would_say(tmp_path, capsys):
    """A column that gives the class away, and the test split that is drawn for each seed."""
    rows = [f"{k % 7},{k % 4 == 0},{'yes' if k % 4 == 0 else 'no'}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,told,y", *rows]))
    assert run(["data", str(tmp_path / "t.csv")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "test = per_seed: a fixed fifth holds 2 samples of the smallest class" in said
    assert "Caution: " in said
    assert "'told'" in said
