"""The one door: words, objects, and what it says to a typo."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoise.data import Splits, digits, fingerprint, load

MODULE = """
import numpy as np, torch
from counterpoise.data import Splits, Split

x, y = np.arange(12.0).reshape(6, 2), ["b", "a"] * 3
pair = x, y
tensors = torch.arange(12).reshape(6, 2).bfloat16(), torch.tensor([4, 2] * 3)
split = Split(torch.zeros(2, 3), torch.tensor([0, 1]))
whole = Splits("mine", split, split, ("p", "q"), "here")
number = 7

def make():
    return whole

def fails():
    raise RuntimeError("my own\\nerror")

def leaves():
    raise SystemExit(0)

def asks(size):
    return whole

def eats():
    return np.broadcast_to(0.0, (2, 10**14)), [0, 1]

nothing = None
ragged = [[1, 2], [3]], [0, 1]
no_numbers = None, None
short = [[1], [2], [3]], [0, 1]
sparse = torch.eye(6).to_sparse(), [0, 1] * 3
holes = np.full((6, 2), np.nan), [0, 1] * 3
many = np.zeros(6), np.array([0.0, np.inf] * 3)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_data.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_data"
    sys.modules.pop("my_data", None)


def test_words():
    assert fingerprint(load("digits")) == fingerprint(digits())


def test_fashion_mnist_is_known_by_its_word(monkeypatch):
    import counterpoise.data._load as door

    wanted = digits()
    monkeypatch.setitem(door._NAMED, "fashion_mnist", lambda: wanted)
    assert load("fashion_mnist") is wanted


def test_objects(module):
    found = load(f"{module}:make")
    assert isinstance(found, Splits)
    assert found is load(f"{module}:whole")
    pair = load(f"{module}:pair")
    assert (pair.name, pair.class_names) == ("pair", ("a", "b"))
    assert len(pair.train), len(pair.test) == (4, 2)
    tensors = load(f"{module}:tensors")
    assert tensors.class_names == ("2", "4")
    assert tensors.train.inputs.dtype == torch.float32


def test_wrong_objects(module):
    with pytest.raises(TypeError, match=r"a pair \(inputs, targets\), got int"):
        load(f"{module}:number")
    with pytest.raises(TypeError, match=r"a pair \(inputs, targets\), got NoneType"):
        load(f"{module}:nothing")
    with pytest.raises(ValueError, match="must name something that can be imported"):
        load(f"{module}:pear")
    with pytest.raises(ValueError, match="must name something that can be imported"):
        load("no_such_module:x")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fails", r"but raised RuntimeError: my own error \(.*my_data.py:16\); correct it"),
        ("leaves", r"but raised SystemExit: 0 \(.*my_data.py:19\)"),
        ("asks", "without arguments, but raised TypeError: .*'size'"),
        ("eats", "must fit into memory, but there is not enough"),
        ("ragged", "inputs and targets must be arrays, got list"),
        ("no_numbers", r"one whole number or text per sample, got object"),
        ("short", "3 inputs and 2 targets"),
        ("sparse", "must be arrays, got Tensor"),
        ("holes", "12 of 12 numbers that are NaN"),
        ("many", "got float64 with inf"),
    ],
)
def test_objects_that_hold_no_data_are_told_in_one_line(module, name, says):
    with pytest.raises(ValueError, match=says) as told:
        load(f"{module}:{name}")
    assert "\n" not in str(told.value)


def test_pipes_devices_and_homes_of_nobody_are_told(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    (tmp_path / "a.csv").symlink_to("/dev/zero")
    for name in ("a.npz", "a.csv"):
        with pytest.raises(ValueError, match=r"an ordinary file, got .* a pipe or a device"):
            load(tmp_path / name)
    with pytest.raises(ValueError, match=r"got '~nobody_here/x', but: .*home"):
        load("~nobody_here/x")


@pytest.mark.parametrize("name", ["a.npz", "a.csv"])
def test_what_becomes_a_pipe_after_the_look_is_not_waited_for(tmp_path, monkeypatch, name):
    os.mkfifo(tmp_path / name)
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    with pytest.raises(OSError, match="not an ordinary file"):
        load(tmp_path / name)


def test_what_may_not_be_read_is_told(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=[0], y=[0])

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "a.npz")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(PermissionError, match=r"Permission denied: 'a.npz'"):
        load(tmp_path / "a.npz")


def test_a_typo_is_answered_with_the_nearest(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"got 'digit', .* did you mean 'digits'\?"):
        load("digit")
    with pytest.raises(ValueError, match="did you mean 'fashion_mnist'"):
        load("fashion-mnist")
    np.savez(tmp_path / "flowers.npz", x=[0], y=[0])
    (tmp_path / "flowery.txt").touch()
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"did you mean '.*flowers.npz'"):
        load(tmp_path / "flower.npz")
    with pytest.raises(ValueError, match=r"did you mean '.*photos'"):
        load(tmp_path / "photo")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"did you mean 'photos'"):
        load("fotos/")
    with pytest.raises(ValueError, match="check the spelling"):
        load("/nowhere/at/all")


def test_other_files_are_named(tmp_path):
    (tmp_path / "a.zip").touch()
    with pytest.raises(ValueError, match=r"must end in .npz, .csv, .*, got .*a.zip; convert"):
        load(tmp_path / "a.zip")


def test_the_seed_decides_what_is_held_out(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(100.0), y=np.arange(100) % 4)
    first, again, other = (load(tmp_path / "a.npz", seed=s) for s in (0, 0, 1))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    assert len(other.test) == 20
