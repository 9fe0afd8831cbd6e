"""Classical models beside the nets: scikit-learn's own answers, and runs like all others."""

import dataclasses

import numpy as np
import pytest
import torch
from imblearn.ensemble import BalancedRandomForestClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from tests.faults import tiny
from tests.study.small import plan
from tests.study.test_study import toy

from counterpoise import data, references, registry, report
from counterpoise.study import _stream as streaming
from counterpoise.study import one_run, open_study, record
from counterpoise.study._prepared import gather, keep
from counterpoise.study._runs import reference_runs
from counterpoise.study._work import Work
from counterpoise.study.events import Failed, Planned
from counterpoise.study.spec import run_id

TABLE = ("logistic_regression", "gradient_boosting", "balanced_random_forest")


def table():
    """450 samples of 5 features in three classes of 300, 100 and 50."""
    g = torch.Generator().manual_seed(0)

    def split(*sizes):
        targets = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
        inputs = torch.randn(len(targets), 5, generator=g)
        return data.Split(inputs + torch.nn.functional.one_hot(targets, 5), targets)

    return data.Splits("toy", split(300, 100, 50), split(60, 60, 60), ("a", "b", "c"), "made")


def fitted(folder, given=None, words=None):
    """The records of the references with seed 1, by word, fitted in this process."""
    made = plan(references=True, seeds=(1,))
    work = Work(made, folder, keep(*gather(made, given), folder), made)
    work.add_references()
    found = {}
    for name in work.names("reference"):
        spec = work.specs[name]
        if words is None or spec.reference in words:
            one_run.train_run(work.job(name), lambda event: None)
            place = folder / "runs" / name
            found[spec.reference] = record.read(place), record.arrays(place)
    return found


def directly(word, seed, x, y, others):
    """Probabilities of scikit-learn's classifier for `others`."""
    if word == "logistic_regression":
        scale = StandardScaler().fit(x)
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200)
        return model.fit(scale.transform(x), y).predict_proba(scale.transform(others))
    if word == "gradient_boosting":
        model = HistGradientBoostingClassifier(
            max_iter=100, class_weight="balanced", early_stopping=False, random_state=seed
        )
    else:
        model = BalancedRandomForestClassifier(
            n_estimators=100,
            sampling_strategy="all",
            replacement=True,
            bootstrap=False,
            random_state=seed,
        )
    return model.fit(x, y).predict_proba(others)


def test_on_a_table_the_answers_are_those_of_scikit_learn(tmp_path):
    given = table()
    found = fitted(tmp_path, given)
    assert found.keys() == {*TABLE, "always_the_largest_class"}
    train, validation = data.split_validation(given.train, 0.1, 1)
    scale = data.Standardizer.fit(train.inputs)  # as the nets get them
    x, held, test = (scale(p.inputs).numpy() for p in (train, validation, given.test))
    for word in TABLE:
        run, kept = found[word]
        p = directly(word, 1, x, train.targets.numpy(), np.concatenate([held, test]))
        for name, part, mine in (
            ("validation", validation, p[: len(held)]),
            ("test", given.test, p[len(held) :]),
        ):
            wanted = np.log(np.maximum(mine, 1e-6))
            np.testing.assert_allclose(kept[f"{name}_logits"], wanted, rtol=1e-5, atol=1e-5)
            right = balanced_accuracy_score(part.targets.numpy(), mine.argmax(1))
            assert run[name]["balanced_accuracy"] == pytest.approx(right)
        assert run["seen_counts"] == run["train_counts"]
        assert run["adjusted"]["balanced_accuracy"] > 0
    largest = found["always_the_largest_class"]
    assert largest[0]["test"]["recall"] == [1.0, 0.0, 0.0]
    np.testing.assert_allclose(
        np.exp(largest[1]["test_logits"][0]), [0.667, 0.222, 0.111], atol=1e-3
    )


def test_on_images_it_is_logistic_regression_on_their_pixels(tmp_path):
    word = "logistic_regression_on_pixels"
    found = fitted(tmp_path, words=[word])
    digits = data.digits()
    train, _ = data.split_validation(digits.train, 0.1, 1)
    scale = StandardScaler().fit(train.inputs.flatten(1).float().numpy())
    x, others = (scale.transform(p.inputs.flatten(1).float().numpy()) for p in (train, digits.test))
    model = LogisticRegression(C=0.03, class_weight="balanced", max_iter=200)
    wanted = model.fit(x, train.targets.numpy()).predict(others)
    run, kept = found[word]
    assert kept["test_logits"].argmax(1).tolist() == wanted.tolist()
    assert run["test"]["balanced_accuracy"] > 0.94


def test_images_are_averaged_down_to_sixteen_pixels():
    images = torch.arange(2 * 3 * 32 * 32).view(2, 3, 32, 32).remainder(251).to(torch.uint8)
    blocks = images.double().view(2, 3, 16, 2, 16, 2).mean((3, 5)).flatten(1)
    np.testing.assert_allclose(references.features(images), blocks)
    assert references.features(images[..., :5]).shape == (2, 3 * 16 * 5)


