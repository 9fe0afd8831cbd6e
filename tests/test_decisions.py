"""Rules: optimal where the truth is known, and as good on new data as they were chosen to be."""

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics

from counterpoise.decisions import (
    Rule,
    abstention_for_share,
    conformal_thresholds,
    evaluate_rule,
    read_costs,
    samples_needed,
    threshold_for_recall,
)

SHARES = np.array([0.7, 0.25, 0.05])


def posteriors(number, seed=0):
    return softmax(np.random.default_rng(seed).normal(size=(number, 3)) * 2 + np.log(SHARES), 1)


def drawn(p, rng):
    return (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)


def of_classes(counts, rng, skill=1.5):
    """Probabilities of a model that need not be right, and so many samples of each class."""
    targets = np.repeat(np.arange(len(counts)), counts)
    z = rng.normal(size=(len(targets), len(counts)))
    z[np.arange(len(targets)), targets] += skill
    return softmax(3 * z, 1), targets


def test_the_rule_of_costs_is_optimal_where_the_posterior_is_known():
    costs = np.array([[0, 1, 2], [5, 0, 1], [30, 20, 1]])
    p = posteriors(5000)
    expected = np.stack([[sum(q[y] * costs[y, j] for y in range(3)) for j in range(3)] for q in p])
    answer = Rule("costs", costs=tuple(map(tuple, costs.tolist()))).decide(p)
    np.testing.assert_allclose(expected[np.arange(len(p)), answer], expected.min(1))
    true = drawn(p, np.random.default_rng(1))
    assert costs[true, answer].mean() < 0.9 * costs[true, Rule("probable").decide(p)].mean()


@pytest.mark.parametrize(("c01", "c10"), [(1, 1), (1, 9), (4, 1)])
def test_a_threshold_for_two_classes_is_a_ratio_of_costs(c01, c10):
    p = np.random.default_rng(2).dirichlet([1, 1], 1000)
    t = c01 / (c01 + c10)
    answers = [
        Rule("costs", costs=((0, c01), (c10, 0))).decide(p),
        Rule("thresholds", thresholds=(None, t)).decide(p),
        Rule("thresholds", thresholds=(1 - t, t)).decide(p),
        (p[:, 1] >= t).astype(int),
    ]
    assert all((a == answers[0]).all() for a in answers)


def test_thresholds_of_several_classes():
    rule = Rule("thresholds", thresholds=(None, 0.4, 0.1))
    p = [[0.5, 0.4, 0.1], [0.25, 0.45, 0.3], [0.3, 0.65, 0.05], [0.6, 0.35, 0.05], [0.1, 0.3, 0.6]]
    assert rule.decide(p).tolist() == [1, 2, 1, 0, 2]  # ratios 1 and 1, 1.1 and 3, 1.6, none, 6
    every = Rule("thresholds", thresholds=(0.9, 0.8, 0.5))
    assert every.decide([[0.5, 0.2, 0.3]]).tolist() == [2]  # none is reached: the largest ratio


def test_the_rule_of_the_study_needs_its_scores_and_abstention_the_probabilities():
    p, scores = [[0.9, 0.1], [0.6, 0.4]], [[0, 1], [0, 2]]
    assert Rule(abstain=0.7).decide(p, scores).tolist() == [1, -1]
    with pytest.raises(ValueError, match=r"scores must be \(2, 2\)"):
        Rule().decide(p)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(),
        Rule("probable", abstain=0.25, sets=(0.5, 0.0)),
        Rule("costs", costs=((0, 1.5), (2, 0))),
        Rule("thresholds", thresholds=(None, 0.125)),
    ],
    ids=lambda r: r.kind,
)
def test_a_rule_is_kept_as_json(rule):
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"kind": "best"}, "one of study, probable"),
        ({"kind": "costs"}, "costs must be given"),
        ({"thresholds": (0.5,)}, "thresholds must be given"),
        ({"kind": "costs", "costs": ((0, 1), (2,))}, "for each true and predicted"),
        ({"kind": "costs", "costs": ((0, np.nan), (2, 0))}, "finite"),
        ({"kind": "thresholds", "thresholds": (None, None)}, "for a class at least"),
        ({"kind": "thresholds", "thresholds": (None, 1.5)}, "from 0 to 1"),
        ({"sets": (np.nan, 0.5)}, "from 0 to 1"),
        ({"abstain": -1}, "from 0 to 1"),
    ],
)
def test_what_is_no_rule_is_refused(what, words):
    with pytest.raises(ValueError, match=words):
        Rule(**what)


