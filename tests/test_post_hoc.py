"""Post-hoc logit adjustment against Bayes' rule as scikit-learn applies it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from sklearn.naive_bayes import GaussianNB

from counterpoise.losses import (
    LogitAdjustedLoss,
    adjust_logits,
    choose_norm_tau,
    choose_tau,
    normalize_logits,
)

COUNTS = [70, 25, 5]


@pytest.fixture
def scores():
    """Imbalanced samples, and the log posterior of a classifier that knows their classes' prior."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), COUNTS)
    x = rng.normal(size=(100, 2)) + y[:, None]
    model = GaussianNB(priors=np.array(COUNTS) / 100).fit(x, y)
    return x, y, torch.from_numpy(model.predict_log_proba(x))


@pytest.mark.parametrize("target", [None, [1 / 3, 1 / 3, 1 / 3], [0.2, 0.5, 0.3], [2, 5, 3]])
def test_is_bayes_rule_for_another_prior(scores, target):
    x, y, logits = scores
    prior = np.ones(3) / 3 if target is None else np.array(target) / np.sum(target)
    wanted = GaussianNB(priors=prior).fit(x, y).predict_log_proba(x)
    found = adjust_logits(logits, COUNTS, target_prior=target).log_softmax(1)
    torch.testing.assert_close(found, torch.from_numpy(wanted))


@pytest.mark.parametrize("tau", [0.5, 2.3])
def test_is_the_papers_formula(tau):
    logits = torch.randn(4, 3, dtype=torch.float64)
    wanted = logits - tau * torch.log(torch.tensor([0.7, 0.25, 0.05], dtype=torch.float64))
    torch.testing.assert_close(adjust_logits(logits, COUNTS, tau), wanted)


@pytest.mark.parametrize("counts", [COUNTS, [70, 0, 5]])
def test_undoes_the_logit_adjusted_loss(counts):
    logits, target = torch.randn(12, 3), torch.arange(12) % 3
    found = LogitAdjustedLoss(counts, tau=1.5)(adjust_logits(logits, counts, 1.5), target)
    torch.testing.assert_close(found, F.cross_entropy(logits, target))


def test_equal_counts_change_no_probability():
    logits = torch.randn(4, 3)
    found = adjust_logits(logits, [8.5, 8.5, 8.5], 2.0).softmax(1)
    torch.testing.assert_close(found, logits.softmax(1))


def test_tau_0_and_the_trainings_own_prior_change_nothing():
    logits = torch.randn(4, 3)
    assert torch.equal(adjust_logits(logits, COUNTS, 0.0, [1, 0, 0]), logits)
    torch.testing.assert_close(adjust_logits(logits, COUNTS, 1.0, COUNTS), logits)


def test_an_empty_class_counts_as_the_rarest():
    logits = torch.randn(4, 4)
    found = adjust_logits(logits, [90, 0, 10, 0]) - logits
    torch.testing.assert_close(found[:, 1:], found[:, 2:3].expand(4, 3))
    assert found.isfinite().all()


def test_a_class_that_does_not_occur_in_use_is_ruled_out():
    found = adjust_logits(torch.randn(50, 3), COUNTS, target_prior=[0.5, 0.5, 0])
    assert (found[:, 2] == -torch.inf).all()
    assert found[:, :2].isfinite().all()


@pytest.mark.parametrize(
    ("shape", "axis"), [((3,), 1), ((5, 3), 1), ((5, 3, 2, 4), 1), ((5, 2, 3), -1), ((3, 2), 0)]
)
def test_takes_every_shape(shape, axis):
    logits = torch.randn(shape)
    place = 0 if len(shape) == 1 else axis
    wanted = adjust_logits(logits.movedim(place, -1).reshape(-1, 3), COUNTS)
    found = adjust_logits(logits, COUNTS, axis=axis).movedim(place, -1).reshape(-1, 3)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_the_dtype_and_the_callers_tensors(dtype):
    logits, counts = torch.randn(5, 3, dtype=dtype), torch.tensor([70, 0, 5])
    before = logits.clone()
    found = adjust_logits(logits, counts)
    assert found.dtype == dtype
    wanted = adjust_logits(logits.double(), counts)
    torch.testing.assert_close(found, wanted.to(dtype))
    assert torch.equal(logits, before)
    assert counts.tolist() == [70, 0, 5]


