"""The sections on probabilities and decisions, against scikit-learn on the records' logits."""

import html
import re

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics

from counterpoise import findings, report
from counterpoise.decisions import Rule
from counterpoise.study import Plan, Training, open_study

TWO = Plan(
    "two",
    losses=("cross_entropy", "logit_adjusted"),
    seeds=(0, 1, 2),
    training=Training("mlp", lr=0.1, epochs=1),
)
RARE = "<b>yes</b>"


def section(path, name):
    """Text of a section, its tables' rows as lists of cells."""
    raw = re.search(rf'<section id="{name}">.*?</section>', path.read_text(), re.S)
    if not raw:
        return "", []
    tables = re.sub("<svg.*?</svg>", "", raw[0], flags=re.S)
    rows = [
        [re.sub(r"<[^>]*>", " ", c).strip() for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", tables)
    ]
    return re.sub(r"<[^>]*>", "", raw[0]), rows


def row_of(rows, first):
    return next(row for row in rows if row[0].endswith(first))


def weights(record):
    t, n = record.predictions["test_targets"], np.array(record.run["train_counts"])
    return (n / n.sum() / np.bincount(t))[t]


def probabilities(record):
    return np.exp(record.posterior()(record.predictions["test_logits"]))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    from tests.report.conftest import write_study

    folder = tmp_path_factory.mktemp("two") / "study"
    return open_study(write_study(folder, TWO, names=("no", RARE), shape=(3,)))


def test_log_losses_are_those_of_scikit_learn_at_the_training_datas_shares(finished):
    study = open_study(finished)
    words, rows = section(report.render(study), "probabilities")
    for label in study.labels:
        found = row_of(rows, label)
        losses = [
            [
                sklearn_metrics.log_loss(r.predictions["test_targets"], p, sample_weight=weights(r))
                for p in (
                    softmax(r.predictions["test_logits"].astype(float), 1),
                    np.exp(r.posterior("none")(r.predictions["test_logits"])),
                    probabilities(r),
                )
            ]
            for r in study.of(label)
        ]
        expected = [f"{x:.3f}" for x in np.mean(losses, 0)]
        assert [found[1], *found[3:5]] == expected
    best = findings.best_variant(study)
    given, _, calibrated = row_of(rows, best)[1], *row_of(rows, best)[3:5]
    words = html.unescape(words)
    assert f"Take {best}'s probabilities" in words
    assert f"log-loss {given} → {calibrated}" in words
    assert "they are of balanced classes" in words


def test_the_error_by_share_kept_is_that_of_the_surest(finished):
    study = open_study(finished)
    _, rows = section(report.render(study), "decisions")
    errors = {1.0: [], 0.5: []}
    for r in study.of(findings.best_variant(study)):
        p, t, w = probabilities(r), r.predictions["test_targets"], weights(r)
        order = np.argsort(-p.max(1))
        share = w[order].cumsum() / w.sum()
        for kept, found in errors.items():
            those = order[: 1 + np.searchsorted(share, kept - 1e-9)]
            found.append(np.average(p.argmax(1)[those] != t[those], weights=w[those]))
    for kept, found in errors.items():
        assert row_of(rows, f"{kept:.0%}")[1] == f"{np.mean(found):.1%}"


def test_curves_and_costs_of_two_classes_are_those_of_scikit_learn(two):
    words, rows = section(report.render(two), "decisions")
    best = findings.best_variant(two)
    areas, costs = [], {1: [], 5: [], 20: []}
    for r in two.of(best):
        p, y, w = probabilities(r), r.predictions["test_targets"], weights(r)
        areas.append(
            (
                sklearn_metrics.roc_auc_score(y, p[:, 1]),
                sklearn_metrics.average_precision_score(y, p[:, 1], sample_weight=w),
            )
        )
        for ratio, found in costs.items():
            cost = np.array([[0, 1], [ratio, 0]])
            answer = Rule("costs", costs=tuple(map(tuple, cost.tolist()))).decide(p)
            always = min(np.average(cost[y, k], weights=w) for k in (0, 1))
            found.append(np.average(cost[y, answer], weights=w) / always)
    area, precision = np.mean(areas, 0)
    assert f"area {area:.3f}" in words
    assert f"average precision {precision:.3f}" in words
    for ratio, found in costs.items():
        assert row_of(rows, f"{ratio} : 1")[1:3] == [
            f"{1 / (1 + ratio):.2g}",
            f"{np.mean(found):.2f}",
        ]
    assert "&lt;b&gt;yes&lt;/b&gt;" in words
    assert RARE not in words


def test_a_study_without_validation_says_so(make):
    path = report.render(make(TWO, names=("no", "yes"), shape=(3,), held=False))
    assert "Without a validation split" in section(path, "probabilities")[0]
    words, _ = section(path, "decisions")
    assert "There was no validation split to choose thresholds on" in words
    assert "chosen on validation" not in words


def test_a_study_of_an_older_version_has_the_calibration_of_its_nets_alone(make, small):
    path = report.render(make(small, older=True))
    assert section(path, "probabilities") == section(path, "decisions") == ("", [])
    assert "of an older version" in section(path, "reliability")[0]
