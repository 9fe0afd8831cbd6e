"""Torch Datasets as data of a study."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from counterpoise.data import _load, cache

X = torch.randint(0, 255, (60, 3, 6, 6), dtype=torch.uint8)
Y = torch.arange(60) % 3
WHOLE = TensorDataset(X, Y)


class Named(Dataset):
    """As torchvision's: arrays, Python's numbers, and names of the classes."""

    classes = ("ant", "bee", "cow")

    def __len__(self):
        return 30

    def __getitem__(self, index):
        if index >= 30:
            raise IndexError
        return X[index].numpy(), int(Y[index])


class Random(Named):
    def __getitem__(self, index):
        return torch.rand(3), 0


class Ragged(Named):
    def __getitem__(self, index):
        return torch.zeros(3 + index % 2), index % 3


class OneHot(Named):
    def __getitem__(self, index):
        return X[index], torch.eye(3)[Y[index]]


class Sometimes(Named):
    """Random from the second entry on."""

    def __getitem__(self, index):
        return (X[index] + torch.randint(2, (1,)) * (index > 0), int(Y[index]))


class RandomClass(Named):
    def __getitem__(self, index):
        return X[index], int(torch.randint(1000, (1,)))


class ChannelsLast(Named):
    def __getitem__(self, index):
        return X[index].permute(1, 2, 0).numpy(), int(Y[index])


class Broken(Named):
    def __getitem__(self, index):
        if index == 7:
            raise OSError("no such sector")
        return super().__getitem__(index)


class Stream(IterableDataset):
    def __iter__(self):
        yield from WHOLE


def read(found, tmp_path):
    return _load._from_object("my:data", found, _load.Options(cache=str(tmp_path)))


@pytest.mark.parametrize(
    "found",
    [
        WHOLE,
        ConcatDataset([Subset(WHOLE, range(20)), Subset(WHOLE, range(20, 60))]),
        lambda: WHOLE,
    ],
)
def test_samples_and_classes_are_those_of_the_dataset(found, tmp_path):
    data = read(found, tmp_path)
    assert data.class_names == ("0", "1", "2")
    assert (len(data.train), len(data.test)) == (48, 12)
    for split in (data.train, data.test):
        assert torch.equal(split.inputs[:], X[split.inputs.index])
        assert torch.equal(split.targets, Y[split.inputs.index])


def test_splits_are_given_by_pairs_and_by_name(tmp_path):
    train, test = Subset(WHOLE, range(40)), Subset(WHOLE, range(40, 60))
    assert len(read((train, test), tmp_path).test) == 20
    data = read({"train": train, "val": Subset(WHOLE, range(9)), "test": test}, tmp_path)
    assert {k: len(s) for k, s in data.named().items()} == {
        "train": 40,
        "validation": 9,
        "test": 20,
    }


def test_names_of_classes_are_taken(tmp_path):
    data = read(Named(), tmp_path)
    assert data.class_names == ("ant", "bee", "cow")
    assert data.train.inputs.dtype == torch.uint8


def test_what_was_read_before_is_kept_once_and_a_change_is_seen(tmp_path):
    """Nothing but reading tells whether a Dataset has changed: one label is enough."""
    first, again = read(WHOLE, tmp_path), read(WHOLE, tmp_path)
    assert first.train.inputs.entry.folder == again.train.inputs.entry.folder
    assert len(cache.entries(str(tmp_path))) == 1
    other = Y.clone()
    other[59] = 0
    changed = read(TensorDataset(X, other), tmp_path)
    assert changed.train.inputs.entry.folder != first.train.inputs.entry.folder
    assert len(cache.entries(str(tmp_path))) == 2


@pytest.mark.parametrize(
    ("found", "error", "why"),
    [
        (Random(), ValueError, "another one each time"),
        (RandomClass(), ValueError, "another one each time"),
        (Ragged(), ValueError, "one shape and dtype, but entry 1"),
        (OneHot(), ValueError, "of one-hot targets give the position"),
        (Sometimes(), ValueError, "another one each time"),
        (Broken(), ValueError, r"must give its entry 7, but raised.*no such sector"),
        (TensorDataset(X), ValueError, "pairs"),
        (Stream(), TypeError, "a Dataset with a length"),
        ({"train": WHOLE, "other": WHOLE}, TypeError, "torch Datasets or a pair"),
    ],
)
def test_what_cannot_be_read_is_explained(found, error, why, tmp_path):
    with pytest.raises(error, match=why):
        read(found, tmp_path)
    assert cache.entries(str(tmp_path)) == []


def test_a_gap_is_not_taken_for_random_augmentation(tmp_path):
    x = torch.full((30, 2), torch.nan)
    data = read(TensorDataset(x, Y[:30]), tmp_path)  # a study refuses the NaN itself
    assert data.train.inputs[:].isnan().all()


def test_worker_processes_read_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("counterpoise.data._datasets._FEW", 10)
    assert torch.equal(read(Named(), tmp_path).train.inputs[:], load_again(tmp_path))


def load_again(tmp_path):
    return read((np.asarray(X[:30]), Y[:30]), tmp_path).train.inputs


def test_channels_that_come_last_are_moved(tmp_path):
    assert torch.equal(read(ChannelsLast(), tmp_path).train.inputs[:], load_again(tmp_path))


def test_an_error_in_a_worker_process_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("counterpoise.data._datasets._FEW", 10)
    with pytest.raises(ValueError, match=r"^my:data train must give its entry 7.*no such sector"):
        read(Broken(), tmp_path)
