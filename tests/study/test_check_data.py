"""What cannot work on the data is refused before any run, in one line, and nothing is left."""

import numpy as np
import pytest
import torch
from tests.covering import in_turn

from counterpoise import losses
from counterpoise.data import Split, Splits
from counterpoise.study import Imbalance, Plan, Training, Tuning, Variant, compare, stream
from counterpoise.study._check_data import check_data, check_plan_on
from counterpoise.study.defaults import fill

TARGETS = torch.arange(12) % 3
X = torch.zeros(12, 4)


def made(
    x=X, y=TARGETS, test_x=X, test_y=TARGETS, names=("a", "b", "c"), name="toy", source="here"
):
    return Splits(name, Split(x, y), Split(test_x, test_y), names, source)


def check(plan, data):
    check_plan_on(fill(plan, data)[0], data)


def refused(tmp_path, says, data, plan=None):
    """What is said when a study is begun; it must leave nothing behind."""
    plan = Plan(training=Training(epochs=1, lr=0.1)) if plan is None else plan
    with pytest.raises((ValueError, TypeError), match=says) as told:
        next(stream({tmp_path / "study": plan}, data={tmp_path / "study": data}))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 1000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"test_x": torch.zeros(12, 5)}, r"got \(4,\) torch.float32 and \(5,\) torch.float32"),
        ({"test_x": torch.zeros(12, 4, 1)}, "the same shape and dtype"),
        ({"test_x": torch.zeros(12, 4).double()}, "float32 and .* torch.float64; bring both"),
        ({"test_x": torch.zeros(12, 4, dtype=torch.uint8)}, "torch.uint8"),
        ({"test_x": X[:0], "test_y": TARGETS[:0]}, "the test split must have samples, got none"),
        ({"x": X[:0], "y": TARGETS[:0]}, "the train split must have samples, got none"),
        ({"x": torch.zeros(12, 0), "test_x": torch.zeros(12, 0)}, "each sample must hold a number"),
        ({"x": X + torch.nan}, "48 of 48 numbers of the train split are NaN or infinite; fill"),
        ({"test_x": X - torch.inf}, "48 of 48 numbers of the test split are NaN or infinite"),
        ({"y": TARGETS * 0, "test_y": TARGETS * 0, "names": ("a",)}, "two classes at least"),
        ({"names": ("a", "b", "\udce9")}, "class_names must be text that UTF-8 can write, but got"),
        ({"source": "caf\udce9"}, "source must be text that UTF-8 can write"),
    ],
)
def test_data_that_no_training_could_use(tmp_path, change, says):
    refused(tmp_path, says, made(**change))


def test_what_is_no_data_set(tmp_path):
    refused(tmp_path, "data must be a counterpoise.data.Splits, but got tuple", (X, TARGETS))


def test_data_that_can_be_used_pass():
    check_data(made())
    check(Plan(losses=tuple(losses.ALL)), made())


def test_compare_refuses_a_train_part_with_gaps(tmp_path):
    with pytest.raises(ValueError, match="numbers of the train split are NaN"):
        compare(made(x=X + torch.nan), out=tmp_path / "study")
    assert list(tmp_path.iterdir()) == []


def test_files_whose_parts_are_on_two_scales(tmp_path, monkeypatch):
    """It cost 0.8 points in silence: 0 .. 255 was trained on as 0 .. 1, and tested on as it is."""
    x = np.zeros((12, 8, 8))
    arrays = {"y_train": TARGETS, "y_test": TARGETS, "x_train": x.astype(np.uint8), "x_test": x}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=r"torch.uint8 and \(1, 8, 8\) torch.float32"):
        compare(tmp_path / "a.npz", out=tmp_path / "study")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@in_turn(
    loss=losses.ALL,
    refusal=[
        ({"gama": 1.0}, "gama"),
        ({"reduction": "none"}, "it gives 3 numbers where a training needs one"),
        ({"reduction": "men"}, "reduction must be one of"),
        ({"label_smoothing": 1.5}, "label_smoothing must be within 0 .. 1"),
        ({"label_smoothing": "x"}, "label_smoothing must be a number"),
        ({"label_smoothing": [0.1, 0.2]}, "label_smoothing must be a number"),
        ({"ignore_index": "x"}, ""),
        ({"weight": [1.0, 2.0]}, "one entry per class|multiple values|the lengths are"),
        ({"weight": 1.0}, "one finite number per class|multiple values"),
        ({"weight": []}, "one entry per class|multiple values"),
    ],
)
def test_settings_of_a_loss_that_no_run_could_use(tmp_path, loss, refusal):
    settings, says = refusal
    if "focal" in loss and "weight" in settings:  # whose paper calls it so
        settings = {"alpha": settings["weight"]}
    plan = Plan(variant=(Variant(loss=loss, settings=settings),))
    refused(tmp_path, f"loss '{loss}' must be one to train 3 classes with.*{says}", made(), plan)


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        ("focal", {"gamma": -1.0}),
        ("focal", {"gamma": 1e300}),
        ("focal+drw", {"alpha": [1.0, 2.0]}),
        ("cross_entropy", {"scale": [1e300, 1.0, 1.0]}),
        ("cross_entropy", {"offset": [1.0]}),
        ("class_balanced", {"beta": 1.0}),
        ("class_balanced", {"beta": [0.9]}),
        ("logit_adjusted", {"tau": 1e300}),
        ("vs", {"power": -1.0}),
        ("poly", {"epsilon": -2.0}),
        ("ldam", {"scale": 0.0}),
        ("ldam", {"max_margin": "x"}),
    ],
)
def test_numbers_of_a_loss_that_teach_nothing(tmp_path, loss, settings):
    plan = Plan(variant=(Variant(loss=loss, settings=settings),))
    y = torch.tensor([0] * 6 + [1] * 4 + [2] * 2)
    refused(tmp_path, f"loss '{loss.replace('+', '.')}' must be one to train", made(y=y), plan)


