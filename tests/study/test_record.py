"""A record is whole or not there, and says when it is not what it was."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn

from counterpoise.study import record


def finished(folder):
    folder.mkdir()
    (folder / record.CHECKPOINT).write_bytes(b"half way")
    files = {
        "history.jsonl": record.to_jsonl([{"epoch": 0, "loss": None}, {"epoch": 1, "loss": 0.5}]),
        "predictions.npz": record.npz(test_logits=np.eye(3, dtype=np.float32)),
        record.TIMING: record.to_json({"seconds": 1.5}),
    }
    record.finish(folder, files, {"tau": 1.0, "nll": float("nan")})
    return folder


def test_what_was_finished_is_read_back(tmp_path):
    folder = finished(tmp_path / "run")
    run = record.read(folder)
    assert run["tau"] == 1.0
    assert run["nll"] is None  # JSON has no NaN
    assert record.TIMING not in run["files"]
    assert [row["loss"] for row in record.history(folder)] == [None, 0.5]
    assert np.array_equal(record.arrays(folder)["test_logits"], np.eye(3))
    assert not (folder / record.CHECKPOINT).exists()
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("name", ["history.jsonl", "predictions.npz", "run.json"])
@pytest.mark.parametrize("how", ["truncated", "changed", "gone"])
def test_a_damaged_file_is_named_and_the_run_counts_as_not_done(tmp_path, name, how):
    path = finished(tmp_path / "run") / name
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if how == "truncated" else content[:-9] + b"#" + content[-8:])
    if (name, how) == ("run.json", "gone"):
        assert record.read(path.parent) is None
    else:
        with pytest.raises(record.Damaged, match=name):
            record.read(path.parent)
    assert not record.is_done(path.parent)
    assert record.read(path.parent) is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    record.write(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        record.write(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_equal_arrays_give_equal_bytes_whenever_they_are_written(monkeypatch):
    first = record.npz(a=np.arange(5))
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert record.npz(a=np.arange(5)) == first


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_checkpoint_gives_back_the_state_of_net_and_optimizer(tmp_path, kind):
    from counterpoise.train import make_optimizer

    def made():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last), nn.Flatten())
        return net, make_optimizer(net, kind, lr=0.1, weight_decay=0.1)

    net, optimizer = made()
    for _ in range(3):
        net(torch.randn(4, 1, 5, 5)).square().sum().backward()
        optimizer.step()
    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "rows": [{"epoch": 0, "loss": float("inf")}],
        "none": None,
    }
    record.save_checkpoint(tmp_path, state)
    again = record.load_checkpoint(tmp_path)
    assert again["rows"] == state["rows"]
    assert again["none"] is None
    assert torch.equal(again["rng"], state["rng"])
    other, resumed = made()
    other.load_state_dict(again["net"])
    resumed.load_state_dict(again["optimizer"])
    x = torch.randn(4, 1, 5, 5)
    for n, o in ((net, optimizer), (other, resumed)):
        o.zero_grad()
        n(x).square().sum().backward()
        o.step()
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_that_cannot_be_read_is_as_good_as_none(tmp_path):
    assert record.load_checkpoint(tmp_path) is None
    record.save_checkpoint(tmp_path, {"a": torch.ones(1000)})
    path = tmp_path / record.CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    assert record.load_checkpoint(tmp_path) is None


def test_json_is_the_same_for_equal_values():
    assert record.to_json({"b": 1, "a": 2}) == record.to_json({"a": 2, "b": 1})
    assert json.loads(record.to_json({"a": [float("nan"), (1.0, float("-inf"))]})) == {
        "a": [None, [1.0, None]]
    }
