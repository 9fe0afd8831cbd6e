"""The metrics that studies are decided by, against scikit-learn and imbalanced-learn."""

from pathlib import Path

import numpy as np
import pytest
from imblearn.metrics import geometric_mean_score
from sklearn import metrics as theirs

from counterpoise import registry
from counterpoise.metrics import Measure, evaluate, log_softmax

ROOT = Path(__file__).parents[1]


def answers(seed, classes, absent=(), levels=None):
    """Targets and logits; of few levels, so that there are ties."""
    rng = np.random.default_rng(seed)
    targets = rng.choice([k for k in range(classes) if k not in absent], 200)
    logits = rng.normal(size=(200, classes)) + 1.5 * np.eye(classes)[targets]
    return targets, np.round(logits * levels) / levels if levels else logits


@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize(("classes", "absent"), [(2, ()), (5, ()), (5, (0, 3))])
def test_general_metrics_are_the_libraries(classes, absent, levels):
    t, z = answers(classes, classes, absent, levels)
    found, answer, there = evaluate(t, z, [9] * classes), z.argmax(1), np.unique(t)
    assert found.matthews == pytest.approx(theirs.matthews_corrcoef(t, answer))
    assert found.cohen_kappa == pytest.approx(theirs.cohen_kappa_score(t, answer))
    wanted = geometric_mean_score(t, answer, labels=there, average="multiclass")
    assert found.geometric_mean == pytest.approx(wanted)
    areas = [theirs.roc_auc_score(t == k, log_softmax(z)[:, k]) for k in there]
    assert found.auroc[there] == pytest.approx(areas)
    assert np.isnan(found.auroc).sum() == len(absent)
    assert found.macro_auroc == pytest.approx(np.mean(areas))


def test_a_class_never_found_and_a_class_alone():
    assert evaluate([0, 1], [[1.0, 0.0]] * 2, [9, 9]).geometric_mean == 0
    alone = evaluate([0, 0], [[1.0, 0.0]] * 2, [9, 9])
    assert (alone.cohen_kappa, alone.matthews) == (0, 0)
    assert alone.to_dict()["macro_auroc"] is None


def recall_at(least, y, score):
    """By hand: over every threshold, the highest recall of those that are precise enough."""
    found = [0.0]
    for threshold in score:
        called = score >= threshold
        if y[called].mean() >= least:
            found.append(y[called].sum() / y.sum())
    return max(found)


@pytest.mark.parametrize("levels", [None, 1])
@pytest.mark.parametrize("positive", [0, 1])
def test_metrics_of_the_positive_class_are_the_libraries(positive, levels):
    t, z = answers(7, 2, levels=levels)
    y, score, answer = t == positive, log_softmax(z)[:, positive], z.argmax(1) == positive
    for word, wanted in {
        "f1": theirs.f1_score(y, answer),
        "f_beta:0.5": theirs.fbeta_score(y, answer, beta=0.5),
        "f_beta:3": theirs.fbeta_score(y, answer, beta=3),
        "auroc": theirs.roc_auc_score(y, score),
        "average_precision": theirs.average_precision_score(y, score),
        "recall_at_precision:0.9": recall_at(0.9, y, score),
        "recall_at_precision:1": recall_at(1.0, y, score),
    }.items():
        assert Measure(word, positive)(t, z) == pytest.approx(wanted), word


def test_costs_are_those_of_the_true_row_and_the_answered_column():
    costs = ((0, 2, 3), (40, 0, 6), (7, 8, 1))
    t, z = answers(3, 3)
    wanted = np.mean([costs[true][k] for true, k in zip(t, z.argmax(1), strict=True)])
    assert Measure("expected_cost", costs=costs)(t, z) == pytest.approx(wanted)


@pytest.mark.parametrize("word", ["f1", "auroc", "average_precision", "recall_at_precision:0.5"])
def test_without_a_positive_sample_there_is_no_score(word):
    assert np.isnan(Measure(word, 1)([0, 0], np.eye(2)))


def test_what_is_no_metric_is_refused_in_one_line():
    for word, said in {
        "acuracy": "did you mean 'accuracy'",
        "f_beta:x": "number above 0 and up to 100 in place of B",
        "f_beta:": "number above 0",
        "f_beta:0": "number above 0",
        "recall_at_precision:1.5": "up to 1 in place of P",
        "recall_at_precision:nan": "up to 1",
        "f_beta": "number above 0",
        "accuracy:2": "must name something that can be imported",
        "math:pi": "must be a function",
        "expected_calibration_error": "must be one of",
    }.items():
        with pytest.raises(ValueError, match=said) as told:
            registry.metric(word)
        assert "\n" not in str(told.value), word


def test_each_metric_has_a_direction_a_unit_and_a_margin_in_the_docs():
    assert registry.table_of_metrics() in (ROOT / "docs" / "statistics.md").read_text()
    lower = {word for word in registry.PRIMARY if not registry.METRICS[word].higher_is_better}
    assert lower == {"nll", "brier", "expected_cost"}


def test_values_are_written_in_the_unit_of_their_metric():
    nll, share = registry.METRICS["nll"], registry.METRICS["accuracy"]
    assert (nll.shown(0.4123), nll.shown_difference(-0.031)) == ("0.412 nats", "-0.031 nats")
    assert (share.shown(0.4123), share.shown_difference(-0.031)) == ("41.2%", "-3.1 points")
    kappa = registry.METRICS["cohen_kappa"].shown_difference
    assert (kappa(0.0304), kappa(-1e-9)) == ("+0.030", "+0.000")
