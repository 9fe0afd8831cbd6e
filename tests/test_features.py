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
from counterpoise.features._fold import folded
from counterpoise.models import Backbone, InputConfig

SIZE = 8


def count_given(monkeypatch):
    """Return a list that holds the size of each batch of images that features are computed of."""
    sizes, features = [], Backbone.features

    def counted(self, x):
        sizes.append(len(x))
        return features(self, x)

    monkeypatch.setattr(Backbone, "features", counted)
    return sizes


@pytest.fixture
def given(monkeypatch):
    return count_given(monkeypatch)


def small_net(name="small", seed=1):
    """The net, always with the same weights, whose batch norm is not that of a batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        body[1].running_mean.normal_()
        body[1].running_var.uniform_(0.5, 2)
        return Backbone(body, nn.Linear(6, 3), InputConfig((SIZE, SIZE)), name)


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
def test_features_are_those_of_a_plain_loop_in_eval_mode(tmp_path, given):
    splits, net = images(), small_net()
    net.train()
    told = []
    found = embed(
        splits, net, cache=str(tmp_path), batch_size=7, on_progress=lambda *n: told.append(n)
    )
    assert net.training
    assert sum(given) == 90
    assert max(given) == 7
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


def test_only_what_is_used_is_computed_once_and_in_order(tmp_path, given):
    splits, net = data.in_cache(images(), str(tmp_path)), small_net()
    train = splits.train.take(torch.tensor([50, 3, 3, 7]))
    test = splits.train.take(torch.tensor([7, 1]))
    some = Splits("toy", train, test, splits.class_names, splits.source)
    found = embed(some, net, cache=str(tmp_path))
    assert given == [4]  # 1, 3, 7 and 50
    torch.testing.assert_close(found.train.inputs[:], expected(net, train.inputs[:]))
    torch.testing.assert_close(found.test.inputs[:], expected(net, test.inputs[:]))


def test_they_are_computed_anew_only_where_something_is_another(tmp_path, given):
    net, other, where = small_net(), small_net(seed=2), str(tmp_path)
    first = embed(images(), net, cache=where)
    assert sum(given) == 90
    again = embed(images(), net, cache=where)
    assert sum(given) == 90
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
import torch
from counterpoise.data import cache
from tests.test_features import Backbone, embed, images, small_net

torch.set_num_threads(1)
cache._BLOCK, cache._SAVED_EVERY = 25 * 6 * 4, 0
where, until = sys.argv[1], int(sys.argv[2])

def tell(done, total):
    if until and done > until:
        os.kill(os.getpid(), signal.SIGKILL)

given, features = [], Backbone.features
Backbone.features = lambda self, x: given.append(len(x)) or features(self, x)
found = embed(images(), small_net(), cache=where, batch_size=5, on_progress=tell)
print(sum(given), found.train.inputs.entry.digest)
"""


@pytest.mark.usefixtures("blocks")
def test_a_killed_computation_goes_on_with_its_block_and_ends_with_the_same_bytes(tmp_path):
    def run(until):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "killed"), str(until)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run(80).returncode == -signal.SIGKILL
    number, digest = run(0).stdout.split()
    assert 15 <= int(number) < 90  # the block of the last 15, and those whose digest was not saved
    whole = embed(images(), small_net(), cache=str(tmp_path / "whole"), batch_size=5)
    assert whole.train.inputs.entry.digest == digest


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path, monkeypatch, given):
    splits, net = data.in_cache(images(), str(tmp_path)), small_net()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(ValueError, match=r"must hold the features of 90 images, which take 0\.0"):
        embed(splits, net, cache=str(tmp_path))
    assert not given


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


class Beside(nn.Module):
    """A net whose convolution is used beside its batch norm, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x):
        x = self.conv(x)
        return (self.norm(x) + x).mean((2, 3))


class Twice(Beside):
    """A net whose layers are used twice."""

    def forward(self, x):
        return self.norm(self.conv(self.norm(self.conv(x)))).mean((2, 3))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "small", "beside", "twice"])
def test_batch_norms_are_folded_only_where_the_answers_stay(name):
    net = {"small": lambda: small_net().body, "beside": Beside, "twice": Twice}.get(name)
    net = net() if net else pytest.importorskip("timm").create_model(name, num_classes=0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_var.uniform_(0.5, 2)
            norm.running_mean.normal_(0, 0.1)
    x = torch.rand(2, 3, 64, 64)
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    quick = folded(net, x)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
    assert net.training
    left = sum(isinstance(m, nn.BatchNorm2d) for m in quick.modules())
    assert left == (name in ("beside", "twice"))
    with torch.no_grad():
        wanted, found = net.double().eval()(x.double()), quick(x).double()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_rows_of_features_are_cut_and_joined_without_reading(tmp_path):
    found = embed(images(), small_net(), cache=str(tmp_path))
    train, test, positions = data.draw_test(found.train, found.test, 3)
    assert isinstance(train.inputs, Rows)
    assert test.inputs.entry is found.train.inputs.entry
    whole = data.joined(found.train, found.test).inputs[:]
    assert torch.equal(test.inputs[:], whole[positions])


def test_features_are_computed_by_the_folded_net(tmp_path, monkeypatch):
    made = []

    def noting(net, example):
        made.append(folded(net, example))
        return made[-1]

    monkeypatch.setattr("counterpoise.features._embed.folded", noting)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    net = Backbone(body, nn.Linear(4, 2), InputConfig((8, 8)))
    embed(data.digits(), net, cache=str(tmp_path))
    assert len(made) == 1
    assert not any(isinstance(m, nn.BatchNorm2d) for m in made[0].modules())


class Inplace(nn.Module):
    """A convolution whose output is changed in place before the batch norm sees it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x).clamp_(-3, 3)).mean((2, 3))


def test_what_is_changed_in_place_or_computed_is_not_folded():
    for net in (
        Inplace(),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
    ):
        x = torch.rand(2, 3, 8, 8)
        with torch.no_grad():
            assert torch.equal(folded(net, x)(100 * x), net.eval()(100 * x))
