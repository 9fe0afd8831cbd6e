"""`counterpoise.sklearn.BalancedClassifier` as scikit-learn's users use a classifier."""

import inspect
import io

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as with_sampler
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from counterpoise.sklearn import BalancedClassifier
from counterpoise.study import Training

QUICK = {"epochs": 3, "random_state": 0}
WHY = "an epoch draws samples and not weights, so that removed or repeated ones change the batches"


def linear(norm, shape, num_classes):
    return nn.Linear(*shape, num_classes)


def linear_model(**settings):
    """A net whose best fit scikit-learn knows: logistic regression."""
    usual = {"model": linear, "epochs": 40, "lr": 0.01, "weight_decay": 0.0, "validation": 0.0}
    return BalancedClassifier(**usual | {"random_state": 0} | settings)


@pytest.fixture(scope="module")
def rare():
    """Gaussian classes of 1,900 and 100 samples."""
    return make_blobs([1900, 100], centers=[[0, 0], [1.5, 1]], random_state=0)


@parametrize_with_checks(
    [BalancedClassifier(epochs=3)],
    expected_failed_checks=lambda _: {"check_sample_weight_equivalence_on_dense_data": WHY},
)
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def test_the_settings_and_their_defaults_are_those_of_a_plan():
    given = inspect.signature(BalancedClassifier).parameters
    fields = Training.__dataclass_fields__
    shared = given.keys() & fields.keys()
    assert shared >= {"model", "epochs", "batch_size", "lr", "optimizer", "validation", "augment"}
    assert {k: given[k].default for k in shared} == {k: fields[k].default for k in shared}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "cross_entropy", "sampler": "balanced"},
        {"loss": "weighted", "sampler": "square_root"},
        {"loss": "cross_entropy"},
    ],
)
def test_probabilities_are_those_of_the_data_whatever_loss_and_sampler_did(rare, settings):
    expected = LogisticRegression(C=np.inf).fit(*rare).predict_proba(rare[0])
    found = linear_model(**settings).fit(*rare)
    assert np.abs(found.predict_proba(rare[0]) - expected).max() < 0.06
    assert log_loss(rare[1], found.predict_proba(rare[0])) < log_loss(rare[1], expected) * 1.03


def test_predict_finds_the_rare_class_and_can_follow_the_probabilities_instead(rare):
    X, y = rare
    balanced = linear_model().fit(X, y)
    plain = LogisticRegression(class_weight="balanced").fit(X, y)
    scores = [balanced_accuracy_score(y, m.predict(X)) for m in (balanced, plain)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    probable = linear_model(decision="probable").fit(X, y)
    np.testing.assert_array_equal(probable.predict_proba(X), balanced.predict_proba(X))
    np.testing.assert_array_equal(probable.predict(X), probable.predict_proba(X).argmax(1))
    np.testing.assert_array_equal(probable.predict(X), probable.decision_function(X) > 0)
    assert balanced.predict(X).sum() > 3 * probable.predict(X).sum() > 0


def test_sample_weights_move_what_is_learned_as_in_scikit_learn(rare):
    X, y = rare
    weights = np.where(X[:, 0] > 0.5, 3.0, 0.5) * np.where(y == 1, 4, 1)
    weights[:50] = 0
    plain = LogisticRegression(C=np.inf).fit(X, y, weights)
    for loss in ("cross_entropy", "logit_adjusted"):
        found = linear_model(loss=loss).fit(X, y, weights)
        assert np.abs(found.predict_proba(X) - plain.predict_proba(X)).max() < 0.06
    with pytest.raises(ValueError, match=r"CrossEntropyLoss takes none"):
        linear_model(loss=nn.CrossEntropyLoss(), epochs=1).fit(X, y, weights)
    with pytest.raises(ValueError, match="no negative one"):
        linear_model().fit(X, y, -weights)


def test_scikit_learns_and_imbalanced_learns_tools_take_it(rare):
    X, y = rare
    names = np.array(["common", "rare"])[y]
    quick = BalancedClassifier(**QUICK)
    assert make_pipeline(MinMaxScaler(), quick).fit(X, names).score(X, names) > 0.7
    assert cross_val_score(quick, X, names, cv=3, scoring="balanced_accuracy").min() > 0.7
    resampled = with_sampler(SMOTE(random_state=0), quick).fit(X, names)
    assert balanced_accuracy_score(names, resampled.predict(X)) > 0.75
    for method in ("sigmoid", "isotonic"):
        calibrated = CalibratedClassifierCV(quick, cv=2, method=method).fit(X, names)
        assert log_loss(names, calibrated.predict_proba(X)) < 0.2
        assert calibrated.classes_.tolist() == ["common", "rare"]


@pytest.mark.parametrize(
    "backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)]
)  # processes import torch anew
def test_a_grid_is_searched_by_two_at_a_time_as_by_one(rare, backend):
    X, y = rare[0][1500:], rare[1][1500:]
    grid = {"loss": ["cross_entropy", "focal"], "norm": ["none", "layer"]}
    search = GridSearchCV(BalancedClassifier(**QUICK), grid, cv=2, scoring="neg_log_loss")
    alone = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_backend(backend):
        together = search.set_params(n_jobs=2).fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert len(set(alone)) == 4


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    n = 300
    born = pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 20_000, n), "D")
    pet = rng.choice(["cat", "dog", "eel"], n)
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 9, n)),
            "born": born,
            "seen": born.strftime("%d.%m.%Y"),
            "pet": pd.Categorical(pet),
            "owns": rng.random(n) < 0.5,
            "income": [f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in rng.random(n)],
            "note": [f"note {k} about a {p}" for k, p in enumerate(pet)],
            "empty": None,
        }
    )
    return frame, pd.Series(np.where(pet == "eel", "yes", "no"), name="swims")


