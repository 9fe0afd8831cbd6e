"""Features of a table, which the training split alone decides."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from counterpoise.data import Column, TableEncoder, encoded, load

NAN = float("nan")


def cells(rows):
    return torch.tensor(rows, dtype=torch.float64)


def made(kinds=70, seed=0):
    """Cells of two numbers with gaps and a category, each value of which has another frequency.

    Equal ones are ordered as scikit-learn likes.
    """
    rng = np.random.default_rng(seed)
    category = rng.permutation(np.repeat(np.arange(kinds), 1 + rng.permutation(kinds)))
    n = len(category)
    numbers = rng.normal(size=(n, 2)) * [1, 1e6] + [0, 1e9]
    numbers[rng.random((n, 2)) < 0.2] = NAN
    columns = (
        Column("a", "number"),
        Column("b", "number"),
        Column("c", "category", tuple(f"v{k:02d}" for k in range(kinds))),
    )
    return torch.tensor(np.column_stack([numbers, category])), columns


def test_features_are_those_of_scikit_learn():
    train, columns = made()
    test, _ = made(seed=1)
    numbers = make_union(
        make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0)),
        MissingIndicator(),
    )
    kinds = OneHotEncoder(
        max_categories=51,
        min_frequency=2,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
    )
    oracle = ColumnTransformer([("n", numbers, [0, 1]), ("c", kinds, [2])], sparse_threshold=0)
    oracle.fit(train.numpy())
    encode = TableEncoder.fit(train, columns)
    assert encode.features[:5] == ("a", "a: missing", "b", "b: missing", encode.features[4])
    assert encode.features[-1] == "c: other"
    assert len(encode.features) == 4 + 51
    for split in (train, test):
        wanted = oracle.transform(split.numpy())
        wanted = wanted[:, [0, 2, 1, 3, *range(4, wanted.shape[1])]]
        found = encode(split)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_it_is_kept_as_json_and_read_back():
    train, columns = made()
    encode = TableEncoder.fit(train, columns)
    again = TableEncoder.from_json(json.loads(json.dumps(encode.to_json())))
    assert again.features == encode.features
    assert torch.equal(again(train, columns), encode(train))
    with pytest.raises(ValueError, match="columns must be given"):
        again(train)
    for wrong in (
        {},
        {"columns": [{"name": "a"}]},
        {"columns": [{**encode.to_json()["columns"][0], "std": "x"}]},
    ):
        with pytest.raises(ValueError, match="features must be as TableEncoder writes them"):
            TableEncoder.from_json(wrong)
    with pytest.raises(ValueError, match="cells must be of"):
        encode(train[:, :2])


def test_a_value_that_training_has_not_is_other_or_nothing():
    columns = (Column("c", "category", ("a", "b", "c")),)
    encode = TableEncoder.fit(cells([[0], [0], [1], [1]]), columns)
    assert encode.features == ("c=a", "c=b")
    assert encode(cells([[2], [NAN], [1]])).tolist() == [[0, 0], [0, 0], [0, 1]]
    rare = TableEncoder.fit(cells([[0], [0], [1]]), columns)
    assert rare.features == ("c=a", "c: other")
    assert rare(cells([[2], [0]])).tolist() == [[0, 1], [1, 0]]
    other = (Column("c", "category", ("0", "b", "zz")),)  # of another file
    assert encode(cells([[0], [1], [2]]), other).tolist() == [[0, 0], [0, 1], [0, 0]]


def test_numbers_keep_their_digits_until_they_are_scaled():
    seconds = 1_700_000_000 + torch.arange(60, dtype=torch.float64)
    for column in (seconds, seconds * 1e6, seconds / 86400):
        encode = TableEncoder.fit(column[:, None], (Column("t", "number"),))
        assert len(encode(column[:, None]).unique()) == 60
    constant = TableEncoder.fit(cells([[0.1], [0.1], [0.1]]), (Column("t", "number"),))
    assert constant(cells([[0.1], [5.0]])).tolist() == [[0.0], [0.0]]


def test_what_training_has_not_is_no_feature_and_what_is_far_away_is_finite():
    kinds = Column("t", "number"), Column("c", "category", ("a", "b")), Column("x", "number")
    encode = TableEncoder.fit(cells([[NAN, NAN, 1], [NAN, NAN, 3]]), kinds)
    assert encode.features == ("x",)
    test = cells([[1, 0, 1e60], [NAN, 1, -1e149], [2, NAN, NAN]])
    assert encode(test).tolist() == [[1e6], [-1e6], [0]]
    again = TableEncoder.from_json(json.loads(json.dumps(encode.to_json())))
    assert torch.equal(again(test, kinds), encode(test))
    with pytest.raises(ValueError, match="all of 't' and the other columns are gaps"):
        TableEncoder.fit(cells([[NAN, NAN]]), kinds[:2])


def test_what_the_test_rows_hold_changes_nothing(tmp_path):
    """Not even a value that only they have."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=200),
            "kind": rng.choice(["a", "b", "c"], 200),
            "split": ["train"] * 150 + ["test"] * 50,
            "y": rng.choice(["no", "yes"], 200),
        }
    )
    frame.to_csv(tmp_path / "one.csv", index=False)
    frame.loc[150:, "x"] *= 100
    frame.loc[150:, "kind"] = "0 new"
    frame.to_csv(tmp_path / "two.csv", index=False)
    found = [load(tmp_path / name, split="split") for name in ("one.csv", "two.csv")]
    assert found[0].columns != found[1].columns
    one, two = (TableEncoder.fit(data.train.inputs, data.columns).to_json() for data in found)
    assert one == two
    one, two = map(encoded, found)
    assert torch.equal(one.train.inputs, two.train.inputs)
    assert not torch.equal(one.test.inputs, two.test.inputs)
    assert (one.columns, one.train.inputs.dtype) == (None, torch.float32)