def test_gradients_pass_unchanged():
    logits = torch.randn(5, 3, requires_grad=True)
    adjust_logits(logits, COUNTS).sum().backward()
    assert torch.equal(logits.grad, torch.ones(5, 3))


def macro_f1(predicted, target):
    return f1_score(target, predicted, average="macro", zero_division=0.0)


@pytest.mark.parametrize(
    ("metric", "by_sklearn"),
    [
        ("balanced_accuracy", balanced_accuracy_score),
        ("accuracy", accuracy_score),
        (macro_f1, lambda y, p: macro_f1(p, y)),
    ],
)
def test_every_tau_scores_what_scikit_learn_says_and_the_best_is_chosen(scores, metric, by_sklearn):
    _, y, logits = scores
    found = choose_tau(logits, torch.from_numpy(y), COUNTS, metric)
    assert list(found.scores) == [k / 10 for k in range(31)]
    for tau, score in found.scores.items():
        predicted = (logits.numpy() - tau * np.log(np.array(COUNTS) / 100)).argmax(1)
        assert score == pytest.approx(by_sklearn(y, predicted), abs=1e-12), tau
    assert found.score == found.scores[found.tau] == max(found.scores.values())


def test_balanced_accuracy_leaves_out_classes_that_the_validation_lacks(scores):
    _, y, logits = scores
    kept = torch.from_numpy(y) != 1
    found = choose_tau(logits[kept], torch.from_numpy(y)[kept], COUNTS, grid=[0])
    recalls = [(logits.argmax(1)[y == k] == k).double().mean() for k in (0, 2)]
    assert found.score == pytest.approx(float(sum(recalls) / 2))


def test_adjusting_helps_the_balanced_accuracy_of_a_net_that_learned_the_prior():
    rng = np.random.default_rng(0)
    counts = [7000, 2500, 500]
    y = np.repeat(np.arange(3), counts)
    x = rng.normal(size=(10_000, 2)) + y[:, None]
    model = GaussianNB().fit(x, y)
    logits = torch.from_numpy(model.predict_log_proba(x))
    found = choose_tau(logits, torch.from_numpy(y), counts)
    assert found.score > found.scores[0.0] + 0.05
    assert 0.7 <= found.tau <= 1.3  # Bayes: 1


@pytest.mark.parametrize(
    ("grid", "tau"), [([0, 3, 1.2], 1.2), ([1.5, 0.5, 0], 0.5), ([3, 2.5], 2.5)]
)
def test_of_equal_scores_the_one_closest_to_1_is_chosen_and_then_the_smaller(grid, tau):
    sure = 100 * torch.eye(3)
    assert choose_tau(sure, torch.arange(3), COUNTS, grid=grid).tau == tau


def test_dense_targets_and_a_target_prior(scores):
    _, y, logits = scores
    flat = choose_tau(logits, torch.from_numpy(y), COUNTS, "accuracy", [1.0], [6, 3, 1])
    dense = logits.view(10, 10, 3).movedim(-1, 1)
    target = torch.from_numpy(y).view(10, 10)
    assert choose_tau(dense, target, COUNTS, "accuracy", [1.0], [6, 3, 1]) == flat
    predicted = adjust_logits(logits, COUNTS, 1.0, [6, 3, 1]).argmax(1)
    assert flat.score == pytest.approx(accuracy_score(y, predicted))


