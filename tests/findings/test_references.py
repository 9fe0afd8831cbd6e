"""What is said of a study beside its references: CP340, CP341 and CP342."""

import pytest
from statsmodels.stats.multitest import multipletests

from counterpoise.findings import _references

CE, FOCAL, LINEAR, FOREST = "cross_entropy", "focal", "logistic regression", "gradient boosting"
LARGEST = "always the largest class"
ADJUSTED = "cross_entropy, adjusted after training"
BASE = {0: [70, 71, 72], 1: [73, 70, 71], 2: [69, 72, 71], 3: [71, 71, 73], 4: [72, 70, 70]}


def shifted(by, noise=0):
    """The baseline's hits, and so many more, or fewer, in each class."""
    return {s: [h + by + noise * (-1) ** s * (s + 1) for h in hits] for s, hits in BASE.items()}


SLIGHTLY = {s: [h[0] + 1, *h[1:]] for s, h in BASE.items()}


def codes(study):
    checks = (
        _references.no_net_is_better,
        _references.adjusted_baseline_is_enough,
        _references.best_net_and_reference,
    )
    return [f.code for check in checks for f in check(study)]


@pytest.mark.parametrize(
    ("reference", "verdict", "told", "begin"),
    [
        (shifted(17), "better", ["CP340"], "No net beats logistic regression (88.1%): its diff"),
        (
            shifted(9),
            "no difference that matters",
            ["CP340"],
            "No net beats logistic regression (80.1%) by a difference that matters: its diff",
        ),
        (shifted(10, 4), "cannot tell yet", ["CP340"], "No net is shown to beat logistic"),
        (
            shifted(6, 3),
            "cannot tell yet",
            ["CP342"],
            "focal, the net with the best mean, is 1.2 points",
        ),
        (shifted(-5), "worse", ["CP342"], "focal, the net with the best mean, is 14.0"),
    ],
)
def test_the_best_net_beside_the_best_reference(make, backed, reference, verdict, told, begin):
    worse = {s: [0, 0, 9] for s in BASE}
    references = {LINEAR: reference, FOREST: worse, LARGEST: worse}
    study = make({CE: BASE, FOCAL: shifted(9)}, references=references)
    judged = {v.variant: v for v in study.reference_verdicts()}
    assert judged[LINEAR].baseline == study.best == FOCAL
    assert judged[LINEAR].verdict == verdict
    assert codes(study) == told
    found = _references.no_net_is_better(study) + _references.best_net_and_reference(study)
    backed(found)
    assert found[0].text.startswith(begin)
    assert ("cannot be told yet" in found[0].text) == (verdict[0] == "c" and told == ["CP342"])
    sign = 1 if told == ["CP340"] else -1
    points = sign * 100 * judged[LINEAR].interval.estimate
    assert found[0].evidence["difference"] == pytest.approx(points, abs=0.051)
    assert found[0].evidence["low"] <= points <= found[0].evidence["high"]


def test_always_the_largest_class_is_no_reference_to_beat(make):
    hits = {s: [100, 0, 0] for s in BASE}
    low = {s: [20, 21, 22] for s in BASE}
    study = make({CE: low}, references={LARGEST: hits})
    assert codes(study) == []
    study = make({CE: low}, references={LARGEST: hits, LINEAR: {s: [9, 9, 9] for s in BASE}})
    (found,) = _references.best_net_and_reference(study)
    assert found.evidence["reference"] == LINEAR


def test_one_seed_has_no_interval(make, backed):
    study = make({CE: {0: [70] * 3}}, references={LINEAR: {0: [90] * 3}})
    found = _references.no_net_is_better(study)
    backed(found)
    assert found[0].text.startswith("No net is shown to beat logistic regression (90.0%)")
    assert "interval" not in found[0].text


@pytest.mark.parametrize(
    ("best", "adjusted", "told"),
    [
        (shifted(9), shifted(9), True),  # no difference that matters
        (shifted(9), shifted(17), True),  # better
        (shifted(9), shifted(9, 4), False),  # close, but open
        (shifted(9), shifted(2), False),
        (shifted(-9), shifted(9), True),  # nothing trained does better than the baseline
        (shifted(-9), BASE, False),
        (shifted(-9), shifted(-9), False),
        (SLIGHTLY, SLIGHTLY, False),  # the plain baseline will do
        (SLIGHTLY, shifted(9), True),
    ],
)
def test_the_adjusted_baseline_beside_the_best_variant(make, backed, best, adjusted, told):
    study = make({CE: BASE, FOCAL: best}, adjusted={CE: adjusted})
    found = _references.adjusted_baseline_is_enough(study)
    backed(found)
    assert bool(found) == told
    if told:
        assert found[0].text.startswith(f"The cheapest net is {ADJUSTED}")


def test_the_adjusted_baseline_is_told_beside_a_reference_that_it_beats(make, backed):
    study = make({CE: BASE}, adjusted={CE: shifted(20)}, references={LINEAR: shifted(9)})
    (found,) = _references.no_net_is_better(study)
    backed([found])
    assert found.text.endswith("cross_entropy reaches 91.1% once it is adjusted after training.")


def test_the_family_of_references_has_its_own_holm(make):
    references = {LINEAR: shifted(3, 1), FOREST: shifted(1, 2), LARGEST: shifted(-9, 3)}
    nets = {CE: BASE, FOCAL: shifted(1, 1)}
    alone = make(nets)
    study = make(nets, adjusted={CE: shifted(2, 1)}, references=references)
    found = study.reference_verdicts()
    assert [v.variant for v in found] == [LINEAR, FOREST, LARGEST, ADJUSTED]
    assert {v.baseline for v in found} == {study.best}
    p = [v.comparison.p_different for v in found]
    assert [v.p_holm for v in found] == pytest.approx(multipletests(p, method="holm")[1])
    assert {v.confidence for v in found} == {1 - 0.05 / 4}
    assert study.verdicts() == alone.verdicts()
    assert study.adjusted_verdict().p_holm == study.adjusted_verdict().comparison.p_different
    assert study.adjusted_verdict().baseline == CE


def test_what_has_no_score_stays_in_the_family(make):
    failed = dict.fromkeys(BASE)
    study = make({CE: BASE, FOCAL: failed}, references={LINEAR: failed, FOREST: shifted(-5)})
    assert study.best == CE
    lost, forest, _ = study.reference_verdicts()
    assert lost.comparison is None
    assert forest.verdict == "worse"
    assert make({CE: failed}).reference_verdicts() == []
    assert make({CE: failed}, references={LINEAR: BASE}).reference_verdicts() == []
