"""A record is whole or not there, and says when it is not what it was."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from counterpoise import files
from counterpoise.study import record

SPEC = {"seed": 0, "training": {"lr": 0.1, "watch": ["validation"]}}
HERE = {"torch": "2.13.0", "kernels": "C"}


def finished(folder):
    folder.mkdir()
    (folder / record.CHECKPOINT).write_bytes(b"half way")
    (folder / record.ERROR).write_text("of an earlier attempt")
    contents = {
        "history.jsonl": record.to_jsonl([{"epoch": 0, "loss": None}, {"epoch": 1, "loss": 0.5}]),
        "predictions.npz": record.npz(test_logits=np.eye(3, dtype=np.float32)),
    }
    run = {"spec": SPEC, "tau": 1.0, "nll": float("nan")}
    record.finish(folder, contents, run, {"seconds": 1.5})
    return folder


def test_what_was_finished_is_read_back(tmp_path):
    folder = finished(tmp_path / "run")
    run = record.read(folder)
    assert run["tau"] == 1.0
    assert run["nll"] is None  # JSON has no NaN
    assert record.TIMING not in run["files"]
    assert [row["loss"] for row in record.history(folder)] == [None, 0.5]
    assert np.array_equal(record.arrays(folder)["test_logits"], np.eye(3))
    assert record.timing(folder)["seconds"] == 1.5
    names = {"run.json", "history.jsonl", "predictions.npz", "timing.json"}
    assert {p.name for p in folder.iterdir()} == names


def test_what_says_that_a_run_is_finished_is_written_last(tmp_path, monkeypatch):
    written, write = [], files.write

    def noted(path, content):
        written.append(path.name)
        write(path, content)

    monkeypatch.setattr(files, "write", noted)
    finished(tmp_path / "run")
    assert written.index(record.RUN) == len(written) - 1 == 3


@pytest.mark.parametrize("name", ["history.jsonl", "predictions.npz", "run.json", "timing.json"])
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
    assert record.take_up(path.parent, SPEC) is None
    assert record.read(path.parent) is None


@pytest.mark.parametrize(
    "content", ["{}", "[]", "1", "null", '"text"', "[" * 100_000, '{"a":' * 100_000, "", "\xff"]
)
def test_json_of_any_kind_and_depth_is_damage(tmp_path, content):
    path = finished(tmp_path / "run") / record.RUN
    path.write_text(content)
    with pytest.raises(record.Damaged, match=r"run\.json"):
        record.read(path.parent)
    assert record.take_up(path.parent, SPEC) is None


def test_a_digit_that_changed_is_damage(tmp_path):
    """Valid JSON of the right form: only its digest tells."""
    path = finished(tmp_path / "run") / record.RUN
    path.write_text(path.read_text().replace('"tau": 1.0', '"tau": 1.5'))
    with pytest.raises(record.Damaged, match="digest"):
        record.read(path.parent)


def test_a_file_of_another_format_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "FORMAT", 2)
    (tmp_path / "study.json").write_text(record.seal({"a": 1}))
    monkeypatch.undo()
    with pytest.raises(record.OtherFormat, match="is of format 2, but this counterpoise reads 1"):
        record.unseal(tmp_path / "study.json")


def test_only_the_run_that_was_asked_for_is_taken_up(tmp_path):
    folder = finished(tmp_path / "run")
    assert record.take_up(folder, SPEC)["tau"] == 1.0
    assert record.take_up(folder, {**SPEC, "seed": 1}) is None
    assert not (folder / record.RUN).exists()


@pytest.mark.parametrize("name", [record.CHECKPOINT, record.ERROR, ".counterpoise-0a.tmp"])
def test_what_a_kill_at_the_very_end_left_behind_is_removed(tmp_path, name):
    folder = finished(tmp_path / "run")
    (folder / name).write_bytes(b"left over")
    assert record.take_up(folder, SPEC)
    assert not (folder / name).exists()


def test_arrays_that_unpack_to_more_than_the_file_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "predictions.npz", test_logits=np.zeros((1000, 1000)))
    with pytest.raises(record.Damaged, match="it is compressed"):
        record.arrays(tmp_path)


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
    record.save_checkpoint(tmp_path, state, HERE)
    again = record.load_checkpoint(tmp_path, HERE)
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


def test_a_checkpoint_that_is_not_what_was_written_is_as_good_as_none(tmp_path):
    assert record.load_checkpoint(tmp_path, HERE) is None
    record.save_checkpoint(tmp_path, {"a": torch.arange(9.0), "n": 7}, HERE)
    path = tmp_path / record.CHECKPOINT
    whole = path.read_bytes()
    for k in range(len(whole)):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
        state = record.load_checkpoint(tmp_path, HERE)
        assert state is None or (state["n"] == 7 and torch.equal(state["a"], torch.arange(9.0)))
    for k in range(len(whole)):
        path.write_bytes(whole[:k])
        assert record.load_checkpoint(tmp_path, HERE) is None


def test_a_checkpoint_without_metadata_is_as_good_as_none(tmp_path):
    from safetensors.torch import save

    (tmp_path / record.CHECKPOINT).write_bytes(save({"0": torch.ones(3)}))
    assert record.load_checkpoint(tmp_path, HERE) is None


def test_a_checkpoint_of_another_run_is_not_resumed_from(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    record.save_checkpoint(tmp_path / "one", {"n": 7}, HERE)
    (tmp_path / "one" / record.CHECKPOINT).rename(tmp_path / "other" / record.CHECKPOINT)
    assert record.load_checkpoint(tmp_path / "other", HERE) is None


def test_times_of_another_run_are_damage(tmp_path):
    one, other = (finished(tmp_path / name) for name in ("one", "other"))
    (one / record.TIMING).rename(other / record.TIMING)
    with pytest.raises(record.Damaged, match="another run's"):
        record.read(other)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret", "notes.txt"])
def test_only_a_runs_own_files_are_read(tmp_path, name):
    folder = finished(tmp_path / "run")
    run = record.unseal(folder / record.RUN)
    run["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (folder / record.RUN).write_text(record.seal(run))
    with pytest.raises(record.Damaged, match="names files that are no run's"):
        record.read(folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "run.json", "timing.json"])
def test_a_file_of_terabytes_is_damage_without_being_read(tmp_path, name):
    folder = finished(tmp_path / "run")
    if name == "weights.safetensors":
        run = record.unseal(folder / record.RUN)
        run["files"][name] = {"bytes": 5, "sha256": "0" * 64}
        (folder / record.RUN).write_text(record.seal(run))
    with open(folder / name, "ab") as file:
        file.truncate(2**42)
    with pytest.raises(record.Damaged, match=name.replace(".", r"\.")):
        record.read(folder)


def test_a_checkpoint_of_another_environment_is_not_resumed_from(tmp_path):
    record.save_checkpoint(tmp_path, {"n": 7}, HERE)
    assert record.load_checkpoint(tmp_path, HERE) == {"n": 7}
    assert record.load_checkpoint(tmp_path, {**HERE, "kernels": "torch operators"}) is None


def test_json_is_the_same_for_equal_values():
    assert record.to_json({"b": 1, "a": 2}) == record.to_json({"a": 2, "b": 1})
    assert json.loads(record.to_json({"a": [float("nan"), (1.0, float("-inf"))]})) == {
        "a": [None, [1.0, None]]
    }


def test_json_has_a_line_a_key_and_takes_halves_of_characters():
    text = record.to_json({"b": [1, 2], "a": {"é": "\ud800"}})
    assert text == '{\n"a": {"é": "\\ud800"},\n"b": [1, 2]\n}\n'
    assert json.loads(text.encode()) == {"b": [1, 2], "a": {"é": "\ud800"}}
