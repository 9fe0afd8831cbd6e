"""Tables in the words, languages and shapes of their owners: what is read, said and refused."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest

from counterpoise.judgement import judge, read_runs

SCORES = {
    ("main", 1): 0.71,
    ("main", 2): 0.74,
    ("main", 3): 0.70,
    ("neu", 1): 0.75,
    ("neu", 2): 0.77,
    ("neu", 3): 0.76,
}
LONG = pd.DataFrame([(v, s, x) for (v, s), x in SCORES.items()], columns=["branch", "seed", "acc"])
WIDE = LONG.pivot(index="branch", columns="seed", values="acc").reset_index()


def read(tmp_path: Path, text: str | pd.DataFrame, name: str = "runs.csv"):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else text.to_csv(index=False), encoding="utf-8")
    return read_runs(path)


def scores(runs) -> dict:
    frame = runs.frame
    return dict(
        zip(zip(frame["variant"], frame["seed"], strict=True), frame.iloc[:, 3], strict=True)
    )


def test_one_column_names_variants_by_its_plain_values() -> None:
    table = LONG.assign(lr=[0.1] * 3 + [0.2] * 3)
    found = judge(table)
    assert found.variants == ["main", "neu"]
    assert "baseline: main (by its name)" in found.notes
    assert found.warnings == ("lr differs between these variants as well",)
    assert judge(table, variant="lr").variants == ["0.1", "0.2"]


def test_baselines_are_found_in_any_case_and_by_one_value_of_several() -> None:
    assert judge(LONG.replace("neu", " Base Line ")).baseline == "Base Line"
    assert judge(LONG, baseline="NEU").baseline == "neu"
    crossed = pd.concat([LONG.assign(norm=norm) for norm in ("group", "batch")])
    crossed = crossed[(crossed["branch"] != "main") | (crossed["norm"] == "group")]
    found = judge(crossed, variant="branch,norm")
    assert found.baseline == "branch=main, norm=group"
    assert judge(crossed, variant="branch,norm", baseline="batch").baseline == (
        "branch=neu, norm=batch"
    )
    with pytest.raises(ValueError, match="'neu' must be one, but may be branch=neu, norm=group"):
        judge(crossed, variant="branch,norm", baseline="neu")


@pytest.mark.parametrize(
    "head",
    ["Lauf {}", "Versuch_{}", "rep{}", "essai {}", "take-{}", "Startwert {}"],
)
def test_a_stem_with_a_number_is_a_seed(tmp_path: Path, head: str) -> None:
    names = {k: head.format(k) for k in (1, 2, 3)}
    runs = read(tmp_path, WIDE.rename(columns=names))
    assert scores(runs) == SCORES
    assert any(f"{names[1]}, {names[2]}, {names[3]} are read as one seed" in n for n in runs.notes)


@pytest.mark.parametrize("head", ["top{}", "class_{}", "recall_{}", "model {}"])
def test_stems_that_count_something_else_are_no_seeds(tmp_path: Path, head: str) -> None:
    table = WIDE.rename(columns={k: head.format(k) for k in (1, 2, 3)})
    assert not any("one seed each" in note for note in read(tmp_path, table).notes)


@pytest.mark.parametrize(
    "name",
    ["MW", "Mittelwert", "moyenne", "média", "Stabw", "StdAbw", "écart-type", "± sd", "mean acc"],
)
def test_columns_of_means_are_left_out_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    table = WIDE.rename(columns={k: f"Seed {k}" for k in (1, 2, 3)} | {"branch": "Verfahren"})
    runs = read(tmp_path, table.assign(**{name: [0.7, 0.8]}))
    assert scores(runs) == SCORES
    assert (
        f"{tmp_path / 'runs.csv'}: columns of means or spreads are left out: {name}" in runs.notes
    )


def test_columns_that_hold_means_are_left_out_without_a_name_that_says_so(tmp_path: Path) -> None:
    table = WIDE.rename(columns={k: f"Seed {k}" for k in (1, 2, 3)})
    found = LONG.groupby("branch")["acc"]
    table["Tulos"], table["Hajonta"] = found.mean().round(3).values, found.std().round(4).values
    table["Kosten"] = [3.0, 4.0]
    runs = read(tmp_path, table)
    assert scores(runs) == SCORES
    assert any(note.endswith("left out: Tulos, Hajonta") for note in runs.notes)
    assert runs.warnings == ("Kosten differs between these variants as well",)


def test_rows_of_means_and_empty_rows_are_left_out(tmp_path: Path) -> None:
    text = LONG.to_csv(index=False) + "main,Mittelwert,0.72\n,,\nneu,Écart-type,0.01\n,,\n"
    runs = read(tmp_path, text)
    assert scores(runs) == SCORES
    assert any("2 rows of means" in note for note in runs.notes)


@pytest.mark.parametrize(("mean", "sd"), [("mean", "Stabw"), ("acc_mean", "acc_std")])
def test_a_table_of_means_alone_is_refused(mean: str, sd: str) -> None:
    table = pd.DataFrame({"method": ["a", "b"], mean: [0.8, 0.9], sd: [0.1, 0.1]})
    with pytest.raises(ValueError, match=f"'{sd}' is a column of spreads; means cannot be judged"):
        read_runs(table)


@pytest.mark.parametrize("title", ["Ergebnisse für März", "\nStand;;\n"])
def test_text_of_a_spreadsheet_in_windows_with_a_title(tmp_path: Path, title: str) -> None:
    path = tmp_path / "runs.csv"
    table = LONG.replace("neu", "größer").to_csv(index=False, sep=";", decimal=",")
    path.write_bytes(f"{title}\n{table}".encode("cp1252"))
    runs = read_runs(path)
    assert {k: x for k, x in scores(runs).items() if k[0] == "größer"} == {
        ("größer", s): x for (v, s), x in SCORES.items() if v == "neu"
    }
    said = " ".join(runs.notes)
    assert "read as cp1252, as it is no UTF-8" in said
    assert f"above the header is left out: {title.strip()!r}" in said
    path.write_bytes(path.read_bytes().replace(b"0,77", b"gut"))
    row = path.read_bytes().split(b"\n").index(b"gr\xf6\xdfer;2;gut") + 1
    with pytest.raises(ValueError, match=f"row {row} has 'gut'"):
        read_runs(path)


@pytest.mark.parametrize(
    ("cell", "plain"), [("1.234,5", "1234.5"), ("-1,234,567.25", "-1234567.25")]
)
def test_marks_of_thousands_are_named_with_their_cell(
    tmp_path: Path, cell: str, plain: str
) -> None:
    text = f"method;seed;reward\na;0;3\nb;0;{cell}\n"
    with pytest.raises(ValueError, match=f"'reward' .* row 3 has '{cell}'; write {plain},"):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["margin", "chance", "confidence"])
def test_an_argument_that_is_no_number_is_told(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} must be a number, but got '0\.01'"):
        judge(LONG, **{name: "0.01"})


def test_a_margin_of_scores_that_are_0_must_be_named() -> None:
    losses = LONG.assign(loss=0.0).drop(columns="acc")
    with pytest.raises(ValueError, match=r"margin must be named where .* are 0, as those of loss"):
        judge(losses)
    assert judge(losses, margin=0.1).margin == 0.1


def test_a_comment_and_other_text_above_a_header(tmp_path: Path) -> None:
    text = LONG.to_csv(index=False)
    assert scores(read(tmp_path, f"# of 3 May, by me\n{text}")) == SCORES
    assert scores(read(tmp_path, text.replace("\n", "\r"))) == SCORES
    path = tmp_path / "wide.csv"
    path.write_bytes(text.encode("utf-16-le"))
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        read_runs(path)


def test_a_pipe_is_refused_and_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "runs.csv")
    with pytest.raises(ValueError, match="is a pipe or a device"):
        read_runs(tmp_path / "runs.csv")
    with pytest.raises(ValueError, match="but holds none"):
        read_runs(tmp_path)


def test_cells_of_nullable_columns_are_empty_where_they_are_missing() -> None:
    table = LONG.convert_dtypes()
    table.loc[5, "acc"] = pd.NA
    assert judge(table).failures == ["neu: 1 of 3 runs failed, no score"]
    assert judge(table.assign(note=pd.array([pd.NA] * 6, "string"))).variants == ["main", "neu"]


def test_a_margin_in_points_of_scores_that_are_shares_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"scores lie in 0\.\.1, where 1 is 100 points; give 0\.01"
    ):
        judge(LONG, margin=1)
    assert "margin 0.5 points" in judge(LONG, margin=0.005).read


@pytest.mark.parametrize("key", ["branch", "dataset"])
def test_shares_of_one_and_percentages_of_another_are_refused(key: str) -> None:
    table = pd.concat([LONG.assign(dataset=d) for d in ("a", "b")])
    second = table[key] == ("neu" if key == "branch" else "b")
    table.loc[second, "acc"] *= 100
    with pytest.raises(
        ValueError, match=r"acc must have one unit, but main .* 0\.71, .* neu .* has 77"
    ):
        judge(table)
    losses = table[table["dataset"] == "a"].rename(columns={"acc": "loss"})
    assert judge(losses).metric == "loss"


def test_a_name_that_says_no_direction_is_told(tmp_path: Path) -> None:
    found = judge(LONG.rename(columns={"acc": "score"}))
    assert "direction: higher is better (taken so, as the name score does not say)" in found.notes
    table = WIDE.rename(columns={k: f"seed {k}" for k in (1, 2, 3)})
    loss = judge(read(tmp_path, table, "val_loss_seeds.csv"))
    assert (loss.metric, loss.higher_is_better) == ("val_loss", False)
    assert judge(read(tmp_path, table, "results.csv")).metric == "score"


def test_missing_seeds_lookalikes_and_unread_columns_are_told() -> None:
    found = judge(LONG.drop(index=5))
    assert found.warnings == ("neu has no run with seed 3",)
    twice = pd.concat([LONG, LONG.replace("main", "Main")[:3]])
    assert "these look like one name: main, Main" in judge(twice).warnings
    more = LONG.assign(elo=[1, 2, 3, 4, 5, 6.5], latency_ms=[7, 8, 9, 1, 2, 3])
    assert "not read as metrics: elo, latency_ms; name them as metric" in judge(more).notes
    two = judge(LONG.assign(loss=LONG["acc"] ** 2))
    assert any(n.startswith("judged by acc, the first of: acc, loss;") for n in two.notes)


def test_names_of_folders_are_better_than_composed_settings(tmp_path: Path) -> None:
    for name, lr, drop in (("plain", 0.1, 0), ("dropout", 0.2, 0.5)):
        for seed in (0, 1):
            folder = tmp_path / name / f"seed{seed}"
            folder.mkdir(parents=True)
            (folder / "metrics.csv").write_text(f"epoch,step,test_acc\n1,10,0.{seed + 5}\n")
            (folder / "hparams.yaml").write_text(f"lr: {lr}\np_drop: {drop}\nseed: {seed}\n")
    runs = read_runs([tmp_path / "plain", tmp_path / "dropout"])
    assert list(dict.fromkeys(runs.frame["variant"])) == ["plain", "dropout"]
    assert set(runs.frame["seed"]) == {0, 1}


@pytest.mark.parametrize("address", ["http://localhost:5000", "postgresql://me@host/db", "s3://x"])
def test_servers_are_refused_in_one_line(address: str) -> None:
    with pytest.raises(ValueError, match=f"no server is asked .* but got {re.escape(address)}"):
        read_runs(address)


def test_the_mean_and_the_best_are_those_of_the_runs_that_are_compared() -> None:
    base = [("base", s, 0.8 + s / 1000) for s in range(10)]
    rows = [("b", s, 0.83 + s / 1000) for s in range(5)]
    rows += [("b", s, 0.3) for s in range(100, 105)]
    rows += [("c", s, 0.81 + s / 1000) for s in range(10)]
    found = judge(pd.DataFrame([*base, *rows], columns=["variant", "seed", "acc"]))
    assert found.best == "b"
    assert found.families[0].means["b"].estimate == pytest.approx(0.832)
    assert found.families[0].rows()[1][1] == "5/10"
    left = "b: 5 of 10 runs have no partner and are left out; of all runs the difference is -23.8"
    assert left in found.warnings


@pytest.mark.parametrize("cell", ["", "crashed", "OOM"])
def test_a_seed_that_failed_is_a_failed_run_in_a_wide_table_too(tmp_path: Path, cell: str) -> None:
    table = WIDE.rename(columns={k: f"seed {k}" for k in (1, 2, 3)}).astype(object)
    table.loc[1, "seed 2"] = cell
    table["seed 4"] = cell
    found = judge(read(tmp_path, table))
    assert found.failures == [
        "main: 1 of 4 runs failed, no score",
        "neu: 2 of 4 runs failed, no score",
    ]
    columns = table.set_index("branch").T.rename_axis("seed").reset_index()
    assert judge(columns).failures == found.failures


def test_a_seed_that_is_no_number_is_named_with_its_column(tmp_path: Path) -> None:
    table = WIDE.rename(columns={k: f"seed {k}" for k in (1, 2, 3)}).astype(object)
    table.loc[1, "seed 2"] = ".8l"
    with pytest.raises(ValueError, match=r"column 'seed 2' .* row 3 has '\.8l'; correct it"):
        read(tmp_path, table)


def test_commas_that_may_be_of_thousands_are_refused(tmp_path: Path) -> None:
    head = "method;seed;reward\na;0;999\na;1;{}\nb;0;998\nb;1;997\n"
    with pytest.raises(ValueError, match=r"1,300 may be 1300 or 1\.300; write which"):
        read(tmp_path, head.format("1,300"))
    assert scores(read(tmp_path, head.format("1,30")))["a", 1] == 1.3
    assert scores(read(tmp_path, head.format("0,812")))["a", 1] == 0.812


def test_linked_folders_are_read_once_and_unreadable_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, runs = tmp_path / "elsewhere", tmp_path / "runs"
    for name, rows in LONG.groupby("branch"):
        folder = real / str(name)
        folder.mkdir(parents=True)
        rows[["seed", "acc"]].to_csv(folder / "scores.csv", index=False)
    runs.mkdir()
    for name in ("main", "neu"):
        (runs / name).symlink_to(real / name)
    (real / "neu" / "loop").symlink_to(runs)
    assert scores(read_runs(runs)) == SCORES

    def scandir(path: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(ValueError, match="must be a folder that can be read, but: Permission"):
        read_runs(runs)


def test_a_run_without_a_row_of_the_split_is_a_failed_one() -> None:
    both = pd.concat([LONG.assign(split="test").drop(index=5), LONG.assign(split="val")])
    found = judge(both.reset_index(drop=True))
    assert found.failures == ["neu: 1 of 3 runs failed, no score"]


def test_runs_that_end_early_are_told() -> None:
    table = pd.concat([LONG.assign(epoch=e) for e in (1, 2)], ignore_index=True).drop(index=11)
    runs = read_runs(table, epoch="last")
    assert runs.warnings == ("neu seed 3 ends at step 1, most others at 2",)


@pytest.mark.parametrize("value", [1.7976931348623157e308, float("inf"), "-1e300"])
def test_huge_scores_are_those_of_failed_runs(value: object) -> None:
    table = LONG.astype({"acc": object}).rename(columns={"acc": "loss"})
    table.loc[5, "loss"] = value
    assert judge(table).failures == ["neu: 1 of 3 runs failed, no score"]


def test_settings_are_no_metrics() -> None:
    table = LONG.assign(precision=[16, 32] * 3, threshold=0.5, temperature_c=300)
    assert read_runs(table).metrics == ("acc",)
    assert read_runs(LONG.assign(precision=LONG["acc"])).metrics == ("acc", "precision")


def test_equal_seeds_are_equal_however_they_are_written() -> None:
    table = LONG.astype({"seed": object})
    table.loc[:2, "seed"], table.loc[3:, "seed"] = ["1.0", "1e3", "3"], ["1", "1000", "3.0"]
    runs = read_runs(table)
    assert runs.frame["seed"].tolist() == [1, 1000, 3] * 2
    assert set(read_runs(table.replace("3", "²"), seed="seed").frame["seed"]) == {
        *("1", "1000", "²", "3")
    }


def test_settings_that_a_method_hides_are_told() -> None:
    table = LONG.rename(columns={"branch": "method"})
    assert not judge(table.assign(num_epochs=[37, 41, 37, 50, 44, 39])).warnings
    hidden = judge(table.assign(norm=["group", "batch", "group"] * 2))
    assert hidden.warnings == (
        "runs of one variant differ in norm; name all that differs as variant",
    )


def test_a_row_a_data_set_and_a_column_a_variant() -> None:
    numbers = {"ERM": [0.7, 0.8, 0.9], "Ours": [0.75, 0.82, 0.91]}
    found = judge(pd.DataFrame({"Dataset": ["a", "b", "c"], **numbers}))
    assert found.datasets.datasets == ("a", "b", "c")
    assert found.families[1].scores == {"ERM": {0: 0.8}, "Ours": {1: 0.82}}
    with pytest.raises(ValueError, match=r"must say what its rows are, .* dataset, variant"):
        judge(pd.DataFrame({"": ["a", "b", "c"], **numbers}).rename(columns={"": "name"}))


def test_equal_differences_are_told() -> None:
    frame = pd.concat([LONG[:3], LONG[:3].assign(branch="b", acc=LONG["acc"][:3] + 0.25)])
    assert any("b: all 3 differences are equal" in note for note in judge(frame).notes)
    assert not any("are equal" in note for note in judge(LONG).notes)
