"""Features of a frozen net in place of a data set's images."""

import json
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from counterpoise import data
from counterpoise.data import Rows, Split, Splits, cache
from counterpoise.features import embed
from counterpoise.models import Backbone, InputConfig

SIZE = 8


class Body(nn.Sequential):
    """A small net that remembers how many images it was given."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.given = []

    def forward(self, x):
        self.given.append(len(x))
        return super().forward(x)


def small_net(name="small", seed=1):
    """The net, always with the same weights, whose batch norm is not that of a batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = Body()
        body[1].running_mean.normal_()
        body[1].running_var.uniform_(0.5, 2)
        net = Backbone(body, nn.Linear(6, 3), InputConfig((SIZE, SIZE)), name)
    body.given.clear()
    return net


def images(number=90, seed=0):
    """Splits of random images."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (number, 3, SIZE, SIZE), dtype=torch.uint8, generator=draw)
    y = torch.arange(number) % 3
    names = tuple(f"{k}.png" for k in range(number))
    groups = torch.arange(number) // 3
    whole = Split(x, y, names, groups)
    train, rest = whole.take(torch.arange(number - 20)), torch.arange(number - 20, number)
    return Splits("toy", train, whole.take(rest), ("a", "b", "c"), "by hand", ("a note",))


def expected(net, x):
    """What a plain loop gives, one image at a time."""
    net = net.train(False)
    with torch.no_grad():
        return torch.cat([net.features(x[k : k + 1]) for k in range(len(x))])


@pytest.fixture
def blocks(monkeypatch):
    """Blocks of the cache of 25 vectors of 6 numbers."""
    monkeypatch.setattr(cache, "_BLOCK", 25 * 6 * 4)


@pytest.mark.usefixtures("blocks")
def test_features_are_those_of_a_plain_loop_in_eval_mode(tmp_path):
    splits, net = images(), small_net()
    net.train()
    told = []
    found = embed(
        splits, net, cache=str(tmp_path), batch_size=7, on_progress=lambda *n: told.append(n)
    )
    assert net.training
    assert sum(net.body.given) == 90
    assert max(net.body.given) == 7
    assert (7, 90) in told  # within a block
    assert told[-1] == (90, 90)
    for split, was in ((found.train, splits.train), (found.test, splits.test)):
        assert split.inputs.dtype == torch.float32
        torch.testing.assert_close(split.inputs[:], expected(small_net(), was.inputs))
        assert torch.equal(split.targets, was.targets)
        assert split.names == was.names
        assert torch.equal(split.groups, was.groups)
    assert found.notes == ("a note", "features of small: 6 numbers of each image")
    assert found.reading["shape"] == splits.reading["shape"]
    assert found.reading["features"]["identity"] == net.identity
    assert json.loads(json.dumps(found.reading)) == found.reading


def test_only_what_is_used_is_computed_once_and_in_order(tmp_path):
    splits, net = data.in_cache(images(), str(tmp_path)), small_net()
    train = splits.train.take(torch.tensor([50, 3, 3, 7]))
    test = splits.train.take(torch.tensor([7, 1]))
    some = Splits("toy", train, test, splits.class_names, splits.source)
    found = embed(some, net, cache=str(tmp_path))
    assert net.body.given == [4]  # 1, 3, 7 and 50
    torch.testing.assert_close(found.train.inputs[:], expected(net, train.inputs[:]))
    torch.testing.assert_close(found.test.inputs[:], expected(net, test.inputs[:]))


def test_they_are_computed_anew_only_where_something_is_another(tmp_path):
    net, other, where = small_net(), small_net(seed=2), str(tmp_path)
    first = embed(images(), net, cache=where)
    begun = len(net.body.given)
    again = embed(images(), net, cache=where)
    assert len(net.body.given) == begun
    assert data.fingerprint(again) == data.fingerprint(first)
    assert again.train.inputs.entry.folder == first.train.inputs.entry.folder
    others = [
        embed(images(), other, cache=where),
        embed(images(seed=1), net, cache=where),
        embed(images(80), net, cache=where),
        embed(images(), net, cache=where, precision="bfloat16"),
    ]
    folders = {d.train.inputs.entry.folder for d in (first, *others)}
    assert len(folders) == 5
    half = others[-1].train.inputs[:]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, first.train.inputs[:], atol=0.05, rtol=0.05)
    assert not torch.equal(half, first.train.inputs[:])


class Pairs(Dataset):
    """The images of a split, as a torch Dataset."""

    def __init__(self, split):
        self.split = split

    def __len__(self):
        return len(self.split)

    def __getitem__(self, index):
        return self.split.inputs[index], int(self.split.targets[index])


def pairs():
    splits = images()
    return {"train": Pairs(splits.train), "test": Pairs(splits.test)}


@pytest.mark.usefixtures("blocks")
def test_images_read_anew_each_time_have_the_same_features(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path))
    splits = data.load("tests.test_features:pairs", cache="never")
    assert splits.train.inputs.unstored is not None
    found = embed(splits, small_net(), cache="never", batch_size=7)
    wanted = embed(images(), small_net(), batch_size=7)
    assert torch.equal(found.train.inputs[:], wanted.train.inputs[:])
    assert torch.equal(found.test.inputs[:], wanted.test.inputs[:])


PROGRAM = """
import os, signal, sys
from counterpoise.data import cache
from tests.test_features import images, embed, small_net

cache._BLOCK, cache._SAVED_EVERY = 25 * 6 * 4, 0
where, until = sys.argv[1], int(sys.argv[2])

def tell(done, total):
    if until and done > until:
        os.kill(os.getpid(), signal.SIGKILL)

net = small_net()
found = embed(images(), net, cache=where, batch_size=5, on_progress=tell)
print(sum(net.body.given), found.train.inputs.entry.digest)
"""


def test_a_killed_computation_goes_on_with_its_block_and_ends_with_the_same_bytes(tmp_path):
    def run(where, until):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / where), str(until)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run("killed", 80).returncode == -signal.SIGKILL
    number, digest = run("killed", 0).stdout.split()
    assert 15 <= int(number) < 90  # the block of the last 15, and those whose digest was not saved
    assert run("whole", 0).stdout.split() == ["90", digest]


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    splits, net = data.in_cache(images(), str(tmp_path)), small_net()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(ValueError, match=r"must hold the features of 90 images, which take 0\.0"):
        embed(splits, net, cache=str(tmp_path))
    assert not net.body.given


def test_what_is_no_image_or_becomes_no_number_is_refused_in_one_line(tmp_path):
    vectors = Split(torch.rand(4, 5), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(ValueError, match=r"features are of images .* \(5,\); train on them"):
        embed(Splits("v", vectors, vectors, ("a", "b"), "by hand"), small_net())
    with pytest.raises(ValueError, match="precision must be float32 or bfloat16, got 'half'"):
        embed(images(), small_net(), precision="half")
    net = small_net()
    net.body[1].running_var[0] = torch.nan
    with pytest.raises(ValueError, match="small makes NaN or infinities of 90 of 90 images"):
        embed(images(), net, cache=str(tmp_path))


def test_rows_of_features_are_cut_and_joined_without_reading(tmp_path):
    found = embed(images(), small_net(), cache=str(tmp_path))
    train, test, positions = data.draw_test(found.train, found.test, 3)
    assert isinstance(train.inputs, Rows)
    assert test.inputs.entry is found.train.inputs.entry
    whole = data.joined(found.train, found.test).inputs[:]
    assert torch.equal(test.inputs[:], whole[positions])
