"""A plan on disk and in Python is one tree; what cannot be run is refused with the nearest word."""

import dataclasses
import sys
import tomllib

import pytest

from counterpoise import losses, models, norms, samplers, train
from counterpoise.study import Imbalance, Plan, Training, Tuning, Variant, _check
from counterpoise.study.plan import GRIDS, choose, final_runs, read, run_id, tuning_runs, write

FULL = Plan(
    data="my \"data\" ünd 'more'.csv",
    norms=("none", "group"),
    losses=("cross_entropy", "ldam+drw"),
    samplers=("shuffle", "balanced"),
    variant=(Variant("group", "focal", settings={"gamma": 1.0}),),
    seeds=(3, 1),
    metric="macro_f1",
    margin=0.02,
    baseline="group, ldam+drw, balanced",
    imbalance=Imbalance("exponential", 100.0, test=True),
    training=Training("mlp", epochs=3, lr=0.1, watch=("train", "test"), validation=0.0),
    tuning=Tuning((0.1, 0.2), seeds=2),
)


def test_toml_holds_the_same_tree():
    assert read(tomllib.loads(write(FULL))) == FULL
    assert read(tomllib.loads(write(Plan()))) == Plan()


def test_every_setting_is_written_with_a_comment():
    text = write(Plan())
    for part in (Plan, Imbalance, Training, Tuning):
        for key, field in part.__dataclass_fields__.items():
            if "help" in field.metadata:
                assert any(
                    line.startswith(f"{key} = ") and f"# {field.metadata['help']}" in line
                    for line in text.splitlines()
                ), key


def test_variants_are_crossed_and_the_baseline_comes_first():
    assert len(FULL.variants) == 9
    assert FULL.labels[0] == FULL.baseline
    assert len(set(FULL.labels)) == 9
    assert "group, focal, shuffle, gamma=1.0" in FULL.labels
    assert Plan(losses=("cross_entropy", "focal")).labels == ("cross_entropy", "focal")


def test_single_variants_alone_are_not_crossed():
    assert read({"variant": [{"norm": "group", "loss": "focal"}]}).variants == (
        Variant("group", "focal"),
    )


def test_the_words_of_a_plan_are_those_of_the_families():
    """They are listed twice so that a plan is checked without torch."""
    from counterpoise.study.one_run import NORMS

    assert set(_check.NORMS) == set(NORMS) >= set(norms.ALL)
    assert list(_check.LOSSES) == list(losses.ALL)
    assert list(_check.SAMPLERS) == list(samplers.ALL)
    assert set(_check.MODELS) == {"auto", *models.ALL}
    assert list(_check.AUGMENTS) == list(train.AUGMENTS)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"norm": ["none"]}, "did you mean 'norms'"),
        ({"training": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"training": 3}, r"\[training\] must be a table"),
        ({"losses": ["focl"]}, "did you mean 'focal'"),
        ({"losses": ["focl+drw"]}, "did you mean 'focal'"),
        ({"norms": ["grup"]}, "did you mean 'group'"),
        ({"samplers": ["balance"]}, "did you mean 'balanced'"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"training": {"model": "resnet"}}, "did you mean 'resnet8'"),
        ({"training": {"watch": ["val"]}}, "did you mean 'validation'"),
        ({"baseline": "focal"}, "did you mean 'cross_entropy'"),
        ({"variant": [{"los": "focal"}]}, "did you mean 'loss'"),
        ({"seeds": "three"}, "seeds must be of the kind"),
        ({"seeds": [1, 1]}, "each seed once"),
        ({"seeds": 0}, "a seed at least"),
        ({"norms": []}, "a norm"),
        ({"margin": 0}, "margin > 0"),
        ({"training": {"epochs": 0}}, "epochs must be within"),
        ({"training": {"epochs": 2.5}}, "must be of the kind"),
        ({"training": {"lr": -0.1}}, "a learning rate must be within"),
        ({"training": {"lr": "best"}}, "a number or 'auto'"),
        ({"training": {"validation": 0.0}}, "choices are made on it"),
        ({"training": {"watch": ["test"]}}, "read once"),
        ({"imbalance": {"factor": 0.5}}, "factor >= 1"),
        ({"imbalance": {"profile": "exp"}}, "did you mean 'exponential'"),
        ({"tuning": {"grid": [0.1, 0.0]}}, "a learning rate must be within"),
    ],
)
def test_what_cannot_be_run_is_refused(table, says):
    with pytest.raises(ValueError, match=says):
        read(table)


def test_every_variant_gets_the_same_budget_on_seeds_that_are_not_reported():
    plan = dataclasses.replace(FULL, training=Training("mlp", epochs=3))
    runs = tuning_runs(plan)
    budget = [sum(r.variant == v for r in runs) for v in plan.variants]
    assert set(budget) == {len(plan.tuning.grid) * plan.tuning.seeds}
    assert not {r.seed for r in runs} & set(plan.seeds)
    assert tuning_runs(FULL) == []  # its rate is fixed
    assert {r.lr for r in tuning_runs(Plan())} == set(GRIDS["sgd"])


def test_the_best_mean_on_validation_is_chosen_and_of_equals_the_lower_rate():
    plan = Plan(losses=("cross_entropy", "focal", "ldam"), tuning=Tuning((0.1, 0.2, 0.3), seeds=2))
    scores = {
        ("cross_entropy", 0.1): [0.5, 0.7],
        ("cross_entropy", 0.2): [0.7, 0.7],
        ("cross_entropy", 0.3): [0.8, 0.6],
        ("focal", 0.1): [0.9],  # one of its two trainings failed
        ("focal", 0.3): [0.2, 0.2],
    }
    assert choose(plan, scores) == {"cross_entropy": 0.2, "focal": 0.3}
    assert {r.lr for r in final_runs(plan, {"focal": 0.3})} == {0.3}
    assert len(final_runs(plan, {"focal": 0.3})) == 5
    assert choose(FULL, {}) == dict.fromkeys(FULL.labels, 0.1)


def test_a_run_is_another_one_when_anything_changes_that_its_results_depend_on():
    run = final_runs(FULL, choose(FULL, {}))[0]
    ids = {run_id(run.spec(FULL, "data")), run_id(run.spec(FULL, "other data"))}
    for change in ({"seed": 9}, {"lr": 0.3}, {"variant": Variant()}, {"epochs": 9}):
        ids.add(run_id(dataclasses.replace(run, **change).spec(FULL, "data")))
    for t in ({"batch_size": 7}, {"momentum": 0.5}, {"watch": ("train",)}):
        plan = dataclasses.replace(FULL, training=dataclasses.replace(FULL.training, **t))
        ids.add(run_id(run.spec(plan, "data")))
    assert len(ids) == 9
    more = dataclasses.replace(FULL, seeds=(3, 1, 5), margin=0.5, norms=("none", "group", "batch"))
    assert run_id(run.spec(more, "data")) == run_id(run.spec(FULL, "data"))


def test_a_users_object_that_changes_makes_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, ids = Plan(losses=("mine_for_a_test:make",)), set()
    for text in ("def make(counts): ...", "def make(counts): return None"):
        (tmp_path / "mine_for_a_test.py").write_text(text)
        sys.modules.pop("mine_for_a_test", None)
        run = final_runs(plan, {plan.labels[0]: 0.1})[0]
        ids.add(run_id(run.spec(plan, "data")))
    assert len(ids) == 2
