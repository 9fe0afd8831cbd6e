"""What is read and what will go wrong are said before anything runs, and how long it will take."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from statsmodels.stats.proportion import proportion_confint

from counterpoise import data
from counterpoise.cli import _board
from counterpoise.cli._board import Board
from counterpoise.study import Plan, Training, Tuning, stream
from counterpoise.study.cautions import ask_doctor, edges, foresee, half_width
from counterpoise.study.defaults import fill
from counterpoise.study.estimate import estimate
from counterpoise.study.events import Foreseen, Prepared


def splits(counts, test, shape=(4,), dtype=torch.float32):
    def split(sizes):
        targets = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(len(targets), *shape, generator=generator)
        inputs += 2 * targets.reshape(-1, *[1] * len(shape))
        return data.Split((inputs * 99 + 128).clamp(0, 255).to(dtype), targets)

    names = tuple(f"class {k}" for k in range(len(counts)))
    return data.Splits("toy", split(counts), split(test), names, "made by hand")


def filled(found, **training):
    return fill(Plan("x", training=Training(**training)), found)[0]


def test_the_defaults_are_no_reason_for_caution():
    found = splits([400, 100], [200, 200])
    assert list(foresee(filled(found), found)) == []


def test_too_few_steps_are_said_with_the_epochs_that_would_do():
    found = splits([1000, 800], [200, 200])
    (said,) = foresee(filled(found, epochs=2, batch_size=100), found)
    assert said.startswith("2 epochs are 34 steps, and nets need about 1,610 on 1,620 samples")
    assert said.endswith("or take about 95 epochs")


def test_classes_of_few_validation_samples_are_named_where_something_is_chosen_on_them():
    found = splits([400, 8], [200, 200])
    (said,) = foresee(filled(found), found)
    assert said.startswith("few validation samples: 1 of class 1; learning rates")
    assert list(foresee(filled(found, lr=0.1), found)) == []


def test_rates_at_an_end_of_the_grid_are_said():
    plan = Plan("x", losses=("cross_entropy", "focal", "poly"), tuning=Tuning(grid=(0.1, 0.3, 1.0)))
    low, high = edges(
        plan, {"cross_entropy": {"lr": 0.1}, "focal": {"lr": 0.3}, "poly": {"lr": 1.0}}
    )
    assert low.startswith(
        "0.1 is the lowest learning rate that was tried, and was chosen for cross"
    )
    assert high.endswith("for poly: a higher one may do better; add it to tuning.grid")
    assert list(edges(plan, {"cross_entropy": {"lr": 0.3}})) == []


def test_classes_of_few_test_samples_are_named_the_fewest_first():
    found = splits([400, 100, 100], [500, 6, 20])
    (said,) = foresee(filled(found), found)
    assert "6 of class 1 (±31 points), 20 of class 2 (±20 points)" in said
    assert "class 0" not in said


@pytest.mark.parametrize("n", [2, 6, 20, 100])
def test_the_half_width_is_wilsons(n):
    low, high = proportion_confint(n // 2, n, method="wilson")
    assert half_width(n) == pytest.approx((high - low) / 2, rel=1e-6)


def test_the_doctor_warns_of_a_deep_plain_net_and_not_of_one_with_norms():
    found = splits([64, 64], [8, 8], (1, 16, 16), torch.uint8)
    plan = Plan("x", norms=("none", "group"), seeds=(0,), training=Training("deep_test_net:make"))
    plan = fill(plan, found)[0]
    (said,) = ask_doctor(plan, found)
    assert "norm none will not learn" in said


@pytest.fixture(autouse=True)
def deep_test_net(tmp_path, monkeypatch):
    (tmp_path / "deep_test_net.py").write_text(
        "from counterpoise.models import DeeperCNN\n"
        "def make(norm, shape, classes):\n"
        "    return DeeperCNN(norm, in_channels=1, image_size=16, num_classes=classes,\n"
        "                     convs_per_block=12)\n"
        "def broken(norm, shape, classes): raise OSError('no net')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_net_that_cannot_be_made_is_left_to_its_runs():
    found = splits([64, 64], [8, 8])
    plan = filled(found, model="deep_test_net:broken")
    assert list(ask_doctor(plan, found)) == []
    assert estimate(plan, found, 2) is None


def test_the_estimate_grows_with_runs_and_epochs_and_shrinks_with_workers():
    found = splits([400, 100], [20, 20])
    plan = filled(found, epochs=20, lr=0.1)
    cost = estimate(plan, found, 1)
    more = fill(Plan("x", seeds=tuple(range(10)), training=plan.training), found)[0]
    assert 0 < cost(plan) < cost(more)
    trained = {n: cost(filled(found, epochs=n, lr=0.1)) for n in (20, 40, 60)}
    assert trained[60] - trained[40] == pytest.approx(trained[40] - trained[20])
    twice = replace(plan, training=replace(plan.training, sam=0.05))
    assert cost(twice) - cost(plan) == pytest.approx(trained[40] - trained[20])
    assert torch.get_num_threads() == 1


def prepare(folder, plan, **settings):
    events = stream({folder: plan}, **settings)
    event = next(events)
    assert isinstance(event, Prepared)
    assert isinstance(next(events), Foreseen)
    next(events)  # study.json is written by now
    events.close()
    return event


def images(root):
    for name, n in (("cat", 12), ("dog", 4)):
        (root / name).mkdir(parents=True)
        for k in range(n):
            noise = np.random.default_rng(k).integers(0, 255, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{k}.png")
    (root / "cat" / "broken.png").write_bytes(b"no image")


def test_what_was_read_and_left_out_is_said_and_kept(tmp_path):
    images(tmp_path / "photos")
    plan = Plan(str(tmp_path / "photos"), training=Training(lr=0.1))
    event = prepare(tmp_path / "s", plan)
    said = "\n".join(event.lines())
    assert "16 RGB images of 40 x 60 pixels" in said
    assert "kept as they are" in said
    assert "2 classes, 13 samples to train and validate on (cat: 10, dog: 3)" in said
    assert "Left out: 1 of 17 images" in said
    assert "broken.png" in said
    assert "Caution: few test samples in each seed: 1 of dog" in said
    kept = json.loads((tmp_path / "s" / "study.json").read_text())["data"]
    assert kept["notes"] == list(event.facts["notes"])
    assert "broken.png" in kept["left_out"][0]


def test_small_images_keep_their_size(tmp_path):
    (tmp_path / "p" / "a").mkdir(parents=True)
    (tmp_path / "p" / "b").mkdir()
    for k in range(8):
        Image.new("L", (20, 26), k).save(tmp_path / "p" / "ab"[k % 2] / f"{k}.png")
    assert data.load(tmp_path / "p").train.inputs.shape[1:] == (1, 26, 20)
    assert data.load(tmp_path / "p", image_size=12).train.inputs.shape[1:] == (1, 12, 12)


def test_the_columns_of_a_table_are_said_by_kind(tmp_path):
    rows = ["age,city,income,bought"]
    rows += [
        f"{20 + k},{'abc'[k % 3]},{'' if k == 7 else k},{'no' if k % 4 else 'yes'}"
        for k in range(40)
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    event = prepare(tmp_path / "s", Plan(str(tmp_path / "t.csv"), training=Training(lr=0.1)))
    said = event.lines()
    assert "  40 rows; the class is in column 'bought'" in said
    assert "  2 columns of numbers: age, income" in said
    assert "  1 column of text, each value a column of 0 and 1: city (3 values)" in said
    assert any("with gaps" in line and "income (1)" in line for line in said)


def test_progress_of_reading_reaches_the_caller(tmp_path):
    images(tmp_path / "photos")
    seen = []
    prepare(
        tmp_path / "s",
        Plan(str(tmp_path / "photos"), training=Training(lr=0.1)),
        on_reading=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 0), (0, 17), (17, 17)]


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    console = Console(file=io.StringIO(), width=200)
    board = Board(console, "accuracy")
    board.on_reading(5, 100)
    assert console.file.getvalue() == ""
    monkeypatch.setattr(_board, "_PAUSE", 0.0)
    board.on_reading(10, 100)
    assert "10 of 100 images are read" in console.file.getvalue()
    assert "50% done" in board._how_far(0.5)
    assert "to go" in board._how_far(0.5)
    assert "to go" not in board._how_far(0.0)
