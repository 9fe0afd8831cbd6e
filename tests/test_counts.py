"""Counts of samples per class in every form that people have them in, wherever they are taken."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from counterpoise import data, losses, metrics
from counterpoise.data import Split

COUNTS = [70, 5, 25]
LABELS = [2] * 25 + [0] * 70 + [1] * 5  # the first that occurs is the last
LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
TARGET = np.array([0, 1, 2, 0, 1, 2])

FORMS = {
    "dict": {2: 25, 0: 70, 1: 5},
    "Counter": Counter(LABELS),
    "Counter of an array": Counter(np.array(LABELS)),
    "Series": pd.Series(LABELS).value_counts(),  # sorted by size
    "tuple": tuple(COUNTS),
    "values": {"a": 70, "b": 5, "c": 25}.values(),
    "array": np.array(COUNTS),
    "floats": np.array(COUNTS, np.float32),
    "tensor": torch.tensor(COUNTS),
    "bfloat16": torch.tensor(COUNTS, dtype=torch.bfloat16),
    "with a gradient": torch.tensor(COUNTS).double().requires_grad_(),
}

TAKERS = {
    **{
        name: (
            lambda counts, kind=kind: kind(counts)(torch.from_numpy(LOGITS), torch.tensor(TARGET))
        )
        for name, kind in losses.ALL.items()
        if name not in ("cross_entropy", "focal", "poly")
    },
    "inverse": losses.inverse_weights,
    "effective": losses.effective_number_weights,
    "median": losses.median_frequency_weights,
    "adjust_logits": lambda counts: losses.adjust_logits(torch.from_numpy(LOGITS), counts),
    "target_prior": lambda counts: losses.adjust_logits(
        torch.from_numpy(LOGITS), [1, 2, 3], target_prior=counts
    ),
    "choose_tau": lambda counts: torch.tensor(
        list(losses.choose_tau(LOGITS, TARGET, counts).scores.values())
    ),
    "metrics.adjust": lambda counts: torch.from_numpy(metrics.adjust(LOGITS, counts, 1.0)),
    "metrics.evaluate": lambda counts: torch.tensor(
        metrics.evaluate(TARGET, LOGITS, counts).medium_shot_recall
    ),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_counts_of_every_form_mean_the_same(take):
    wanted = take(COUNTS)
    for form, counts in FORMS.items():
        assert torch.equal(take(counts), wanted), form


@pytest.mark.parametrize("form", ["dict", "Counter", "tuple", "array", "tensor"])
def test_make_imbalanced_takes_them_too(form):
    split = Split(torch.zeros(300, 1), torch.arange(300) % 3)
    made = data.make_imbalanced(split, FORMS[form])
    assert data.count_classes(made.targets).tolist() == COUNTS


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
@pytest.mark.parametrize(
    ("counts", "error", "words"),
    [
        (
            {0: 70, 2: 25},
            ValueError,
            r"keys 0 \.\. C-1, each once, but lacks 1; give an empty class 0",
        ),
        ({1: 70, 2: 5, 3: 25}, ValueError, "lacks 0"),
        ({"cat": 70, "dog": 5}, TypeError, "a class in .* must be an integer, but got 'cat'"),
        (Counter(torch.tensor([0, 0, 1])), ValueError, "has 0 twice"),
        ({-1: 5, 0: 5}, ValueError, "a class in .* must be 0 or more"),
        ({}, ValueError, "one finite number >= 0 per class"),
        ([0, 0, 0], ValueError, "at least one above 0"),
        ([3, -1, 5], ValueError, r"but got \[3, -1, 5\]"),
        (["a", "b"], ValueError, "one finite number"),
        ([[1, 2], [3]], ValueError, r"losses.count_classes\(targets\)"),
        (7, ValueError, "but got 7"),
    ],
    ids=str,
)
def test_what_are_no_counts_is_said_in_the_callers_words(take, counts, error, words):
    if counts == [0, 0, 0] and take is TAKERS["metrics.evaluate"]:
        return  # the training may have seen nothing, which changes no metric
    with pytest.raises(error, match=words) as raised:
        take(counts)
    assert "offset" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("loss", "word"),
    [
        (losses.LogitAdjustedLoss(COUNTS), "counts"),
        (losses.BalancedSoftmaxLoss(COUNTS), "counts"),
        (losses.LDAMLoss(COUNTS), "counts"),
        (losses.VSLoss(COUNTS), "counts"),
        (losses.CDTLoss(COUNTS), "counts"),
        (losses.ClassBalancedLoss(COUNTS), "counts"),
        (losses.SeesawLoss(COUNTS), "counts"),
        (losses.FocalLoss(alpha=[1.0, 2.0, 3.0]), "alpha"),
        (losses.AdjustedCrossEntropyLoss(offset=[1.0, 2.0, 3.0]), "offset"),
    ],
)
def test_a_wrong_number_of_classes_is_said_in_the_callers_words(loss, word):
    with pytest.raises(ValueError, match=rf"^{word} must have one entry per class.*3.* 4 classes"):
        loss(torch.zeros(2, 4), torch.tensor([0, 3]))


def test_adjust_logits_of_arrays_are_arrays():
    for logits in (LOGITS, LOGITS.astype(np.float64), np.asfortranarray(LOGITS), LOGITS[::-1]):
        found = losses.adjust_logits(logits, COUNTS, 0.7)
        assert isinstance(found, np.ndarray)
        assert found.dtype == logits.dtype
        np.testing.assert_allclose(found, metrics.adjust(logits, COUNTS, 0.7), rtol=1e-6)
    with pytest.raises(TypeError, match="logits must be a tensor"):
        losses.adjust_logits([[1.0, 2.0]], [1, 2])
    with pytest.raises(TypeError, match="logits must be floating"):
        losses.adjust_logits(np.array([[1, 2]]), [1, 2])


@pytest.mark.parametrize("word", losses.ALL)
@pytest.mark.parametrize(
    ("shape", "target"),
    [((4, 1), torch.arange(4) % 2), ((4,), torch.arange(4) % 2), ((4, 1), torch.ones(4, 1))],
)
def test_one_logit_a_sample_is_answered_with_the_loss_for_it(word, shape, target):
    loss = losses.ALL[word](torch.tensor([9, 1]))
    with pytest.raises(ValueError, match=r"take losses\.SigmoidFocalLoss, or give the net two"):
        loss(torch.zeros(shape), target)


@pytest.mark.parametrize("wrong", [{90, 10}, "12", b"12", [10**400, 1]], ids=repr)
def test_what_has_no_order_or_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match="counts must be one finite number >= 0 per class"):
        losses.LogitAdjustedLoss(wrong)


def test_a_dict_with_a_huge_class_is_refused_at_once():
    with pytest.raises(ValueError, match=r"keys 0 \.\. C-1, each once, but lacks 1"):
        losses.LogitAdjustedLoss({0: 3, 10**12: 4})
    assert len(losses.LogitAdjustedLoss(dict.fromkeys(range(50_000), 2)).offset) == 50_000
