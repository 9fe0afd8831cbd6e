"""What a plan leaves open is decided by the data, said with its reason, and kept."""

import dataclasses
import json

import pytest
import torch

from counterpoise import data
from counterpoise.registry import METRICS
from counterpoise.study import Plan, Training, Tuning, Variant, open_study, stream
from counterpoise.study.defaults import carry_over, fill, fit_into, usual_steps
from counterpoise.study.events import Foreseen, Prepared
from counterpoise.study.plan_file import read_file
from counterpoise.study.settings import seconds_of

PHOTOS = [600, 359, 215, 129, 77, 46, 27, 16, 10, 6]


def splits(counts, shape=(3, 32, 32), names=None, dtype=torch.uint8):
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    split = data.Split(torch.zeros(len(targets), *shape, dtype=dtype), targets)
    names = names or tuple(f"class {k}" for k in range(len(counts)))
    return data.Splits("toy", split, split, names, "made by hand")


def test_photographs_get_batch_norm_flips_and_steps_enough():
    plan, defaults = fill(Plan("."), splits(PHOTOS))  # read from a folder
    t = plan.training
    assert plan.norms == ("batch",)
    assert plan.losses == ("cross_entropy", "logit_adjusted", "weighted")
    assert (t.model, t.image_size, t.augment, len(plan.seeds)) == ("resnet8", 32, "flip+crop", 5)
    assert t.batch_size == 32  # the square root of some 1,336 is 36.6
    assert t.epochs * 42 >= 40 * 1336**0.5 > (t.epochs - 1) * 42
    said = {d.setting for d in defaults}
    assert {"norms", "training.epochs", "training.batch_size", "tuning.epochs"} <= said
    assert all(d.reason for d in defaults)


def test_nothing_is_left_open_and_filling_again_changes_nothing():
    for found in (splits(PHOTOS), splits([90, 10], (7,), dtype=torch.float32)):
        plan, _ = fill(Plan("x"), found)
        assert fill(plan, found) == (plan, ())


def test_what_was_asked_for_stays():
    training = Training(
        model="deeper_cnn", epochs=3, batch_size=7, augment="none", lr=0.2, image_size=32
    )
    asked = Plan("x", norms=("layer",), losses=("focal",), seeds=(4, 5), training=training)
    margin = METRICS[asked.metric].margin
    assert fill(asked, splits(PHOTOS)) == (dataclasses.replace(asked, margin=margin), ())


def test_vectors_get_an_mlp_without_augmentation():
    plan, _ = fill(Plan("x"), splits([900, 100], (7,), dtype=torch.float32))
    assert (plan.norms, plan.training.model, plan.training.augment) == (("none",), "mlp", "none")


@pytest.mark.parametrize(
    ("names", "shape", "augment"),
    [
        (("0", "1", "12"), (1, 28, 28), "crop"),
        (("a", "B", "é"), (3, 32, 32), "crop"),
        (("cat", "dog", "0"), (3, 32, 32), "flip+crop"),
        (("cat", "dog", "cow"), (1, 8, 8), "none"),
    ],
)
def test_only_what_may_be_mirrored_is(names, shape, augment):
    plan, _ = fill(Plan("x"), splits([20, 20, 20], shape, names))
    assert plan.training.augment == augment


@pytest.mark.parametrize(
    ("counts", "size"),
    [([60, 60], 16), ([500, 500], 32), ([20_000, 20_000], 128), ([4000, 4], 128)],
)
def test_the_batch_size_follows_the_data_and_the_rarest_class(counts, size):
    assert fill(Plan("x"), splits(counts, (2, 20, 20)))[0].training.batch_size == size


def test_steps_grow_with_the_square_root_of_the_samples():
    assert [usual_steps(n) for n in (10, 400, 1600, 40_000, 10**6)] == [
        1000,
        1000,
        1600,
        8_000,
        20_000,
    ]


def test_times_are_read():
    assert [seconds_of(t) for t in ("90s", "15m", "2h", "1h30m", "7")] == [90, 900, 7200, 5400, 420]
    for text in ("", "soon", "15 minutes", "-3m", "0m", "1m2x"):
        with pytest.raises(ValueError, match="time must be"):
            seconds_of(text)


def cost(plan):
    """Say that an epoch takes a second, whatever runs beside it."""
    trials = sum(len(plan.trials(v)) for v in plan.variants) * plan.tuning.epochs
    return trials + len(plan.variants) * len(plan.seeds) * plan.training.epochs


def test_a_budget_takes_trials_first_then_seeds_then_epochs_down_to_half():
    asked = Plan("x", losses=("cross_entropy", "focal"))
    plan = dataclasses.replace(fill(asked, splits(PHOTOS))[0], time="1h")
    assert fit_into(plan, asked, cost) == (plan, ())
    seen = []
    for seconds in (cost(plan) - 1, 500, 350, 200, 1):
        tight = dataclasses.replace(plan, time=f"{seconds}s")
        cut, gave_way = fit_into(tight, asked, cost)
        seen.append(
            (len(cut.grids()["lr"]), len(cut.seeds), cut.training.epochs / plan.training.epochs)
        )
        assert cost(cut) <= 1.03 * seconds or seconds == 1  # tuning is rounded up
        named = {d.setting for d in gave_way} - {"tuning.epochs"}
        assert len(named) == sum(
            part < whole for part, whole in zip(seen[-1], (4, 5, 1), strict=True)
        )
    assert seen[0] == (2, 5, 1)
    assert seen[1][1] == 5
    assert seen[-1][:2] == (2, 3)
    assert seen[-1][2] == pytest.approx(0.5, abs=0.05)


