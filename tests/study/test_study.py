"""Studies from beginning to end: fair, resumable, and the same whatever happens on the way."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.numpy import save_file
from safetensors.torch import load_file
from sklearn.metrics import balanced_accuracy_score
from tests.study.small import QUICK, files, plan, prepared, run
from torch import nn

from counterpoise.data import Split, Splits
from counterpoise.losses import choose_tau, effective_number_weights
from counterpoise.models import NormedLinear
from counterpoise.net import head_path
from counterpoise.study import (
    Imbalance,
    Plan,
    Training,
    Tuning,
    Variant,
    compare,
    one_run,
    open_study,
)
from counterpoise.study._prepared import read_names
from counterpoise.study._scoring import read_head
from counterpoise.study.events import (
    Epoch,
    Failed,
    Finished,
    Planned,
    Progress,
    Started,
    Waiting,
)
from counterpoise.study.record import Damaged


def test_a_study_holds_what_was_planned(finished):
    study = open_study(finished)
    assert study.finished
    assert study.labels == ("cross_entropy", "focal")
    assert [(r.label, r.seed) for r in study.records] == [
        ("cross_entropy", 0),
        ("cross_entropy", 1),
        ("focal", 0),
        ("focal", 1),
    ]
    record = study.records[0]
    assert record.run["test"]["balanced_accuracy"] > 0.5
    assert len(record.predictions["test_logits"]) == sum(study.data["test_counts"])
    assert [row["epoch"] for row in record.history] == [0, 1, 2]
    assert all(row["grad_norm"] > 0 for row in record.flow)
    assert record.timing["seconds"] > 0


def test_the_same_bytes_with_two_workers(finished, tmp_path):
    run(plan(), tmp_path, workers=2)
    assert files(tmp_path) == files(finished)


def test_what_is_there_is_kept_and_the_rest_is_run(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    before = files(folder)
    events = run(plan(), folder)
    assert {e.kept for e in events if isinstance(e, Finished)} == {True}
    assert files(folder) == before
    more = plan(losses=("cross_entropy", "focal", "poly"), seeds=(0, 1, 2))
    events = run(more, folder)
    (planned,) = (e for e in events if isinstance(e, Planned))
    assert len(planned.kept) == 4
    assert len(planned.runs) == 9
    assert planned.left_over == ()
    other = plan(training=Training("mlp", epochs=1, lr=0.1, batch_size=64))
    events = run(other, folder)
    (planned,) = (e for e in events if isinstance(e, Planned))
    assert (len(planned.kept), len(planned.left_over)) == (0, 9)


def test_a_damaged_run_is_run_again(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    next(folder.glob("runs/*/predictions.npz")).write_bytes(b"damaged")
    events = run(plan(), folder)
    assert sum(isinstance(e, Started) for e in events) == 1
    assert files(folder) == files(finished)


def test_equal_seeds_have_equal_weights_orders_and_splits(tmp_path, monkeypatch):
    """Whatever the norm, the loss and the sampler: told by hashes, from within the runs."""
    made = {}

    class Watched(one_run._Training):
        def run(self, folder, emit):
            weights = [
                p for m in self.net.modules() if type(m) is nn.Linear for p in m.parameters()
            ]
            self.sampler.set_epoch(1)
            variant = self.spec.variant
            key = variant.norm, variant.loss, variant.sampler
            made[key, self.spec.seed] = {
                "weights": digest(*weights),
                "split": digest(self.splits["train"].inputs, self.splits["validation"].inputs),
                "order": digest(torch.tensor(list(self.sampler))),
            }

    monkeypatch.setattr(one_run, "_Training", Watched)
    many = plan(
        norms=("none", "layer", "batch"),
        samplers=("shuffle", "balanced"),
        losses=("cross_entropy", "vs"),
    )
    work = prepared(many, tmp_path)
    for name in work.names("final"):
        one_run.train_run(work.job(name), lambda event: None)
    assert len(made) == 24
    for what in ("weights", "split"):
        by_seed = [{v[what] for (_, s), v in made.items() if s == seed} for seed in (0, 1)]
        assert [len(d) for d in by_seed] == [1, 1], what
        assert by_seed[0] != by_seed[1], what
    for sampler in ("shuffle", "balanced"):
        orders = [
            {v["order"] for (k, s), v in made.items() if s == seed and k[2] == sampler}
            for seed in (0, 1)
        ]
        assert [len(d) for d in orders] == [1, 1]
        assert orders[0] != orders[1]


def digest(*tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()


def test_learning_rates_are_chosen_on_validation_and_the_test_part_is_not_touched(tmp_path):
    tuned = plan(
        losses=("cross_entropy",),
        training=Training("mlp", epochs=2, batch_size=64),
        tuning=Tuning((1e-6, 0.1), seeds=2),
    )
    events = run(tuned, tmp_path)
    study = open_study(tmp_path)
    assert study.choices == {"cross_entropy": {"lr": 0.1}}
    assert len(study.tuning) == 4
    assert all("test" not in r.run and "adjusted" not in r.run for r in study.tuning)
    assert {r.seed for r in study.tuning}.isdisjoint(study.plan.seeds)
    assert {r.lr for r in study.records} == {0.1}
    costs = [e.cost for e in events if isinstance(e, Planned)]
    assert sum(costs[0].values()) == 4 * 2 * sum(study.data["train_counts"])


def toy(n=300, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % classes
    inputs = torch.randn(n, 5, generator=g) + 2 * nn.functional.one_hot(targets, 5)
    names = tuple(f"class {k}" for k in range(classes))
    return Splits(
        "toy", Split(inputs, targets), Split(inputs.flip(0), targets.flip(0)), names, "made"
    )


def test_a_data_set_whose_splits_share_their_memory(tmp_path):
    whole = toy()
    x, y = whole.train.inputs, whole.train.targets
    data = Splits(
        "toy", Split(x[:200], y[:200]), Split(x[200:], y[200:]), whole.class_names, "made"
    )
    assert compare(data, seeds=1, out=tmp_path, training=QUICK).finished


def test_a_data_set_in_memory_with_a_profile_laid_over_it(tmp_path):
    study = compare(
        toy(),
        losses=["logit_adjusted", "ldam+drw"],
        samplers=["progressive"],
        seeds=1,
        out=tmp_path,
        training=QUICK,
        imbalance=Imbalance("exponential", 10),
    )
    assert study.data["train_counts"] == [10, 31, 100]
    assert study.data["test_counts"] == [100, 100, 100]
    assert len(study.records) == 2
    ldam = study.of("ldam+drw")[0]
    assert abs(ldam.predictions["test_logits"]).max() <= 30.001  # cosines times the scale
    assert ldam.run["seen_counts"] != ldam.run["train_counts"]


def test_features_are_scaled_by_what_the_training_split_alone_shows(tmp_path):
    work = prepared(plan(), tmp_path, toy())
    splits = one_run._Training(work.job(work.names("final")[0])).splits
    inputs = splits["train"].inputs
    torch.testing.assert_close(inputs.mean(0), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(inputs.std(0, correction=0), torch.ones(5))
    assert (splits["validation"].inputs.mean(0).abs() > 1e-3).all()


def test_tau_is_chosen_on_validation(tmp_path):
    """Of a test split with other targets another one would be."""
    data = toy()
    test = Split(data.test.inputs, data.test.targets.roll(1))
    data = Splits("toy", data.train, test, data.class_names, "made")
    profile = Imbalance("exponential", 10)
    study = compare(
        data,
        losses=["cross_entropy"],
        seeds=1,
        out=tmp_path,
        training=QUICK,
        imbalance=profile,
    )
    (record,) = study.records
    chosen = {
        split: choose_tau(
            torch.from_numpy(record.predictions[f"{split}_logits"]),
            torch.from_numpy(record.predictions[f"{split}_targets"]),
            record.run["seen_counts"],
        ).tau
        for split in ("validation", "test")
    }
    assert record.run["tau"] == chosen["validation"] != chosen["test"]


def test_rows_are_normalized_as_the_features_of_the_trained_net_have_it(tmp_path):
    long_tailed = Imbalance("exponential", 30)
    training = Training("resnet8", epochs=1, lr=0.1)
    work = prepared(plan(training=training, imbalance=long_tailed), tmp_path)
    job = work.job(work.names("final")[0])
    one_run.train_run(job, lambda event: None)
    run = json.loads((job.folder / "run.json").read_text())
    made = one_run._Training(job)
    made.net.load_state_dict(load_file(job.folder / "weights.safetensors"))
    net, seen = made.net.double().eval(), {}
    head = net.get_submodule(head_path(net))
    for split in ("validation", "test"):
        keep = head.register_forward_pre_hook(lambda m, x, split=split: seen.update({split: x[0]}))
        with torch.no_grad():
            net(made.splits[split].inputs.double() / 255)
        keep.remove()

    def score(split, tau):
        w = head.weight.detach()
        z = seen[split] @ (w / w.norm(dim=1, keepdim=True) ** tau).T
        return balanced_accuracy_score(made.splits[split].targets, z.argmax(1))

    held = [score("validation", k / 10) for k in range(21)]
    assert score("validation", run["tau_norm"]) == max(held) > min(held)
    wanted = score("test", run["tau_norm"])
    assert run["normalized"]["balanced_accuracy"] == pytest.approx(wanted, abs=1e-9)
    assert run["normalized"]["balanced_accuracy"] != run["test"]["balanced_accuracy"]


@pytest.mark.parametrize(
    ("net", "there"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), True),
        (nn.Sequential(nn.Linear(5, 3, bias=False), nn.Flatten()), True),
        (nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(1)), False),
        (nn.Sequential(nn.Linear(5, 4), NormedLinear(4, 3)), False),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))), False),
        (nn.Flatten(), False),
    ],
)
def test_only_rows_of_a_head_that_gives_the_logits_are_normalized(net, there):
    found = read_head(net, torch.randn(2, 5))
    assert (found is not None) == there
    if found is not None:
        last = [m for m in net if isinstance(m, nn.Linear)][-1]
        torch.testing.assert_close(found.norms, last.weight.detach().double().norm(dim=1))
        assert (found.bias is None) == (last.bias is None)


def test_deferred_weights_set_in_after_the_planned_share_of_the_epochs(tmp_path):
    late = plan(
        losses=("cross_entropy+drw",),
        training=Training("mlp", epochs=10, lr=0.1, deferred=0.6),
        imbalance=Imbalance("exponential", 10),
    )
    work = prepared(late, tmp_path)
    made = one_run._Training(work.job(work.names("final")[0]))
    (schedule,) = made.criterion.each_epoch
    for epoch in range(10):
        schedule.set_epoch(epoch)
        weight = effective_number_weights(made.seen_counts) if epoch >= 6 else torch.ones(10)
        assert torch.equal(made.loss.weight, weight), epoch


def test_a_variant_with_settings_of_its_own(tmp_path):
    """γ = 0 is cross entropy, and the run shows it."""
    flat = Variant(loss="focal", settings={"gamma": 0.0})
    made = plan(losses=("cross_entropy", "focal"), variant=(flat,), seeds=(0,))
    run(made, tmp_path)
    study = open_study(tmp_path)
    assert study.labels == ("cross_entropy", "focal", "focal, gamma=0.0")
    plain, focal, zero = (r.run["test"]["nll"] for r in study.records)
    assert zero == pytest.approx(plain, rel=1e-4)
    assert focal != pytest.approx(plain, rel=1e-2)


def test_runs_that_fail_are_told_with_the_reason_and_the_others_go_on(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(
        "import os, signal\n"
        "from counterpoise.models import ALL\n"
        "def net(norm, shape, classes):\n"
        "    if norm is None:\n"
        "        raise RuntimeError('this net has a bug')\n"
        "    if isinstance(norm((8,)), __import__('torch').nn.RMSNorm):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory is out\n"
        "    return ALL['mlp'](norm, shape, classes)\n"
    )
    monkeypatch.chdir(tmp_path)
    training = Training("my_models:net", epochs=2, lr=0.1)
    norms = ("layer", "none", "rms")
    events = run(plan(norms=norms, losses=("focal",), seeds=(0,), training=training), "study")
    failed = {e.run: e.reason for e in events if isinstance(e, Failed)}
    study = open_study("study")
    assert study.failed == failed
    reasons = {study.expected[run]["label"]: reason for run, reason in failed.items()}
    assert reasons["none"] == "RuntimeError: this net has a bug (my_models.py:5)"
    assert "died 2 times" in reasons["rms"]
    assert [r.label for r in study.records] == ["layer"]
    assert study.scores()["none"] == {0: None}
    (error,) = Path("study").glob("runs/*/error.txt")
    assert "this net has a bug" in error.read_text()
    (tmp_path / "my_models.py").write_text(
        "from counterpoise.models import ALL\nnet = ALL['mlp']\n"
    )
    run(plan(norms=norms, losses=("focal",), seeds=(0,), training=training), "study")
    assert open_study("study").finished
    assert open_study("study").failed == {}


def test_a_run_that_diverges_is_told(tmp_path):
    wild = Training("mlp", epochs=3, lr=1e25, momentum=0.0, schedule="constant")
    events = run(plan(losses=("cross_entropy",), seeds=(0,), training=wild), tmp_path)
    (failed,) = (e for e in events if isinstance(e, Failed))
    assert failed.reason.startswith("Diverged: the loss is")
    assert "lower the learning rate" in failed.reason


def test_a_disk_that_is_full_costs_the_runs_and_not_the_study(finished, tmp_path):
    """A real one, of a megabyte, where the system lets us mount it."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1300k", "tmpfs", str(small)]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        events = run(plan(), small, workers=1)
        reasons = [e.reason for e in events if isinstance(e, Failed)]
        assert reasons
        assert all("No space left" in reason for reason in reasons)
        assert not list(small.rglob("*.tmp"))
        for path in small.glob("runs/*/run.json"):
            json.loads(path.read_text())
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        run(plan(), small, workers=1)
        assert files(small) == files(finished)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_two_processes_do_not_share_a_folder(finished, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(finished, folder)
    with FileLock(folder / ".lock"), pytest.raises(ValueError, match="another process"):
        run(plan(), folder)
    assert files(folder) == files(finished)


@pytest.mark.slow
def test_a_script_without_a_guard_works(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import counterpoise\n"
        "from counterpoise.study import Training\n"
        "study = counterpoise.compare('digits', losses=['focal'], seeds=1, out='here',\n"
        "    training=Training('mlp', epochs=1, lr=0.1))\n"
        "print(len(study.records), 'record')\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "1 record\n", done.stderr


def test_a_study_lives_neither_among_the_classes_nor_with_strangers(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for place in (images, images / "studies" / "images"):
        with pytest.raises(ValueError, match="must not lie in the data's"):
            run(Plan(str(images)), place)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "plan.toml").write_text("# mine")
    with pytest.raises(ValueError, match=r"new, empty or a study's folder, but holds plan\.toml"):
        run(plan(), mine)
    assert [p.name for p in mine.iterdir()] == ["plan.toml"]
    assert (mine / "plan.toml").read_text() == "# mine"


def test_compare_takes_the_file_of_a_plan_and_says_where_a_setting_belongs(finished, tmp_path):
    study = shutil.copytree(finished, tmp_path / "study")
    assert compare(str(study / "plan.toml"), out=study).finished
    with pytest.raises(TypeError, match=r"epochs belongs into training: .*Training\(epochs=...\)"):
        compare("digits", epochs=2)
    with pytest.raises(TypeError, match="did you mean 'metric'"):
        compare("digits", metrik="accuracy")
    with pytest.raises(ValueError, match=r"a plan says all .* losses, margin came too"):
        compare(str(study / "plan.toml"), losses=["focal"], margin=2.0, out=study)


def test_compare_warns_of_a_run_that_fails(tmp_path):
    wild = Training("mlp", epochs=1, lr=1e25, momentum=0.0, schedule="constant")
    with pytest.warns(UserWarning, match="failed: Diverged"):
        study = compare("digits", losses=["focal"], seeds=1, training=wild, out=tmp_path / "study")
    assert len(study.failed) == 1


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_time_left_is_shown_at_every_width(width):
    from rich.console import Console

    from counterpoise.cli._board import Board

    console = Console(width=width, force_terminal=True, color_system=None)
    board = Board(console, "balanced_accuracy")
    board._runs["run"] = {
        "label": "batch, logit_adjusted",
        "stage": "final",
        "seed": 0,
        "trial": {},
    }
    board._cost["run"] = 1.0
    row = {"epoch": 3, "validation_balanced_accuracy": 0.5}
    for event in (Started("run"), Epoch("run", row), Progress("run", 0.5)):
        board._on_event(event)
    with console.capture() as capture:
        console.print(board._draw())
    assert "batch, logit_adjusted · seed 0" in capture.get()
    assert "50% 0:00:00 left" in capture.get()
    assert ("validation balanced accuracy" in capture.get()) == (width == 140)


def test_a_run_that_another_process_holds_is_waited_for_in_words(finished, tmp_path):
    """As a worker that was stopped holds it, of a study that was killed."""
    import threading

    work = prepared(plan(), tmp_path)
    name = work.names("final")[0]
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    held = FileLock(folder / ".lock", thread_local=False)
    held.acquire()
    said = []

    def note(event):
        if isinstance(event, Waiting):
            said.append(event)
            threading.Timer(0, held.release).start()

    one_run.train_run(work.job(name), note)
    assert said == [Waiting(name, folder)]
    assert (folder / "run.json").exists()


def test_names_of_samples_are_kept_with_the_data(tmp_path):
    inputs, targets = torch.rand(40, 5), torch.arange(40) % 2
    names = tuple(f"photos/{k}\n\udc80 ü.png" for k in range(40))
    half = Split(inputs[:30], targets[:30], names[:30])
    data = Splits("toy", half, Split(inputs[30:], targets[30:]), ("a", "b"), "made up")
    study = compare(data, losses=["cross_entropy"], seeds=1, out=tmp_path, training=QUICK)
    assert study.sample_names("train") == names[:30]
    assert study.sample_names("test") is None
    study.data_file.unlink()
    assert open_study(tmp_path).sample_names("train") is None


@pytest.mark.parametrize("content", [b"[", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_names_that_are_none_are_refused(tmp_path, content):
    path = tmp_path / "data.safetensors"
    save_file({"test_names": np.frombuffer(content, np.uint8)}, path)
    with pytest.raises(Damaged, match="no list of texts"):
        read_names(path, "test")
