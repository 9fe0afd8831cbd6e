"""`metrics.evaluate` and `adjust` against scikit-learn, torchmetrics, scipy and hand counts."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax, softmax
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss
from tests.covering import every_pair
from torchmetrics.functional.classification import (
    multiclass_average_precision,
    multiclass_calibration_error,
)

from counterpoise.losses import adjust_logits
from counterpoise.metrics import Scores, adjust, evaluate, score

COUNTS = [500, 101, 100, 20, 19]


def drawn(n: int = 400, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and logits that lean towards them."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) * 2 + 1.5 * np.eye(classes)[targets]
    return targets, logits.astype(np.float32)


def test_holds_all_scores_of_the_most_probable_classes() -> None:
    targets, logits = drawn()
    found, wanted = evaluate(targets, logits, COUNTS), score(targets, logits.argmax(1), 5)
    for name in Scores.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_matches_scikit_learn() -> None:
    targets, logits = drawn()
    p = softmax(logits.astype(np.float64), axis=1)
    found = evaluate(targets, logits, COUNTS)
    assert found.nll == pytest.approx(log_loss(targets, p), rel=1e-12)
    assert found.brier == pytest.approx(
        brier_score_loss(targets, p, scale_by_half=False), rel=1e-12
    )
    each = [average_precision_score(targets == k, p[:, k]) for k in range(5)]
    np.testing.assert_allclose(found.average_precision, each, rtol=1e-12)
    wanted = average_precision_score(np.eye(5)[targets], p, average="macro")
    assert found.mean_average_precision == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_matches_torchmetrics(seed: int) -> None:
    targets, logits = drawn(seed=seed)
    t, z = torch.from_numpy(targets), torch.from_numpy(logits)
    found = evaluate(targets, logits, COUNTS)
    wanted = multiclass_calibration_error(z.double().softmax(1), t, 5, n_bins=15)
    assert found.expected_calibration_error == pytest.approx(wanted.item(), rel=1e-5)
    wanted = multiclass_average_precision(z, t, 5, average=None)
    np.testing.assert_allclose(found.average_precision, wanted, rtol=1e-5)


def test_calibration_by_hand() -> None:
    """Confidence 0.78 five times, right three times; 0.62 twice, right twice."""
    logits = np.log([[0.78, 0.22]] * 5 + [[0.38, 0.62]] * 2)
    found = evaluate([0, 0, 0, 1, 1, 1, 1], logits, [5, 5])
    assert found.expected_calibration_error == pytest.approx((5 * 0.18 + 2 * 0.38) / 7)
    assert found.bin_count.tolist() == [0] * 9 + [2, 0, 5, 0, 0, 0]
    assert found.bin_confidence[[9, 11]] == pytest.approx([0.62, 0.78])
    assert found.bin_accuracy[[9, 11]] == pytest.approx([1.0, 0.6])
    assert np.isnan(found.bin_accuracy[0])
    assert found.nll == pytest.approx(-(3 * np.log(0.78) + 2 * np.log(0.22) + 2 * np.log(0.62)) / 7)
    assert found.brier == pytest.approx((3 * 2 * 0.22**2 + 2 * 2 * 0.78**2 + 2 * 2 * 0.38**2) / 7)


def test_a_confidence_of_one_is_in_the_last_bin() -> None:
    found = evaluate([0, 1], [[1e4, 0.0], [1e4, 0.0]], [5, 5])
    assert found.bin_count.tolist() == [0] * 14 + [2]
    assert found.expected_calibration_error == 0.5
    assert found.nll == 5000


def test_the_groups_are_those_of_liu_et_al() -> None:
    """Recalls 1, 1/2, 1/4, 0 and 3/4 of classes with 500, 101, 100, 20 and 19 samples."""
    targets = np.repeat(np.arange(5), 4)
    hits = [4, 2, 1, 0, 3]
    answers = np.concatenate([[k] * h + [(k + 1) % 5] * (4 - h) for k, h in enumerate(hits)])
    found = evaluate(targets, np.eye(5)[answers], COUNTS)
    assert found.many_shot_recall == (1 + 1 / 2) / 2
    assert found.medium_shot_recall == (1 / 4 + 0) / 2
    assert found.few_shot_recall == 3 / 4
    assert (found.worst_class, found.worst_recall) == (3, 0.0)


def test_classes_without_samples_are_left_out() -> None:
    found = evaluate([0, 0, 1], [[2.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]], [500, 30, 5])
    assert (found.many_shot_recall, found.medium_shot_recall) == (0.5, 1.0)
    assert found.few_shot_recall is None
    assert found.worst_class == 0
    assert np.isnan(found.average_precision).tolist() == [False, False, True]
    # By hand: class 0 is ranked first and last of three, class 1 shares the first two places.
    assert found.average_precision[:2] == pytest.approx([(1 + 2 / 3) / 2, 1 / 2])
    assert found.mean_average_precision == pytest.approx((5 / 6 + 1 / 2) / 2)


def test_probabilities_that_underflow_are_still_ranked() -> None:
    logits = np.array([[0.0, -2000.0], [0.0, -1000.0], [0.0, -3000.0]])
    assert evaluate([0, 1, 0], logits, [5, 5]).average_precision[1] == 1.0


@settings(max_examples=100)
@given(st.data())
def test_holds_for_any_logits(data: st.DataObject) -> None:
    n, c = data.draw(st.tuples(st.integers(1, 12), st.integers(2, 5)))
    numbers = st.floats(-(2.0**100), 2.0**100, width=32)
    logits = data.draw(arrays.arrays(np.float32, (n, c), elements=numbers))
    targets = data.draw(arrays.arrays(np.int64, n, elements=st.integers(0, c - 1)))
    found = evaluate(targets, logits, np.arange(c))
    wanted = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(n), targets].mean()
    assert found.nll == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert found.nll >= 0
    assert 0 <= found.brier <= 2 + 1e-12
    assert 0 <= found.expected_calibration_error <= 1
    assert found.bin_count.sum() == n
    assert 0 <= found.worst_recall <= found.balanced_accuracy <= 1
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_dict_is_plain() -> None:
    found = evaluate([0, 0, 1], [[2.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]], [500, 30, 5])
    fields = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(fields) == set(type(found).__dataclass_fields__)
    assert fields["few_shot_recall"] is fields["average_precision"][2] is fields["bin_accuracy"][0]
    assert fields["few_shot_recall"] is None
    assert type(fields["worst_class"]) is int


@every_pair(
    dtype=[np.float16, np.float32, np.float64],
    tau=[0, 0.3, 1.0, 2.7],
    counts=[[900, 90, 10], [5, 0, 3], [0.5, 2.5, 0.0]],
)
def test_adjusts_as_the_losses_do(dtype: type, tau: float, counts: list[float]) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype)
    found = adjust(logits, counts, tau)
    wanted = adjust_logits(torch.from_numpy(logits), counts, tau).numpy()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("targets", "logits", "counts", "message"),
    [
        ([0], [[np.nan, 0.0]], [1, 1], r"finite .* logits\[0, 0\] is nan .* learning rate"),
        ([0], [[0.0, -np.inf]], [1, 1], r"logits\[0, 1\] is -inf and 1 of 2"),
        ([0], [[0.0, 1e308]], [1, 1], r"logits\[0, 1\] is 1e\+308"),
        ([0], [[0, 1]], [1, 1], r"floating of shape \(N, C\) .* int64 of \(1, 2\)"),
        ([0], [0.0, 1.0], [1, 1], r"two classes or more, but got float64 of \(2,\)"),
        ([0], [[0.0]], [1], "two classes or more"),
        ([0, 1], [[0.0, 1.0]], [1, 1], "2 targets and 1 predictions"),
        ([2], [[0.0, 1.0]], [1, 1], r"targets\[0\] is 2"),
        ([], np.zeros((0, 2)), [1, 1], "at least one entry"),
        ([0], [[0.0, 1.0]], [1, 1, 1], "each of the 2 classes"),
        ([0], [[0.0, 1.0]], [1, -1], "one finite number >= 0"),
        ([0], [[0.0, 1.0]], [1, np.nan], "one finite number >= 0 .* nan"),
    ],
)
def test_wrong_input_is_named(
    targets: list[int], logits: list[list[float]], counts: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(targets, logits, counts)


def test_adjust_names_wrong_input() -> None:
    with pytest.raises(ValueError, match="tau must be a finite number >= 0, but got -1"):
        adjust([[0.0, 1.0]], [1, 1], -1)
    with pytest.raises(ValueError, match="at least one above 0"):
        adjust([[0.0, 1.0]], [0, 0], 1)


def test_reading_finished_scores_needs_neither_torch_nor_scikit_learn() -> None:
    code = "import sys, counterpoise.metrics; assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
