"""Studies with averaged weights, sharpness-aware steps and retrained heads."""

from dataclasses import replace

import pytest
from safetensors.torch import load
from tests.study.small import QUICK, files, plan, run
from torch import nn

from counterpoise.study import open_study


def opened(folder, **training):
    run(plan(seeds=(0,), training=replace(QUICK, **training)), folder, workers=1)
    return open_study(folder)


def test_averaged_weights_are_the_runs_and_the_last_ones_are_scored_beside(tmp_path, finished):
    study, plain = opened(tmp_path / "study", ema=0.9), open_study(finished)
    for label in study.labels:
        (record,), before = study.of(label), plain.of(label)[0]
        assert record.run["last"] == {k: before.run[k] for k in ("validation", "test")}
        assert record.run["test"] != before.run["test"]
        score = record.run["validation"]["balanced_accuracy"]
        assert score == record.history[-1]["ema_validation_balanced_accuracy"]


def test_a_retrained_run_goes_on_with_its_head_and_balanced_counts(tmp_path, finished):
    words = {"retrain": "crt", "retrain_epochs": 2}
    study, plain = opened(tmp_path / "study", **words), open_study(finished)
    for label in study.labels:
        (record,), before = study.of(label), plain.of(label)[0]
        assert [(row["epoch"], row["stage"]) for row in record.history] == [
            *((0, 1), (1, 1), (2, 1)),
            *((3, 2), (4, 2)),
        ]
        for row, other in zip(record.history, before.history, strict=False):
            assert row == other | {"stage": 1}
        score = record.run["validation"]["balanced_accuracy"]
        assert score == record.history[-1]["validation_balanced_accuracy"]
        assert len(set(record.run["seen_counts"])) == 1
        assert len(set(before.run["seen_counts"])) > 1
        nets = [load((r.folder / "weights.safetensors").read_bytes()) for r in (record, before)]
        changed = {k for k in nets[0] if not nets[0][k].equal(nets[1][k])}
        assert changed == {"layers.5.weight", "layers.5.bias"}


def test_all_stages_have_the_same_bytes_with_any_number_of_workers(tmp_path):
    words = {"ema": 0.9, "retrain": "crt", "retrain_epochs": 2}
    made = plan(losses=("cross_entropy", "ldam"), training=replace(QUICK, **words))
    for workers in (1, 2):
        run(made, tmp_path / str(workers), workers=workers)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    one = open_study(tmp_path / "1").of("ldam")[0].run
    assert one["cosine_scale"] == 30
    assert one["last"]["test"] != one["test"]


def squashed(norm, shape, num_classes):
    """A net whose logits are not its head's."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes), nn.Tanh())


@pytest.mark.parametrize(
    ("model", "losses", "how"),
    [
        (f"{__name__}:squashed", ("focal",), "crt"),
        (f"{__name__}:squashed", ("focal",), "lws"),
        ("mlp", ("ldam",), "lws"),
    ],
)
def test_a_net_without_a_head_to_retrain_is_refused_before_anything(tmp_path, model, losses, how):
    made = plan(losses=losses, training=replace(QUICK, model=model, retrain=how))
    with pytest.raises(ValueError, match=r"training.retrain = '...' needs a net with a linear"):
        run(made, tmp_path / "study")
    assert not (tmp_path / "study").exists()


TOGETHER = [{"model": "linear"}, {"stack_seeds": True}]


@pytest.mark.parametrize(
    "words",
    [
        *({"ema": 0.9} | words for words in [*TOGETHER, {"patience": 1}]),
        *({"retrain": "lws"} | words for words in [*TOGETHER, {"devices": 2}]),
        *({"sam": 0.05} | words for words in TOGETHER),
        {"sam": 0.05, "shard": True, "devices": 2},
        {"ema": 0.9, "shard": True, "devices": 2},
    ],
)
def test_what_does_not_go_together_is_refused(words):
    with pytest.raises(ValueError, match=r"does not go with .*; leave one of them out"):
        plan(training=replace(QUICK, **words))