def test_a_rule_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"p must be \(N, 2\), but got \(1, 3\)"):
        Rule("thresholds", thresholds=(None, 0.5)).decide([[0.1, 0.2, 0.7]])


def test_each_class_is_in_its_sets_as_often_as_stated():
    """On average over validation splits, also where test has other class shares."""
    rng, coverage, counts = np.random.default_rng(3), 0.8, [40, 15, 5]
    held = np.zeros(3)
    draws = 1500
    for _ in range(draws):
        sets = conformal_thresholds(*of_classes(counts, rng), coverage)
        p, t = of_classes([5, 5, 50], rng)
        held += np.bincount(t, Rule(sets=sets).sets_of(p)[np.arange(len(t)), t]) / [5, 5, 50]
    held /= draws
    off = 4 * np.sqrt(0.2 * 0.8 * (1 / np.array([5, 5, 50]) + 1 / np.array(counts)) / draws)
    assert (held > coverage - off).all()
    assert (held < coverage + 1 / (np.array(counts) + 1) + off).all()


def test_the_sets_are_those_of_crepes():
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(4)
    (p, t), (new, _) = of_classes([200, 60, 3], rng), of_classes([50, 50, 50], rng)
    ours = Rule(sets=conformal_thresholds(p, t, 0.9)).sets_of(new)
    for k in range(3):  # a Mondrian category for each class that is tried
        theirs = crepes.ConformalClassifier().fit(1 - p[t == k, k])
        tried = theirs.predict_set(1 - new[:, [k]], confidence=0.9, smoothing=False)
        np.testing.assert_array_equal(ours[:, k], tried[:, 0].astype(bool))
    assert ours[:, 2].all()  # 3 samples tell nothing of 90%


def test_a_class_has_the_recall_on_new_data_that_its_threshold_was_chosen_for():
    rng, recall, n, draws = np.random.default_rng(5), 0.85, 20, 1500
    found, thresholds = np.zeros(draws), np.zeros(draws)
    for k in range(draws):
        p, t = of_classes([50, n], rng)
        thresholds[k] = threshold_for_recall(p, t, 1, recall)
        rule = Rule("thresholds", thresholds=(None, thresholds[k]))
        assert (rule.decide(p)[t == 1] == 1).mean() >= recall  # on validation always
        new, true = of_classes([0, 40], rng)
        found[k] = (rule.decide(new) == true).mean()
    off = 4 * np.sqrt(recall * (1 - recall) * (1 / n + 1 / 40) / draws)
    assert recall - off < found.mean() < recall + 1 / (n + 1) + off
    assert found.std() < 1.2 * np.sqrt(recall * (1 - recall) * (1 / (n + 2) + 1 / 40))


def test_a_recall_that_so_few_samples_do_not_tell_is_refused_with_their_number():
    p, t = of_classes([50, 18], np.random.default_rng(6))
    assert samples_needed(0.95) == 19
    with pytest.raises(ValueError, match=r"of 0.95 needs 19 .* class 1 has 18; .* 0.947 at most"):
        threshold_for_recall(p, t, 1, 0.95)
    assert threshold_for_recall(p, t, 1, 18 / 19) == p[t == 1, 1].min()
    with pytest.raises(ValueError, match="above 0 and below 1"):
        threshold_for_recall(p, t, 1, 1.0)
    with pytest.raises(ValueError, match="class 1 has 0"):
        threshold_for_recall(p[:50], t[:50], 1, 0.5)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.999])
def test_no_more_than_the_share_is_left_out_and_those_are_the_least_certain(share):
    p = posteriors(1000)
    answer = Rule("probable", abstain=abstention_for_share(p, share)).decide(p)
    assert (answer < 0).sum() == int(share * 1000 + 1e-9)
    if share:
        assert p[answer < 0].max(1).max() < p[answer >= 0].max(1).min()


