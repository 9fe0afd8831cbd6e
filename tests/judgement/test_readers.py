"""Results that the trackers themselves wrote, read back."""

import json
import math
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoise.judgement import Runs, read_runs

VARIANTS, SEEDS = ("ce", "focal"), (0, 1)
Scores = dict[tuple[str, Any], float]


def accuracy(variant: str, seed: int) -> float:
    return 0.5 + 0.25 * (variant == "focal") + 0.125 * seed  # exact in float32


EVERY = {(v, s): accuracy(v, s) for v in VARIANTS for s in SEEDS}


def scores(runs: Runs, metric: str = "") -> Scores:
    frame = runs.frame
    keys = zip(frame["variant"], frame["seed"], strict=True)
    return dict(zip(keys, frame[metric or runs.metrics[0]], strict=True))


@pytest.fixture
def mlflow_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what SQLAlchemy will drop
        from mlflow import MlflowClient

        yield MlflowClient


def write_mlflow(client: Any, folder: Path) -> str:
    experiment = client.create_experiment("losses", artifact_location=str(folder / "artifacts"))
    sweep = client.create_run(experiment, run_name="sweep").info.run_id
    client.set_terminated(sweep)
    for (variant, seed), score in EVERY.items():
        below = {"mlflow.parentRunId": sweep}
        name = f"bold-fox-{variant}{seed}"
        run = client.create_run(experiment, run_name=name, tags=below).info.run_id
        for name, value in {"loss": variant, "lr": 0.1, "seed": seed}.items():
            client.log_param(run, name, value)
        client.log_metric(run, "test_acc", 0.1, step=0)
        client.log_metric(run, "test_acc", score, step=1)
        client.set_terminated(run)
    client.create_run(experiment, run_name="on its way")
    return experiment


def test_a_folder_of_mlflow(tmp_path: Path, mlflow_client: Callable[[str], Any]) -> None:
    tracking = tmp_path / "mlruns"
    client = mlflow_client(tracking.as_uri())
    experiment = write_mlflow(client, tmp_path)
    deleted = client.create_experiment("deleted")
    client.set_terminated(client.create_run(deleted).info.run_id)
    client.delete_experiment(deleted)
    assert list(tracking.glob(".trash/*/meta.yaml"))
    before = sorted(tmp_path.rglob("*"))
    for source in (tracking / experiment, tmp_path, tracking.as_uri()):
        runs = read_runs(source)
        assert scores(runs) == EVERY
        assert "variant: by 'loss'" in runs.notes
        assert any(note.endswith(" running") for note in runs.notes)
        assert list(dict.fromkeys(runs.frame["variant"])) == ["ce", "focal"]  # the oldest first
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_database_of_mlflow_is_read_and_left_as_it_is(
    tmp_path: Path, mlflow_client: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mlflow(mlflow_client(f"sqlite:///{tmp_path / 'mlflow.db'}"), tmp_path)
    path = tmp_path / "runs of 50%20#1?" / "mlflow.db"
    path.parent.mkdir()
    for address in ("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"):
        assert scores(read_runs(address)) == EVERY
    (tmp_path / "mlflow.db").rename(path)
    before = path.read_bytes(), sorted(tmp_path.rglob("*"))
    assert scores(read_runs(path)) == EVERY
    assert before == (path.read_bytes(), sorted(tmp_path.rglob("*")))


def test_another_database_is_no_source_and_no_table_is_made_in_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x INT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="must be a table"):
        read_runs(path)
    assert path.read_bytes() == before


