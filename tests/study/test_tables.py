"""Studies on tables: each run makes features by its own training split, and keeps how."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from tests.study.small import QUICK, files

from counterpoise import compare
from counterpoise.data import TableEncoder
from counterpoise.findings import collect_findings
from counterpoise.study import Data, Plan, Training, one_run, open_study, record, stream
from counterpoise.study._prepared import load_columns

LISTED = {"CP108", "CP109"}


def write(folder, n=240, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    frame = pd.DataFrame(
        {
            "id": np.arange(n),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n) + 2 * y),
            "kind": rng.choice(["a", "b", "c"], n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n), "D"),
            "y": np.array(["no", "yes"])[y],
        }
    )
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def plan(path, **data):
    return Plan(
        Data(str(path), **data),
        norms=("none",),
        losses=("cross_entropy",),
        seeds=(0, 1),
        training=QUICK,
    )


def run(made, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(stream({folder: made}))


def test_each_run_keeps_the_features_that_its_training_split_makes(tmp_path, monkeypatch):
    path = write(tmp_path)
    seen = []

    class Watched(one_run._Training):
        def __init__(self, job):
            super().__init__(job)
            seen.append((job.folder, self.splits))

    monkeypatch.setattr(one_run, "_Training", Watched)
    run(plan(path), tmp_path / "s")
    study = open_study(tmp_path / "s")
    assert not study.failed
    kept = []
    for found in (*study.records, *study.references):
        content = json.loads((found.folder / "features.json").read_text())
        assert "features.json" in record.read(found.folder)["files"]
        kept.append((found.seed, content))
        encoder = TableEncoder.from_json(content)
        assert encoder.features[:2] == ("x", "x: missing")
    one, other = (next(c for seed, c in kept if seed == s) for s in (0, 1))
    assert one != other, "each seed has another training split"
    assert all(content == (one, other)[seed] for seed, content in kept)
    columns = load_columns(tmp_path / "s")
    assert [c.name for c in columns][:2] == ["x", "kind"]


@pytest.mark.slow
def test_a_study_on_a_table_ends_with_the_same_bytes_when_it_is_resumed(tmp_path):
    path = write(tmp_path)
    run(plan(path), tmp_path / "whole")
    run(plan(path), tmp_path / "cut")
    study = open_study(tmp_path / "cut")
    for found in (*study.records[:1], *study.references[:2]):
        for name in ("run.json", "features.json"):
            (found.folder / name).unlink()
    run(plan(path), tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_split_of_the_table_is_the_one_that_choices_are_made_on(tmp_path):
    path = write(tmp_path)
    run(plan(path, split="time:when"), tmp_path / "s")
    study = open_study(tmp_path / "s")
    for found in (*study.records, *study.references):
        assert sum(found.run["validation"]["support"]) == 24
        assert sum(found.run["train_counts"]) == 168
        assert sum(found.run["test"]["support"]) == 48


def test_what_is_left_out_and_what_is_odd_is_said_and_found(tmp_path):
    path = write(tmp_path)
    frame = pd.read_csv(path).assign(outcome=lambda t: t.y.map({"no": "N", "yes": "Y"}))
    frame[["outcome", *frame.columns[:-1]]].to_csv(path, index=False)
    events = run(plan(path), tmp_path / "s")
    lines = [line for event in events[:1] for line in event.lines()]
    assert any("Left out: column 'id' of" in line and "numbers the rows" in line for line in lines)
    assert any("'outcome' of" in line and "gives the class away" in line for line in lines)
    found = {f.code: f for f in collect_findings(open_study(tmp_path / "s"))}
    assert "column 'id' of" in found["CP108"].text
    assert "'outcome'" in found["CP109"].text


def test_a_row_number_sorted_by_class_gives_no_signal(tmp_path):
    name = "Id"
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: np.arange(200), "x": rng.normal(size=200), "y": ["a", "b"] * 100})
    frame["y"] = sorted(frame["y"])
    frame.to_csv(tmp_path / "noise.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study = compare(
            tmp_path / "noise.csv",
            losses=["cross_entropy"],
            seeds=3,
            out=tmp_path / "s",
            training=Training("mlp", epochs=20, lr=0.05, batch_size=32),
        )
    scores = [r.run["test"]["balanced_accuracy"] for r in (*study.records, *study.references)]
    assert abs(np.mean(scores) - 0.5) < 0.1