def test_costs_are_read_in_any_order(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text("\ufeff, NA ,1,b c\nb c,3,4,0\nNA,0,1,2.5\n1,7,0,1e2\n")
    assert read_costs(path, ["NA", "1", "b c"]) == ((0, 1, 2.5), (7, 0, 100), (3, 4, 0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (",a,b\na,0,1\n", "first column .* lacks b"),
        (",a,b,x\na,0,1,1\nb,1,0,1\n", "first row .* has, though the data have not, x"),
        (",a,b\na,0,1\nb,1,0\na,0,1\n", "first column .* more than once a"),
        (",a,b\na,0,one\nb,1,0\n", "'one' for true a, predicted b"),
        (",a,b\na,0,inf\nb,1,0\n", "finite"),
        (",a,b\na,5,1\nb,1,0\n", "right answer a costs 5, more than the wrong b"),
        ("", "cannot be read"),
        (",a,b\na,0,1,2,3\nb,1,0\n", "cannot be read"),
    ],
)
def test_what_are_no_costs_is_refused_in_one_line(text, words, tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read_costs(path, ["a", "b"])
    assert "\n" not in str(caught.value)


def test_the_scores_of_a_rule_are_those_of_scikit_learn():
    rng = np.random.default_rng(7)
    every = [of_classes([60, 20, 6], rng) for _ in range(3)]
    p, targets = [e[0] for e in every], [e[1] for e in every]
    rule = Rule("probable", abstain=0.55, sets=(0.3, 0.2, 0.1))
    costs = np.array([[0, 1, 2], [3, 0, 1], [9, 9, 0]])
    found = evaluate_rule(rule, p, targets, costs=costs, resamples=50)
    a = [rule.decide(q) for q in p]
    t = targets[0]

    def mean(of):
        return np.mean([of(x) for x in a])

    assert found.accuracy.estimate == mean(lambda x: sklearn_metrics.accuracy_score(t, x))
    options = {"labels": [0, 1, 2], "average": None, "zero_division": 0}
    for name, ours in (("recall", found.recall), ("precision", found.precision)):
        theirs = getattr(sklearn_metrics, f"{name}_score")
        expected = np.mean([theirs(t, x, **options) for x in a], 0)
        np.testing.assert_allclose([i.estimate for i in ours], expected)
    np.testing.assert_allclose(
        found.balanced_accuracy.estimate, np.mean([i.estimate for i in found.recall])
    )
    np.testing.assert_allclose(found.abstained.estimate, mean(lambda x: (x < 0).mean()))
    np.testing.assert_allclose(
        found.mean_cost.estimate, mean(lambda x: costs[t[x >= 0], x[x >= 0]].mean())
    )
    np.testing.assert_allclose(found.error.estimate, mean(lambda x: (x != t)[x >= 0].mean()))
    np.testing.assert_allclose(
        found.set_size.estimate, np.mean([rule.sets_of(q).sum(1).mean() for q in p])
    )
    at = evaluate_rule(rule, p, targets, shares=[1, 1, 1], resamples=50)
    np.testing.assert_allclose(at.accuracy.estimate, found.balanced_accuracy.estimate)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of a recall of 0.9 from 20 samples; and with seeds that share the test split or do not."""
    rng, draws = np.random.default_rng(8), 250
    t = np.ones(20, int)

    def interval(right, rows=None):
        p = [np.stack([~r, r], 1).astype(float) for r in right]
        found = evaluate_rule(Rule("probable"), p, [t] * len(p), rows=rows, resamples=300)
        return found.recall[1]

    alone = [interval([rng.random(20) < 0.9]) for _ in range(draws)]
    assert np.mean([i.low <= 0.9 <= i.high for i in alone]) > 0.92
    hard = [rng.random(20) < 0.9 for _ in range(draws)]  # the same samples are hard for all seeds
    shared = [interval([r] * 5) for r in hard]
    assert np.mean([i.low <= 0.9 <= i.high for i in shared]) > 0.92
    others = [np.arange(20) + 20 * s for s in range(5)]
    apart = [interval(rng.random((5, 20)) < 0.9, others) for _ in range(draws)]
    assert np.mean([i.low <= 0.9 <= i.high for i in apart]) > 0.92


def test_what_is_of_no_sample_is_none_and_eight_of_eight_are_no_certainty():
    p = [[0.9, 0.1]] * 8
    found = evaluate_rule(Rule("probable"), [p], [[0] * 8])
    assert found.recall[1] is None
    assert found.precision[1] is None
    assert found.mean_cost is None
    assert found.set_size is None
    assert (found.coverage, found.abstained.high) == ((), 0.0)
    assert 0.6 < found.recall[0].low < 0.75
    assert found.recall[0].high == 1.0
    nobody = evaluate_rule(Rule("probable", abstain=1.0), [p], [[0] * 8])
    assert nobody.error is None
    with pytest.raises(ValueError, match="the same seeds"):
        evaluate_rule(Rule("probable"), [p], [])
    with pytest.raises(ValueError, match="the same samples"):
        evaluate_rule(Rule("probable"), [p], [[0] * 7])
