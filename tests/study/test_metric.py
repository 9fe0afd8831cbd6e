"""Studies decided by other metrics: direction, unit, costs, functions of the user's."""

import json
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.special import softmax
from sklearn.metrics import fbeta_score, log_loss, matthews_corrcoef
from tests.faults.tiny import in_this_process

from counterpoise import data, findings, plots
from counterpoise.cli import _tables
from counterpoise.export._choose import choose
from counterpoise.registry import METRICS
from counterpoise.report import render
from counterpoise.report._numbers import score
from counterpoise.study import AfterTraining, Training, Tuning, compare, open_study, record

MLP = Training("mlp", epochs=3, batch_size=32)
OWN = """
def regret(targets, probabilities):
    return 1 - probabilities[range(len(targets)), targets].mean()

regret.higher_is_better = False

def word(targets, probabilities):
    return "none"
"""


def illness(classes=2):
    """600 samples, a fifth of them ill; the classes overlap."""
    rng = torch.Generator().manual_seed(0)

    def split(n):
        targets = (torch.rand(n, generator=rng) < 0.2).long()
        return data.Split(torch.randn(n, 4, generator=rng) + targets[:, None], targets)

    names = ("well", "ill", *map(str, range(2, classes)))
    return data.Splits("illness", split(600), split(300), names, "made up")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """By log-loss cross entropy is better than logit adjustment, by balanced accuracy worse."""
    with in_this_process():
        return compare(
            illness(),
            losses=["logit_adjusted", "cross_entropy"],
            metric="nll",
            seeds=3,
            out=tmp_path_factory.mktemp("study") / "nll",
            training=MLP,
            tuning=Tuning((0.1, 1e-5)),
        )


def test_the_lower_log_loss_is_better(study):
    nll, recall = (
        {k: np.mean(list(v.values())) for k, v in study.scores(metric).items()}
        for metric in (None, "balanced_accuracy")
    )
    assert nll["cross_entropy"] < nll["logit_adjusted"]
    assert recall["cross_entropy"] < recall["logit_adjusted"]
    assert study.best == "cross_entropy" == findings.best_variant(study)
    (verdict,) = study.verdicts()
    assert verdict.verdict == "better"
    assert verdict.interval.high < 0
    assert verdict.comparison.wins == 3
    assert verdict.comparison.margin == study.plan.margin == 0.01
    for r in study.records:
        z = r.predictions["test_logits"].astype(float)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        assert r.run["test"]["nll"] == pytest.approx(log_loss(r.predictions["test_targets"], p))


def test_the_learning_rate_and_the_seed_have_the_lowest_log_loss(study):
    for label, rate in study.choices.items():
        tried = {r.lr: r.run["validation"]["nll"] for r in study.tuning if r.label == label}
        assert rate == {"lr": min(tried, key=tried.get)}
        assert len(tried) == 2
    choice = choose(study)
    assert choice.label == "cross_entropy"
    held = {r.seed: r.run["validation"]["nll"] for r in study.of("cross_entropy")}
    assert choice.records[0].seed == min(held, key=held.get)
    assert f"({min(held.values()):.3f} nats)" in choice.seeds


def test_references_are_ranked_by_the_lowest_log_loss(study):
    scores = {k: np.mean(list(v.values())) for k, v in study.reference_scores().items()}
    for v in study.reference_verdicts():
        higher = scores[v.variant] > np.mean(list(study.scores()[study.best].values()))
        assert v.verdict in (
            ("worse", "cannot tell yet") if higher else ("better", "cannot tell yet")
        )
    told = [f for f in findings.collect_findings(study) if f.code in ("CP340", "CP342")]
    learned = {
        k: x for k, x in scores.items() if k not in (findings.IGNORANT, study.adjusted_label)
    }
    assert [f.evidence["reference"] for f in told] == [min(learned, key=learned.get)]
    behind = min(learned.values()) < np.mean(list(study.scores()[study.best].values()))
    assert told[0].code == ("CP340" if behind else "CP342")
    assert told[0].evidence["difference"] > 0 or told[0].code == "CP340"


