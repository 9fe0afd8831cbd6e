"""Probabilities out of logits: exact where the posterior is known, and calibrated elsewhere."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from counterpoise import losses, samplers
from counterpoise.probabilities import Link, Posterior, estimate_prior, move_prior

COUNTS = [900, 90, 10]
EXACT = {
    "cross_entropy": {},
    "weighted": {},
    "focal": {"gamma": 3.0},
    "weighted_focal": {"gamma": 0.5},
    "poly": {"epsilon": 2.0, "gamma": 1.5},
    "class_balanced": {"beta": 0.99, "gamma": 1.0},
    "balanced_softmax": {},
    "logit_adjusted": {"tau": 1.5},
    "cdt": {"power": 0.2},
    "vs": {"power": 0.1, "tau": 0.7},
}


def minimized(loss, posterior):
    """Logits that minimize the expected loss where the classes have these probabilities."""
    p = torch.tensor(posterior)
    z = torch.zeros(p.shape, requires_grad=True)
    found = torch.optim.LBFGS(
        [z],
        1.0,
        2000,
        tolerance_grad=1e-13,
        tolerance_change=0,
        history_size=50,
        line_search_fn="strong_wolfe",
    )

    def closure():
        found.zero_grad()
        value = loss(z, p)
        value.backward()
        return value

    for _ in range(3):
        found.step(closure)
    return z.detach().numpy()


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def random_posteriors(seed=0):
    rng = np.random.default_rng(seed)
    return softmax(rng.normal(size=(40, 3)) * 2, axis=1)


def test_every_loss_of_the_family_is_exact_or_says_why_not():
    every = {name: losses.link_parameters(make(COUNTS)) for name, make in losses.ALL.items()}
    assert {name for name, found in every.items() if "approximate" not in found} == EXACT.keys()


@pytest.mark.parametrize("name", EXACT)
def test_the_link_gives_the_posterior_that_minimizes_the_expected_loss(name, double):
    loss = losses.ALL[name](torch.tensor(COUNTS), reduction="sum", **EXACT[name])
    p = random_posteriors()
    z = minimized(loss, p)
    found = Link.from_json(losses.link_parameters(loss)).log_posterior(z)
    np.testing.assert_allclose(np.exp(found), p, atol=2e-6)


def test_margins_have_a_link_too(double):
    margin = torch.tensor([0.2, 0.7, 1.5])
    loss = losses.AdjustedCrossEntropyLoss(margin=margin, weight=[1.0, 2.0, 4.0], reduction="sum")
    p = random_posteriors(1)
    link = Link(margin=tuple(margin.tolist()), weight=(1, 2, 4))
    np.testing.assert_allclose(np.exp(link.log_posterior(minimized(loss, p))), p, atol=2e-6)


def test_torchs_own_loss_is_of_the_family():
    loss = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))
    assert losses.link_parameters(loss) == {"weight": [1.0, 2.0]}
    assert (
        "smoothing"
        in losses.link_parameters(torch.nn.CrossEntropyLoss(label_smoothing=0.1))["approximate"]
    )
    assert "no formula" in losses.link_parameters(torch.nn.MultiMarginLoss())["approximate"]


@pytest.mark.parametrize("far", [1.0, 40.0, 800.0, 1e5])
@pytest.mark.parametrize("poly", [-1.0, 0.0, 1.0])
def test_the_link_is_finite_and_monotone_however_sure_a_net_is(far, poly):
    z = np.linspace(-far, far, 101)[:, None] * [1.0, 0.0, 0.0]
    log_p = Link(gamma=(2.0,), poly=poly).log_posterior(z)
    assert not np.isnan(log_p).any()
    assert (np.diff(log_p[:, 0]) >= -1e-12).all()


@pytest.mark.parametrize("sampler", samplers.ALL)
@pytest.mark.parametrize("loss", ["cross_entropy", "weighted_focal", "balanced_softmax"])
def test_samplers_and_losses_together_give_the_posterior_at_the_datas_shares(sampler, loss, double):
    """The samples are x = 0 .. 4, of which each class has known shares."""
    rng = np.random.default_rng(2)
    given = rng.dirichlet(np.ones(5), 3)  # p(x | y)
    counts = np.array(COUNTS)
    truth = given * (counts / counts.sum())[:, None]
    truth = (truth / truth.sum(0)).T
    targets = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    seen = samplers.ALL[sampler](targets, epochs=4, seed=0, num_classes=3).seen_counts(3)
    shown = given * (seen.numpy() / seen.sum().item())[:, None]
    shown = (shown / shown.sum(0)).T  # the posterior that the loss sees
    made = losses.ALL[loss](seen, reduction="sum")
    posterior = Posterior(
        Link.from_json(losses.link_parameters(made)), tuple(seen.tolist()), tuple(COUNTS)
    )
    z = minimized(made, shown)
    np.testing.assert_allclose(np.exp(posterior(z)), truth, atol=2e-6)
    elsewhere = given * np.array([[0.2], [0.2], [0.6]])
    elsewhere = (elsewhere / elsewhere.sum(0)).T
    np.testing.assert_allclose(np.exp(posterior(z, [1, 1, 3])), elsewhere, atol=2e-6)


def drawn(number=20_000, scale=3.0, seed=3):
    """Logits that are `scale` times too sure and shifted, and classes drawn by the truth."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(number, 3)) + np.log([0.7, 0.2, 0.1])
    targets = (softmax(true, axis=1).cumsum(1) > rng.random((number, 1))).argmax(1)
    return scale * true, targets, log_softmax(true, axis=1)


