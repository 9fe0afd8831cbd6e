"""Findings on single runs: no number without evidence, no claim that the numbers do not show."""

import tracemalloc

import numpy as np
import pytest
import sklearn.metrics  # noqa: F401  its first import draws random numbers, no strategy may
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.exercise import compare_losses, explain_alpha, explain_norms
from counterpoise.exercise._losses import RESAMPLES, macro_f1
from counterpoise.findings import Finding
from counterpoise.metrics import Scores, score

NAMES = ["apple", "bread", "cheese", "date", "egg", "fig", "grape", "honey", "ice", "jam"]
CLAIMS = ("better", "worse", "gains recall", "loses recall", "survives:", "turns")


def scores_of(hits: list[int], sizes: list[int]) -> Scores:
    """Scores with so many hits per class; what is wrong is called the next class."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    right = np.concatenate([np.arange(n) < h for h, n in zip(hits, sizes, strict=True)])
    return score(targets, np.where(right, targets, (targets + 1) % len(sizes)), len(sizes))


def compare(before: list[int], after: list[int], sizes: list[int]) -> list[Finding]:
    pair = scores_of(before, sizes), scores_of(after, sizes)
    return compare_losses("old", pair[0], "new", pair[1], NAMES[: len(sizes)])


def texts(found: list[Finding], code: str) -> list[str]:
    return [finding.text for finding in found if finding.code == code]


@st.composite
def results(draw: st.DrawFn, count: int = 2) -> tuple[list[int], list[Scores]]:
    """Draw class sizes and `count` scores on them."""
    sizes = draw(st.lists(st.integers(1, 300), min_size=2, max_size=10))
    hits = [[draw(st.integers(0, n)) for n in sizes] for _ in range(count)]
    return sizes, [scores_of(h, sizes) for h in hits]


# --- losses --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(results())
def test_every_number_of_a_comparison_is_evidence(
    backed, drawn: tuple[list[int], list[Scores]]
) -> None:
    sizes, (first, second) = drawn
    found = compare_losses("old", first, "new", second, NAMES[: len(sizes)])
    backed(found)
    assert found[-1].code == "CP309"
    assert "one seed" in found[-1].text


@settings(max_examples=60, deadline=None)
@given(results(count=1))
def test_equal_scores_are_never_better_or_worse(drawn: tuple[list[int], list[Scores]]) -> None:
    sizes, (scores,) = drawn
    found = compare_losses("old", scores, "new", scores, NAMES[: len(sizes)])
    found += explain_alpha([0.5, 0.5], [9, 9], [1.0, 0.1, 1.0], [scores] * 3)
    text = " ".join(finding.text for finding in found)
    assert not [word for word in CLAIMS if word in text]
    assert text.count("have the same") == 3


@settings(max_examples=60, deadline=None)
@given(results())
def test_words_follow_the_sign(drawn: tuple[list[int], list[Scores]]) -> None:
    sizes, (first, second) = drawn
    there = compare_losses("old", first, "new", second, NAMES[: len(sizes)])
    back = compare_losses("new", second, "old", first, NAMES[: len(sizes)])
    for one, other in zip(there[:3], back[:3], strict=True):
        assert ("better" in one.text) == ("worse" in other.text)
        if "better" in one.text:
            assert one.evidence["points"] >= max(0.1, one.evidence["noise"])


def test_better_worse_and_no_clear_difference() -> None:
    sizes = [1000, 1000]
    better = texts(compare([500, 500], [700, 700], sizes), "CP301")[0]
    assert better.startswith("new has better accuracy than old: 70.0% against 50.0% (+20.0 points)")
    worse = texts(compare([700, 700], [500, 500], sizes), "CP302")[0]
    assert worse.startswith("new has worse balanced accuracy than old: 50.0% against 70.0% (-20.0")
    unclear = texts(compare([700, 700], [705, 705], sizes), "CP303")[0]
    assert unclear.startswith("No clear difference in macro-F1 between new and old")


def test_noise_is_that_of_redrawn_test_sets() -> None:
    sizes, hits = np.array([400, 100]), np.array([[320, 40], [360, 50]])
    noise = {f.code: f.evidence["noise"] for f in compare(*hits.tolist(), sizes.tolist())[:2]}
    rng = np.random.default_rng(0)
    right = [rng.binomial(500, h.sum() / 500, 20_000) / 500 for h in hits]
    assert noise["CP301"] == pytest.approx(200 * (right[1] - right[0]).std(), rel=0.03)
    recall = [(rng.binomial(sizes, h / sizes, (20_000, 2)) / sizes).mean(1) for h in hits]
    assert noise["CP302"] == pytest.approx(200 * (recall[1] - recall[0]).std(), rel=0.03)


def test_class_noise_is_two_standard_errors() -> None:
    # 2 sqrt(2 * 0.5 * 0.5 / 200) is 10 points: 9.5 lie within, 11 beyond.
    within = texts(compare([100, 200], [119, 200], [200, 200]), "CP304")[0]
    assert "within the noise of 200 test images" in within
    beyond = texts(compare([100, 200], [122, 200], [200, 200]), "CP304")[0]
    assert "apple gains most recall" in beyond
    assert "beyond the noise of 200 test images" in beyond


@settings(max_examples=30, deadline=None)
@given(results(count=1))
def test_noise_of_macro_f1_is_that_of_whole_redrawn_matrices(drawn) -> None:
    _, (scores,) = drawn
    rng = np.random.default_rng(0)
    rows = zip(scores.support, scores.confusion / scores.support[:, None], strict=True)
    matrices = np.stack([rng.multinomial(n, p, size=RESAMPLES) for n, p in rows], axis=1)
    sizes = matrices.sum(1) + matrices.sum(2)
    f1 = 2 * matrices.diagonal(axis1=1, axis2=2) / np.maximum(sizes, 1)
    wanted = (f1.sum(1) / (sizes > 0).sum(1)).var()
    assert macro_f1(scores) == pytest.approx((scores.macro_f1, wanted), rel=1e-12, abs=1e-18)


def test_noise_of_macro_f1_needs_memory_for_resamples_of_classes_only() -> None:
    classes = 1500  # 400 matrices of them would take 7 GB
    scores = scores_of([1] * classes, [2] * classes)
    tracemalloc.start()
    found = compare_losses("old", scores, "new", scores, [str(k) for k in range(classes)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "same macro-F1: 50.0%" in texts(found, "CP303")[0]
    assert peak < 8 * 8 * RESAMPLES * classes


def test_a_handful_of_images_shows_nothing() -> None:
    found = compare([0, 500], [3, 500], [3, 1000])
    assert "within the noise of 3 test images" in texts(found, "CP304")[0]


def test_largest_gains_and_losses_are_named_in_order() -> None:
    found = compare([50] * 5, [50, 80, 60, 20, 95], [100] * 5)
    gains, losses = texts(found, "CP304"), texts(found, "CP305")
    assert [g.split()[3] for g in gains] == ["egg", "bread"]
    assert [loss.split()[3] for loss in losses] == ["date"]
    assert "50.0% (-30.0 points)" in losses[0]


def test_no_class_loses() -> None:
    found = compare([50, 50], [60, 50], [100, 100])
    assert texts(found, "CP305") == ["No class has a lower recall with new than with old."]


def test_tail_is_the_smallest_third() -> None:
    sizes = [900, 100, 800, 200, 700, 300]
    before, after = [n // 2 for n in sizes], [n // 2 for n in sizes]
    after[1], after[3] = 80, 120
    tail = texts(compare(before, after, sizes), "CP306")[0]
    assert "2 smallest classes (bread, date; 300 test images)" in tail
    assert "better, beyond the noise" in tail
    assert "70.0% against 50.0% (+20.0 points)" in tail


def test_a_long_tail_is_shown_by_ten_names() -> None:
    sizes = list(range(1, 37))
    scores = scores_of(sizes, sizes)
    found = compare_losses("old", scores, "new", scores, [f"class {k}" for k in range(36)])
    (text,) = texts(found, "CP306")
    assert "12 smallest classes (class 0, " in text
    assert "class 9 and 2 more; 78 test images)" in text


def test_classes_of_one_size_have_no_tail() -> None:
    assert texts(compare([50, 50], [60, 60], [100, 100]), "CP306") == []


def test_wrong_pairs_are_refused() -> None:
    one, two = scores_of([5, 5], [10, 10]), scores_of([5, 5], [10, 20])
    with pytest.raises(ValueError, match=r"same test images.*\[10, 10\] and \[10, 20\]"):
        compare_losses("old", one, "new", two, NAMES[:2])
    with pytest.raises(ValueError, match="3 names for 2 classes"):
        compare_losses("old", one, "new", one, NAMES[:3])


# --- the scale of α ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(results(count=3), st.lists(st.floats(1e-9, 1e9), min_size=3, max_size=3), st.data())
def test_every_number_on_alpha_is_evidence(
    backed, drawn: tuple[list[int], list[Scores]], gradients: list[float], data: st.DataObject
) -> None:
    alpha = [data.draw(st.floats(1e-9, 1e9)) for _ in drawn[0]]
    backed(explain_alpha(alpha, drawn[0], gradients, drawn[1]))


@pytest.mark.parametrize(
    ("small", "scaled", "words"),
    [
        (700, 720, "It survives"),
        (300, 700, "It turns round"),
        (300, 505, "It does not survive"),
        (505, 700, "Only the second"),
        (505, 495, "Neither"),
    ],
)
def test_which_difference_survives(small: int, scaled: int, words: str) -> None:
    hits = [[500] * 2, [small] * 2, [scaled] * 2]
    three = [scores_of(h, [1000, 1000]) for h in hits]
    found = explain_alpha([0.9, 0.1], [10, 90], [2.0, 0.2, 1.9], three)
    assert all(words in text for text in texts(found, "CP312"))
    assert "10 times smaller than cross entropy's" in texts(found, "CP310")[0]
    assert "sums to 1 and weighs a training image by 0.18 on average" in texts(found, "CP310")[0]
    assert "about as large as cross entropy's" in texts(found, "CP311")[0]
    assert found[-1].code == "CP309"


@pytest.mark.parametrize(
    ("gradient", "words"),
    [
        (0.798, "1.3 times smaller than"),
        (0.802, "about as large as"),
        (1.246, "about as large as"),
        (1.252, "1.3 times as large as"),
    ],
)
def test_gradients_within_a_quarter_are_alike(gradient: float, words: str) -> None:
    same = [scores_of([5, 5], [10, 10])] * 3
    small, scaled = explain_alpha([1, 1], [5, 5], [1.0, gradient, gradient], same)[:2]
    assert f"first step is {words} cross entropy's. " in small.text
    assert f"first step is {words} cross entropy's." in scaled.text
    assert ("mixes the loss with the size" in small.text) == ("times" in words)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gradients": [1.0, 0.0, 1.0]}, "finite and above 0, but got 0.0"),
        ({"gradients": [1.0, float("nan"), 1.0]}, "finite and above 0, but got nan"),
        ({"gradients": [1.0, 1.0]}, "three gradient norms.*but got 2, 3 and 2 weights for 2"),
        ({"alpha": [1.0]}, "got 3, 3 and 1 weights for 2 classes"),
        ({"sizes": [20, 10]}, r"same test images.*\[10, 10\] and \[20, 10\]"),
    ],
)
def test_wrong_input_on_alpha_is_refused(given: dict, message: str) -> None:
    arguments = {"alpha": [0.5, 0.5], "counts": [5, 5], "gradients": [1.0, 1.0, 1.0]} | given
    scores = [scores_of([5, 5], n) for n in ([10, 10], [10, 10], arguments.pop("sizes", [10, 10]))]
    with pytest.raises(ValueError, match=message):
        explain_alpha(**arguments, scores=scores)


# --- networks ------------------------------------------------------------------------------------


def history(accuracy: float) -> list[dict[str, float]]:
    start = {"epoch": 0, "test_accuracy": 0.1}
    return [start, {"epoch": 3, "test_accuracy": accuracy}]


def flow(share: float | None, first: float | None, last: float = 1.0) -> list[dict[str, object]]:
    layers = [(0.9, first), (None, None), (share, last)]
    return [{"visible_share": s, "grad_norm": g} for s, g in layers]


def codes(found: list[Finding]) -> list[str]:
    return [finding.code for finding in found if finding.code != "CP204"]


def test_vanishing_signal_is_the_reason() -> None:
    histories = {"plain": history(0.1), "layer": history(0.87), "group": history(0.88)}
    flows = {"plain": flow(1e-9, 1e-7), "layer": flow(0.3, 0.8), "group": flow(0.4, 2.0)}
    found = explain_norms(histories, flows)
    assert codes(found) == ["CP202", "CP201", "CP201", "CP205", "CP209"]
    reason = texts(found, "CP205")[0]
    assert "visible share 1.0e-09, at least 0.3" in reason
    assert "1.0e-07 of it, at least 0.8" in reason


@pytest.mark.parametrize(
    ("plain", "other", "reason", "not_reason"),
    [
        (flow(1e-9, 0.5), flow(0.3, 0.8), "visible share", "gradient of its first"),
        (flow(0.2, 1e-7), flow(0.3, 0.8), "gradient of its first", "visible share"),
        (flow(0.2, 0.5), flow(0.3, 0.8), None, ""),
        (flow(0.0029, 0.5), flow(0.3, 0.8), "visible share 0.0029, at least 0.3", "gradient"),
        (flow(0.0031, 0.5), flow(0.3, 0.8), None, ""),
        (flow(0.2, 1.0), flow(0.3, 500.0), None, ""),
        (flow(None, None), flow(0.3, 0.8), None, ""),
        (flow(0.0, 0.0, 0.0), flow(0.0, 0.0, 0.0), None, ""),
    ],
)
def test_only_what_is_far_below_is_a_reason(
    plain: list[dict[str, object]],
    other: list[dict[str, object]],
    reason: str | None,
    not_reason: str,
) -> None:
    histories = {"plain": history(0.1), "layer": history(0.87)}
    found = explain_norms(histories, {"plain": plain, "layer": other})
    assert codes(found) == ["CP202", "CP201", "CP205" if reason else "CP206", "CP209"]
    if reason:
        (text,) = texts(found, "CP205")
        assert reason in text
        assert not_reason not in text


@pytest.mark.parametrize(("accuracy", "words"), [(0.1, "No network"), (0.8, "Every network")])
def test_nothing_to_explain(accuracy: float, words: str) -> None:
    flows = {"plain": flow(1e-9, 1e-9), "layer": flow(0.3, 0.8)}
    found = explain_norms({"plain": history(accuracy), "layer": history(accuracy)}, flows)
    assert codes(found)[2:] == ["CP207", "CP209"]
    assert texts(found, "CP207")[0].startswith(words)


@pytest.mark.parametrize(
    ("accuracy", "test_size", "code"),
    [
        (0.108, 10_000, "CP202"),  # 3 standard errors are 0.9 points
        (0.112, 10_000, "CP201"),
        (0.112, 100, "CP202"),
        (0.05, 10_000, "CP203"),
    ],
)
def test_threshold_of_learning(accuracy: float, test_size: int, code: str) -> None:
    found = explain_norms({"plain": history(accuracy)}, {}, test_size=test_size)
    assert found[0].code == code


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6)),
        min_size=1,
        max_size=4,
    )
)
def test_every_number_on_networks_is_evidence(backed, nets: list[tuple[float, ...]]) -> None:
    histories = {NAMES[k]: history(net[0]) for k, net in enumerate(nets)}
    flows = {NAMES[k]: flow(*net[1:]) for k, net in enumerate(nets)}
    found = explain_norms(histories, flows)
    backed(found)
    assert "one seed" in found[-1].text


def test_wrong_histories_are_refused() -> None:
    with pytest.raises(ValueError, match="but got none for 'plain'"):
        explain_norms({"plain": []}, {})
    with pytest.raises(ValueError, match="a record per epoch, but got none; pass"):
        explain_norms({}, {})
    with pytest.raises(ValueError, match="chance < 1"):
        explain_norms({"plain": history(0.5)}, {}, chance=1.0)
