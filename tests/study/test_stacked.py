"""Studies whose seeds are stacked: the runs of a variant are trained as one batch of models."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.study.small import files, plan, run
from tests.study.test_heads import compare, jobs_of, killed_when, processes  # noqa: F401 a fixture

from counterpoise.study import Training, Tuning, _heads, _together, record
from counterpoise.study.events import Epoch, Failed, Finished, Unstacked

TRAINING = Training("mlp", epochs=2, lr=0.05, batch_size=64, stack_seeds=True)
CODE = """\
from torch import nn
def net(norm, shape, num_classes):
    flat = shape.numel() if hasattr(shape, "numel") else 64
    return nn.Sequential(nn.Flatten(), nn.Linear(flat, 16), nn.Dropout(), nn.Linear(16, 10))
"""


def study(**changes):
    return plan(**{"seeds": (0, 1, 2), "training": TRAINING, **changes})


def records(folder):
    """Each run's, its history and its logits, by what it trained."""
    found = {}
    for path in (folder / "runs").iterdir():
        content, lines = record.read(path), (path / "history.jsonl").read_text().splitlines()
        spec, logits = content["spec"], None
        if spec["stage"] == "final":
            logits = np.load(path / "predictions.npz")["test_logits"]
        key = (spec["variant"]["loss"], spec["stage"], spec["seed"], spec["training"]["lr"])
        found[key] = content, list(map(json.loads, lines)), logits
    return found


def alone(made):
    return replace(made, training=replace(made.training, stack_seeds=False))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {
                "training": replace(TRAINING, lr="auto"),
                "tuning": Tuning((0.05, 0.02), seeds=2),
                "losses": ("focal",),
            },
            marks=pytest.mark.slow,
        ),
        {
            "training": replace(TRAINING, model="deeper_cnn", augment="flip+crop", clip_norm=1.0),
            "norms": ("group",),
            "losses": ("ldam+drw",),
            "samplers": ("balanced",),
        },
    ],
    ids=["tuned", "images"],
)
def test_records_are_those_of_runs_alone_up_to_rounding(tmp_path, processes, changes):  # noqa: F811
    made = study(**changes)
    events = run(made, tmp_path / "stacked", workers=2)
    assert not [e for e in events if isinstance(e, Failed | Unstacked)]
    assert max(map(len, processes)) == 3
    assert min(map(len, processes)) >= 2
    run(alone(made), tmp_path / "alone", workers=2)
    found, wanted = records(tmp_path / "stacked"), records(tmp_path / "alone")
    assert found.keys() == wanted.keys()
    for key, (content, history, logits) in found.items():
        other, rows, expected = wanted[key]
        assert content["spec"]["training"].pop("stack_seeds") is True
        assert content["spec"] == other["spec"]
        for row, line in zip(history, rows, strict=True):
            if row["epoch"] == 0:
                assert row.pop("loss") is line.pop("loss") is None
            assert row == pytest.approx(line, rel=1e-3)
        if key[1] == "final":
            np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_stacked_is_trained_alone_and_said(tmp_path, monkeypatch, processes):  # noqa: F811
    (tmp_path / "drops.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = study(training=replace(TRAINING, model="drops:net"), losses=("cross_entropy",))
    events = run(made, tmp_path / "stacked", workers=1)
    (said,) = [e for e in events if isinstance(e, Unstacked)]
    assert "3 seeds are trained one by one" in said.text
    assert "randomness" in said.text
    assert [len(group) for group in processes] == [3]
    assert len([e for e in events if isinstance(e, Finished)]) == 3
    run(alone(made), tmp_path / "alone", workers=1)
    found, wanted = records(tmp_path / "stacked"), records(tmp_path / "alone")
    for key, (*_, logits) in found.items():
        np.testing.assert_array_equal(logits, wanted[key][-1])


def test_a_killed_group_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    made = study(losses=("focal",), training=replace(TRAINING, epochs=3))
    monkeypatch.setattr(_together, "_SAVED_EVERY", 0.0)
    group = list(jobs_of(tmp_path / "killed", made).values())
    killed_when(group, lambda e, _: isinstance(e, Epoch) and e.row["epoch"] == 2)
    assert [record.checkpoint_time(job.folder) is not None for job in group] == [True] * 3
    compare(tmp_path / "killed", made)
    compare(tmp_path / "undisturbed", made)
    assert files(tmp_path / "killed" / "runs") == files(tmp_path / "undisturbed" / "runs")


def test_groups_are_seeds_of_a_variant(tmp_path):
    jobs = jobs_of(tmp_path / "study", study(seeds=range(18)))  # of two losses
    groups = _heads.grouped(jobs, 2).values()
    assert [len(group) for group in groups] == [9] * 4
    for group in groups:
        assert len({job.spec.variant.loss for job in group}) == 1
    beside = [job.spec.variant.loss for job in _heads.seeds_together(jobs).values()]
    assert beside == sorted(beside)
    few = {name: job for name, job in jobs.items() if job.spec.seed < 1}
    assert _heads.grouped(few) == {name: (job,) for name, job in few.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"patience": 2},
        {"compile": True},
        {"accumulate": 2},
        {"precision": "bfloat16"},
        {"devices": 2},
        {"model": "linear"},
        {"model": "timm:resnet18"},
    ],
)
def test_other_ways_of_training_are_refused(settings):
    with pytest.raises(ValueError, match="stack_seeds is of small nets in float32 on one device"):
        study(norms=("auto",), training=replace(TRAINING, **settings))
