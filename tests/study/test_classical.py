"""Classical models as variants: the libraries' own answers, beside nets, in studies like others."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
import torch
from imblearn.ensemble import BalancedRandomForestClassifier, RUSBoostClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tests.faults import tiny
from tests.study.small import QUICK, files, prepared, run
from tests.study.small import plan as small

from counterpoise import classical, data, findings, registry, report
from counterpoise.cli._tables import results_json
from counterpoise.study import Plan, Training, Tuning, Variant, compare, one_run, open_study, record
from counterpoise.study._run_data import read_data
from counterpoise.study._runs import choose, final_runs, tuning_runs
from counterpoise.study.defaults import fill
from counterpoise.study.events import Chosen, Finished, Foreseen, Prepared
from counterpoise.study.plan_file import read, write
from counterpoise.study.spec import run_id

WORDS = tuple(registry.CLASSICAL)
NO_NET = Training("random_forest")


def table():
    """450 samples of 5 features in three classes of 300, 100 and 50."""
    g = torch.Generator().manual_seed(0)

    def split(*sizes):
        targets = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
        inputs = torch.randn(len(targets), 5, generator=g)
        return data.Split(inputs + torch.nn.functional.one_hot(targets, 5), targets)

    return data.Splits("toy", split(300, 100, 50), split(60, 60, 60), ("a", "b", "c"), "made")


def directly(variant, seed, x, y, others):
    """Probabilities of the library's own classifier for `others`."""
    settings = {"random_state": seed, **variant.settings}
    if variant.model == "logistic_regression":
        scale = StandardScaler().fit(x)
        x, others = scale.transform(x), scale.transform(others)
        settings["max_iter"] = 1000
    if variant.model == "balanced_random_forest":
        settings |= {"sampling_strategy": "all", "replacement": True, "bootstrap": False}
    make = {
        "logistic_regression": LogisticRegression,
        "hist_gradient_boosting": HistGradientBoostingClassifier,
        "random_forest": RandomForestClassifier,
        "balanced_random_forest": BalancedRandomForestClassifier,
        "rus_boost": RUSBoostClassifier,
    }[variant.model]
    return make(**settings).fit(x, y).predict_proba(others)


