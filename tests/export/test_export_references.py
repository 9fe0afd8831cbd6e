"""Classical models as exports: the references beside the nets, and weighted variants."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from imblearn.ensemble import BalancedRandomForestClassifier
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from tests.study.small import plan, run
from tests.study.test_references import table

from counterpoise import classical, compare, data, load, open_study, references
from counterpoise.export import Wanted, export
from counterpoise.inference import MODEL
from counterpoise.study import Training, Variant

QUICK = Training("mlp", epochs=1, lr=0.1, batch_size=64)
BALANCED = Variant(
    model="random_forest", settings={"n_estimators": 5, "class_weight": "balanced_subsample"}
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "study"
    run(plan(losses=("cross_entropy",), references=True, training=QUICK, seeds=(0,)), folder)
    return open_study(folder)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """450 samples of 5 features in three classes of 300, 100 and 50."""
    folder = tmp_path_factory.mktemp("toy") / "study"
    settings = {"losses": ["cross_entropy"], "seeds": 2, "training": QUICK, "progress": False}
    return compare(table(), variant=(BALANCED,), out=folder, **settings)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A CSV of a number, and a category that is not always there."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    y = rng.choice(["no", "yes"], 400, p=[0.8, 0.2])
    size = rng.normal(size=400).round(3) + (y == "yes")
    colour = np.where(y == "yes", "red", rng.choice(["red", "blue", ""], 400))
    pd.DataFrame({"size": size, "colour": colour, "y": y}).to_csv(folder / "t.csv", index=False)
    settings = {"losses": ["cross_entropy"], "seeds": 1, "training": QUICK, "progress": False}
    return compare(folder / "t.csv", out=folder / "study", **settings)


def test_each_reference_answers_as_in_the_study_and_without_it(digits, toy, mixed, tmp_path):
    rows = pd.read_csv(mixed.folder.parent / "t.csv", dtype=str, keep_default_na=False)
    kept = [int(name.split()[-1]) - 2 for name in mixed.sample_names("test")]  # under a header
    for study, inputs in (
        (digits, data.digits().test.inputs),
        (toy, table().test.inputs),
        (mixed, rows.iloc[kept].drop(columns="y")),
    ):
        assert len(study.reference_labels) >= 2
        for label in (*study.reference_labels, *study.labels[1:]):
            done = export(study, tmp_path / study.data["name"] / label, variant=label)
            assert any(line.startswith("Fitted again: log-prob") for line in done.lines)
            seed = json.loads((done.folder / MODEL).read_text())["members"][0]["seed"]
            (record,) = (r for r in study.of(label) if r.seed == seed)
            logits, posterior = record.predictions["test_logits"], record.posterior()
            away = study.folder.rename(study.folder.with_name("away"))
            model = load(done.folder)
            np.testing.assert_allclose(
                np.exp(model.answers(inputs).log_p), np.exp(posterior(logits)), atol=1e-6
            )
            given = np.array(study.data["class_names"])[logits.argmax(1)]
            assert model.predict(inputs).tolist() == given.tolist()
            away.rename(study.folder)
            if label in study.reference_labels:
                assert f"| {label} |" in (done.folder / "README.md").read_text()


def test_a_reference_may_be_an_ensemble_a_refit_and_have_a_rule(toy, tmp_path):
    label = "logistic regression"
    done = export(toy, tmp_path / "m", variant=label, ensemble=True, wanted=Wanted(probable=True))
    assert any(line.startswith("On test (mean of 2 seeds") for line in done.lines)
    assert len(load(done.folder).members) == 2
    done = export(toy, tmp_path / "r", variant=label, refit=True)
    assert not any("Fitted again" in line for line in done.lines)
    model = load(done.folder)
    given, scale = table(), data.Standardizer.fit(table().train.inputs)
    direct = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    direct.fit(scale(given.train.inputs).numpy(), given.train.targets.numpy())
    wanted = direct.predict_proba(scale(given.test.inputs).numpy())
    member = model.members[0]
    logits = member.logits(member.prepare(given.test.inputs, ()))
    np.testing.assert_allclose(np.exp(logits), wanted, atol=1e-3)


def test_the_weights_that_a_model_was_fitted_with_are_recorded_and_undone(toy):
    counts = np.array(toy.data["train_counts"])
    for label in ("logistic regression", "balanced random forest", toy.labels[1]):
        record = toy.of(label)[0]
        seen = np.array(record.run["seen_counts"])
        y = np.repeat(np.arange(3), seen)
        wanted = compute_class_weight("balanced", classes=np.arange(3), y=y)
        np.testing.assert_allclose(record.run["link"]["weight"], wanted)
        assert "no formula" in record.run["link"]["approximate"]
        z, p = record.predictions["test_logits"], record.posterior("none")
        shares = np.log(counts / counts.sum())
        np.testing.assert_allclose(p(z), log_softmax(z + shares, axis=1), atol=0.02)
    assert toy.of("always the largest class")[0].run["link"] == {}
    assert classical.class_weights(LogisticRegression(class_weight={0: 2.0}), [5, 5]) == (2.0, 1.0)
    assert classical.class_weights(LogisticRegression(), [5, 2]) == ()
    assert classical.class_weights(BalancedRandomForestClassifier(), [6, 2, 0])[2] == 1.0


def test_a_default_export_says_which_reference_no_net_is_shown_to_beat(digits, toy, tmp_path):
    for study in (digits, toy):
        done = export(study, tmp_path / "m", programs=False)
        label = "logistic regression" + " on pixels" * (study is digits)
        said = f"is shown to beat {label}: --variant '{label}' exports that"
        assert done.label in study.labels
        assert said in done.lines[0]
        assert said in (done.folder / "README.md").read_text()


def test_a_model_that_answers_otherwise_is_refused(toy, tmp_path, monkeypatch):
    other = references.gradient_boosting
    monkeypatch.setattr(references, "logistic_regression", other)
    with pytest.raises(ValueError, match=r"^logistic regression, fitted again, must answer as"):
        export(toy, tmp_path / "m", variant="logistic regression")
    assert not (tmp_path / "m").exists()
    with pytest.raises(ValueError, match=r"--variant must be one of .*logistic regression"):
        export(toy, tmp_path / "m", variant="logistic_regresion")


def test_a_study_whose_samples_are_gone_is_refused_in_one_line(toy, tmp_path):
    entry = tmp_path / "gone"
    gone = dataclasses.replace(toy, data={**toy.data, "entry": str(entry)})
    with pytest.raises(ValueError, match="are gone from the cache; counterpoise compare") as caught:
        export(gone, tmp_path / "m", variant="balanced random forest")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m").exists()
