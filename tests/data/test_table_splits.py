"""Splits that a table has of its own; classes that are too small."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from counterpoise.data import encoded, load


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 120
    return pd.DataFrame(
        {
            "x": rng.permutation(n) / 8,
            "kind": rng.choice(["a", "b"], n),
            "who": rng.integers(0, 9, n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) // 4, "D"),
            "part": np.array(["Train", "val", "TEST"])[np.minimum(np.arange(n) % 5, 2)],
            "y": np.array(["no", "yes"])[np.arange(n) % 2],
        }
    ).sample(frac=1, random_state=0)


def x_of(split):
    return split.inputs[:, 0].tolist()


def test_a_second_file_is_the_test_split(tmp_path, table):
    train, test = table[:80], table[80:].assign(kind="new")
    train.to_csv(tmp_path / "train.csv", index=False)
    test[["y", *table.columns[:-1]]].assign(more=1).to_csv(
        tmp_path / "test.csv", index=False, sep=";"
    )
    with pytest.warns(UserWarning, match="also has the column 'more'"):
        data = load(tmp_path / "train.csv", test=str(tmp_path / "test.csv"))
    assert x_of(data.train) == train.x.tolist()
    assert x_of(data.test) == test.x.tolist()
    assert data.test.names[0] == "row 2"
    features = encoded(data)
    assert features.test.inputs.isfinite().all()
    assert any("80 rows, and 40 of" in note for note in data.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="y"), "must have the column 'y' of the classes"),
        (lambda t: t.drop(columns=["x", "kind"]), "but lacks 'x', 'kind'; add or drop"),
        (lambda t: t.assign(y="new"), "'new'"),
    ],
)
def test_a_second_file_that_does_not_fit_is_refused(tmp_path, table, change, message):
    table[:80].to_csv(tmp_path / "train.csv", index=False)
    change(table[80:]).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "train.csv", test=str(tmp_path / "test.csv"))


def test_settings_that_do_not_go_together_are_refused(tmp_path, table):
    table.to_csv(path := tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match="not by both"):
        load(path, test="held_out", split="part")
    with pytest.raises(ValueError, match="there is no such file"):
        load(path, test="other.csv")
    with pytest.raises(ValueError, match="did you mean 'part'"):
        load(path, split="parts")
    with pytest.raises(ValueError, match=r"must say train, validation or test .* holds '0', '1'"):
        load(path, split="who")
    with pytest.raises(ValueError, match="must have rows to test on"):
        load(_written(tmp_path, table[table.part != "TEST"]), split="part")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"small": "zz"}, "small must be refuse, drop or merge, got 'zz'"),
        ({"missing_labels": "merge"}, "missing_labels must be refuse or drop, got 'merge'"),
        ({"resize": "zzz"}, "resize must be crop, squash or pad, got 'zzz'"),
        ({"image_size": (0, 5)}, "a width of 1 or more, got .0, 5."),
        ({"image_size": (1,)}, "a width of 1 or more, got .1,."),
        ({"image_size": True}, "got True"),
        ({"image_size": 1.5}, "got 1.5"),
    ],
)
def test_a_setting_that_is_none_is_refused(tmp_path, setting, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, **setting)


def _written(folder, table):
    table.to_csv(folder / "other.csv", index=False)
    return folder / "other.csv"


def test_a_column_says_the_splits(tmp_path, table):
    data = load(_written(tmp_path, table), split="part")
    for split, word in ((data.train, "Train"), (data.validation, "val"), (data.test, "TEST")):
        assert x_of(split) == table.x[table.part == word].tolist()
    assert "part" not in [c.name for c in data.columns]
    flagged = table.assign(is_train=table.part == "Train")
    data = load(_written(tmp_path, flagged), split="is_train", drop=["part"])
    assert x_of(data.test) == table.x[table.part != "Train"].tolist()
    assert data.validation is None


def test_the_past_is_trained_on(tmp_path, table):
    data = load(_written(tmp_path, table), split="time:when")
    ends = []
    for split in (data.train, data.validation, data.test):
        when = table.when[table.x.isin(x_of(split))]
        ends += [when.min(), when.max()]
    assert ends == sorted(ends)
    assert len(set(ends[1:-1])) == 4, "rows of the same time are in one split"
    assert (len(data.train), len(data.validation), len(data.test)) == (84, 12, 24)
    assert any(
        "before '2024-01-22', chosen on what is before '2024-01-25'" in n for n in data.notes
    )
    assert not any("when" in c.name for c in data.columns)
    kept = load(tmp_path / "other.csv", split="time:when", keep=["when"])
    assert "when in days" in [c.name for c in kept.columns]
    with pytest.raises(ValueError, match="must hold a time or a number in each row"):
        load(tmp_path / "other.csv", split="time:kind")
    path = _written(
        tmp_path, table.assign(when=[f"0{1 + k % 9}/0{1 + k % 7}/2024" for k in table.who])
    )
    doubt = "other way round; write them as 2024-12-31: '01/01/2024' in 'when' is read as month/day"
    assert any(doubt in line for line in load(path, split="time:when").cautions)
    same = _written(tmp_path, table.assign(when="2024-01-01"))
    with pytest.raises(ValueError, match="three different times"):
        load(same, split="time:when")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_group_is_numbered_and_no_feature(tmp_path, table):
    frame = table.assign(who=table.who.where(table.who > 1))
    data = load(_written(tmp_path, frame), group="who")
    assert "who" not in [c.name for c in data.columns]
    of = dict(zip(frame.x, frame.who, strict=True))
    seen = {}
    for split in (data.train, data.test):
        for x, group in zip(x_of(split), split.groups.tolist(), strict=True):
            seen.setdefault(group, set()).add(of[x])
    alone = int(frame.who.isna().sum())
    assert len(seen) == frame.who.nunique() + alone
    assert all(len(members) == 1 for members in seen.values())
    assert any(f"without a group, each one of its own: {alone}" in note for note in data.notes)
    with pytest.raises(ValueError, match="no group must be in two splits"):
        load(tmp_path / "other.csv", group="who", split="part")


@pytest.mark.parametrize(
    ("one", "same", "typed"),
    [("1", "1.0", False), ("1", " 1 ", False), ("\u00e9", "e\u0301", False), (1, 1.0, True)],
)
def test_a_group_that_two_files_write_in_two_ways_is_one(tmp_path, table, one, same, typed):
    train, test = table[:80].assign(who=one), table[80:].assign(who=same)
    path, other = (tmp_path / f"{name}.{'parquet' if typed else 'csv'}" for name in ("a", "b"))
    for frame, to in ((train, path), (test, other)):
        frame.to_parquet(to, index=False) if typed else frame.to_csv(to, index=False)
    with pytest.raises(ValueError, match="no group must be in two splits"):
        load(path, group="who", test=str(other))
    for frame, to in ((train.assign(who="NA"), path), (test.assign(who="-"), other)):
        frame.to_parquet(to, index=False) if typed else frame.to_csv(to, index=False)
    data = load(path, group="who", test=str(other))
    assert len({*data.train.groups.tolist(), *data.test.groups.tolist()}) == len(table)


@pytest.mark.parametrize("swapped", [False, True])
def test_one_file_has_types_and_the_other_text(tmp_path, table, swapped):
    frames = [f[["x", "kind", "when", "y"]] for f in (table[:80], table[80:])]
    names = ["a.parquet", "b.csv"] if swapped else ["a.csv", "b.parquet"]
    for frame, name in zip(frames, names, strict=True):
        to = frame.to_csv if name.endswith("csv") else frame.to_parquet
        to(tmp_path / name, index=False)
    data = load(tmp_path / names[0], target="y", test=str(tmp_path / names[1]))
    assert (x_of(data.train), x_of(data.test)) == tuple(f.x.tolist() for f in frames)
    days = [c.name for c in data.columns].index("when in days")
    wanted = (frames[1].when - pd.Timestamp(0)) / pd.Timedelta(1, "D")
    assert data.test.inputs[:, days].tolist() == wanted.tolist()


@pytest.mark.parametrize("kind", ["csv", "npz", "object", "folder"])
def test_small_classes_are_refused_dropped_or_merged(tmp_path, kind, monkeypatch):
    y = np.array(["a"] * 20 + ["b"] * 20 + ["c"] * 4 + ["d"] * 2 + ["e"])
    x = np.arange(len(y)) % 7 + 0.5
    source = tmp_path / "t.csv"
    pd.DataFrame({"x": x, "y": y}).to_csv(source, index=False)
    if kind == "npz":
        source = tmp_path / "t.npz"
        np.savez(source, x=x, y=y)
    elif kind == "folder":
        source = tmp_path / "photos"
        for k, name in enumerate(y):
            (source / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (9, 9), k).save(source / name / f"{k}.png")
    elif kind == "object":
        (tmp_path / "small_classes_made.py").write_text(
            f"import numpy as np\ndata = np.array({x.tolist()}), np.array({y.tolist()})\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        source = "small_classes_made:data"
    with pytest.raises(ValueError, match="'d' has 2, 'e' has 1; add samples, or set small "):
        load(source)
    with pytest.raises(ValueError, match=r"5 samples at least .*but 'c' has 4, 'd' has 2"):
        load(source, min_samples=5)
    with pytest.warns(
        UserWarning, match="2 classes have fewer than 3 samples: 'd' has 2, 'e' has 1"
    ):
        data = load(source, small="drop")
    assert data.class_names == ("a", "b", "c")
    assert len(data.train) + len(data.test) == 44
    with pytest.warns(UserWarning, match="merged into 'other'"):
        data = load(source, small="merge", min_samples=5)
    assert data.class_names == ("a", "b", "other")
    assert torch.bincount(torch.cat([data.train.targets, data.test.targets])).tolist() == [
        20,
        20,
        7,
    ]