def test_answers_and_scores_are_those_of_the_libraries(tmp_path):
    variants = (
        *(Variant(model=word) for word in WORDS),
        Variant(model="logistic_regression", settings={"C": 0.1, "class_weight": "balanced"}),
    )
    made = small(losses=(), variant=variants, seeds=(1,))
    work = prepared(made, tmp_path, table())
    for name in work.names("final"):
        job = work.job(name)
        one_run.train_run(job, lambda event: None)
        splits = read_data(job, 0.1).splits
        splits = {k: (p.inputs.numpy(), p.targets) for k, p in splits.items()}
        kept, found = record.arrays(job.folder), record.read(job.folder)
        for split in ("validation", "test"):
            wanted = directly(job.spec.variant, 1, *splits["train"], splits[split][0])
            logits = np.log(np.maximum(wanted, 1e-6))
            np.testing.assert_allclose(kept[f"{split}_logits"], logits, rtol=1e-5, atol=1e-6)
        right = kept["test_logits"].argmax(1) == kept["test_targets"]
        assert found["test"]["accuracy"] == pytest.approx(right.mean())
        assert found["adjusted"]["accuracy"] > 0.3
        assert found["files"].keys() == {"features.json", "predictions.npz"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A net and three classical models, each tuned by two values."""
    folder = tmp_path_factory.mktemp("classical") / "study"
    made = small(
        losses=("cross_entropy",),
        classical=("logistic_regression+balanced", "random_forest"),
        variant=(Variant(model="sklearn.neighbors:KNeighborsClassifier"),),
        training=dataclasses.replace(QUICK, lr="auto"),
        tuning=Tuning((0.1, 0.3)),
    )
    return made, folder, run(made, folder)


def test_a_net_and_classical_models_are_one_study(study):
    _, folder, events = study
    found = open_study(folder)
    balanced = "logistic_regression, class_weight=balanced"
    assert found.labels == (
        "cross_entropy", balanced, "random_forest", "KNeighborsClassifier"
    )  # fmt: skip
    assert found.finished
    assert not found.failed
    assert [sum(r.label == k for r in found.tuning) for k in found.labels] == [2, 2, 2, 0]
    (chosen,) = (e for e in events if isinstance(e, Chosen))
    assert chosen.choices == found.choices
    assert re.fullmatch("lr 0.[13]", found.chosen("cross_entropy"))
    assert re.fullmatch("C = (0.1|1)", found.chosen(balanced))
    assert found.chosen(found.labels[3]) == ""
    for r in found.of("random_forest"):
        assert r.trial == found.choices["random_forest"]
        assert list(r.trial) == ["min_samples_leaf"]
    for r in found.records:  # the same splits for all, and every one judged
        first = found.of("cross_entropy")[r.seed].predictions
        assert np.array_equal(r.predictions["validation_targets"], first["validation_targets"])
        assert r.classical is (r.label != "cross_entropy")
        assert bool(r.history) is bool(r.flow) is not r.classical
    assert {v.variant for v in found.verdicts()} == {*found.labels[1:]}
    assert found.other_environments() == {}


@pytest.mark.slow
def test_it_is_resumed_and_ends_with_the_same_bytes(study, tmp_path):
    made, folder, _ = study
    before = files(folder)
    assert {e.kept for e in run(made, folder) if isinstance(e, Finished)} == {True}
    assert files(folder) == before
    other = dataclasses.replace(made, training=dataclasses.replace(made.training, epochs=1))
    kept = [e.run for e in run(other, folder) if isinstance(e, Finished) and e.kept]
    assert len(kept) == 4 + 3 * 2  # what nets alone depend on trains no classical model again
    run(made, tmp_path / "again")
    assert files(tmp_path / "again").items() <= files(folder).items() | before.items()


def test_all_that_is_shown_of_it_speaks_of_what_there_is(study, tmp_path):
    made, folder, _ = study
    run(made, folder)
    found = open_study(folder)
    page = report.render(found, tmp_path / "page.html").read_text()
    assert "every C that was tried" in page
    assert "every learning rate that was tried" in page
    names = {p.stem for p in report.write_figures(found, tmp_path / "figures")}
    assert {"layer_flow", "forest", "reliability", "confusion_3"} <= names
    for finding in findings.collect_findings(found):
        if {"CP223", "CP224", "CP226", "CP227", "CP228", "CP335", "CP336", "CP337"} & {
            finding.code
        }:
            assert "random_forest" not in finding.text, finding
    shown = json.loads(results_json(found))["variants"]
    assert [list(v["chosen"]) for v in shown] == [["lr"], ["C"], ["min_samples_leaf"], []]
    assert report.write_predictions(found, "random_forest") is not None


def test_a_study_without_a_net_says_nothing_of_nets(tmp_path):
    with tiny.in_this_process():
        study = compare(
            table(),
            classical=["logistic_regression"],
            training=Training("random_forest", lr=0.1),
            seeds=2,
            out=tmp_path,
            progress=False,
        )
    assert study.labels == ("random_forest", "logistic_regression")
    said = " ".join(dataclasses.astuple(findings.answers(study)))
    said += " ".join(f.text for f in findings.collect_findings(study))
    assert re.findall(r"\bnets?\b|epochs?|learning rate|Train longer", said) == []
    plan, decided = fill(Plan("toy", training=NO_NET), table())
    assert [d.setting for d in decided] == ["seeds"]
    prepared = Prepared(tmp_path, plan, study.data, decided, ())
    foreseen = Foreseen(tmp_path, plan, (), None)
    assert "nets" not in " ".join([*prepared.lines(), *foreseen.lines()])


def tried_of(trial):
    (value,) = trial.values()
    return value


def test_each_is_tried_as_often_as_a_net(tmp_path):
    made = Plan("toy", classical=WORDS, tuning=Tuning(seeds=2))
    for plan, number in ((made, 4), (dataclasses.replace(made, tuning=Tuning((0.1, 1.0))), 2)):
        runs = tuning_runs(plan, "data")
        tried = {label: [r for r in runs if r.label == label] for label in plan.labels}
        assert {len(x) for x in tried.values()} == {number * plan.tuning.seeds}
    six = dataclasses.replace(made, tuning=Tuning((1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)))
    forest, regression = Variant(model="random_forest"), Variant(model="logistic_regression")
    assert [*map(tried_of, six.trials(forest))] == [
        1,
        2,
        4,
        8,
        15,
        30,
    ]  # whole, as scikit-learn wants them
    assert [*map(tried_of, six.trials(regression))] == [0.01, 0.04, 0.16, 0.63, 2.5, 10]
    fixed = dataclasses.replace(made, training=Training(lr=0.1), seeds=(0,))
    assert not any(map(fixed.trials, fixed.variants))
    final = final_runs(fixed, "data", choose(fixed, {}))
    (spec, *_) = (r.spec for r in final if r.spec.variant.model)
    assert spec.settings == {}  # what the library takes by itself


def test_a_list_in_the_settings_is_what_is_tried_and_toml_holds_it():
    text = """
    data = "toy"
    [[variant]]
    model = "lightgbm:LGBMClassifier"
    settings = { learning_rate = [0.03, 0.3], class_weight = "balanced" }
    [[variant]]
    model = "random_forest"
    settings = { min_samples_leaf = 5 }
    """
    import tomllib

    made = read(tomllib.loads(text))
    boosted, forest = made.variants
    assert made.trials(boosted) == ({"learning_rate": 0.03}, {"learning_rate": 0.3})
    assert made.trials(forest) == ()
    assert read(tomllib.loads(write(made))) == made
    assert {r.spec.settings["learning_rate"] for r in tuning_runs(made, "data")} == {0.03, 0.3}
    assert len({run_id(r.spec.to_json()) for r in tuning_runs(made, "data")}) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classical": ("random_forst",)}, "did you mean 'random_forest'?"),
        ({"classical": ("mlp",)}, "is a net, and all nets of a plan have one model"),
        ({"training": NO_NET, "losses": ("focal",)}, "losses are of nets"),
        (
            {"variant": (Variant(model="random_forest", settings={"a": [1], "b": [2]}),)},
            "one can be tried, but got a, b",
        ),
        (
            {"variant": (Variant(model="random_forest", settings={"a": [1, 1]}),)},
            "numbers other than 0, each once",
        ),
        (
            {"classical": ("random_forest", "random_forest+balanced", "a:b", "c:b")},
            "different names",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Plan("toy", **settings)


def test_a_setting_that_there_is_none_of_is_refused_before_anything_runs(tmp_path):
    made = small(variant=(Variant(model="random_forest", settings={"min_sample_leaf": 3}),))
    with pytest.raises(ValueError, match="did you mean 'min_samples_leaf'"):
        run(made, tmp_path / "study")
    assert not list(tmp_path.iterdir())


OWN = """
import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

class Nearest:
    '''With scikit-learn's interface, and nothing of it.'''
    def __init__(self, power=1.0):
        self.power = power
    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.means = np.array([x[y == k].mean(0) for k in self.classes_])
        return self
    def predict_proba(self, x):
        far = ((x[:, None] - self.means) ** 2).sum(2) ** self.power
        p = np.exp(far.min(1, keepdims=True) - far)
        return p / p.sum(1, keepdims=True)

ready = make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss"))
number = 5
unfit = dict
"""


def test_anything_with_the_interface_of_scikit_learn_is_fitted(tmp_path, monkeypatch):
    (tmp_path / "my_classical.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_classical", raising=False)
    variants = (
        Variant(model="my_classical:Nearest", settings={"power": [0.5, 1.0]}),
        Variant(model="my_classical:ready", settings={"sgdclassifier__alpha": 0.01}),
    )
    made = small(losses=(), variant=variants)
    with tiny.in_this_process():
        run(made, tmp_path / "study", data={tmp_path / "study": table()})
    found = open_study(tmp_path / "study")
    assert found.labels == ("Nearest, power=[0.5, 1.0]", "ready, sgdclassifier__alpha=0.01")
    assert not found.failed
    assert found.choices[found.labels[0]]["power"] in (0.5, 1.0)
    assert min(r.run["test"]["balanced_accuracy"] for r in found.records) > 0.5  # of 3 classes
    x = torch.randn(60, 5)
    seeded = [classical.make("my_classical:ready", {}, seed) for seed in (3, 3, 4)]
    for model in seeded:
        classical.fit(model, x, torch.arange(60) % 3)
    one, same, other = (classical.log_probabilities(m, x, 3) for m in seeded)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("number", "must be a class or function that makes a classifier, but is a int"),
        ("unfit", "a dict has no fit"),
        ("nobody", "must name something that can be imported"),
    ],
)
def test_what_has_not_that_interface_is_told(tmp_path, monkeypatch, name, said):
    (tmp_path / "my_classical.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_classical", raising=False)
    with pytest.raises(ValueError, match=re.escape(said)):
        classical.make(f"my_classical:{name}", {})


def test_a_class_without_a_training_sample_gets_a_probability_near_0():
    model = classical.make("logistic_regression", {})
    x = torch.randn(20, 2)
    classical.fit(model, x, torch.arange(20) % 2 * 2)
    found = classical.log_probabilities(model, x, 4)
    np.testing.assert_allclose(found[:, [1, 3]], np.log(1e-6), rtol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=1e-4)
