"""Any field is an axis: designs, labels, what is tuned, and what is refused."""

import dataclasses
import json
import tomllib

import numpy as np
import pytest
import torch
from tests.faults import tiny

from counterpoise import losses, norms, samplers
from counterpoise.data import Split, Splits
from counterpoise.registry import LOSSES, NORMS, SAMPLERS
from counterpoise.study import Imbalance, Plan, Training, Tuning, Variant, open_study, stream
from counterpoise.study._runs import choose, final_runs
from counterpoise.study.defaults import fill
from counterpoise.study.plan_file import read, write
from counterpoise.study.spec import run_id

THREE = {"loss": ["cross_entropy", "focal"], "warmup": [0.2, 0.0], "ema": [0.0, 0.9]}


def table(n=60, seed=0):
    draw = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 3
    inputs = torch.randn(n, 5, generator=draw) + targets[:, None]
    return Split(inputs, targets)


def toy():
    return Splits("toy", table(120), table(60, 1), ("a", "b", "c"), "toy")


def plan_of(axes, **settings):
    return read({"axes": axes, "seeds": [0, 1], **settings})


def test_designs_and_their_labels():
    cross = plan_of(THREE)
    assert len(cross.variants) == 8
    assert cross.labels[1] == "cross_entropy, warmup=0.2, ema=0.9"
    one = plan_of({**THREE, "design": "one_by_one"})
    assert one.labels == ("baseline", "focal", "warmup=0", "ema=0.9")
    assert one.variants[0] == cross.variants[0]
    assert one.design_words.startswith("baseline: cross_entropy, ema=0, warmup=0.2; each other")
    without = plan_of(THREE, design="leave_one_out")
    assert without.design_words.startswith("all changes: focal, ema=0.9, warmup=0; each other")
    assert cross.design_words == ""
    assert without.labels == (
        "all changes",
        "without focal",
        "without warmup=0",
        "without ema=0.9",
    )
    assert without.variants[0] == cross.variants[-1]
    for plan in (cross, one, without):
        assert read(json.loads(json.dumps(dataclasses.asdict(plan)))) == plan
        assert read(tomllib.loads(write(plan))) == plan


def test_the_order_of_names_changes_nothing():
    axes = {"ema": [0.0, 0.9], "mix": ["none", "mixup"], "loss": ["focal", "logit_adjusted"]}
    search = {"loss.tau": [0.5, 2.0], "weight_decay": [1e-4, 1e-2]}
    plan = plan_of(axes, tuning={"grid": [0.1, 0.3], "search": search, "trials": 8})
    kept = json.loads(json.dumps(dataclasses.asdict(plan), sort_keys=True))
    assert read(kept).labels == plan.labels
    assert [*map(read(kept).trials, plan.variants)] == [*map(plan.trials, plan.variants)]


def test_only_what_is_named_varies_and_the_baseline_has_the_first_values():
    plan = plan_of({"weight_decay": [5e-3, 5e-4]})
    assert plan.labels == ("weight_decay=0.005", "weight_decay=0.0005")
    assert plan.losses == ("cross_entropy",)
    assert plan.training.weight_decay == 5e-3
    assert Plan().losses == ("cross_entropy", "logit_adjusted", "weighted")
    assert Plan(axes={"model": ("mlp", "linear", "random_forest")}).classical == ("random_forest",)


def test_settings_go_with_the_losses_that_take_them():
    plan = plan_of({"loss": ["cross_entropy", "logit_adjusted"], "loss.tau": [0.5, 1.0]})
    assert plan.labels == ("cross_entropy", "logit_adjusted, tau=0.5", "logit_adjusted, tau=1.0")
    group = plan_of({"norm": ["none", "group"], "norm.num_groups": [2, 4]})
    assert group.labels == ("none", "group, norm.num_groups=2", "group, norm.num_groups=4")


COUNTS = torch.tensor([9.0, 3.0, 2.0])
VALUES = {"gamma": 1.0, "tau": 0.5, "power": 0.2, "beta": 0.9, "max_margin": 0.3, "scale": 5.0}


@pytest.mark.parametrize("name", LOSSES)
def test_rows_name_settings_that_the_loss_takes(name):
    for key in LOSSES[name].settings:
        losses.ALL[name](COUNTS, **{key: VALUES.get(key, 0.1)})
    with pytest.raises(TypeError):
        losses.ALL[name](COUNTS, nonsense=1)


