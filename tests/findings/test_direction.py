"""A loss is told as its negative, a gain, is: all directions turned, and nothing else."""

import re

import numpy as np
import pytest
from tests.findings.conftest import make_study

from counterpoise import findings
from counterpoise.export._choose import choose
from counterpoise.findings import _training
from counterpoise.report import _predictions, _story
from counterpoise.report._variants import entries
from counterpoise.study import Training
from counterpoise.study.one_run import _monitored

BASE, NOISE = 0.50, np.array([0.0, 0.004, -0.003, 0.002, -0.002])
LINEAR, FOREST = "logistic regression", "balanced random forest"
STEPS = 0.0024 * np.arange(-1, 2)
SCENES = {  # gains on the baseline by seed: of variants, references, and adjusted variants
    "two are better": ({"focal": 0.06, "ldam": 0.03}, {LINEAR: -0.1, FOREST: -0.2}, -0.05),
    "one is worse": ({"focal": -0.06, "ldam": -0.03}, {LINEAR: 0.06, FOREST: 0.01}, -0.05),
    "a reference is alike": ({"focal": 0.03}, {LINEAR: 0.033, FOREST: 0.0}, -0.05),
    "adjusting does as well": ({"focal": 0.05, "ldam": 0.03}, {LINEAR: -0.2}, 0.052),
    "adjusting does worse": ({"focal": 0.05, "ldam": 0.03}, {LINEAR: -0.2}, 0.02),
    "few seeds, uncalled": ({"focal": 0.012 + STEPS}, {LINEAR: 0.012 + 20 * STEPS}, -0.05),
    "few seeds, behind": ({"focal": -0.012 + STEPS}, {LINEAR: -0.02 + 20 * STEPS}, -0.05),
}


def scene(runs, name, higher):
    """A study of a user's metric whose scores are gains, or the losses that they are."""
    variants, references, adjusted = SCENES[name]
    seeds = 3 if "few" in name else 5
    gains = {"cross_entropy": 0.0, **variants}
    hits = {label: dict.fromkeys(range(seeds), (90, 90, 90)) for label in gains}
    beside = dict.fromkeys(references, hits["cross_entropy"])
    study = make_study(runs, hits, references=beside, metric="made_up:score")
    sign = 1 if higher else -1
    for r in (*study.records, *study.references):
        own = np.broadcast_to({**gains, **references}[r.label], seeds)[r.seed]
        noise = NOISE[r.seed] + 0.0007 * NOISE[(r.seed * 2 + len(r.label)) % 5] / 0.004
        for kind, gain in {"test": own, "validation": own, "adjusted": adjusted}.items():
            r.run[kind]["made_up:score"] = sign * (BASE + gain + noise)
        r.run["spec"] = {"measure": {"higher_is_better": higher}}
    return study


def plain(text):
    """A sentence without its numbers."""
    return re.sub(r"[+-]?\d+(\.\d+)?", "#", text)


def told(study):
    """All that depends on which of two scores is the better one."""
    every = findings.collect_findings(study)
    words = [
        (f.code, *(v for v in f.evidence.values() if isinstance(v, str)), plain(f.text))
        for f in every
    ]
    ahead = [f.evidence["difference"] for f in every if f.code == "CP342"]
    parts = ("gain", "gain_low", "free", "difference", "difference_low")
    corrected = [[f.evidence[k] for k in parts] for f in every if f.code == "CP334"]
    chosen, ranking = choose(study), _story.ranking(study, entries(study), study.verdicts())
    best = max(study.of("focal"), key=lambda r: _predictions._on_validation(study, r))
    return {
        "words": words,
        "ahead": ahead,
        "corrected": corrected,
        "answers": {k: plain(v) for k, v in vars(findings.answers(study)).items()},
        "by": re.findall(r", by (\S+)", findings.answers(study).use),
        "verdicts": [(v.variant, v.words) for v in study.verdicts()],
        "references": [(v.variant, v.words) for v in study.reference_verdicts()],
        "best": (study.best, findings.best_variant(study), findings.reference_to_use(study)),
        "chosen": (chosen.label, chosen.records[0].seed, best.seed),
        "ranking": [row["variant"].label for row in ranking["rows"]],
    }


@pytest.mark.parametrize("name", SCENES)
def test_a_loss_is_told_as_the_gain_that_it_is(tmp_path, name):
    gain, loss = (told(scene(tmp_path, name, higher)) for higher in (True, False))
    for what in gain:
        assert gain[what] == loss[what], what


def test_the_scenes_have_all_that_can_be_told(tmp_path):
    every = [told(scene(tmp_path, name, True)) for name in SCENES]
    codes = {words[0] for scene in every for words in scene["words"]}
    assert {"CP330", "CP334", "CP340", "CP341", "CP342"} <= codes
    said = {words for scene in every for _, words in scene["verdicts"]}
    assert any("better" in words for words in said)
    assert any("worse" in words for words in said)
    assert any("only differences beyond the margin" in words for words in said)
    assert any(scene["by"] for scene in every)
    assert {scene["best"][2] for scene in every} >= {"", LINEAR}


@pytest.mark.parametrize(("slope", "improving"), [(-0.05, True), (0.05, False)])
def test_a_log_loss_that_falls_is_still_improving(tmp_path, slope, improving):
    rows = [{"epoch": e, "validation_nll": 2 + slope * e} for e in range(21)]
    study = make_study(
        tmp_path,
        {"focal": {0: (9, 9, 9)}},
        metric="nll",
        histories={"focal": rows},
        training=Training("mlp", epochs=20, lr=0.1),
    )
    found = _training.still_improving(study)
    assert bool(found) is improving
    assert all("negative log-likelihood on validation fell by 0.200 nats" in f.text for f in found)


def test_patience_watches_the_metric_where_it_is_watched():
    assert [_monitored(m) for m in ("nll", "accuracy", "f1")] == [
        "validation_nll",
        "validation_accuracy",
        "validation_balanced_accuracy",
    ]