Z, T = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: adjust_logits(Z.long(), COUNTS), TypeError, "int64"),
        (lambda: adjust_logits(Z, [1, 2]), ValueError, "2 for the 3 classes"),
        (lambda: adjust_logits(Z, [1, -2, 3]), ValueError, "counts must be one"),
        (lambda: adjust_logits(Z, [0, 0, 0]), ValueError, "counts must be one finite number"),
        (lambda: adjust_logits(Z, COUNTS, -1.0), ValueError, "but got -1"),
        (lambda: adjust_logits(Z, COUNTS, float("nan")), ValueError, "nan"),
        (lambda: adjust_logits(Z, COUNTS, axis=2), ValueError, "got 2 for shape"),
        (lambda: adjust_logits(torch.tensor(1.0), COUNTS), ValueError, "axis"),
        (lambda: adjust_logits(Z, COUNTS, 1.0, [0.5, 0.5]), ValueError, "as many as counts"),
        (lambda: adjust_logits(Z, COUNTS, 1.0, [0, 0, 0]), ValueError, "one above 0"),
        (lambda: adjust_logits(Z, COUNTS, 1.0, [1, -1, 1]), ValueError, "target_prior"),
        (lambda: choose_tau(Z, T, COUNTS, "recall"), ValueError, "balanced_accuracy"),
        (lambda: choose_tau(Z, T, COUNTS, grid=[]), ValueError, "at least one tau"),
        (lambda: choose_tau(Z, T, COUNTS, lambda p, t: float("nan")), ValueError, "number"),
        (lambda: choose_tau(Z, T[:3], COUNTS), ValueError, r"\(3,\)"),
        (lambda: choose_tau(Z, T.float(), COUNTS), TypeError, "float32"),
        (lambda: choose_tau(Z, T - 1, COUNTS), ValueError, "holds -1"),
        (lambda: choose_tau(Z, T + 1, COUNTS), ValueError, "0 .. 2"),
        (lambda: choose_tau(Z[:0], T[:0], COUNTS), ValueError, "needs samples"),
        (lambda: choose_tau(Z * torch.nan, T, COUNTS), ValueError, "NaN"),
    ],
)
def test_bad_input_is_explained(call, error, says):
    with pytest.raises(error, match=says):
        call()


# --- τ-normalization ------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("biased", [True, False])
def test_normalized_logits_are_those_of_a_head_with_normalized_rows(tau, biased):
    head, x = torch.nn.Linear(6, 4, bias=biased).double(), torch.randn(9, 6, dtype=torch.float64)
    rows = head.weight.detach().numpy()
    wanted = x.numpy() @ (rows / np.linalg.norm(rows, axis=1, keepdims=True) ** tau).T
    logits = head(x).detach()
    found = normalize_logits(logits.numpy(), head.weight.norm(dim=1), head.bias, tau)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    whole = logits[..., None].expand(9, 4, 5)
    deep = normalize_logits(whole, head.weight.norm(dim=1), head.bias, tau)
    np.testing.assert_allclose(deep[..., 3], wanted, rtol=1e-12, atol=1e-12)


def test_the_tau_of_the_norms_is_the_best_one_by_scikit_learn():
    rng = np.random.default_rng(3)
    y, norms, bias = rng.integers(0, 3, 200), np.array([5.0, 2.0, 0.7]), np.array([1.0, 0.0, -2.0])
    z = norms * (np.eye(3)[y] + rng.normal(size=(200, 3))) + bias
    scores = {
        k / 10: balanced_accuracy_score(y, ((z - bias) / norms ** (k / 10)).argmax(1))
        for k in range(21)
    }
    found = choose_norm_tau(z, y, norms, bias)
    assert dict(found.scores) == pytest.approx(scores)
    assert found.score == max(scores.values()) > scores[0.0]
    assert scores[found.tau] == found.score


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"norms": [1.0, 0.0, 2.0]}, ValueError, "norms must be above 0, but the lowest is 0"),
        (
            {"norms": [1.0, 2.0]},
            ValueError,
            r"norms must be a finite number .* got \(2,\)",
        ),
        ({"bias": [1.0, 2.0, np.nan]}, ValueError, "bias must be a finite number for each class"),
        ({"tau": -0.1}, ValueError, "tau must be a finite number >= 0, but got -0.1"),
        ({"logits": torch.ones(4, 3, dtype=torch.int64)}, TypeError, "logits must be floating"),
        ({"logits": torch.ones(3)}, ValueError, r"of logits \(N, C, ...\)"),
    ],
)
def test_what_cannot_be_normalized_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        normalize_logits(**{"logits": torch.ones(4, 3), "norms": [1.0, 2.0, 3.0], **change})