def test_log_losses_are_told_in_nats(study, tmp_path):
    gain = study.verdicts()[0].interval.estimate
    said = " ".join(f.text for f in findings.collect_findings(study) if f.code == "CP330")
    assert "cross_entropy is better than logit_adjusted: " in said
    assert f"{gain:+.3f} nats of negative log-likelihood" in said
    use = findings.answers(study)
    assert f"Better than logit_adjusted: cross_entropy {gain:+.3f} nats" in use.better
    assert f"{gain:+.3f} nats" in repr(study.verdicts()[0])
    out = Console(file=StringIO(), width=200)
    _tables.show_study(out, study)
    page = render(study, tmp_path / "page.html").read_text()
    mean = np.mean(list(study.scores()["cross_entropy"].values()))
    assert f"{mean:.3f} nats" in out.file.getvalue()
    assert f"{mean:.3f} nats" in page
    assert "differences to itself as trained, in nats" in out.file.getvalue()
    assert "means over the seeds; differences in nats" in page
    adjusted = study.after_training()[0].adjusted.difference.estimate
    assert f" {adjusted:+.3f} ±" in out.file.getvalue()
    assert score(study.metric, study.ensembles()["cross_entropy"].low) in page
    ranked = page[page.index("the best mean first") :]
    assert ranked.index("cross_entropy") < ranked.index("logit_adjusted")
    assert ranked.index("better") < ranked.index("worse")  # on the axis: lower is to the left
    assert "Lower is better. Differences of less than 0.01 nats do not matter." in page
    for text in (out.file.getvalue(), page, said, *vars(use).values()):
        assert f"{100 * mean:.1f}%" not in text
    found = json.loads(_tables.results_json(study))
    assert (found["unit"], found["higher_is_better"], found["best"]) == ("nats", False, study.best)


def test_the_forest_says_which_side_is_better(study):
    intervals = {v.variant: v.interval for v in study.verdicts()}
    axes = plots.forest(intervals, unit="nats", higher_is_better=False, margin=0.01)
    assert axes.get_xlabel().endswith("(nats); better to the left")
    assert axes.lines[-1].get_xdata()[0] == intervals["cross_entropy"].estimate


def test_a_study_of_before_there_were_these_scores_opens(study):
    for r in (*study.records, *study.references):
        path = r.folder / record.RUN
        content = record.unseal(path)
        for kind in {"validation", "test", "adjusted", "normalized"} & content.keys():
            for key in ("geometric_mean", "matthews", "cohen_kappa", "auroc", "macro_auroc"):
                del content[kind][key]
        path.write_text(record.seal(content))
    again = open_study(study.folder)
    assert again.scores() == study.scores()
    assert set(again.scores("matthews")["cross_entropy"].values()) == {None}
    assert _tables.results_json(again)


def small(metric, out, **settings):
    settings = {"references": False, "losses": ["cross_entropy", "logit_adjusted"], **settings}
    training = Training("mlp", epochs=3, batch_size=32, lr=0.1)
    with in_this_process():
        return compare(illness(), metric=metric, seeds=2, out=out, training=training, **settings)


def test_costs_are_read_by_class_names_and_the_lower_is_better(tmp_path):
    (tmp_path / "costs.csv").write_text(",ill,well\nwell,1,0\nill,0,20\n")
    study = small("expected_cost", tmp_path / "study", costs=str(tmp_path / "costs.csv"))
    for r in study.records:
        targets, answers = r.predictions["test_targets"], r.predictions["test_logits"].argmax(1)
        missed, alarms = ((targets == 1) & (answers == 0)), ((targets == 0) & (answers == 1))
        assert r.run["test"]["expected_cost"] == pytest.approx((20 * missed + alarms).mean())
    for label, ensemble in study.ensembles().items():
        own = [softmax(r.predictions["test_logits"], axis=1) for r in study.of(label)]
        answers = np.sum(np.log(own), 0).argmax(1)
        missed, alarms = ((targets == 1) & (answers == 0)), ((targets == 0) & (answers == 1))
        assert ensemble.score == pytest.approx((20 * missed + alarms).mean())
    assert study.best == "logit_adjusted"  # of which fewer are missed
    counts = study.data["train_counts"]
    assert study.plan.margin == pytest.approx(0.01 * counts[0] / sum(counts), rel=0.01)
    (tmp_path / "costs.csv").unlink()  # the runs hold what they were measured by
    assert open_study(study.folder).best == "logit_adjusted"