def nll(log_p, targets):
    return -log_p[np.arange(len(targets)), targets].mean()


def test_the_temperature_is_that_of_scikit_learn():
    """By its public way, on probabilities of a classifier that is already fitted."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Fixed(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, X):
            return X

        def predict(self, X):
            return X.argmax(1)

    z, t, _ = drawn()
    n = np.bincount(t)
    theirs = CalibratedClassifierCV(FrozenEstimator(Fixed().fit(z, t)), method="temperature")
    theirs = theirs.fit(z, t).predict_proba(z)
    ours = Posterior.fit(z, t, link=Link(), seen_counts=n, train_counts=n)
    assert ours.temperature == pytest.approx(3, rel=0.02)
    np.testing.assert_allclose(np.exp(ours(z)), theirs, atol=1e-3)


@pytest.mark.parametrize("method", ["vector", "isotonic", "auto"])
def test_what_no_formula_knows_is_fitted_on_validation_data(method):
    z, t, truth = drawn()
    n = np.bincount(t)
    z = z + np.array([0.0, 2.0, 5.0])  # as a net answers that was pushed towards the rare classes
    link = Link(approximate="a loss of one's own")
    fitted = Posterior.fit(z, t, link=link, seen_counts=n, train_counts=n, method=method)
    assert fitted.method == ("vector" if method == "auto" else method)
    new, targets, truth = drawn(seed=4)
    new = new + np.array([0.0, 2.0, 5.0])
    best, found = nll(truth, targets), nll(fitted(new), targets)
    assert best <= found + 1e-9 < best + (0.02 if method == "isotonic" else 0.002)


def test_a_few_validation_samples_move_nothing_far():
    z, t, _ = drawn(4, scale=1.0)
    fitted = Posterior.fit(
        z, np.zeros_like(t), link=Link(), seen_counts=COUNTS, train_counts=COUNTS, method="vector"
    )
    assert 0.5 < fitted.temperature < 2
    assert np.abs(fitted.bias).max() < 3
    none = Posterior.fit(z[:0], t[:0], link=Link(), seen_counts=COUNTS, train_counts=COUNTS)
    assert (none.temperature, none.samples) == (1.0, 0)


@pytest.mark.parametrize("method", ["temperature", "vector", "isotonic", "none"])
def test_a_posterior_is_the_same_after_json(method):
    import json

    z, t, _ = drawn(500)
    link = Link(offset=(0.0, 1.0, 2.0), gamma=(2.0,))
    made = Posterior.fit(z, t, link=link, seen_counts=COUNTS, train_counts=COUNTS, method=method)
    again = Posterior.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    np.testing.assert_array_equal(again(z), made(z))
    assert np.exp(again(z, [1, 0, 1]))[:, 1].max() == 0


def test_a_prior_is_found_in_unlabelled_data():
    """The data have other shares than those that the probabilities are for."""
    rng = np.random.default_rng(5)
    shares = np.array([0.2, 0.3, 0.5])
    targets = rng.choice(3, 20_000, p=shares)
    x = rng.normal(size=(20_000, 3)) + 1.5 * np.eye(3)[targets]
    log_p = log_softmax(1.5 * x + np.log([0.7, 0.2, 0.1]), axis=1)  # exact for 0.7, 0.2, 0.1
    found = estimate_prior(log_p, [70, 20, 10])
    np.testing.assert_allclose(found.shares, shares, atol=0.02)
    moved = move_prior(log_p, [7, 2, 1], found.shares)
    assert nll(moved, targets) < nll(log_p, targets)
    with pytest.raises(ValueError, match="one sample at least"):
        estimate_prior(log_p[:0], [1, 1, 1])


def test_wrong_use_is_told():
    with pytest.raises(ValueError, match="must be one of auto, temperature"):
        Posterior.fit(
            np.zeros((1, 2)),
            [0],
            link=Link(),
            seen_counts=[1, 1],
            train_counts=[1, 1],
            method="platt",
        )
    with pytest.raises(ValueError, match="one number for each of 2 classes, but got 3"):
        move_prior(np.zeros((1, 2)), [1, 1], [1, 1, 1])
    with pytest.raises(ValueError, match="without gamma and poly"):
        Link(margin=(1.0,), gamma=(1.0,))


def test_what_is_affine_is_the_same_as_softmax():
    z, t, _ = drawn(300)
    link = Link(scale=(1.0, 0.5, 0.2), offset=(0.0, 1.0, 2.0), weight=(1.0, 2.0, 3.0))
    made = Posterior.fit(
        z, t, link=link, seen_counts=[1, 1, 1], train_counts=[9, 5, 0], method="vector"
    )
    a, b = made.affine()
    np.testing.assert_allclose(log_softmax(a * z + b, axis=1), made(z), atol=1e-12)
    assert Posterior(Link(gamma=(2.0,)), (1.0, 1.0), (1.0, 1.0)).affine() is None


def test_validation_samples_of_other_class_shares_change_nothing():
    """Logits that are ideal after a balanced sampler; validation has as many of each class."""
    rng = np.random.default_rng(6)

    def draw(counts):
        t = np.repeat([0, 1], counts)
        x = rng.normal(size=len(t)) + 2.0 * t
        return np.stack([0 * x, 2 * x - 2], 1), t  # exact for equal shares

    z = draw([900, 100])[0]
    for held in ([2000, 2000], [3600, 400]):
        for method in ("temperature", "vector", "isotonic"):
            made = Posterior.fit(
                *draw(held), link=Link(), seen_counts=[1, 1], train_counts=[900, 100], method=method
            )
            assert np.exp(made(z))[:, 1].mean() == pytest.approx(0.1, abs=0.025)


def test_a_class_that_validation_lacks_keeps_its_probability():
    z, t, truth = drawn(2000)
    few, n = t != 2, np.bincount(t)
    made = Posterior.fit(
        z[few], t[few], link=Link(), seen_counts=n, train_counts=n, method="isotonic"
    )
    own = np.exp(truth[~few])[:, 2].mean()
    assert np.exp(made(z[~few]))[:, 2].mean() == pytest.approx(own, rel=0.25)


def test_numbers_that_make_no_posterior_are_refused():
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Posterior(Link(), (1.0, 1.0), (1.0, 1.0), temperature=0.0)
    with pytest.raises(ValueError, match="must be finite"):
        Link(offset=(np.nan, 0.0))
