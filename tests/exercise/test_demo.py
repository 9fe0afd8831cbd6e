"""The demo: what is run, what is kept, what is written and printed."""

import json
import math

import pytest
import torch

from counterpoise.cli import _demo
from counterpoise.cli._shown import Output
from counterpoise.exercise import compare_losses, demo, explain_alpha, explain_norms
from counterpoise.exercise._summary import summarize
from counterpoise.metrics import score
from counterpoise.study import open_study, stream
from counterpoise.study.events import Chosen, Failed, Foreseen, Planned, Prepared


@pytest.fixture
def tiny(monkeypatch):
    """The digits in a setting of seconds."""
    setting = demo.Setting(data="digits", epochs=(1, 2), per_class=5, per_class_test=2)
    monkeypatch.setitem(demo.SETTINGS, ("digits", True), setting)


def test_the_demo_explains_its_runs_and_keeps_what_is_finished(tiny, tmp_path):
    plans = {tmp_path / name: plan for name, plan in demo.plans("digits", quick=True).items()}
    events = list(stream(plans))
    assert not [e for e in events if isinstance(e, Failed)]
    results = demo.explain(tmp_path)
    assert set(results["part1"]) == {"plain", "LayerNorm", "GroupNorm"}
    assert set(results["part2"]) == {demo.CE, demo.FOCAL, demo.FOCAL_MEAN_1}
    assert "digits" in results["data"]
    for figure in results["figures"]:
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    codes = {f["code"] for f in results["findings"]}
    assert len({f["text"] for f in results["findings"]}) == len(results["findings"])
    assert {"CP204", "CP209", "CP301", "CP302", "CP303", "CP309", "CP310", "CP312"} <= codes
    assert [f for f in results["findings"] if f["docs"] != f"findings.md#{f['code'].lower()}"] == []
    assert json.loads((tmp_path / "comparison.json").read_text())["findings"] == results["findings"]
    lines = [f"{f['code']} {f['text']}\n" for f in results["findings"]]
    assert (tmp_path / "findings.txt").read_text() == "".join(lines)
    assert results["part1"]["plain"][0]["test_accuracy"] is not None
    part_2 = open_study(tmp_path / "part2")
    assert part_2.data["train_counts"] == [5 * k for k in range(1, 11)]
    assert part_2.data["test_counts"] == [2 * k for k in range(1, 11)]
    (small,) = (f["evidence"] for f in results["findings"] if f["code"] == "CP310")
    sizes = range(1, 11)
    weight = 10 / (sum(1 / k for k in sizes) * sum(sizes))  # all classes weigh alike
    assert float(small["mean_weight"]) == pytest.approx(weight, rel=0.05)
    first, focal, _ = (math.hypot(*(row["grad_norm"] for row in r.flow)) for r in part_2.records)
    assert float(small["factor"]) == pytest.approx(first / focal, rel=0.05)
    before = {p: p.read_bytes() for p in tmp_path.glob("*/runs/*/run.json")}
    assert len(before) == 6
    again = [e for e in stream(plans) if not isinstance(e, Prepared | Foreseen | Planned | Chosen)]
    assert [e.kept for e in again] == [True] * 6
    assert {p: p.read_bytes() for p in tmp_path.glob("*/runs/*/run.json")} == before


RESULTS = {
    "data": "digits",
    "class_names": ["shirt"],
    "part1": {"plain": [{"epoch": 0, "test_accuracy": 0.1}]},
    "part2": {
        name: {
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "macro_f1": 0.5,
            "recall": [0.5],
            "support": [5],
        }
        for name in ("ce", "focal")
    },
    "findings": [{"code": "CP301", "text": "some finding"}],
    "figures": ["a.png"],
}