def test_rows_of_norms_and_samplers_name_settings_that_they_take():
    for name, row in NORMS.items():
        for key in row.settings:
            norms.ALL[name]((8, 4, 4), **{key: 4})
    targets = torch.tensor([0, 0, 1])
    for name, row in SAMPLERS.items():
        for key in row.settings:
            samplers.ALL[name](targets, **{key: 2}, **({"epochs": 1} if row.needs else {}))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"axes": {"weigth_decay": [1, 2]}}, "did you mean 'weight_decay'"),
        ({"axes": {"weight_decay": []}}, "axis weight_decay must be a list of values, one at"),
        ({"axes": {"weight_decay": 5e-4}}, "axis weight_decay must be a list of values"),
        ({"axes": {"weight_decay": [5e-4, 0.0005]}}, "each once"),
        (
            {"axes": {"weight_decay": [5e-4, "high"]}},
            "weight_decay must be of the kind of 0.0005",
        ),
        ({"axes": {"weight_decay": [5e-4, -1]}}, "weight_decay must be within"),
        ({"axes": {"augment": ["none", "filp"]}}, "did you mean 'flip'"),
        ({"axes": {"augment": ["none", "auto"]}}, "'auto' is decided by the data; give a value"),
        ({"axes": {"image_size": [32, 64]}}, "samples are read once for all; make a study each"),
        ({"axes": {"devices": [1, 2]}}, "must be the same for all variants"),
        ({"axes": {"imbalance.test": [True, False]}}, "the same test split"),
        ({"axes": {"loss.gamme": [1, 2]}}, "none has such a setting"),
        ({"axes": {"loss.tau": [1, 2]}}, "loss.tau is an axis, but of cross_entropy none has"),
        ({"axes": 3}, r"\[axes\] must be a table"),
        ({"axes": {"ema": [0.0, 0.9]}, "design": "crossed"}, "did you mean 'cross'"),
        ({"axes": {"ema": [0.0, 0.9, 0.99]}, "design": "leave_one_out"}, "takes two values"),
        ({"axes": {"ema": [0.0, 0.9]}, "training": {"ema": 0.5}}, "leave one of them out"),
        ({"variant": [{"loss": "focal", "emma": 0.9}]}, "did you mean 'ema'"),
        (
            {"variant": [{"loss": "focal"}, {"loss": "focal", "weight_decay": 5e-4}]},
            "'focal' and 'focal, weight_decay=0.0005' are the same under two names",
        ),
        ({"tuning": {"search": {"weigth_decay": [1, 2]}}}, "did you mean 'weight_decay'"),
        ({"tuning": {"search": {"weight_decay": []}}}, "must be a list of values"),
        ({"tuning": {"search": {"loss": ["focal"]}}}, "loss is compared, not tuned"),
        ({"tuning": {"search": {"loss.tau": [0.5, 1]}}, "losses": ["poly"]}, "no variant has such"),
        ({"tuning": {"search": {"ema": [0.0, 0.9]}, "trials": 4}}, "must be above 0"),
        (
            {"axes": {"ema": [0.0, 0.9]}, "tuning": {"search": {"ema": [0.9, 0.99]}}},
            "ema is an axis",
        ),
    ],
)
def test_what_cannot_be_varied_is_refused_in_one_line(table, says):
    with pytest.raises(ValueError, match=says) as error:
        read(table)
    assert "\n" not in str(error.value)


def test_a_run_is_the_same_whatever_study_it_is_of():
    alone = Plan(losses=("focal",), seeds=(0,), training=Training(weight_decay=5e-3, lr=0.1))
    axis = plan_of({"loss": ["cross_entropy", "focal"], "weight_decay": [5e-4, 5e-3]}, seeds=[0])
    axis = dataclasses.replace(axis, training=dataclasses.replace(axis.training, lr=0.1))
    (mine,) = (run_id(r.spec.to_json()) for r in final_runs(alone, "data", choose(alone, {})))
    every = [run_id(r.spec.to_json()) for r in final_runs(axis, "data", choose(axis, {}))]
    assert mine == every[3]
    assert len(set(every)) == 4


def test_an_imbalance_is_an_axis_over_the_same_test_split(tmp_path):
    plan = Plan(
        "toy",
        axes={"imbalance.factor": (1.0, 4.0)},
        imbalance=Imbalance("step"),
        seeds=(0, 1),
        references=False,
        training=Training("mlp", epochs=1, batch_size=16, lr=0.1, augment="none"),
    )
    folder = tmp_path / "study"
    with tiny.in_this_process():
        for event in stream({folder: plan}, data={folder: toy()}):
            assert "Failed" not in type(event).__name__, event
    found = open_study(folder)
    whole, cut = (found.of(label)[0] for label in found.labels)
    assert [len(found.of(label)) for label in found.labels] == [2, 2]
    assert sum(whole.run["train_counts"]) > sum(cut.run["train_counts"])
    assert np.array_equal(whole.predictions["test_targets"], cut.predictions["test_targets"])


