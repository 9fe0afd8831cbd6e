"""Intervals where each seed draws its test split: the correction of Nadeau and Bengio."""

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from counterpoise import stats

TEST, TRAIN = 20, 80  # of a pool of 100


def by_seed(values):
    return dict(enumerate(np.asarray(values).tolist()))


@pytest.fixture(scope="module")
def differences():
    """Accuracy of nearest class means in two and in ten dimensions: [pool, draw of its split]."""
    rng = np.random.default_rng(0)
    pools, draws = 1_500, 30
    y = np.arange(TEST + TRAIN) % 2
    x = rng.normal(size=(pools, TEST + TRAIN, 10))
    x[..., 2:] += 0.3 * y[:, None]
    found = np.empty((pools, draws))
    for k in range(draws):
        order = rng.random(x.shape[:2]).argsort(1)
        z, t = np.take_along_axis(x, order[..., None], 1), y[order]
        learned, held, true = z[:, TEST:], z[:, :TEST], t[:, :TEST]
        ones = t[:, TEST:, None]
        means = [(learned * w).sum(1) / w.sum(1) for w in (1 - ones, ones)]
        gaps = [(held - m[:, None]) ** 2 for m in means]
        right = [((gaps[0] - gaps[1])[..., :d].sum(-1) > 0) == true for d in (2, 10)]
        found[:, k] = right[1].mean(1) - right[0].mean(1)
    return found


@pytest.mark.parametrize(("seeds", "most"), [(3, 0.93), (5, 0.87), (10, 0.75), (30, 0.5)])
def test_new_draws_of_one_pool_cover_too_little_without_the_correction(differences, seeds, most):
    """docs/statistics.md has the shares."""
    truth = differences.mean()
    held = np.zeros(2)
    for row in differences[:, :seeds]:
        for k, ratio in enumerate((0.0, TEST / TRAIN)):
            found = stats.compare_paired(
                by_seed(0 * row), by_seed(row), test_to_train=ratio
            ).difference
            held[k] += found.low is None or found.low <= truth <= found.high  # all are equal
    plain, corrected = held / len(differences)
    assert plain < most
    assert 0.93 <= corrected <= 0.97


def test_the_corrected_test_is_scikit_learns():
    """The numbers of its example "Statistical comparison of models using grid search"."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), x, y, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    plain, corrected = (
        stats.compare_paired(by_seed(linear), by_seed(rbf), test_to_train=ratio)
        for ratio in (0.0, 10 / 90)
    )
    assert round(corrected.p_different / 2, 3) == 0.227
    assert round(plain.p_different / 2, 3) == 0.005


def test_the_formula_by_hand():
    """d = 2, 0, 1 points: mean 1, s 1; e = √(1/3 + 1/4) points; t(2, 97.5%) = 4.3027."""
    scores = {0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.52, 1: 0.5, 2: 0.51}
    found = stats.compare_paired(*scores, test_to_train=0.25)
    half = 4.3027 * 0.01 * (1 / 3 + 1 / 4) ** 0.5
    assert found.difference.high == pytest.approx(0.01 + half, abs=1e-6)
    own = stats.t_interval([0.02, 0.0, 0.01], test_to_train=0.25)
    assert own.high == pytest.approx(0.01 + half, abs=1e-6)
    (verdict,) = stats.compare_variants({"a": scores[0], "b": scores[1]}, "a", test_to_train=0.25)
    assert verdict.interval.high == pytest.approx(0.01 + half, abs=1e-6)
    assert verdict.p_holm == pytest.approx(found.p_different)


def test_more_seeds_cannot_tell_what_the_samples_cannot():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, 10)
    scores = {"a": by_seed(np.full(10, 0.8)), "b": by_seed(0.8 + noise - noise.mean())}
    (fixed,) = stats.compare_variants(scores, "a", margin=0.02)
    (drawn,) = stats.compare_variants(scores, "a", margin=0.02, test_to_train=0.25)
    assert fixed.words.startswith("cannot tell yet: about")
    assert drawn.words == "cannot tell yet: more seeds cannot tell, more samples would"
    assert not drawn.seeds_can_tell
    for ratio in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="test_to_train must be the number of test samples"):
            stats.compare_variants(scores, "a", test_to_train=ratio)


def test_where_seeds_can_tell_they_do():
    """More of them than with one split; and where they cannot, none is enough."""
    about = {"difference": 0.05, "sd": 0.03, "margin": 0.02}
    asked = [stats.seeds_needed(5, **about, test_to_train=r) for r in (0.0, 0.2, 0.25)]
    assert asked == sorted(set(asked))
    assert asked[1] <= stats.MAX_SEEDS < asked[2]
    assert [stats.seeds_can_tell(5, **about, test_to_train=r) for r in (0.2, 0.25)] == [True, False]
