"""The shapes of tables that people keep their runs in, and what of them is refused."""

import io
import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import polars as pl
import pytest

from counterpoise.judgement import Runs, read_runs

LONG = pd.DataFrame(
    [(m, s, 0.5 + 0.25 * (m == "focal") + s / 8) for m in ("ce", "focal") for s in (0, 1)],
    columns=["method", "seed", "accuracy"],
)
EVERY = {(m, s): a for m, s, a in LONG.itertuples(index=False)}
WIDE = LONG.pivot(index="method", columns="seed", values="accuracy")
NESTED = {m: dict(LONG[LONG["method"] == m][["seed", "accuracy"]].values) for m in ("ce", "focal")}


def scores(runs: Runs, metric: str = "") -> dict[tuple[str, Any], float]:
    frame = runs.frame
    keys = zip(frame["variant"], frame["seed"], strict=True)
    return dict(zip(keys, frame[metric or runs.metrics[0]], strict=True))


def csv(frame: pd.DataFrame, **options: Any) -> str:
    return frame.to_csv(index=False, **options)


TEXTS = {
    "csv": csv(LONG),
    "with an index": LONG.to_csv(),
    "tsv": csv(LONG, sep="\t"),
    "of a continental spreadsheet": "\ufeff" + csv(LONG, sep=";", decimal=","),
    "percent": csv(LONG.assign(accuracy=[f"{100 * a:g}%" for a in LONG["accuracy"]])),
    "records": LONG.to_json(orient="records"),
    "lines": LONG.to_json(orient="records", lines=True),
    "columns": json.dumps(LONG.to_dict(orient="list")),
    "scores by seed": json.dumps(
        {m: {str(int(s)): a for s, a in v.items()} for m, v in NESTED.items()}
    ),
    "a column a seed": WIDE.to_csv(),
    "seed_0": csv(WIDE.add_prefix("seed_").reset_index()),
    "s0": csv(WIDE.add_prefix("s").reset_index()),
    "Run 0": csv(WIDE.add_prefix("Run ").reset_index()),
    "with a mean": csv(WIDE.assign(mean=0.9).reset_index()),
    "accuracy_seed0": csv(WIDE.add_prefix("accuracy_seed").reset_index()),
    "a column a variant": WIDE.T.to_csv(),
    "rows of means": csv(LONG) + "ce,mean,0.56\nce,std,0.1\n",
    "names of runs": csv(
        pd.DataFrame({"run": [f"{m}-s{s}" for m, s in EVERY], "accuracy": list(EVERY.values())})
    ),
    "a row a metric": csv(
        LONG.assign(auroc=0.5).melt(["method", "seed"], var_name="metric", value_name="value")
    ),
    "rows of other splits": csv(
        pd.concat([LONG.assign(split="test"), LONG.assign(split="val", accuracy=0.1)])
    ),
    "hyperparameters": csv(
        LONG.assign(
            method=["ce", "ce", "focal", "focal"], lr=0.1, id=range(4), time=[3, 4, 5, 4]
        ).rename(columns={"method": "loss_fn"})
    ),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_one_table_in_many_shapes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs.txt"  # content alone says what a file is
    path.write_text(text, encoding="utf-8")
    runs = read_runs(path)
    assert scores(runs) == pytest.approx(EVERY)
    assert runs.frame.dtypes[runs.metrics[0]] == "float64"
    assert set(runs.frame["dataset"]) == {""}


@pytest.mark.parametrize(
    "source",
    [
        LONG,
        pl.from_pandas(LONG),
        LONG.set_index(["method", "seed"]),
        LONG.set_index(["method", "seed"])["accuracy"],
        LONG.set_index(["method", "seed"])["accuracy"].rename(None).rename_axis([None, None]),
        WIDE,
        NESTED,
        LONG.to_dict("records"),
        LONG.to_dict("list"),
    ],
    ids=[
        "pandas",
        "polars",
        "index",
        "series",
        "unnamed series",
        "pivot",
        "nested",
        "records",
        "columns",
    ],
)
def test_one_table_in_memory(source: Any) -> None:
    assert scores(read_runs(source)) == EVERY


def test_parquet_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LONG.to_parquet(tmp_path / "runs.parquet")
    assert scores(read_runs(tmp_path)) == EVERY
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(csv(LONG).encode())))
    assert scores(read_runs("-")) == EVERY