def test_of_many_samples_the_large_classes_are_cut_by_the_seed():
    counts = np.array([0, 20_000, 3, 9_000, 2_000])
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(5), counts))
    one, again, other = (references.choose_samples(targets, 5, seed) for seed in (0, 0, 1))
    assert np.bincount(targets[one]).tolist() == [0, 3998, 3, 3998, 2000]
    assert one.tolist() == again.tolist() != other.tolist()
    assert len(set(one.tolist())) == len(one)
    inputs = torch.randn(len(targets), 2, generator=torch.Generator().manual_seed(0))
    largest = references.Reference(
        "always_the_largest_class", inputs, torch.from_numpy(targets), 5, seed=0
    )
    assert largest.seen_counts.tolist() == [0, 3998, 3, 3998, 2000]
    logits = largest.log_probabilities(inputs[:1])
    assert np.isfinite(logits).all()  # of the class without a sample, too
    np.testing.assert_allclose(np.exp(logits[0, 1]), 3998 / 9999, rtol=1e-5)


def test_a_reference_is_named_by_what_it_depends_on():
    """No setting of the nets makes it a new one."""

    def names(made, shape=(5,)):
        return [run_id(run.spec.to_json()) for run in reference_runs(made, "ab", shape)]

    one = plan(references=True, seeds=(0, 1))
    longer = dataclasses.replace(one, losses=("poly",), metric="accuracy")
    longer = dataclasses.replace(longer, training=dataclasses.replace(one.training, epochs=9))
    held = dataclasses.replace(one, training=dataclasses.replace(one.training, validation=0.2))
    assert len(set(names(one))) == 4 * 2
    assert names(one) == names(longer)
    assert set(names(one)).isdisjoint(names(held))
    assert [len(names(one, shape)) for shape in ((3, 8, 8), (4, 8))] == [2 * 2, 1 * 2]
    assert names(plan(seeds=(0, 1))) == []


def tried(folder, **changes):
    """Run the tiny study with a reference; return its failures, and the study."""
    with tiny.in_this_process():
        return tiny.compare(folder, dataclasses.replace(tiny.BESIDE, **changes)), open_study(folder)


def test_a_reference_that_raises_leaves_the_study_whole(tmp_path, monkeypatch):
    def broken(seed, features, classes):
        raise ValueError("no such model")

    with monkeypatch.context() as patched:
        patched.setattr(references, "logistic_regression", broken)
        failed, study = tried(tmp_path)
    assert failed == ["ValueError: no such model"]
    assert study.finished
    assert list(study.failed.values()) == failed
    assert study.reference_labels == ("logistic regression",)
    assert study.reference_scores()["logistic regression"] == {0: None}
    assert study.reference_verdicts()[0].comparison is None
    assert "no run finished" in report.render(study).read_text()
    failed, study = tried(tmp_path)  # the same command tries it again
    assert failed == []
    assert study.reference_scores()["logistic regression"][0] > 0.5


def test_references_are_kept_when_the_nets_change_and_go_when_they_are_not_asked_for(tmp_path):
    tried(tmp_path)
    more = dataclasses.replace(tiny.BESIDE, losses=("focal", "poly"))
    with tiny.in_this_process():
        events = list(streaming.stream({tmp_path: more}, data={tmp_path: tiny.toy()}))
    first, final = (e for e in events if isinstance(e, Planned))
    assert not any(isinstance(e, Failed) for e in events)
    assert {row["stage"] for row in first.runs.values()} == {"reference"}
    assert first.kept == tuple(first.runs)
    assert first.later == sum(final.cost.values()) > 0 == final.later
    assert (len(final.runs), len(final.kept)) == (2, 1)
    _, study = tried(tmp_path, references=False)
    assert (study.reference_labels, study.references) == ((), ())
    assert list(study.reference_scores()) == ["focal, adjusted after training"]


def test_a_study_of_before_there_were_references_opens_and_gets_them(tmp_path):
    tried(tmp_path, references=False)
    kept = record.unseal(tmp_path / streaming.STUDY)
    del kept["plan"]["references"]
    (tmp_path / streaming.STUDY).write_text(record.seal(kept))
    assert open_study(tmp_path).reference_labels == ()
    assert tried(tmp_path)[1].references[0].label == "logistic regression"


def test_every_reference_fits_what_no_class_has_much_of(tmp_path):
    """Two classes, one of a single sample; and inputs of half precision."""
    few = toy(n=40, classes=2)
    targets = few.train.targets.clone()
    targets[:] = 0
    targets[3] = 1
    for word in registry.REFERENCES:
        inputs = few.train.inputs.bfloat16()
        inputs = inputs.view(40, 1, 1, 5) if "pixels" in word else inputs
        found = references.Reference(word, inputs, targets, 2, seed=2**63 - 1)
        assert np.isfinite(found.log_probabilities(inputs)).all()
