"""What is said of a study's data."""

import numpy as np
import pytest
import safetensors.torch
import torch
from statsmodels.stats.proportion import proportion_confint

from counterpoise.data import cache
from counterpoise.findings import _data, _duplicates
from counterpoise.study import Training


def test_the_width_of_small_classes_is_statsmodels(make):
    study = make({"focal": {0: [100, 10, 60]}}, (200, 20, 70))
    (found,) = _data.small_classes(study)
    low, high = proportion_confint(10, 20, method="wilson")
    assert found.evidence["half"] == round(50 * (high - low), 1)
    assert found.text == (
        "In 2 of 3 classes the test samples are so few that a recall can be off by more than 10 "
        "points (95%, Wilson). Class bread has the fewest, 20: it can be off by 20.1."
    )


def test_large_classes_are_no_finding(make):
    assert _data.small_classes(make({"focal": {0: [90, 90]}}, (100, 100))) == []


def test_a_class_that_validation_lacks(make):
    hits = {"focal": {0: [50, 50, 50], 1: [50, 50, 50]}}
    (found,) = _data.missing_in_validation(make(hits, validation_sizes=(9, 0, 3)))
    assert found.text == (
        "In 2 of 2 splits, validation lacks class bread, so what is chosen on it, learning "
        "rates and τ, is chosen without that class."
    )
    absent = make(hits, validation_sizes=(9, 0, 3), train_counts=[50, 0, 50])
    assert _data.missing_in_validation(absent) == []
    assert _data.missing_in_validation(make(hits)) == []


def test_without_validation_nothing_is_said_of_it(make):
    study = make({"focal": {0: [50, 50, 50]}})
    study.records[0].run.pop("validation")
    assert _data.missing_in_validation(study) == []


@pytest.mark.parametrize(
    ("sizes", "told"),
    [((90, 10), True), ((61, 39), True), ((59, 41), False), ((50, 50, 50), False)],
)
def test_accuracy_misleads_where_a_constant_answer_does_well(make, sizes, told):
    found = _data.largest_class(make({"focal": {0: list(sizes)}}, sizes))
    assert bool(found) == told
    if told:
        answers = np.zeros(sum(sizes))
        targets = np.repeat(np.arange(len(sizes)), sizes)
        assert found[0].evidence["share"] == 100 * (answers == targets).mean()
        assert found[0].evidence["balanced"] == 50.0


def test_classes_without_samples(make):
    study = make({"focal": {0: [50, 0, 50]}}, (50, 0, 50), train_counts=[90, 90, 0])
    assert [f.text for f in _data.absent_classes(study)] == [
        "The training split has no sample of class cheese: no variant can learn it.",
        "The test split has no sample of class bread: nothing here is about it.",
    ]


# --- duplicates ----------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    def write(train, test):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        splits = {"train": torch.as_tensor(train), "test": torch.as_tensor(test)}
        cache.keep(folder / "samples", torch.cat([*splits.values()]), {})
        rows = torch.arange(len(train) + len(test)).split([len(train), len(test)])
        arrays = {f"{k}_rows": r.clone() for k, r in zip(splits, rows, strict=True)}
        arrays |= {f"{k}_targets": torch.zeros(len(x), dtype=int) for k, x in splits.items()}
        safetensors.torch.save_file(arrays, folder / "data.safetensors")
        return folder

    return write


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16])
def test_copies_are_counted_and_shown(make, write, dtype):
    values = np.random.default_rng(0).integers(0, 255, (60, 1, 4, 4)).astype(dtype)
    train, test = values[:50].copy(), values[50:].copy()
    train[[7, 20]], test[[3, 8]] = train[5], train[[9, 5]]
    study = make({"focal": {0: [9, 9, 9]}}, folder=write(train, test))
    (across,) = _duplicates.across_splits(study)
    assert across.text.startswith(
        "2 of 10 test samples are exact copies of training samples (test sample 3 is "
        "training sample 9; test sample 8 is training sample 5)"
    )
    (within,) = _duplicates.within_training(study)
    assert within.text.startswith(
        "2 of 50 training samples are exact copies of another one (training sample 7 is "
        "training sample 5; training sample 20 is training sample 5)"
    )
    test[8] = test[0]
    study = make({"focal": {0: [9, 9, 9]}}, folder=write(train, test))
    (across,) = _duplicates.across_splits(study)
    assert across.text.startswith("1 of 10 test samples is an exact copy of training samples")


def test_nothing_is_said_of_different_samples(make, write):
    values = np.arange(60.0).reshape(30, 2)
    study = make({"focal": {0: [9, 9, 9]}}, folder=write(values[:20], values[20:]))
    assert _duplicates.across_splits(study) == []
    assert _duplicates.within_training(study) == []


def test_repeats_do_not_matter_without_validation(make, write):
    folder = write(np.ones((5, 2)), np.zeros((5, 2)))
    hits = {"focal": {0: [9, 9, 9]}}
    assert _duplicates.within_training(make(hits, folder=folder))
    training = Training("mlp", lr=0.1, validation=0.0, watch=())
    assert _duplicates.within_training(make(hits, folder=folder, training=training)) == []


def test_data_that_are_not_there_or_not_numpys_are_no_finding(make, write, tmp_path):
    hits = {"focal": {0: [9, 9, 9]}}
    assert _duplicates.across_splits(make(hits, folder=tmp_path)) == []
    ones = torch.ones(3, 2, dtype=torch.bfloat16)
    folder = write(ones, ones.clone())
    assert _duplicates.across_splits(make(hits, folder=folder)) == []