def test_scores_without_seeds_are_not_paired() -> None:
    runs = read_runs({"ce": [0.5, 0.6], "focal": [0.7, 0.8, 0.9]})
    assert runs.frame["variant"].tolist() == ["ce", "ce", "focal", "focal", "focal"]
    assert set(runs.frame["seed"]) == {None}
    assert any("not paired" in note for note in runs.notes)


@pytest.mark.parametrize("name", ["{m}.csv", "{m}/results.csv"])
def test_a_file_a_variant(tmp_path: Path, name: str) -> None:
    for method, rows in LONG.groupby("method"):
        path = tmp_path / name.format(m=method)
        path.parent.mkdir(exist_ok=True)
        rows[["seed", "accuracy"]].to_csv(path, index=False)
    assert scores(read_runs(tmp_path)) == EVERY


@pytest.mark.parametrize(
    "name",
    [
        *("{m}/seed_{s}/metrics.json", "{m}/{s}/m.json", "{m}-s{s}.json", "seed{s}/{m}.json"),
        *("{m}_{s}.json", "run{s}_{m}_34.json", "loss={m},seed={s}/m.json"),
    ],
)
def test_a_file_a_run(tmp_path: Path, name: str) -> None:
    for (method, seed), score in EVERY.items():
        path = tmp_path / name.format(m=method, s=seed)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(json.dumps({"test": {"accuracy": score}, "config": {"lr": 0.1}}))
    found = scores(read_runs(tmp_path))
    assert {(re.sub("loss=|_34", "", m), s): a for (m, s), a in found.items()} == EVERY


def test_sizes_of_nets_are_no_seeds() -> None:
    names = ["resnet_18", "resnet_50", "vit_16", "vit_32"]
    runs = read_runs([{"name": name, "acc": 0.5} for name in names])
    assert runs.frame["variant"].tolist() == names


def test_several_data_sets() -> None:
    both = pd.concat([LONG.assign(dataset="a"), LONG.assign(dataset="b", accuracy=0.25)])
    frame = read_runs(both).frame
    assert frame.groupby("dataset")["accuracy"].sum().to_dict() == {"a": 2.75, "b": 1.0}
    assert len(frame) == 8


def test_parameters_that_differ_make_the_variant() -> None:
    rows = [
        {"lr": lr, "norm": norm, "seed": seed, "host": f"node{seed}", "test_acc": 0.5}
        for lr in (0.1, 0.01)
        for norm in ("group", "batch")
        for seed in (0, 1)
    ]
    variants = set(read_runs(rows).frame["variant"])
    assert variants == {f"norm={n}, lr={lr}" for n in ("group", "batch") for lr in (0.1, 0.01)}
    rows = [row | {"method": "ours" if row["lr"] == 0.1 else "theirs"} for row in rows]
    with pytest.raises(ValueError, match=r"row 2 .* and row 4 .* are both of 'ours', seed 0.*norm"):
        read_runs(rows)
    for both in ("method, norm", ["method", "norm"]):
        assert len(set(read_runs(rows, variant=both).frame["variant"])) == 4


def test_numbers_that_several_runs_share_are_parameters() -> None:
    rows = [{"mixup": m, "seed": s, "gap": m + s / 7, "acc": 0.5} for m in (0, 0.2) for s in (0, 1)]
    runs = read_runs(rows)
    assert runs.metrics == ("acc",)
    assert set(runs.frame["variant"]) == {"0", "0.2"}


def test_a_counter_pairs_runs_of_one_seed() -> None:
    table = LONG.rename(columns={"seed": "run"}).assign(seed=42)
    assert scores(read_runs(table)) == EVERY


def test_folds_pair_runs_but_are_no_seeds() -> None:
    runs = read_runs(LONG.rename(columns={"seed": "fold"}))
    assert scores(runs) == EVERY
    assert runs.warnings == (
        "folds are no seeds: they share training samples, so that intervals are too narrow",
    )