def test_a_function_of_ones_own_is_measured_and_not_needed_again(tmp_path, monkeypatch):
    (tmp_path / "made_up_metric.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    study = small("made_up_metric:regret", tmp_path / "study", classical=["logistic_regression"])
    for r in study.records:
        z = r.predictions["test_logits"].astype(float)
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        wanted = 1 - p[np.arange(len(p)), r.predictions["test_targets"]].mean()
        assert r.run["test"]["made_up_metric:regret"] == pytest.approx(wanted)
    (tmp_path / "made_up_metric.py").unlink()
    monkeypatch.delitem(__import__("sys").modules, "made_up_metric")
    again = open_study(study.folder)
    assert not again.metric.higher_is_better
    means = {k: np.mean(list(v.values())) for k, v in again.scores().items()}
    assert again.best == min(means, key=means.get)
    assert "regret" in findings.answers(again).use
    assert again.ensembles() == {}
    assert again.scores(kind="normalized").keys() == means.keys()


def test_a_function_that_gives_no_number_fails_in_its_runs(tmp_path, monkeypatch):
    (tmp_path / "made_up_word.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="must give a number, but gave a str"):
        small("made_up_word:word", tmp_path / "study", losses=["cross_entropy"])


def test_the_positive_class_is_the_rarer_one_and_is_said(tmp_path):
    study = small("f_beta:2", tmp_path / "study", losses=["cross_entropy"])
    for r in study.records:
        truth, answers = r.predictions["test_targets"] == 1, r.predictions["test_logits"].argmax(1)
        wanted = fbeta_score(truth, answers == 1, beta=2)
        assert study.scores()["cross_entropy"][r.seed] == pytest.approx(wanted)
    assert study.metric.label == "F-beta of β = 2 of ill"
    assert "F-beta of β = 2 of ill" in render(study, tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("settings", "classes", "said"),
    [
        ({"metric": "f1"}, 3, "is of the positive one of two classes, but the data have 3"),
        ({"metric": "recall_at_precision:0.9"}, 3, "two classes, but the data have 3"),
        ({"metric": "f_beta:0"}, 2, "must have a number above 0"),
        ({"metric": "log_los"}, 2, "metric must be one of"),
        ({"metric": "no_such_module:metric"}, 2, "must name something that can be imported"),
        (
            {"metric": "expected_cost"},
            2,
            "go together, but got metric 'expected_cost' and costs ''",
        ),
        ({"costs": "costs.csv"}, 2, "go together"),
        ({"metric": "expected_cost", "costs": "none.csv"}, 2, "none.csv: No such file"),
        (
            {"metric": "expected_cost", "costs": "costs.csv"},
            3,
            "must name every class once, but lacks 2",
        ),
        ({"metric": "accuracy", "margin": 1.5}, 2, "above 0 and at most 1, but got 1.5"),
        ({"metric": "nll", "margin": -0.1}, 2, "margin must be above 0"),
    ],
)
def test_what_cannot_decide_is_refused_in_one_line_before_anything_runs(
    tmp_path, monkeypatch, settings, classes, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "costs.csv").write_text(",ill,well\nwell,1,0\nill,0,20\n")
    with pytest.raises(ValueError, match=said) as told:
        compare(illness(classes), out="study", seeds=1, training=MLP, **settings)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "study").exists()


def test_a_metric_that_all_runs_record_is_that_of_the_seeds_together(tmp_path):
    study = small("matthews", tmp_path / "study", losses=["cross_entropy"])
    own = [softmax(r.predictions["test_logits"], axis=1) for r in study.records]
    targets, answers = (
        study.records[0].predictions["test_targets"],
        np.sum(np.log(own), 0).argmax(1),
    )
    wanted = matthews_corrcoef(targets, answers)
    assert study.ensembles()["cross_entropy"].score == pytest.approx(wanted)


@pytest.mark.parametrize(("word", "kept"), [("accuracy", "variant 9"), ("nll", "variant 1")])
def test_the_best_of_many_variants_stand_in_the_table_after_training(word, kept):
    rows = [AfterTraining(f"variant {k}", 0.1 * k, None, None, None) for k in (5, 1, 2, 3, 4)]
    rows += [AfterTraining(f"variant {k}", 0.1 * k, None, None, None) for k in (6, 7, 8, 9, 10)]
    table = _tables._after_training(SimpleNamespace(metric=METRICS[word]), rows)
    shown = [str(cell) for cell in table.columns[0].cells]
    assert shown[0] == "variant 5"
    assert kept in shown
    assert {"variant 1", "variant 10"} - set(shown)
