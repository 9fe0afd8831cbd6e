"""Counting and class weights against scikit-learn, the authors' formulas and mpmath."""

import mpmath
import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tests.covering import in_turn
from torch.utils.data import ConcatDataset, Subset, TensorDataset, random_split

from counterpoise import data
from counterpoise.losses import (
    count_classes,
    effective_number_weights,
    inverse_weights,
    median_frequency_weights,
)

COUNTS = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]  # CIFAR-10-LT, imbalance 100
WEIGHTS = [inverse_weights, effective_number_weights, median_frequency_weights]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


LABELS = [2, 0, 2, 5, 2]


@pytest.mark.parametrize(
    "targets",
    [
        LABELS,
        tuple(LABELS),
        np.array(LABELS, dtype=np.uint8),
        np.array(LABELS)[::-1],
        torch.tensor(LABELS, dtype=torch.int16),
        [torch.tensor(k) for k in LABELS],
        [np.int64(k) for k in LABELS],
        data.Split(torch.zeros(5, 1), torch.tensor(LABELS)),
        Subset(data.Split(torch.zeros(7, 1), torch.tensor([*LABELS, 9, 9])), range(5)),
        TensorDataset(torch.zeros(5, 1), torch.tensor(LABELS)),
        ConcatDataset(
            [
                TensorDataset(torch.zeros(3, 1), torch.tensor(LABELS[:3])),
                Subset(TensorDataset(torch.zeros(5, 1), torch.tensor(LABELS)), [3, 4]),
            ]
        ),
    ],
)
def test_counts_labels_in_every_form(targets):
    found = count_classes(targets)
    assert found.dtype == torch.int64
    assert found.tolist() == np.bincount(LABELS).tolist()


def test_counts_dense_targets_and_classes_that_are_empty():
    assert count_classes(torch.tensor([[0, 1], [1, 1]]), 4).tolist() == [1, 3, 0, 0]
    assert count_classes([], 2).tolist() == [0, 0]


def test_counts_both_parts_of_a_split():
    part = data.Split(torch.zeros(50, 1), torch.arange(50) % 3)
    whole = count_classes(part, 3)
    parts = random_split(part, [20, 30], torch.Generator().manual_seed(0))
    assert torch.equal(sum(count_classes(one, 3) for one in parts), whole)
    nested = Subset(parts[0], [3, 1])
    assert count_classes(nested).sum() == 2


def test_a_data_set_of_inputs_alone_is_told():
    with pytest.raises(TypeError, match="must hold inputs and targets"):
        count_classes(TensorDataset(torch.arange(5)))


def test_a_read_only_array_is_taken_without_a_warning():
    labels = np.array(LABELS)
    labels.flags.writeable = False
    assert count_classes(labels).sum() == 5


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: count_classes([0, -1]), ValueError, "0 up, but hold -1"),
        (lambda: count_classes([0, 3], 3), ValueError, "below num_classes=3, but hold 3"),
        (lambda: count_classes([10**12]), ValueError, "below 10000000, but hold 10{12}; renumber"),
        (lambda: count_classes([0], 0), ValueError, "1 or more, but got 0"),
        (lambda: count_classes([0], 1.5), TypeError, "num_classes must be an integer"),
        (lambda: count_classes([0.0, 1.0]), TypeError, "float64"),
        (lambda: count_classes(torch.rand(3)), TypeError, "float32"),
        (lambda: count_classes(torch.tensor([True])), TypeError, "bool"),
        (lambda: count_classes(["cat", "dog"]), TypeError, "integer class numbers"),
        (lambda: count_classes([[0], [1, 2]]), ValueError, "one class number per sample"),
        (lambda: count_classes(object()), TypeError, "`targets`"),
        (lambda: effective_number_weights([1, 2], 1.0), ValueError, "below 1, but got 1.0"),
        (lambda: effective_number_weights([1, 2], -0.1), ValueError, "at least 0"),
        (lambda: effective_number_weights([1, 2], float("nan")), ValueError, "nan"),
    ],
)
def test_bad_input_is_explained(call, error, says):
    with pytest.raises(error, match=says):
        call()