def test_folds_of_a_seed_are_averaged_first() -> None:
    both = pd.concat([LONG.assign(fold=k, accuracy=LONG["accuracy"] + k) for k in range(3)])
    runs = read_runs(both.rename(columns={"method": "model"}))
    assert scores(runs) == {key: score + 1 for key, score in EVERY.items()}
    assert "folds: those of a seed, by 'fold', are averaged first" in runs.notes
    assert not runs.warnings
    fewer = read_runs(both[(both["fold"] < 2) | (both["seed"] == 0) | (both["method"] == "ce")])
    assert [key for key, score in scores(fewer).items() if math.isnan(score)] == [("focal", 1)]
    assert "without all folds, which counts as failed: focal with seed 1" in fewer.notes


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["train_acc", "val_acc", "test_loss", "test_acc", "test_balanced_accuracy"], -1),
        (["val_loss", "val_f1", "train_accuracy"], 1),
        (["loss", "accuracy", "auroc", "lr", "epochs", "time_s"], 1),
        (["val/acc", "testAUROC"], 1),
    ],
)
def test_the_preferred_metric(names: list[str], first: int) -> None:
    table = LONG[["method", "seed"]].assign(**dict.fromkeys(names, 0.5))
    assert read_runs(table).metrics[0] == names[first]
    assert read_runs(table, metric=names[0]).metrics == (names[0],)
    assert not {"lr", "epochs", "time_s"} & set(read_runs(table).metrics)


def test_scores_that_are_missing_are_failed_runs() -> None:
    table = pd.concat([LONG.astype(object)] * 2).assign(seed=[0, 1, 0, 1, 2, 3, 2, 3])
    table["accuracy"] = [0.5, "", None, "inf", "nan", math.nan, 0.5, "diverged"]
    runs = read_runs(table)
    assert runs.frame["accuracy"].isna().sum() == 6
    assert "accuracy: 6 of 8 runs have no score, and count as failed" in runs.notes


EPOCHS = pd.DataFrame(
    [
        (m, s, e, v, t)
        for m in ("ce", "focal")
        for s in (0, 1)
        for e, v, t in [(0, 0.5, 0.9), (1, 0.75, 0.25), (2, 0.6, 0.125)]
    ],
    columns=["method", "seed", "epoch", "val_acc", "test_acc"],
).assign(val_loss=lambda table: 1 - table["val_acc"])


@pytest.mark.parametrize(
    ("epoch", "metric", "score", "flatters"),
    [
        ("last", "test_acc", 0.125, False),
        ("best:val_acc", "test_acc", 0.25, False),
        ("best:-val_loss", "test_acc", 0.25, False),
        ("best:test_acc", "test_acc", 0.9, True),
        ("best:val_acc", "val_acc", 0.75, True),
        ("best:-val_loss", "val_acc", 0.75, True),
    ],
)
def test_the_epoch_that_counts(epoch: str, metric: str, score: float, flatters: bool) -> None:
    shuffled = EPOCHS.sample(frac=1, random_state=0)
    runs = read_runs(shuffled, epoch=epoch, metric=metric)
    assert set(scores(runs).values()) == {score}
    assert len(runs.frame) == 4
    assert any("flatters" in note for note in runs.notes) == flatters


def test_the_first_of_equal_epochs_is_the_best() -> None:
    table = EPOCHS.assign(val_acc=0.5)
    assert set(scores(read_runs(table, epoch="best:val_acc", metric="test_acc")).values()) == {0.9}


def test_a_score_of_an_earlier_epoch_than_the_last_is_noted() -> None:
    table = EPOCHS.copy()
    table.loc[(table["epoch"] == 2) & (table["seed"] == 1), "test_acc"] = math.nan
    runs = read_runs(table, epoch="last")
    assert scores(runs) == {(m, s): 0.25 if s else 0.125 for m, s in EVERY}
    assert (
        "epoch: the last of each run; in 2 runs others were logged after 'test_acc'" in runs.notes
    )