def test_sharpness_aware_steps_are_compared_at_equal_time_as_well():
    plan, decided = fill(plan_of({"sam": [0.0, 0.05]}, training={"epochs": 5}), toy())
    assert plan.labels == ("sam=0", "sam=0.05", "epochs=3, sam=0.05")
    (said,) = [d for d in decided if d.setting == "variant"]
    assert said.words == "cross_entropy, epochs=3, sam=0.05"
    assert fill(plan, toy()) == (plan, ())
    own, _ = fill(plan_of({"sam": [0.0, 0.05], "epochs": [5, 9]}), toy())
    assert len(own.variants) == 4  # as they were asked for


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (["timm:test_resnet", "resnet8"], "make a study each"),
        (["timm:test_vit", "timm:tf_efficientnet_lite0"], "were trained on others: image_size"),
    ],
)
def test_nets_that_take_other_samples_are_no_axis(models, says):
    images = Splits(
        "toy",
        Split(torch.zeros(60, 3, 8, 8, dtype=torch.uint8), torch.arange(60) % 3),
        Split(torch.zeros(30, 3, 8, 8, dtype=torch.uint8), torch.arange(30) % 3),
        ("a", "b", "c"),
        "toy",
    )
    with pytest.raises(ValueError, match=says):
        fill(plan_of({"model": models}), images)


def test_fields_that_change_nothing_are_no_difference():
    plan = plan_of({"mix": ["none", "mixup"], "mix_alpha": [0.2, 1.0]})
    assert plan.labels == ("mix=none", "mix=mixup, mix_alpha=0.2", "mix=mixup, mix_alpha=1")
    search = {"mix": ["none", "mixup"], "mix_alpha": [0.2, 1.0]}
    trials = Plan(tuning=Tuning((0.1,), search)).trials(Variant())
    assert [{k: v for k, v in t.items() if k != "lr"} for t in trials] == [
        {"mix": "none"},
        {"mix": "mixup", "mix_alpha": 0.2},
        {"mix": "mixup", "mix_alpha": 1.0},
    ]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"axes": {"imbalance.factor": [1, 10]}}, "imbalance.profile is none everywhere"),
        ({"axes": {"retrain_lr": [0.1, 0.2]}}, "retrain is none everywhere"),
        ({"axes": {"weight_decay": [{"a": 1}]}}, "must be a list of values"),
        ({"axes": {"weight_decay": [10**400, 1]}}, "weight_decay must be within"),
        ({"axes": {"ema": [0.0, 0.9], "design": "one_by_one"}, "design": "leave_one_out"}, "once"),
        ({"variant": [{"loss": "cross_entropy", "loss.gamma": 1}]}, "that cross_entropy has"),
        ({"variant": [{"norm_settings": 1}]}, "each variant must be a table of settings"),
        ({"variant": [{"model": "mlp", "training": 5}]}, "each variant must be a table"),
        ({"variant": [{"model": "mlp", "training": {"model": "linear"}}]}, "with one model"),
        ({"variant": [{"imbalance": {"foo": 1}}]}, "must be a field of"),
        ({"variant": [{"imbalance": {"test": True}}]}, "the same test split"),
        ({"variant": [{"imbalance": {"factor": "a"}}]}, "imbalance.factor must be of the kind"),
        ({"variant": [{"model": "random_forest", "weight_decay": 0.1}]}, "is of nets"),
        ({"tuning": {"search": {"weight_decay": [-1, 0.1]}}}, "weight_decay must be within"),
        ({"tuning": {"search": {"weight_decay": ["a", 0.1]}}}, "must be of the kind"),
        ({"tuning": {"search": {"mix": ["none", "mixpu"]}}}, "did you mean 'mixup'"),
        ({"tuning": {"search": {"imbalance.factor": [2, 50]}}}, "compared, not tuned"),
        ({"tuning": {"grid": [-1.0, 0.1], "trials": 4}}, "tuning.grid must be within"),
        ({"tuning": {"trials": -1}}, "tuning.trials must be within"),
        ({"tuning": {"grid": [0.1], "search": {"lr": [0.2, 0.3]}}}, "must be said once"),
        (
            {"tuning": {"search": {"weight_decay": [*range(1, 900)], "momentum": [*range(900)]}}},
            "runs at most",
        ),
        (
            {"tuning": {"search": {"ema": [0.0, 0.9]}}, "training": {"patience": 2}},
            "does not go with",
        ),
    ],
)
def test_what_would_change_nothing_or_cannot_be_tuned_is_refused(table, says):
    with pytest.raises(ValueError, match=says) as error:
        read(table)
    assert "\n" not in str(error.value)


def test_values_of_numpy_and_ranges_are_lists():
    decays = np.array([1e-4, 1e-3], np.float32).astype(float)
    plan = Plan(axes={"weight_decay": decays, "epochs": range(2, 4)})
    assert plan == Plan(axes={"weight_decay": tuple(decays.tolist()), "epochs": (2, 3)})


def test_a_model_axis_of_classical_models_alone_trains_no_net():
    plan = Plan(axes={"model": ("random_forest", "logistic_regression")})
    assert plan.labels == ("random_forest", "logistic_regression")
