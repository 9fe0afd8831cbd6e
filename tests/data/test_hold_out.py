"""Stratified splits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data import Split, count_classes, split_validation


def part_of(counts: list[int]) -> Split:
    """Samples in mixed order, whose inputs are their positions."""
    targets = torch.tensor([k for k, n in enumerate(counts) for _ in range(n)], dtype=torch.int64)
    targets = targets[torch.randperm(len(targets), generator=torch.Generator().manual_seed(9))]
    return Split(torch.arange(len(targets), dtype=torch.float32)[:, None], targets)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(lambda n: max(n) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 2**40),
)
def test_every_class_is_in_both_and_every_sample_in_one(counts, share, seed):
    whole = part_of(counts)
    train, held = split_validation(whole, share, seed)
    for split in (train, held):
        places = split.inputs[:, 0].long()
        assert (places.diff() > 0).all()
        assert torch.equal(split.targets, whole.targets[places])
    assert len(train) + len(held) == len(whole)
    assert not set(train.inputs[:, 0].tolist()) & set(held.inputs[:, 0].tolist())
    for n, kept in zip(counts, count_classes(held.targets, len(counts)), strict=True):
        assert abs(kept - share * n) <= 0.5 + 1e-9 or kept in (1, n - 1)
        assert abs(kept - share * n) <= 1
        assert (1 <= kept < n) if n >= 2 else kept == 0


def test_the_seed_decides():
    whole = part_of([50, 50])
    first, again, other = (split_validation(whole, 0.2, s)[1].inputs for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_sample_is_held_out_alike_often():
    whole, hits = part_of([12, 4]), torch.zeros(16)
    for seed in range(600):
        hits[split_validation(whole, 0.25, seed)[1].inputs[:, 0].long()] += 1
    # 600 draws with p = 1/4: a standard deviation of 10.6.
    assert (hits - 150).abs().max() < 4 * 10.6


def test_bad_input_is_explained():
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="share must be between 0 and 1"):
            split_validation(part_of([4]), share, 0)
    with pytest.raises(ValueError, match=r"two samples at least to be split, got \[1, 1\]"):
        split_validation(part_of([1, 1]), 0.5, 0)
