"""The command line and the demo behind it, as a user meets them."""

import json
import os
import subprocess
import sys

import pytest

from counterpoise import demo


def call(*words, cwd, **more):
    command = [sys.executable, "-m", "counterpoise.cli", *words]
    environment = os.environ | {"COLUMNS": "120"} | more
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["demo", "--quik"], "--quick"),
        (["demo", "--seed", "-1"], "--seed must be >= 0"),
        (["demo", "--workers", "0"], "--workers >= 1"),
        (["dmo"], "demo"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, says, tmp_path):
    done = call(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    done = call("demo", "--quick", "--out", "file/below", cwd=tmp_path)
    assert done.returncode == 2
    assert "must be a folder that can be written" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def tiny(monkeypatch):
    """The digits in a setting of seconds."""
    setting = demo.Setting(train=320, test=100, epochs=(1, 2), per_class=5, per_class_test=2)
    monkeypatch.setitem(demo.SETTINGS, ("digits", True), setting)


def test_the_demo_tells_its_story_and_keeps_what_is_finished(tiny, tmp_path, monkeypatch):
    # in this process: the smaller setting would not reach a worker's
    runs = demo.plan("digits", quick=True)
    for name, spec in runs.items():
        demo.train_one((str(tmp_path / name), spec), lambda news: None)
    story = demo.tell(runs, tmp_path)
    assert set(story["part1"]) == {"plain", "LayerNorm", "GroupNorm"}
    assert set(story["part2"]) == {demo.CE, demo.FOCAL, demo.FOCAL_MEAN_1}
    assert "digits" in story["data"]
    for figure in story["figures"]:
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    codes = {f["code"] for f in story["findings"]}
    assert {"CP301", "CP302", "CP303", "CP310"} <= codes
    assert json.loads((tmp_path / "comparison.json").read_text()) == story
    before = {p: p.read_bytes() for p in tmp_path.glob("*/run.json")}
    kept = list(demo.run(runs, tmp_path))
    assert [e.kind for e in kept] == ["finished"] * 6
    assert {p: p.read_bytes() for p in tmp_path.glob("*/run.json")} == before
    with pytest.raises(ValueError, match="other settings"):
        next(demo.run(demo.plan("digits", quick=True, seed=1), tmp_path))


def test_the_losses_of_the_demo_have_the_alpha_they_say():
    import torch

    targets = torch.tensor([0] * 2 + [1] * 6)
    assert demo._loss(demo.FOCAL, targets).weight.tolist() == pytest.approx([0.75, 0.25])
    assert demo._loss(demo.FOCAL_MEAN_1, targets).weight.tolist() == pytest.approx([1.5, 0.5])