def test_an_epoch_must_be_chosen() -> None:
    with pytest.raises(ValueError, match=r"4 runs have up to 3 epochs .* picks the luckiest epoch"):
        read_runs(EPOCHS)
    many = pd.concat([EPOCHS.assign(epoch=EPOCHS["epoch"] + 3 * k) for k in range(900)])
    assert len(many) > 10_000
    assert len(read_runs(many, epoch="last").frame) == 4


def test_a_table_of_epochs_a_run(tmp_path: Path) -> None:
    for (method, seed), rows in EPOCHS.groupby(["method", "seed"]):
        path = tmp_path / f"{method}_seed{seed}.csv"
        rows[["epoch", "val_acc", "test_acc"]].to_csv(path, index=False)
    runs = read_runs(tmp_path, epoch="best:val_acc")
    assert scores(runs) == dict.fromkeys(EVERY, 0.25)


def replaced(column: str, row: int, value: object) -> pd.DataFrame:
    table = LONG.astype(object)
    table.loc[row - 2, column] = value
    return table


@pytest.mark.parametrize(
    ("source", "options", "error"),
    [
        ("", {}, "runs.csv must be a table: .* but is empty"),
        ("method,seed,acc\n", {}, "has no rows"),
        ("just a sentence\nand one more\n", {}, "no comma, semicolon or tab"),
        ("method,seed,acc\nce,0,0,81\n", {}, "more cells than its header"),
        ("method,seed,acc\nce,0,1\nce,0,0,81\n", {}, "Expected 3 fields in line 3, saw 4"),
        (b"\x89PNG\r\n\x1a\n\xff", {}, "no text in UTF-8"),
        ("PAR1 not", {}, "must be a table"),
        ("[1, 2]", {}, "give records"),
        ('{"a": ', {}, "must be a table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "name each column once"),
        (LONG[["seed", "accuracy"]], {}, "no column is named like one"),
        (LONG[:2], {}, "two variants or more, but all are of 'ce'"),
        (LONG[["method", "seed"]], {}, "must have a metric"),
        (replaced("accuracy", 4, "good"), {}, "'accuracy' .* but row 4 has 'good'"),
        (replaced("accuracy", 3, "0.81 ± 0.02"), {}, "'0.81 ± 0.02'; means cannot be judged"),
        (replaced("accuracy", 3, "81.2 (0.4)"), {}, "means cannot be judged"),
        (
            replaced("accuracy", 5, "81.2%").replace(0.5, 50.0),
            {},
            "% in some cells and 50 in row 2",
        ),
        (replaced("seed", 3, ""), {}, "seed 'seed' must have a value .* row 3"),
        (pd.concat([LONG, LONG]), {}, "row 2 .* and row 6 .* are both of 'ce', seed 0"),
        (LONG, {"variant": "methid"}, "variant must be one of .* did you mean 'method'"),
        (LONG, {"seed": "sed"}, "did you mean 'seed'"),
        (LONG, {"metric": "acuracy"}, "did you mean 'accuracy'"),
        (LONG, {"dataset": "method2"}, "did you mean 'method'"),
        (LONG, {"epoch": "best:accuracy"}, "must be left empty"),
        (EPOCHS, {"epoch": "first"}, "epoch must be last, best:COLUMN"),
        (EPOCHS, {"epoch": "best:val_ac"}, "did you mean 'val_acc'"),
        (EPOCHS, {"epoch": "best:val_loss"}, "best:-val_loss for the smallest"),
        (
            replaced("accuracy", 3, "x").assign(epoch="a"),
            {"metric": "epoch"},
            "'epoch' .* row 2 has 'a'",
        ),
        (7, {}, "sources must be paths, frames"),
    ],
)
def test_bad_input_is_told_in_one_line(
    tmp_path: Path, source: Any, options: dict[str, str], error: str
) -> None:
    if isinstance(source, (str, bytes)):
        path = tmp_path / "runs.csv"
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        source = path
    with pytest.raises(ValueError, match=error) as caught:
        read_runs(source, **options)
    assert "\n" not in str(caught.value)
