"""What changes a fingerprint, and what does not."""

from dataclasses import replace

import pytest
import torch

from counterpoise.data import Split, Splits, fingerprint


def split(inputs: torch.Tensor, *targets: int) -> Split:
    return Split(inputs, torch.tensor(targets, dtype=torch.int64))


X = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
A, B = split(X, 0, 1), split(X + 100, 1, 0)
DATA = Splits("toy", A, B, ("a", "é\udcff"), "here")


def test_is_a_sha256():
    assert len(fingerprint(DATA)) == 64
    assert int(fingerprint(DATA), 16)


def test_name_source_and_memory_layout_do_not_matter():
    moved = split(X.contiguous(memory_format=torch.channels_last), 0, 1)
    moved = replace(moved, names=("1.png", "2.png"))
    other = Splits("other", moved, B, DATA.class_names, "there")
    assert moved.inputs.stride() != X.stride()
    assert fingerprint(other) == fingerprint(DATA)


@pytest.mark.parametrize(
    "change",
    [
        {"train": split(X, 1, 0)},
        {"train": split(X.flip(0), 0, 1)},
        {"train": split(X.double(), 0, 1)},
        {"train": split(X.view(2, 3, 4, 1), 0, 1)},
        {"train": split(X.view(torch.uint8).view(2, -1), 0, 1)},
        {"train": B, "test": A},
        {"class_names": ("a", "c")},
        {"class_names": ('a", "é\udcff',) * 2},
        {"test": split(X[:0])},
    ],
)
def test_all_else_does(change):
    assert fingerprint(replace(DATA, **change)) != fingerprint(DATA)


def test_half_precision_and_nothing_at_all_have_one():
    empty = split(X[:0].bfloat16())
    assert fingerprint(Splits("toy", empty, empty, ("a",), "here"))
