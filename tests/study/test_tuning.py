"""Equal tuning: one list of trials for all variants, of several fields."""

import dataclasses
import json

import numpy as np
import pytest
from tests.faults import tiny
from tests.study.test_axes import plan_of, toy

from counterpoise import findings
from counterpoise.study import Plan, Training, Tuning, Variant, open_study, stream
from counterpoise.study._runs import choose, final_runs, tuning_runs
from counterpoise.study._trials import trial_list


def test_all_variants_are_tuned_by_one_list_of_trials():
    plan = plan_of(
        {"loss": ["cross_entropy", "focal"]},
        variant=[{"loss": "focal", "weight_decay": 5e-4}],
        tuning={"grid": [0.1, 0.3], "search": {"weight_decay": [5e-4, 5e-3]}},
    )
    first, second, fixed = map(plan.trials, plan.variants)
    assert first == second
    assert len(first) == 4
    assert first[0] == {"lr": 0.1, "weight_decay": 5e-4}
    assert fixed == ({"lr": 0.1}, {"lr": 0.3})
    made = {(r.label, json.dumps(r.trial)): r.spec for r in tuning_runs(plan, "data")}
    asked = made["focal", '{"lr": 0.1, "weight_decay": 0.005}']
    assert (asked.training.lr, asked.training.weight_decay) == (0.1, 5e-3)
    chosen = choose(plan, {("focal", repr(first[3])): [0.9], ("focal", repr(first[0])): [0.8]})
    assert chosen["focal"] == {"lr": 0.3, "weight_decay": 5e-3}
    final = final_runs(plan, "data", {"focal": chosen["focal"]})
    assert {r.spec.training.weight_decay for r in final} == {5e-3}


def test_points_are_drawn_once_between_the_ends_on_a_logarithmic_scale():
    lists = {"lr": (0.01, 0.1, 1.0), "weight_decay": (1e-5, 1e-2), "retrain_epochs": (2, 20)}
    found = trial_list(lists, 64)
    assert found == trial_list(lists, 64)
    assert len(found) == 64
    for key, (low, *_, high) in lists.items():
        values = np.array([t[key] for t in found], float)
        assert low <= values.min() <= values.max() <= high
        place = np.log(values / low) / np.log(high / low)
        assert np.histogram(place, 4, (0, 1))[0].min() >= 12  # evenly, on that scale
    assert all(isinstance(t["retrain_epochs"], int) for t in found)


def test_the_optimizers_usual_rates_are_as_many_for_each():
    plan = plan_of({"optimizer": ["sgd", "adamw"]})
    rates = [{t["lr"] for t in plan.trials(v)} for v in plan.variants]
    assert rates[0] == {0.01, 0.03, 0.1, 0.3}
    assert rates[1] == {3e-4, 1e-3, 3e-3, 1e-2}


def test_a_rate_may_be_fixed_for_one_variant_and_tuned_for_another():
    plan = plan_of({"lr": [0.1, "auto"]})
    assert [len(plan.trials(v)) for v in plan.variants] == [0, 4]
    assert choose(plan, {}) == {"lr=0.1": {"lr": 0.1}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Weight decay fixed, and tuned from a list that has the fixed value, too."""
    plan = Plan(
        "toy",
        losses=(),
        variant=(Variant(training={"weight_decay": 5e-4}), Variant()),
        seeds=(0, 1),
        references=False,
        training=Training("mlp", epochs=2, batch_size=16, augment="none", warmup=0.0),
        tuning=Tuning((0.05, 0.1), {"weight_decay": [5e-4, 0.5]}, epochs=1),
    )
    folder = tmp_path_factory.mktemp("axes") / "study"
    with tiny.in_this_process():
        for event in stream({folder: plan}, data={folder: toy()}):
            assert "Failed" not in type(event).__name__, event
    return open_study(folder)


def test_runs_that_two_variants_ask_for_are_done_once(study):
    fixed, tuned = study.labels
    assert (fixed, tuned) == ("cross_entropy, weight_decay=0.0005", "cross_entropy")
    folders = {
        label: {r.folder for r in study.tuning if r.label == label} for label in study.labels
    }
    assert len(folders[tuned]) == 4
    assert folders[fixed] < folders[tuned]
    assert len(list((study.folder / "runs").iterdir())) == 4 + len(
        {r.folder for r in study.records}
    )
    assert study.finished
    assert study.choices[fixed].keys() == {"lr"}
    assert study.choices[tuned].keys() == {"lr", "weight_decay"}


def test_a_variant_that_fixes_what_others_tune_is_named(study):
    (found,) = [f for f in findings.collect_findings(study) if f.code == "CP344"]
    assert found.text.startswith("The weight_decay is tuned for the other variants, and fixed for")


def test_the_report_has_every_trial(study):
    page = study.report().path.read_text()
    assert "learning rate, weight_decay that was tried (4 a variant)" in page
    assert "0.05, 0.5" in page


@pytest.mark.parametrize("fixed_first", [True, False])
def test_what_one_variant_fixes_is_among_the_trials_of_the_other(tmp_path, fixed_first):
    fixed, tuned = Variant(training={"weight_decay": 5e-4}), Variant()
    plan = Plan(
        "toy",
        losses=(),
        variant=(fixed, tuned) if fixed_first else (tuned, fixed),
        seeds=(0,),
        references=False,
        training=Training("mlp", epochs=3, batch_size=16, lr=0.1, augment="none"),
        tuning=Tuning((), {"weight_decay": [5e-4, 2.0], "ema": [0.0, 0.5]}, epochs=3),
    )
    with tiny.in_this_process():
        for event in stream({tmp_path / "s": plan}, data={tmp_path / "s": toy()}):
            assert "Failed" not in type(event).__name__, event
    found = open_study(tmp_path / "s")
    assert found.finished
    tried = {label: [r for r in found.tuning if r.label == label] for label in found.labels}
    assert {label: len(rows) for label, rows in tried.items()} == {
        label: 4 if label == "cross_entropy" else 2 for label in found.labels
    }
    assert found.choices["cross_entropy"]["weight_decay"] == 5e-4  # and not the absurd one
    for label, rows in tried.items():
        best = max(r.run["validation"]["balanced_accuracy"] for r in rows)
        chosen = [r for r in rows if r.trial.items() <= found.choices[label].items()]
        assert chosen[0].run["validation"]["balanced_accuracy"] == best


def test_tuned_epochs_are_trained():
    plan = plan_of({"ema": [0.0, 0.5]}, tuning={"grid": [0.1], "search": {"epochs": [2, 6]}})
    plan = dataclasses.replace(plan, training=dataclasses.replace(plan.training, epochs=3))
    assert {r.spec.training.epochs for r in tuning_runs(plan, "data")} == {2, 6}
    final = final_runs(plan, "data", {plan.labels[0]: {"lr": 0.1, "epochs": 6}})
    assert {r.spec.training.epochs for r in final} == {6}


def test_an_edited_axis_of_the_plan_file_is_named(study):
    path = study.folder / "plan.toml"
    text = path.read_text()
    path.write_text(text.replace("search = { ", 'search = { "warmup" = [0.0, 0.1], '))
    try:
        assert set(open_study(study.folder).edited) >= {"tuning.search.warmup"}
    finally:
        path.write_text(text)