def test_a_budget_never_makes_a_study_longer_and_says_all_that_gave_way():
    asked = Plan("x", losses=("focal",), seeds=(0,), tuning=Tuning(grid=(0.1, 0.2, 0.3, 0.4)))
    plan, _ = fill(asked, splits(PHOTOS))
    plan = dataclasses.replace(plan, time=f"{cost(plan) - 5}s")
    cut, gave_way = fit_into(plan, asked, cost)
    assert cost(cut) <= cost(plan) - 5
    assert {d.setting: d.value for d in gave_way} == {
        "training.epochs": cut.training.epochs,
        "tuning.epochs": cut.tuning.epochs,
    }


def test_images_too_small_for_a_convolutional_net_get_an_mlp():
    plan, _ = fill(Plan("x"), splits([20, 20], (1, 4, 5)))
    assert (plan.training.model, plan.training.image_size) == ("mlp", 0)


def test_a_single_variant_gets_its_norm_too():
    asked = Plan("x", variant=(Variant("auto", "poly"),))
    assert {v.norm for v in fill(asked, splits(PHOTOS))[0].variants} == {"batch"}


def test_a_budget_leaves_alone_what_was_asked_for():
    training = Training(epochs=50)
    asked = Plan("x", seeds=(0, 1, 2, 3), training=training, tuning=Tuning(grid=(0.1, 0.2)))
    plan = dataclasses.replace(fill(asked, splits(PHOTOS))[0], time="1s")
    assert fit_into(plan, asked, cost) == (plan, ())


def ask(folder, plan):
    """Ask for a study in a folder, and stop it before its first run."""
    events = stream({folder: plan})
    prepared, foreseen, _ = (next(events) for _ in range(3))  # study.json is written by now
    assert isinstance(prepared, Prepared)
    assert isinstance(foreseen, Foreseen)
    events.close()
    return prepared, foreseen.seconds


def test_a_budget_is_not_derived_anew_when_a_study_is_resumed(tmp_path, monkeypatch):
    folder = tmp_path / "s"
    asked = Plan("digits", time="1m", training=Training(model="mlp"))
    first, seconds = ask(folder, asked)
    assert seconds > 0
    kept = json.loads((folder / "study.json").read_text())
    monkeypatch.setattr("counterpoise.study._stream.estimate", lambda *_: lambda plan: 1e9)
    for again in (asked, read_file(folder / "plan.toml"), asked):
        found, _ = ask(folder, again)
        assert (found.plan, found.defaults) == (first.plan, ())
        now = json.loads((folder / "study.json").read_text())
        assert (now["runs"], now["asked"]) == (kept["runs"], kept["asked"])
    more, _ = ask(folder, dataclasses.replace(asked, seeds=(0, 1, 2, 3, 4, 5)))
    assert more.plan == dataclasses.replace(first.plan, seeds=(0, 1, 2, 3, 4, 5))
    other, _ = ask(folder, dataclasses.replace(asked, time="2m"))
    assert other.plan.training.epochs < first.plan.training.epochs  # it costs 1e9 seconds now


def test_a_study_that_goes_on_with_more_losses_keeps_its_other_settings(tmp_path):
    asked = Plan("digits", losses=("focal",), training=Training(model="mlp", lr=0.1))
    first, _ = ask(tmp_path / "s", asked)
    second, _ = ask(tmp_path / "s", dataclasses.replace(asked, losses=("focal", "poly")))
    assert second.plan == dataclasses.replace(first.plan, losses=("focal", "poly"))


def test_what_is_asked_for_otherwise_than_before_is_decided_anew():
    before = Plan("x", training=Training(epochs=7))
    decided, _ = fill(before, splits(PHOTOS))
    now = carry_over(Plan("x"), before, decided)
    assert now.training.epochs == 0
    assert now.training.batch_size == 32


def test_a_study_that_was_decided_for_other_data_is_decided_anew(tmp_path):
    def write(rows):
        lines = [f"{i},{i % 2}" for i in range(rows)]
        (tmp_path / "t.csv").write_text("\n".join(["a,target", *lines]))

    plan = Plan(str(tmp_path / "t.csv"))
    write(100)
    small, _ = ask(tmp_path / "s", plan)
    write(4000)
    large, _ = ask(tmp_path / "s", plan)
    assert large.plan.training.batch_size > small.plan.training.batch_size


def test_the_plan_on_disk_says_all_that_was_decided(tmp_path):
    prepared, _ = ask(tmp_path / "s", Plan("digits", training=Training(model="mlp")))
    assert open_study(tmp_path / "s").plan == prepared.plan
    assert open_study(tmp_path / "s").edited == ()
    text = (tmp_path / "s" / "plan.toml").read_text()
    assert f"epochs = {prepared.plan.training.epochs} " in text
    assert "auto" not in text.replace('lr = "auto"', "").split("[training]")[0].split("#")[0]