def test_the_tables_hold_accuracies_recalls_and_differences_in_points():
    def scores(accuracy, recall):
        means = {"accuracy": accuracy, "balanced_accuracy": 0.6, "macro_f1": 0.7}
        return means | {"recall": recall, "support": [5, 50]}

    nets, losses = demo.tables(
        {
            "part1": {
                "plain": [{"epoch": 0, "test_accuracy": 0.1}, {"epoch": 1, "test_accuracy": 0.25}]
            },
            "part2": {"ce": scores(0.5, [0.2, 0.9]), "focal": scores(0.75, [0.25, 0.875])},
            "class_names": ["shirt", "bag"],
        }
    )
    assert nets[1:] == (["net", "before", "epoch 1"], [["plain", "10.0%", "25.0%"]])
    assert losses[1:] == (
        ["", "ce", "focal"],
        [
            ["accuracy", "50.0%", "75.0%"],
            ["balanced accuracy", "60.0%", "60.0%"],
            ["macro-F1", "70.0%", "70.0%"],
            ["recall of shirt (n=5)", "20.0%", "25.0% (+5.0)"],
            ["recall of bag (n=50)", "90.0%", "87.5% (-2.5)"],
        ],
    )


def test_the_losses_of_the_demo_have_the_alpha_they_say():
    counts = torch.tensor([2, 6])
    assert demo.focal_sum_1(counts).weight.tolist() == pytest.approx([0.75, 0.25])
    assert demo.focal_mean_1(counts).weight.tolist() == pytest.approx([1.5, 0.5])


def scored(predicted):
    targets = [0] * 10 + [1] * 40 + [2] * 100
    return score(targets, predicted, 3)


def findings_of(plain, small):
    """Findings on two nets and on two losses; the second loss finds the rare class."""
    histories = {"plain": plain, "GroupNorm": 0.8}
    layers = {"plain": ((0.5, 1e-9), (1e-9, 1.0)), "GroupNorm": ((0.5, 0.5), (0.2, 1.0))}
    flows = {
        name: [{"visible_share": share, "grad_norm": norm} for share, norm in pairs]
        for name, pairs in layers.items()
    }
    rows = {name: [{"epoch": 3, "test_accuracy": a}] for name, a in histories.items()}
    found = explain_norms(rows, flows)
    ce, focal = (
        scored([other] * 10 + [1] * 20 + [2] * 20 + [third] * 100)
        for other, third in ((1, 2), (0, 1))
    )
    for name in ("focal, small", "focal, mean 1"):
        found += compare_losses("ce", ce, name, focal, ("a", "b", "c"))
    return found + explain_alpha([0.9, 0.1], [10, 90], [26.0, small, 10.0], [ce, focal, focal])


def test_the_last_words_say_what_was_seen_why_and_what_is_not_shown():
    against = "accuracy -60.0, balanced +0.0 (noise), rarest classes +100.0 points."
    assert summarize(findings_of(0.1, 1.0)) == [
        "Learned: GroupNorm (80.0%). No better than guessing: plain (10.0%).",
        "Why: plain's last activation hardly depends on the image (visible share 1.0e-09; "
        "0.2 with a norm).",
        f"Against cross entropy, focal, small: {against}",
        f"Against cross entropy, focal, mean 1: {against}",
        "Why: the first gradient is 26 times smaller than cross entropy's; with α of mean 1, "
        "2.6 times smaller.",
        "Not shown: another seed. It was one run each, and 7.5 points (balanced) are noise.",
        "Not shown: which loss is best. No learning rate was tuned; `counterpoise compare` tunes.",
    ]
    both = summarize(findings_of(0.5, 26.0))
    assert both[0] == "Learned: plain (50.0%), GroupNorm (80.0%)."
    assert both[1].startswith("Against")  # nothing failed, so there is nothing to explain
    assert "first gradient is about as large as cross entropy's" in both[3]


def test_the_demo_ends_with_eight_lines_and_prints_findings_if_asked(tiny, tmp_path, capsys):
    _demo._show(Output(), RESULTS | {"summary": summarize(findings_of(0.1, 1.0))}, tmp_path)
    printed = capsys.readouterr().out
    last = printed[printed.rindex("└") :].splitlines()[1:]
    assert len(last) == 8
    assert "findings.txt (--all prints them)" in last[-1]
    assert "CP301" not in printed
    _demo._show(Output(), RESULTS | {"summary": []}, tmp_path, every=True)
    assert "CP301 some finding" in capsys.readouterr().out