@pytest.mark.parametrize(
    ("shape", "training", "norms", "says"),
    [
        ((4,), {"model": "resnet8"}, ("none",), r"model 'resnet8' with norm 'none'.*\(4,\)"),
        ((), {}, ("none",), r"samples of shape \(\)"),
        ((2, 3, 8, 8), {"model": "resnet8"}, ("none",), r"samples of shape \(2, 3, 8, 8\)"),
        ((1, 8, 8), {"augment": "flip"}, ("layer2d", "rms"), None),
        ((4,), {"augment": "flip"}, ("none",), "images"),
        ((4,), {"batch_size": 1}, ("none", "batch"), "norm 'batch' must be made for 1 samples"),
        ((1, 8, 8), {"batch_size": 1}, ("none", "batch"), None),
    ],
)
def test_models_that_are_not_made_for_the_samples(tmp_path, shape, training, norms, says):
    x = torch.zeros(12, *shape)
    plan = Plan(norms=norms, training=Training(**training))
    if says is None:
        check(plan, made(x=x, test_x=x))
    else:
        refused(tmp_path, says, made(x=x, test_x=x), plan)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_that_our_nets_cannot_take(tmp_path, dtype):
    x = X.to(dtype)
    refused(tmp_path, f"uint8 or float32 for model 'mlp', but are {dtype}", made(x=x, test_x=x))
    with pytest.raises(ValueError, match="'my_own:net' must name something"):
        check(Plan(training=Training("my_own:net")), made(x=x, test_x=x))


def test_a_net_that_does_not_fit_into_memory(tmp_path):
    """256 numbers for each of 10^9 features, and no machine of a terabyte."""
    x = torch.zeros(1, 1).expand(3, 10**9)
    plan = Plan(training=Training(lr=0.1, validation=0.0, watch=()))
    says = r"model 'mlp' with norm 'none' .* but: it needs [\d,.]+ GiB at least"
    with pytest.raises(ValueError, match=says):
        check(plan, made(x, TARGETS[:3], x, TARGETS[:3]))


@pytest.mark.parametrize(
    ("imbalance", "says"),
    [
        ({"profile": "exponential", "factor": 1e9}, "factor must not exceed largest=4"),
        (
            {"profile": "step", "factor": 2.0, "largest": 100},
            "50 asked for class 0",
        ),
        (
            {"profile": "linear", "factor": 2.0, "test": True, "test_largest": 9},
            "6 asked for class 1",
        ),
        ({"profile": "linear", "factor": 9.0, "largest": 4}, "factor must not exceed largest=4"),
    ],
)
def test_class_sizes_that_the_data_do_not_have(tmp_path, imbalance, says):
    refused(tmp_path, says, made(), Plan(imbalance=Imbalance(**imbalance)))


def test_a_class_without_samples_that_is_to_be_cut(tmp_path):
    data = made(y=TARGETS.clamp(max=1))
    says = "largest must be at least 1, got 0; .* samples of every class"
    refused(tmp_path, says, data, Plan(imbalance=Imbalance("linear", 2.0)))


def test_a_training_part_of_which_nothing_can_be_held_out(tmp_path):
    data = made(x=X[:3], y=TARGETS[:3])
    refused(tmp_path, "training.validation needs a class of two samples", data)
    fixed = Training(lr=0.1, validation=0.0, watch=())
    check(Plan(training=fixed), data)


def test_a_plan_that_no_file_can_hold(tmp_path):
    plan = Plan(tuning=Tuning(grid=(0.1,)))
    object.__setattr__(plan, "margin", float("inf"))
    refused(tmp_path, "margin must be above 0 and at most 1, but got inf", made(), plan)


def test_what_users_bring_is_imported_and_no_more(tmp_path, monkeypatch):
    (tmp_path / "mine_to_check.py").write_text("def make(*_, **__): raise RuntimeError('mine')")
    monkeypatch.chdir(tmp_path)
    word = "mine_to_check:make"
    check(
        Plan(
            norms=(word,), losses=(word,), samplers=(word,), training=Training(word, augment=word)
        ),
        made(),
    )
    (tmp_path / "mine_to_check.py").unlink()
    with pytest.raises(ValueError, match="'no_module_here:make' must name something"):
        check(Plan(losses=("no_module_here:make",)), made())