def test_a_data_frame_is_read_alike_in_whole_and_row_by_row(people):
    X, y = people
    model = BalancedClassifier(**QUICK | {"epochs": 10}).fit(X, y)
    assert model.feature_names_in_.tolist() == list(X.columns)
    assert model.score(X, y) > 0.95
    whole = model.predict_proba(X)
    rows = np.concatenate([model.predict_proba(X.iloc[[k]]) for k in range(40)])
    np.testing.assert_allclose(rows, whole[:40], rtol=1e-6)
    names = [name for column in model.features_.columns for name in column.features]
    assert {"age", "age: missing", "born year", "seen year", "pet=eel", "income"} <= {*names}
    other = X.assign(pet="emu", age=None, born=pd.NaT, note=None)
    assert np.isfinite(model.predict_proba(other)).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[X.columns[::-1]])


def test_images_are_read_as_they_were(monkeypatch):
    X, y = load_digits(return_X_y=True)
    images = (X.reshape(-1, 1, 8, 8) * 15).astype(np.uint8)
    model = BalancedClassifier(epochs=4, random_state=0).fit(images[:700], y[:700])
    assert type(model.net_).__name__ == "ResNet"
    assert model.score(images[700:], y[700:]) > 0.8
    assert model.decision_function(images[:5]).shape == (5, 10)
    with pytest.raises(ValueError, match=r"uint8 of \(1, 8, 8\).* but are float32"):
        model.predict(images / 255)
    scaled = BalancedClassifier(epochs=4, random_state=0).fit(images[:700] / 255, y[:700])
    assert scaled.score(images[700:] / 255, y[700:]) > 0.8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "ldam+drw"}, "margins"),
        ({"loss": "focal", "loss_settings": {"gamma": 2}}, ""),
        ({"loss": lambda counts: nn.CrossEntropyLoss()}, ""),
        ({"sampler": "progressive", "loss": "weighted"}, "changed"),
        ({"optimizer": "adamw", "norm": "layer", "calibration": "vector"}, ""),
        ({"validation": 0}, ""),
    ],
)
def test_every_kind_of_setting_trains(rare, settings, words):
    X, y = rare[0][1400:], rare[1][1400:]
    model = BalancedClassifier(**QUICK | {"epochs": 8} | settings).fit(X, y)
    assert words in model.posterior_.link.approximate
    assert bool(model.posterior_.link.approximate) == bool(words)
    assert (model.posterior_.samples > 0) == ("validation" not in settings)
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, np.full(len(y), y.mean()))
    assert len(model.history_) == model.n_iter_ + 1 == 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "focl"}, "did you mean 'focal'"),
        ({"model": "random_forest"}, "model must be one of"),
        ({"decision": "largest"}, "decision must be one of balanced, probable"),
        ({"calibration": "platt"}, "calibration must be one of"),
        ({"epochs": -1}, "epochs must be within"),
        ({"lr": "high"}, "lr must be a number or 'auto'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(rare, settings, message):
    with pytest.raises(ValueError, match=message):
        BalancedClassifier(**QUICK | settings).fit(*rare)


def test_it_repeats_itself_and_leaves_the_random_numbers_of_others_alone(rare):
    X, y = rare
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = BalancedClassifier(epochs=2, random_state=3).fit(X, y)
    again = clone(one).fit(X, y)
    torch.manual_seed(1)
    drawn = BalancedClassifier(epochs=2, random_state=np.random.RandomState(0)).fit(X, y)
    torch.set_rng_state(states[0])
    kept = io.BytesIO()
    joblib.dump(one, kept)
    kept.seek(0)
    p = one.predict_proba(X)
    for same in (again, joblib.load(kept)):
        np.testing.assert_array_equal(same.predict_proba(X), p)
    assert np.abs(drawn.predict_proba(X) - p).max() > 0
    BalancedClassifier(epochs=1, random_state=0).fit(X, y)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