def test_event_files_of_tensorboard(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for (variant, seed), score in EVERY.items():
        with SummaryWriter(str(tmp_path / f"{variant}_seed{seed}")) as writer:
            for epoch in range(3):
                writer.add_scalar("hp_metric", -1, 0)  # as Lightning does
                writer.add_scalar("val/acc", score - 0.5 * (epoch != 1), epoch)
            writer.add_scalar("test/acc", score, 3)
    runs = read_runs(tmp_path)
    assert runs.metrics == ("test/acc",)
    assert scores(runs) == EVERY
    assert scores(read_runs(tmp_path, metric="val/acc", epoch="best:val/acc")) == EVERY
    with pytest.raises(ValueError, match=r"up to 3 epochs of 'val/acc'; give epoch last, or best:"):
        read_runs(tmp_path, metric="val/acc")


def test_hyperparameters_of_tensorboard(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for k, ((variant, seed), score) in enumerate(EVERY.items()):
        with SummaryWriter(str(tmp_path / str(k))) as writer:
            writer.add_hparams({"loss_fn": variant, "seed": seed}, {"acc": score, "gap": 1})
    runs = read_runs(tmp_path)
    assert runs.metrics == ("acc",)
    assert scores(runs) == EVERY


def test_scalars_that_are_tensors_of_one_number(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for (variant, seed), score in EVERY.items():
        with SummaryWriter(str(tmp_path / variant / str(seed))) as writer:
            writer.add_scalar("acc", score, 1, new_style=True)  # as TensorFlow 2 writes them
    assert scores(read_runs(tmp_path)) == EVERY


@pytest.mark.slow  # imports lightning
def test_the_csv_logger_of_lightning(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    for (variant, seed), score in EVERY.items():
        logger = CSVLogger(str(tmp_path), name=variant)
        logger.log_hyperparams({"lr": 0.1, "seed": seed})
        for epoch in range(2):
            logger.log_metrics({"train_loss": 1.0, "epoch": epoch}, step=10 * epoch)
            diverged = epoch and (variant, seed) == ("ce", 1)
            val = math.nan if diverged else score - 1 + epoch
            logger.log_metrics({"val_acc": val, "epoch": epoch}, step=10 * epoch + 9)
        logger.log_metrics({"test_acc": score, "epoch": 2}, step=20)
        logger.save()
    assert scores(read_runs(tmp_path)) == EVERY
    val = read_runs(sorted(tmp_path.glob("*/version_*")), metric="val_acc", epoch="last")
    assert math.isnan(scores(val)["ce", 1])  # and not the score of the epoch before
    assert {k: v for k, v in scores(val).items() if k != ("ce", 1)} == {
        k: v for k, v in EVERY.items() if k != ("ce", 1)
    }


def test_versions_of_lightning_are_no_seeds(tmp_path: Path) -> None:
    for variant in VARIANTS:
        for version in SEEDS:
            folder = tmp_path / variant / f"version_{version}"
            folder.mkdir(parents=True)
            (folder / "metrics.csv").write_text("epoch,step,test_acc\n1,10,0.5\n")
    runs = read_runs(tmp_path)
    assert runs.frame["variant"].value_counts().to_dict() == {"ce": 2, "focal": 2}
    assert set(runs.frame["seed"]) == {None}


def test_the_furthest_state_of_the_trainer_of_transformers(tmp_path: Path) -> None:
    from transformers import TrainerState

    for (variant, seed), score in EVERY.items():
        logs: list[dict[str, float]] = []
        for step in (90, 100, 1000):
            logs += [
                {"loss": 1.0, "learning_rate": 0.1, "epoch": step / 100, "step": step},
                {"eval_accuracy": score - (step < 1000), "eval_runtime": 1.0, "step": step},
            ]
            folder = tmp_path / f"{variant}_seed{seed}" / f"checkpoint-{step}"
            folder.mkdir(parents=True)
            state = TrainerState(global_step=step, log_history=logs)
            state.save_to_json(str(folder / "trainer_state.json"))
    for sources in (tmp_path, [tmp_path, *tmp_path.glob("*/checkpoint-*")]):
        runs = read_runs(sources, epoch="last")
        assert runs.metrics == ("eval_accuracy", "train/loss")
        assert scores(runs) == EVERY


def write_wandb(folder: Path) -> None:
    """Write what W&B's documentation says that a run's folder holds."""
    for k, ((variant, seed), score) in enumerate(EVERY.items()):
        files = folder / "wandb" / f"run-20240101_12000{k}-abcdefg{k}" / "files"
        files.mkdir(parents=True)
        accuracy = {"max": 0.99, "last": score} if k % 2 else score  # as define_metric makes it
        summary = {"acc": accuracy, "_step": 9, "_runtime": 3.5, "_wandb": {"runtime": 3}}
        (files / "wandb-summary.json").write_text(json.dumps(summary))
        (files / "config.yaml").write_text(
            f"wandb_version: 1\n_wandb:\n    desc: null\n    value:\n        cli_version: 0.1{k}\n"
            f"loss:\n    desc: null\n    value: {variant}\nseed:\n    value: {seed}\n"
        )


def test_folders_of_wandb(tmp_path: Path) -> None:
    write_wandb(tmp_path)
    runs = read_runs(tmp_path / "wandb")
    assert runs.metrics == ("acc",)
    assert scores(runs) == EVERY


@pytest.mark.slow  # starts the service of wandb
def test_a_run_that_wandb_wrote_offline_is_told_from_one_it_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    settings = wandb.Settings(console="off", silent=True, x_disable_stats=True)
    run = wandb.init(project="p", dir=str(tmp_path), mode="offline", settings=settings)
    run.log({"acc": 0.5})
    run.finish()
    with pytest.raises(ValueError, match=r"must have a wandb-summary\.json, but .* wandb sync"):
        read_runs(tmp_path)


def test_the_table_that_wandb_exports(tmp_path: Path) -> None:
    path = tmp_path / "wandb_export.csv"
    rows = [
        f'"{v}-lr0.1-seed{s}","{state}","-","me","2024-01-0{s + 1}","{37 + s}","0.1","{v}","{a}"'
        for (v, s), a in EVERY.items()
        for state in ("finished", "crashed")
    ]
    header = "Name,State,Tags,User,Created,Runtime,lr,loss_fn,test/acc"
    path.write_text("\n".join((header, *rows)))
    runs = read_runs(path)
    assert runs.metrics == ("test/acc",)
    assert scores(runs) == EVERY
    assert "left out, as they were run again: 2 crashed of ce, 2 crashed of focal" in runs.notes
    alone = [row for row in rows if "focal-lr0.1-seed1" not in row]
    crashed = next(row for row in rows if "focal-lr0.1-seed1" in row and "crashed" in row)
    running = rows[0].replace("seed0", "seed9").replace("finished", "running")
    path.write_text("\n".join((header, *alone, crashed, running)))
    runs = read_runs(path)
    assert [key for key, score in scores(runs).items() if math.isnan(score)] == [("focal", 1)]
    assert "runs that count as failed: 1 crashed of focal" in runs.notes
    assert "runs that are not finished are left out: 1 running of ce" in runs.notes


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("events.out.tfevents.1.host.1.0", b"garbage" * 9, "two variants"),
        ("trainer_state.json", b"{}", "must be the state of a Trainer"),
        ("wandb-summary.json", b"[", "must hold an object of JSON"),
        ("metrics.csv", b"epoch,step,acc\n,,1\n", "must have a step in each row"),
        ("mlflow.db", b"SQLite format 3\0", "must be a table"),
        ("notes.txt", b"", "must hold results of MLflow, W&B"),
    ],
)
def test_damaged_results_are_told_in_one_line(
    tmp_path: Path, name: str, content: bytes, error: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    source = tmp_path if name == "notes.txt" else path
    with pytest.raises(ValueError, match=error) as caught:
        read_runs(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("library", ["tensorboard", "mlflow"])
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "events.out.tfevents.1.host.1.0").write_bytes(b"")
    if library == "mlflow":
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "meta.yaml").write_text("experiment_id: '1'\n")
    with pytest.raises(ValueError, match=rf"{library}.*pip install 'counterpoise\[judge\]'"):
        read_runs(tmp_path)


def test_reading_a_table_imports_neither_torch_nor_a_tracker(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("method,seed,acc\nce,0,0.5\nfocal,0,0.6\n")
    code = (
        "import sys; from counterpoise.judgement import read_runs; "
        f"read_runs({str(path)!r}); "
        "sys.exit(bool({'torch', 'mlflow', 'tensorboard', 'wandb', 'yaml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
