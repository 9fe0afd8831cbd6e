"""`counterpoise.metrics` against hand-computed numbers and loops that know no scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.metrics import Scores, dense_confusion, score

TARGETS = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
PREDICTED = [0, 0, 0, 1, 1, 2, 2, 2, 0, 0]

Labels = tuple[list[int], list[int], int]


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    """Draw targets, predictions and a number of classes, often with classes that do not occur."""
    num_classes = draw(st.integers(2, 6))
    pair = st.tuples(st.integers(0, num_classes - 1), st.integers(0, num_classes - 1))
    pairs = draw(st.lists(pair, min_size=1, max_size=30))
    return [t for t, _ in pairs], [p for _, p in pairs], num_classes


def ratio(above: float, below: float) -> float:
    return above / below if below else 0.0


def oracle(targets: list[int], predicted: list[int], num_classes: int) -> dict[str, object]:
    """Every metric by counting pairs one by one."""
    pairs = list(zip(targets, predicted, strict=True))
    hits = [sum(t == p == k for t, p in pairs) for k in range(num_classes)]
    support = [sum(t == k for t, _ in pairs) for k in range(num_classes)]
    answers = [sum(p == k for _, p in pairs) for k in range(num_classes)]
    each = list(zip(hits, support, answers, strict=True))
    f1 = [ratio(2 * h, s + a) for h, s, a in each]
    seen = [k for k in range(num_classes) if support[k] + answers[k]]
    return {
        "accuracy": sum(hits) / len(pairs),
        "balanced_accuracy": np.mean([h / s for h, s, _ in each if s]),
        "macro_f1": np.mean([f1[k] for k in seen]),
        "recall": [ratio(h, s) for h, s, _ in each],
        "precision": [ratio(h, a) for h, _, a in each],
        "f1": f1,
        "support": support,
        "confusion": [
            [pairs.count((i, j)) for j in range(num_classes)] for i in range(num_classes)
        ],
    }


def assert_matches(found: Scores, wanted: dict[str, object]) -> None:
    for name, value in wanted.items():
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-12, err_msg=name)


def test_hand_computed() -> None:
    found = score(TARGETS, PREDICTED, 3)
    assert found.confusion.tolist() == [[3, 1, 0], [0, 1, 1], [2, 0, 2]]
    assert found.support.tolist() == [4, 2, 4]
    assert found.accuracy == pytest.approx(6 / 10)
    np.testing.assert_allclose(found.recall, [3 / 4, 1 / 2, 2 / 4])
    np.testing.assert_allclose(found.precision, [3 / 5, 1 / 2, 2 / 3])
    np.testing.assert_allclose(found.f1, [2 / 3, 1 / 2, 4 / 7])
    assert found.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2 + 2 / 4) / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 4 / 7) / 3)


def test_rows_of_the_confusion_are_the_truth() -> None:
    assert score([0, 0], [1, 1], 2).confusion.tolist() == [[0, 2], [0, 0]]


def test_class_missing_in_the_targets_is_left_out_of_balanced_accuracy() -> None:
    found = score([0, 0, 1, 1], [0, 2, 1, 1], 4)
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)
    # Class 2 is a false alarm and counts as F1 = 0; class 3 occurs nowhere and does not count.
    assert found.macro_f1 == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found.recall.tolist() == [0.5, 1.0, 0.0, 0.0]
    assert found.confusion.shape == (4, 4)


@settings(max_examples=150, deadline=None)
@given(labels())
def test_matches_counting(case: Labels) -> None:
    assert_matches(score(*case), oracle(*case))


@settings(max_examples=50, deadline=None)
@given(labels())
def test_order_of_the_images_does_not_matter(case: Labels) -> None:
    targets, predicted, num_classes = case
    turned = score(targets[::-1], predicted[::-1], num_classes)
    assert_matches(turned, oracle(targets, predicted, num_classes))


def test_types_and_dict() -> None:
    found = score(np.array(TARGETS, np.uint8), np.array(PREDICTED, np.int32), 3)
    assert found.support.dtype == found.confusion.dtype == np.int64
    fields = json.loads(json.dumps(found.to_dict()))
    assert set(fields) == set(Scores.__dataclass_fields__)
    cells = [[0, 0, 3], [0, 1, 1], [1, 1, 1], [1, 2, 1], [2, 0, 2], [2, 2, 2]]
    assert fields["confusion_cells"] == cells
    assert fields["recall"] == [0.75, 0.5, 0.5]
    assert type(found.accuracy) is type(found.macro_f1) is type(found.balanced_accuracy) is float


@settings(max_examples=50, deadline=None)
@given(labels())
def test_the_cells_are_sorted_and_hold_the_whole_confusion(case: Labels) -> None:
    found = score(*case)
    cells = found.to_dict()["confusion_cells"]
    assert cells == sorted(cells)
    assert min(count for *_, count in cells) > 0
    whole = dense_confusion(cells, case[2])
    assert whole.dtype == np.int64
    assert whole.tolist() == oracle(*case)["confusion"] == found.confusion.tolist()


def test_what_is_kept_grows_with_samples_and_classes_and_not_with_their_square() -> None:
    classes = 50_000  # of which a whole matrix would take 20 GB
    found = score(np.arange(1000), np.arange(1000)[::-1], classes).to_dict()
    assert found["confusion_cells"][:2] == [[0, 999, 1], [1, 998, 1]]
    assert len(json.dumps(found)) < 20 * (4 * classes + 1000)


def test_cells_that_are_given_twice_are_summed() -> None:
    assert dense_confusion([[1, 0, 2], [0, 0, 1], [1, 0, 3]], 2).tolist() == [[1, 0], [5, 0]]
    assert dense_confusion([], 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[3, 1], [0, 2]], r"rows of three integers, .* got int64 of shape \(2, 2\)"),
        ([[0, 1, 2.5]], "rows of three integers, .* got float64"),
        ([[0, 1, 2], [0, 1]], "rows of three integers"),
        ([[0, 0, 1], [0, 2, 1]], r"from 0 to 1, but cell 1 is \[0, 2, 1\]"),
        ([[-1, 0, 1]], r"from 0 to 1, but cell 0 is \[-1, 0, 1\]"),
    ],
)
def test_wrong_cells_are_named(cells: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dense_confusion(cells, 2)


@pytest.mark.parametrize(
    ("targets", "predicted", "num_classes", "message"),
    [
        ([0, 1], [0], 2, "2 targets and 1 predictions"),
        ([[0, 1]], [[0, 1]], 2, r"targets with one axis .* got shape \(1, 2\)"),
        ([], [], 2, r"targets with one axis .* got shape \(0,\)"),
        ([0.0, 1.0], [0, 1], 2, r"targets to be integers, but targets\[0\]"),
        ([0, 1], [True, False], 2, r"predicted to be integers, but predicted\[0\]"),
        ([0, 1, 2, 3], [0, 1, 1, 1], 2, r"targets\[2\] is 2; check num_classes \(2\)"),
        ([0, 1], [0, -1], 2, r"from 0 to 1, but predicted\[1\] is -1"),
        ([0], [0], 1, "num_classes >= 2, but got 1"),
    ],
)
def test_wrong_input_is_named(
    targets: list[int], predicted: list[int], num_classes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(targets, predicted, num_classes)