@in_turn(counts=[[0, 0], [-1, 2], [1.0, float("nan")], [[1, 2]], [], None], weights=WEIGHTS)
def test_bad_counts_are_explained(weights, counts):
    with pytest.raises(ValueError, match="counts"):
        weights(counts)


def test_inverse_is_scikit_learns_balanced(float64):
    labels = np.repeat(np.arange(10), COUNTS)
    wanted = compute_class_weight("balanced", classes=np.arange(10), y=labels)
    torch.testing.assert_close(inverse_weights(count_classes(labels)), torch.from_numpy(wanted))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_effective_number_is_the_authors(beta, float64):
    # the per-class weights of cifar_main.py (richardaecn/class-balanced-loss) and of LDAM-DRW's
    # cifar_train.py: inverse effective numbers, scaled so that they sum to the number of classes
    inverse = (1.0 - beta) / (1.0 - np.power(beta, COUNTS))
    wanted = inverse / np.sum(inverse) * len(COUNTS)
    torch.testing.assert_close(effective_number_weights(COUNTS, beta), torch.from_numpy(wanted))


@pytest.mark.parametrize("beta", [1e-300, 0.3, 1 - 1e-9, 1 - 2.0**-53])
def test_effective_number_is_exact_for_beta_near_1_and_large_counts(beta, float64):
    counts = [1, 3, 10**4, 10**9, 10**15]
    with mpmath.workdps(60):
        raw = [1 / (1 - mpmath.mpf(beta) ** n) for n in counts]
        wanted = [float(w * len(raw) / mpmath.fsum(raw)) for w in raw]
    found = effective_number_weights(counts, beta).tolist()
    assert found == pytest.approx(wanted, rel=1e-14, abs=0)


def test_effective_number_goes_from_no_weights_to_inverse_ones(float64):
    torch.testing.assert_close(effective_number_weights(COUNTS, 0.0), torch.ones(10))
    near_1 = effective_number_weights(COUNTS, 1 - 1e-13)
    inverse = inverse_weights(COUNTS)
    torch.testing.assert_close(near_1, inverse / inverse.mean(), rtol=1e-8, atol=0)


@pytest.mark.parametrize("counts", [COUNTS, COUNTS[1:], [7]])
def test_median_frequency_is_the_papers(counts, float64):
    wanted = np.median(counts) / np.array(counts)
    torch.testing.assert_close(median_frequency_weights(counts), torch.from_numpy(wanted))


def test_counts_above_2_to_the_24_are_not_rounded(float64):
    counts = torch.tensor([2**24 + 1, 2**53 - 1])
    wanted = (2**24 + 2**53) / 2 / counts.double()
    torch.testing.assert_close(inverse_weights(counts), wanted, rtol=1e-15, atol=0)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_an_empty_class_weighs_as_the_rarest_and_changes_nothing_for_the_others(weights):
    found = weights([30, 0, 5, 100, 0])
    torch.testing.assert_close(found[[0, 2, 3]], weights([30, 5, 100]), rtol=0, atol=0)
    assert found[1] == found[4] == found.max() == found[2]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_equal_counts_give_equal_weights_and_relabelling_relabels(weights):
    torch.testing.assert_close(weights([17.5] * 4), torch.ones(4))
    torch.testing.assert_close(weights(COUNTS[::-1]), weights(COUNTS).flip(0))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_takes_counts_in_every_form_and_writes_into_none(weights):
    wanted = weights(COUNTS)
    assert wanted.dtype == torch.float32
    for counts in (np.array(COUNTS), torch.tensor(COUNTS), torch.tensor(COUNTS).double()):
        before = counts.copy() if isinstance(counts, np.ndarray) else counts.clone()
        assert torch.equal(weights(counts), wanted)
        assert (counts == before).all()


def test_means_are_1_as_documented():
    weights = inverse_weights(COUNTS)
    n = torch.tensor(COUNTS)
    assert float((weights * n).sum() / n.sum()) == pytest.approx(1)
    assert float(effective_number_weights(COUNTS).mean()) == pytest.approx(1)
