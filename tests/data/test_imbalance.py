"""Class sizes that differ on purpose, and splits cut down to them."""

from __future__ import annotations

import pytest
import torch
from tests.covering import every_pair

from counterpoise.data import Split, count_classes, imbalance_counts, make_imbalanced


@pytest.fixture
def split() -> Split:
    """Twelve samples of the classes 2, 0, 1, 2, 0, 1, ...; each input is its position."""
    positions = torch.arange(12, dtype=torch.uint8).reshape(12, 1, 1, 1)
    return Split(positions, torch.tensor([2, 0, 1] * 4))


def _positions(split: Split) -> list[int]:
    return split.inputs.flatten().tolist()


def test_linear_grows_by_equal_steps() -> None:
    assert imbalance_counts("linear", 10, 6000) == list(range(600, 6001, 600))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
    ],
)
def test_exponential_is_long_tailed_cifar10(factor: float, expected: list[int]) -> None:
    assert imbalance_counts("exponential", 10, 5000, factor) == expected[::-1]


def test_step_puts_an_odd_middle_class_among_the_large() -> None:
    assert imbalance_counts("step", 4, 100, 5) == [20, 20, 100, 100]
    assert imbalance_counts("step", 5, 100) == [10, 10, 100, 100, 100]
    assert imbalance_counts("step", 2, 7, 2) == [3, 7]


@every_pair(
    profile=["linear", "exponential", "step"],
    num_classes=[2, 3, 37],
    factor=[1, 1.5, 49, 1000],
)
def test_every_profile_rises_between_exact_ends(
    profile: str, num_classes: int, factor: float
) -> None:
    largest = int(factor * 600)
    counts = imbalance_counts(profile, num_classes, largest, factor)
    assert len(counts) == num_classes
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (600, largest)


def test_rounding_is_not_fooled_by_floating_point() -> None:
    # 1000 * 1000 ** -(1/3) is 100 exactly, but 99.999... or 100.000... in floating point.
    assert imbalance_counts("exponential", 4, 1000, 1000) == [1, 10, 100, 1000]
    for third in range(1, 400):
        assert imbalance_counts("linear", 4, 3 * third * 4, 4) == [
            3 * third + 3 * third * k for k in range(4)
        ]


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"got 'exponentail'; did you mean 'exponential'\?"):
        imbalance_counts("exponentail", 10, 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", 1, 100), r"^num_classes must be 2 or more, but got 1"),
        (("linear", 10, 0), r"^largest must be at least 1, got 0"),
        (("linear", 10, 100, 0.5), r"^factor must be finite and at least 1, got 0.5"),
        (("linear", 10, 100, float("nan")), r"^factor must be finite"),
        (("linear", 10, 100, float("inf")), r"^factor must be finite"),
        (("step", 10, 5, 10.0), r"smallest class is empty, got 10.0"),
    ],
)
def test_arguments_out_of_range(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imbalance_counts(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [("linear", 10.0, 100), ("linear", 10, 100.5), ("linear", True, 9), ("linear", 10, 100, "5")],
)
def test_arguments_of_a_wrong_type(arguments: tuple) -> None:
    with pytest.raises(TypeError, match=r"must be an? (integer|number),"):
        imbalance_counts(*arguments)


def test_the_first_samples_in_class_order(split: Split) -> None:
    cut = make_imbalanced(split, [1, 2, 3])
    assert cut.targets.tolist() == [0, 1, 1, 2, 2, 2]
    assert _positions(cut) == [1, 2, 5, 0, 3, 6]
    assert len(split) == 12


def test_a_mapping_in_any_order_may_leave_classes_out(split: Split) -> None:
    cut = make_imbalanced(split, {2: 1, 0: 2})
    assert cut.targets.tolist() == [0, 0, 2]
    assert _positions(cut) == [1, 4, 0]


def test_zero_takes_nothing(split: Split) -> None:
    assert make_imbalanced(split, [0, 1, 0]).targets.tolist() == [1]
    nothing = make_imbalanced(split, {})
    assert nothing.inputs.shape == (0, 1, 1, 1)


def test_whole_classes_can_be_taken(split: Split) -> None:
    assert sorted(_positions(make_imbalanced(split, [4, 4, 4]))) == list(range(12))


def test_the_cut_does_not_share_memory(split: Split) -> None:
    make_imbalanced(split, [4, 4, 4]).inputs.fill_(99)
    assert _positions(split) == list(range(12))


def test_a_seed_draws_the_right_classes_again_and_again() -> None:
    targets = torch.arange(300) % 3
    split = Split(torch.arange(300.0).reshape(300, 1), targets)
    first = make_imbalanced(split, [5, 20, 50], seed=7)
    assert count_classes(first.targets).tolist() == [5, 20, 50]
    assert torch.equal(first.inputs.flatten().long() % 3, first.targets)
    assert len(set(first.inputs.flatten().tolist())) == 75
    drawn = first.inputs[first.targets == 2].flatten().tolist()
    assert drawn == sorted(drawn)
    again, other = (make_imbalanced(split, [5, 20, 50], seed=seed) for seed in (7, 8))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert not torch.equal(first.inputs, make_imbalanced(split, [5, 20, 50]).inputs)


def test_a_smaller_draw_is_part_of_a_larger_one() -> None:
    split = Split(torch.arange(300.0).reshape(300, 1), torch.arange(300) % 3)
    small = make_imbalanced(split, {1: 5}, seed=3).inputs.flatten().tolist()
    large = make_imbalanced(split, {0: 80, 1: 40}, seed=3).inputs.flatten().tolist()
    assert set(small) < set(large)


def test_the_global_generator_is_left_alone(split: Split) -> None:
    before = torch.get_rng_state()
    make_imbalanced(split, [1, 1, 1], seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({1: 5}, r"got 5 asked for class 1, which has 4 samples"),
        ({3: 1}, r"got class 3; the split has the classes \[0, 1, 2\]"),
        ({-1: 1}, r"got class -1"),
        ([1, 1, 1, 1], r"got class 3"),
        ([1, -2, 1], r"got -2 for class 1"),
        ([1, 1], r"one number per class, got 2 numbers for 3 classes"),
    ],
)
def test_counts_that_cannot_be_had(split: Split, counts: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_imbalanced(split, counts)  # type: ignore[arg-type]


def test_a_class_that_the_part_skips_does_not_occur() -> None:
    split = Split(torch.zeros(2, 1), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"got class 1; the split has the classes \[0, 2\]"):
        make_imbalanced(split, {1: 1})


@pytest.mark.parametrize("counts", [{"1": 1}, {1: 1.0}, [1, True, 1], 5])
def test_counts_of_a_wrong_type(split: Split, counts: object) -> None:
    with pytest.raises(TypeError, match=r"must be an? (integer|mapping)"):
        make_imbalanced(split, counts)  # type: ignore[arg-type]


def test_a_seed_of_a_wrong_type(split: Split) -> None:
    with pytest.raises(TypeError, match="seed must be an integer"):
        make_imbalanced(split, [1, 1, 1], seed=0.5)  # type: ignore[arg-type]
