"""Studies with averaged weights, sharpness-aware steps and retrained heads."""

from dataclasses import replace

import pytest
from tests.study.small import QUICK, plan, run

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


TOGETHER = [{"model": "linear"}, {"stack_seeds": True}]


@pytest.mark.parametrize(
    "words",
    [
        *({"ema": 0.9} | words for words in [*TOGETHER, {"patience": 1}]),
        {"ema": 0.9, "shard": True, "devices": 2},
    ],
)
def test_what_does_not_go_together_is_refused(words):
    with pytest.raises(ValueError, match=r"does not go with .*; leave one of them out"):
        plan(training=replace(QUICK, **words))
