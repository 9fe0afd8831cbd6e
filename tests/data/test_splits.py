"""Splits, data sets and scikit-learn's digits."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from counterpoise.data import (
    Split,
    Splits,
    count_classes,
    digits,
    make_imbalanced,
    split_validation,
)


def _part(*targets: int) -> Split:
    return Split(torch.zeros(len(targets), 1, 2, 2), torch.tensor(targets, dtype=torch.int64))


def test_part_keeps_inputs_and_makes_targets_int64() -> None:
    inputs = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    split = Split(inputs, torch.tensor([3, 1], dtype=torch.int32))
    assert split.inputs is inputs
    assert split.targets.dtype == torch.int64
    assert split.targets.tolist() == [3, 1]
    assert len(split) == 2


def test_empty_part_is_fine() -> None:
    assert len(_part()) == 0


def test_part_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _part(0).targets = torch.tensor([1])  # type: ignore[misc]


def test_parts_compare_by_identity() -> None:
    split = _part(0, 1)
    assert split == split
    assert split != _part(0, 1)


def test_part_refuses_unequal_lengths_and_names_both() -> None:
    with pytest.raises(ValueError, match=r"3 inputs and 2 targets"):
        Split(torch.zeros(3, 1, 2, 2), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "targets", [torch.zeros(2), torch.tensor([True, False]), [0, 1], torch.zeros(2).cfloat()]
)
def test_part_refuses_targets_that_are_no_integer_tensor(targets: object) -> None:
    with pytest.raises(TypeError, match=r"^targets must be"):
        Split(torch.zeros(2, 1, 2, 2), targets)  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", [[[0.0], [1.0]], torch.zeros(2, dtype=torch.int64)])
def test_part_refuses_inputs_that_are_no_image_tensor(inputs: object) -> None:
    with pytest.raises(TypeError, match=r"^inputs must be"):
        Split(inputs, torch.tensor([0, 1]))  # type: ignore[arg-type]


def test_part_refuses_scalars_and_tables() -> None:
    with pytest.raises(ValueError, match="sample dimension"):
        Split(torch.tensor(1.0), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(2, 1\)"):
        Split(torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, dtype=torch.int64))


def test_part_refuses_negative_targets() -> None:
    with pytest.raises(ValueError, match="got -1"):
        _part(0, -1)


def test_data_counts_its_names_and_refuses_an_unnamed_class() -> None:
    assert Splits("toy", _part(0), _part(1), ("a", "b", "c"), "here").num_classes == 3
    with pytest.raises(ValueError, match=r"2 names but class 2 in the test split"):
        Splits("toy", _part(0), _part(2), ("a", "b"), "here")


def test_digits_are_whole_scaled_and_split_alike() -> None:
    from sklearn.datasets import load_digits

    data = digits()
    assert data.class_names == tuple("0123456789")
    assert data.train.inputs.shape == (1198, 1, 8, 8)
    assert data.test.inputs.shape == (599, 1, 8, 8)
    assert data.train.inputs.dtype == torch.uint8
    # Every image is in exactly one split, with its own label.
    rows = [
        (*image.flatten().tolist(), int(label))
        for split in (data.train, data.test)
        for image, label in zip(split.inputs, split.targets, strict=True)
    ]
    bunch = load_digits()
    expected = [
        (*(int(value) * 255 // 16 for value in image.flatten()), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    ]
    assert sorted(rows) == sorted(expected)
    assert max(max(row[:-1]) for row in rows) == 255


def test_digits_split_is_stratified_and_fixed() -> None:
    first, again = digits(), digits()
    train, test = (count_classes(p.targets) for p in (first.train, first.test))
    assert all(abs(few - (many + few) / 3) <= 1 for many, few in zip(train, test, strict=True))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.test.targets, again.test.targets)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.eye(2).to_sparse(),
        torch.empty(2, 3, device="meta"),
        torch.zeros(2, 3).to(torch.float8_e5m2),
    ],
)
def test_part_refuses_tensors_that_cannot_be_computed_with(inputs: torch.Tensor) -> None:
    with pytest.raises(TypeError, match=r"^inputs must be"):
        Split(inputs, torch.tensor([0, 1]))


def test_part_refuses_targets_that_cannot_be_read() -> None:
    for targets in (torch.tensor([0, 1]).to_sparse(), torch.empty(2, dtype=int, device="meta")):
        with pytest.raises(TypeError, match=r"^targets must be"):
            Split(torch.zeros(2, 3), targets)


def test_data_refuses_what_are_no_parts_and_no_names() -> None:
    with pytest.raises(TypeError, match="test must be a Split, got tuple"):
        Splits("toy", _part(0), ([0.0], [0]), ("a",), "here")  # type: ignore[arg-type]
    for names in ("ab", None, (1, 2), [b"a"]):
        with pytest.raises(TypeError, match="class_names must be"):
            Splits("toy", _part(0), _part(1), names, "here")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="source must be text, got NoneType"):
        Splits("toy", _part(0), _part(1), ("a", "b"), None)  # type: ignore[arg-type]
    assert Splits("toy", _part(0), _part(1), ["a", "b"], "here").class_names == ("a", "b")  # type: ignore[arg-type]


def test_names_stay_with_their_samples() -> None:
    split = Split(torch.arange(6.0)[:, None], torch.tensor([0, 1, 0, 1, 0, 1]), tuple("abcdef"))
    kept = split.take(torch.tensor([4, 1]))
    assert (kept.names, kept.inputs.flatten().tolist()) == (("e", "b"), [4.0, 1.0])
    train, held = split_validation(split, 0.3, 0)
    cut = make_imbalanced(split, [1, 3], seed=0)
    for part in (train, held, cut):
        assert part.names == tuple("abcdef"[int(x)] for x in part.inputs.flatten())


@pytest.mark.parametrize(
    ("names", "error", "says"),
    [
        (("a",), ValueError, "got 1 names for 2 samples"),
        (("a", 3), TypeError, "got 3"),
        ("ab", TypeError, "got 'ab'"),
    ],
)
def test_names_are_one_text_per_sample(names, error, says) -> None:
    with pytest.raises(error, match=says):
        Split(torch.zeros(2, 1), torch.tensor([0, 1]), names)
