"""`counterpoise.stats` against SciPy, statsmodels, hand-computed numbers and counting.

How often its verdicts are right is in test_stats_by_simulation.py.
"""

import json
import math
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_ind, ttost_paired
from tests.covering import in_turn

from counterpoise import stats

BASELINE = [0.71, 0.74, 0.70, 0.73, 0.72, 0.75, 0.69, 0.72, 0.74]
OTHER = [0.72, 0.77, 0.72, 0.73, 0.75, 0.74, 0.72, 0.73, 0.77]


def by_seed(values: Any) -> dict[int, Any]:
    return dict(enumerate(values))


def verdict_of(baseline: Any, other: Any, **settings: Any) -> stats.Verdict:
    scores = {"plain": by_seed(baseline), "other": by_seed(other)}
    return stats.compare_variants(scores, "plain", **settings)[0]


def bounds(interval: Any) -> tuple[float, float]:
    return interval.low, interval.high


# Intervals


@in_turn(n=[2, 3, 5, 9], confidence=[0.8, 0.95])
def test_t_interval_is_scipys(n: int, confidence: float) -> None:
    x = BASELINE[:n]
    wanted = scipy.stats.t.interval(confidence, n - 1, np.mean(x), scipy.stats.sem(x))
    found = stats.t_interval(x, confidence)
    assert bounds(found) == pytest.approx(wanted, rel=1e-12)
    assert found.estimate == pytest.approx(np.mean(x), rel=1e-12)


def test_one_value_has_no_bounds() -> None:
    assert stats.t_interval([0.7]) == stats.Interval(None, 0.7, None)


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_is_statsmodels(n: int, share: float, confidence: float) -> None:
    k = round(share * n)
    found = stats.wilson(k, n, confidence)
    wanted = proportion_confint(k, n, 1 - confidence, method="wilson")
    assert bounds(found) == pytest.approx(wanted, abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


# Two variants


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_the_paired_comparison_is_scipys_and_statsmodels(n: int) -> None:
    a, b = np.array(BASELINE[:n]), np.array(OTHER[:n])
    found = stats.compare_paired(by_seed(a), by_seed(b), margin=0.02, confidence=0.9)
    t = scipy.stats.ttest_rel(b, a)
    assert found.p_different == pytest.approx(t.pvalue, rel=1e-9)
    assert bounds(found.difference) == pytest.approx(tuple(t.confidence_interval(0.9)), rel=1e-9)
    assert found.p_equivalent == pytest.approx(ttost_paired(b, a, -0.02, 0.02)[0], rel=1e-9)
    assert found.sd == pytest.approx(np.std(b - a, ddof=1), rel=1e-12)
    assert (found.n, found.seeds) == (n, tuple(range(n)))


@pytest.mark.parametrize("n", [8, 9])
def test_the_sign_flip_p_is_scipys_exact_one(n: int) -> None:
    d = np.array(OTHER[:n]) - np.array(BASELINE[:n])
    wanted = scipy.stats.permutation_test(
        (d,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    found = stats.compare_paired(by_seed(BASELINE[:n]), by_seed(OTHER[:n]))
    assert found.p_sign_flip == pytest.approx(wanted, rel=1e-12)


def test_no_sign_flip_p_where_it_would_say_nothing_or_take_too_long() -> None:
    rng = np.random.default_rng(0)
    p = {}
    for n in (7, 8, 16, 17):
        found = stats.compare_paired(by_seed(rng.random(n)), by_seed(rng.random(n) + 2))
        p[n] = found.p_sign_flip
    assert p == {7: None, 8: 2 / 2**8, 16: 2 / 2**16, 17: None}


def test_only_common_seeds_count_and_wins_are_counted() -> None:
    a = {0: 0.70, 1: 0.70, 2: 0.70, 3: 0.70, 4: None, 5: 0.1, 6: math.nan}
    b = {3: 0.72, 2: 0.71, 1: 0.70, 0: 0.69, 4: 0.9, 7: 0.9, 6: 0.9}
    found = stats.compare_paired(a, b)
    assert (found.seeds, found.wins, found.losses) == ((0, 1, 2, 3), 2, 1)
    assert found.difference.estimate == pytest.approx(0.005)
    down = stats.compare_paired(a, b, higher_is_better=False)
    assert (down.wins, down.losses, down.difference) == (1, 2, found.difference)


def test_one_seed_has_a_difference_and_no_more() -> None:
    found = stats.compare_paired({0: 0.5}, {0: 0.75})
    assert found.difference == stats.Interval(None, 0.25, None)
    assert (found.sd, found.p_different, found.p_equivalent, found.p_sign_flip) == (None,) * 4


@pytest.mark.parametrize("shift", [0.0, 1e-17, 3e-13])
def test_the_same_numbers_are_no_difference(shift: float) -> None:
    same = [x + shift for x in BASELINE]
    found = stats.compare_paired(by_seed(BASELINE), by_seed(same))
    half = scipy.stats.t.ppf(0.975, 8) * 0.01 / math.sqrt(6) / 3  # scores of steps of 0.01
    assert bounds(found.difference) == pytest.approx((-half, half))
    assert found.difference.estimate == 0.0
    assert (found.p_different, found.wins, found.losses) == (1.0, 0, 0)
    assert verdict_of(BASELINE, same).verdict == "no difference that matters"
    assert verdict_of(BASELINE[:3], same[:3]).verdict == "cannot tell yet"
    assert verdict_of(BASELINE[:2], same[:2], margin=1.0).verdict == "cannot tell yet"


@pytest.mark.parametrize("paired", [True, False])
def test_scores_that_are_all_one_number_tell_nothing(paired: bool) -> None:
    """As shares of a few test samples are."""
    found = verdict_of([0.8] * 9, [0.8] * 9, paired=paired)
    assert (found.verdict, found.seeds_needed) == ("cannot tell yet", None)
    assert found.words == f"cannot tell: {found.reason}"
    assert found.interval == stats.Interval(None, 0.0, None)


@pytest.mark.parametrize(("n", "different"), [(2, False), (3, False), (4, True)])
def test_a_constant_difference_is_not_certain_from_two_seeds(n: int, different: bool) -> None:
    """|d| / √6 for its spread: t = √(6 n)."""
    found = stats.compare_paired(by_seed(BASELINE[:n]), by_seed([x + 0.05 for x in BASELINE[:n]]))
    assert found.sd == pytest.approx(0.05 / math.sqrt(6))
    assert found.p_different == pytest.approx(2 * scipy.stats.t.sf(math.sqrt(6 * n), n - 1))
    assert (found.p_different <= 0.05) == different == (found.difference.low > 0)


# Many variants


@pytest.mark.parametrize("m", [1, 2, 5, 12])
def test_holm_is_statsmodels(m: int) -> None:
    p = np.random.default_rng(m).random(m).round(1) * 0.2  # some are equal
    assert stats.holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]), abs=1e-15)
    assert stats.holm([]) == []


def test_holm_by_hand() -> None:
    """5 · 0.01, 4 · 0.02, 3 · 0.03; then 2 · 0.04 and 0.05 may not fall below the one before."""
    p = [0.03, 0.01, 0.05, 0.02, 0.04]
    assert stats.holm(p) == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])


# Verdicts

SPREAD = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # mean 0, sd 0.79: half of the interval is 0.98


@pytest.mark.parametrize(
    ("mean", "unit", "word", "direction", "by_margin"),
    [
        (0.05, 0.01, "better", 1, True),
        (-0.05, 0.01, "worse", -1, True),
        (0.015, 0.01, "better", 1, False),
        (-0.015, 0.01, "worse", -1, False),
        (0.0, 0.005, "no difference that matters", 0, False),
        (0.004, 0.003, "no difference that matters", 1, False),
        (-0.004, 0.003, "no difference that matters", -1, False),
        (0.005, 0.01, "cannot tell yet", 0, False),
        (-0.02, 0.05, "cannot tell yet", 0, False),
    ],
)
def test_the_verdict(mean: float, unit: float, word: str, direction: int, by_margin: bool) -> None:
    a = np.array(BASELINE[:5])
    found = verdict_of(a, a + mean + unit * SPREAD)
    assert (found.verdict, found.direction, found.by_margin) == (word, direction, by_margin)
    assert (found.seeds_needed is not None) == (word == "cannot tell yet")
    assert found.words.startswith(word)
    assert found.confidence == 0.95
    assert bounds(found.interval) == pytest.approx(bounds(found.comparison.difference), rel=1e-9)


def test_lower_is_better_where_said() -> None:
    a = np.array(BASELINE[:5])
    up, down = a + 0.05 + 0.01 * SPREAD, a - 0.05 + 0.01 * SPREAD
    assert verdict_of(a, up, higher_is_better=False).verdict == "worse"
    assert verdict_of(a, down, higher_is_better=False).verdict == "better"


@pytest.mark.parametrize("n", [3, 4])
def test_below_five_seeds_only_what_is_beyond_the_margin_is_claimed(n: int) -> None:
    a, wiggle = np.array(BASELINE[:n]), 0.0005 * np.arange(n)
    near, far, none = (verdict_of(a, a + d + wiggle) for d in (0.009, 0.03, 0.0))
    assert near.comparison.difference.low > 0
    assert near.verdict == "cannot tell yet"
    called = f"with {n} seeds only differences beyond the margin are called"
    assert near.reason == f"the interval leaves out 0, but {called}"
    assert near.words == f"cannot tell yet: {called}; about {near.seeds_needed} would tell"
    assert near.uncalled
    assert not far.uncalled
    assert far.words == "better, by at least the margin"
    assert none.verdict == "no difference that matters"


def test_from_two_seeds_no_direction_is_claimed() -> None:
    """Both runs of a variant may have collapsed."""
    found = verdict_of([0.82, 0.81], [0.101, 0.1])
    assert (found.verdict, found.direction, found.by_margin) == ("cannot tell yet", 0, True)
    assert found.interval.high < -0.01
    assert found.reason == "the interval leaves out 0, but from two seeds nothing is called"
    assert found.words == "cannot tell yet: 2 seeds say too little, run 5"


def test_one_seed_and_no_seed_cannot_tell() -> None:
    one, none = verdict_of([0.1], [0.9]), verdict_of([0.1, None], [None, 0.9])
    assert (one.verdict, none.verdict) == ("cannot tell yet",) * 2
    assert one.interval == stats.Interval(None, 0.8, None)
    assert (none.comparison, none.interval, none.p_holm, none.seeds_needed) == (None,) * 4
    assert "two seeds" in one.words


def test_the_interval_is_as_wide_as_the_variants_are_many() -> None:
    a = np.array(BASELINE)
    scores = {"plain": by_seed(a)} | {f"v{k}": by_seed(OTHER) for k in range(4)}
    found = stats.compare_variants(scores, "plain")
    t = scipy.stats.ttest_rel(OTHER, BASELINE)
    wanted = tuple(t.confidence_interval(1 - 0.05 / 4))
    assert [v.variant for v in found] == ["v0", "v1", "v2", "v3"]
    assert found[2].p_holm == pytest.approx(4 * t.pvalue)
    assert bounds(found[2].interval) == pytest.approx(wanted)
    assert bounds(found[2].comparison.difference) == pytest.approx(tuple(t.confidence_interval()))


def test_where_holm_settles_a_sign_the_interval_ends_at_zero() -> None:
    a = np.array(BASELINE[:5])
    clear, near = a + 0.1 + 0.01 * SPREAD, a + 0.0105 + 0.01 * SPREAD
    both = {"plain": by_seed(a), "clear": by_seed(clear), "near": by_seed(near)}
    found = stats.compare_variants(both, "plain")[1]
    assert found.comparison.p_different == pytest.approx(found.p_holm)  # the last step of Holm
    assert 0.025 < found.p_holm < 0.05  # which Bonferroni alone would not settle
    assert (found.verdict, found.interval.low) == ("better", 0.0)


def test_runs_that_failed_or_did_not_learn_are_named() -> None:
    scores = {
        "plain": {0: 0.71, 1: 0.74, 2: None, 3: 0.101, 4: 0.7},
        "other": {0: 0.72, 1: 0.1, 2: 0.75, 3: math.nan, 4: 0.0},
    }
    found = stats.compare_variants(scores, "plain", chance=0.1, noise_sd=0.001)[0]
    assert (found.missing, found.baseline_missing) == ((3,), (2,))
    assert (found.collapsed, found.baseline_collapsed) == ((1, 3, 4), (3,))
    assert found.comparison.seeds == (0, 1, 4)
    assert stats.compare_variants(scores, "plain")[0].collapsed == ()


def test_a_lone_baseline_has_no_verdicts() -> None:
    assert stats.compare_variants({"plain": by_seed(BASELINE)}, "plain") == []


numbers = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.505, math.nan]))


@given(st.lists(st.lists(numbers, min_size=6, max_size=6), min_size=2, max_size=5))
@example([[None, None, None, 0.0, None, 0.0]] * 2)  # neither learned: equal, and nothing is known
def test_verdict_and_interval_never_contradict_each_other(rows: list[list[Any]]) -> None:
    scores = {f"v{k}": by_seed(row) for k, row in enumerate(rows)}
    for found in stats.compare_variants(scores, "v0", margin=0.05, chance=0.1):
        json.dumps(asdict(found), allow_nan=False)
        low, high = bounds(found.interval) if found.interval else (None, None)
        if low is None:
            assert found.verdict == "cannot tell yet"
            continue
        tiny = 1e-12
        holds_zero = low < -tiny and high > tiny
        inside = low > -0.05 and high < 0.05
        if found.reason == stats.NEITHER_LEARNED:
            assert found.verdict == "cannot tell yet"
        else:
            assert inside == (found.verdict == "no difference that matters")
        assert low <= found.interval.estimate + tiny
        assert high >= found.interval.estimate - tiny
        if found.verdict in ("better", "worse"):
            assert not holds_zero
            assert found.p_holm <= 0.05
        if found.direction == 0 and found.verdict == "cannot tell yet" and found.comparison.n >= 5:
            assert low <= 0 <= high
        assert found.seeds_needed is None or not found.uneven


# Unpaired


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 9), (9, 4), (9, 9)])
def test_the_unpaired_comparison_is_scipys_and_statsmodels(n: int, m: int) -> None:
    x, y = BASELINE[:n], [0.03 * k for k in OTHER[:m]] if n == m else OTHER[:m]
    found = stats.compare_unpaired(by_seed(x), by_seed(y), margin=0.02, confidence=0.9)
    t = scipy.stats.ttest_ind(y, x, equal_var=False)
    assert bounds(found.difference) == pytest.approx(tuple(t.confidence_interval(0.9)))
    assert found.p_different == pytest.approx(t.pvalue)
    assert found.df == pytest.approx(t.df)
    assert found.p_equivalent == pytest.approx(
        ttost_ind(y, x, -0.02, 0.02, usevar="unequal")[0], abs=1e-12
    )
    assert (found.n, found.seeds, found.paired, found.wins) == (min(n, m), (), False, None)


def test_runs_are_paired_where_half_of_the_seeds_are_common() -> None:
    a = by_seed(BASELINE[:6])

    def paired(seeds: list[int], **settings: Any) -> bool:
        other = dict(zip(seeds, OTHER, strict=False))
        found = stats.compare_variants({"a": a, "b": other}, "a", **settings)[0]
        return found.comparison.paired

    assert paired([0, 1, 2, 3, 4, 5], paired=None)
    assert paired([3, 4, 5, 6, 7, 8], paired=None)
    assert not paired([4, 5, 6, 7, 8, 9], paired=None)
    assert not paired([7, 8, 9], paired=None)
    assert paired([4, 5, 6, 7, 8, 9])
    assert not paired([0, 1, 2, 3, 4, 5], paired=False)
    with pytest.raises(ValueError, match="give paired=True"):
        paired([0, 1, 2, 3, 4, 5], paired=None, test_to_train=0.2)


def test_unpaired_scores_that_are_all_equal_are_not_certain_from_two_runs() -> None:
    one, two = by_seed([0.5, 0.5]), by_seed([0.6, 0.6])
    assert stats.compare_unpaired(one, two).p_different > 0.05
    same = stats.compare_unpaired(one, one)
    assert (bounds(same.difference), same.p_different, same.sd) == ((None, None), 1.0, None)
    single = stats.compare_variants({"a": one, "b": {9: 0.6}}, "a", paired=False)[0]
    assert single.verdict == "cannot tell yet"
    assert single.reason == "one of them has a single run"
    assert single.words == "cannot tell yet: it takes two seeds to see what chance does"


# Seeds needed


def test_from_three_and_four_seeds_a_range_is_named_and_from_five_a_number() -> None:
    a, b = BASELINE[:5], [0.72, 0.73, 0.71, 0.72, 0.73]
    for n in (3, 4):
        found = verdict_of(a[:n], b[:n])
        low, high = found.seeds_range
        assert n < low < high == found.seeds_needed
        assert found.words == f"cannot tell yet: {low} to {high} seeds would"
    found = verdict_of(a, b)
    assert found.seeds_range is None
    assert found.words == f"cannot tell yet: about {found.seeds_needed} seeds would"


def test_where_a_run_stands_apart_no_number_of_seeds_is_named() -> None:
    a, b = [0.80, 0.81, 0.79, 0.80, 0.82], [0.81, 0.80, 0.80, 0.81, 0.31]
    for one, other in ((a, b), (b, a)):
        found = verdict_of(one, other)
        assert (found.verdict, found.uneven, found.seeds_needed) == ("cannot tell yet", True, None)
        assert found.words == f"cannot tell yet: {stats.UNEVEN}"
    assert not verdict_of(a, a[::-1]).uneven
    lost = verdict_of([*a[:4], 0.79], [*a[1:], 0.79], chance=0.79)
    assert lost.uneven
    ill = verdict_of(a, [x - 0.3 for x in a[:4]] + [0.1])
    assert (ill.verdict, ill.uneven) == ("worse", False)  # a verdict needs no more seeds


def test_more_spread_needs_more_seeds_and_a_sure_answer_five() -> None:
    needed = [stats.seeds_needed(5, 0.0, sd) for sd in (0.001, 0.01, 0.015, 0.02, 0.03, 0.1)]
    assert needed == sorted(needed)
    assert (needed[0], needed[-1]) == (6, stats.MAX_SEEDS + 1)
    assert stats.seeds_needed(2, 0.5, 0.01) == stats.MIN_SEEDS


@given(st.floats(-3, 3), st.floats(0.1, 3), st.integers(2, 20))
def test_seeds_needed_knows_no_units_and_no_sides(d: float, sd: float, n: int) -> None:
    one = stats.seeds_needed(n, d, sd, margin=1.0)
    assert one == stats.seeds_needed(n, -d * 2**-7, sd * 2**-7, margin=2**-7)
    assert n < one <= stats.MAX_SEEDS + 1


def test_the_words_of_many_seeds() -> None:
    a, wide = np.array(BASELINE[:5]), 0.2 * SPREAD
    assert verdict_of(a, a + wide).words == "cannot tell yet: more than 200 seeds would be needed"
    few = verdict_of(a[:3], a[:3] + wide[:3])
    assert few.seeds_needed == stats.MAX_SEEDS + 1  # which three seeds cannot know
    assert few.words == "cannot tell yet: 3 seeds say too little, run 5"
    some = verdict_of(a, a + wide, margin=0.15)
    assert some.words == f"cannot tell yet: about {some.seeds_needed} seeds would"


# Runs that did not learn


def test_guessing_noise_is_the_spread_of_guesses() -> None:
    support = [5, 0, 20, 100]
    exact = sum(scipy.stats.binom(n, 1 / 3).var() / n**2 for n in support if n) / 3**2
    assert stats.guessing_noise(1 / 3, support) == pytest.approx(math.sqrt(exact))
    accuracy = scipy.stats.binom(1000, 0.6).std() / 1000
    assert stats.guessing_noise(0.6, [1000]) == pytest.approx(accuracy)


def test_what_a_collapse_is() -> None:
    assert [stats.collapsed(s, 0.1) for s in (0.0, 0.1, 0.11, None)] == [True, True, False, False]
    assert stats.collapsed(0.119, 0.1, 0.01)
    assert not stats.collapsed(0.121, 0.1, 0.01)
    assert stats.collapsed(math.nan, 0.1)


# The finite test set


def answers(rng: Any, seeds: int, targets: Any, gap: float) -> tuple[Any, Any]:
    """Samples differ in difficulty, seeds in luck, and both variants share them in part."""
    hard = rng.normal(size=targets.size)
    both = []
    for shift in (0.8, 0.8 + gap):
        own = hard + 0.5 * rng.normal(size=targets.size) + 0.4 * rng.normal(size=(seeds, 1))
        both.append(rng.random(own.shape) < 1 / (1 + np.exp(-(shift - targets + own))))
    return both[0], both[1]


def test_noise_sources_are_the_formulas() -> None:
    targets = np.array([0] * 7 + [2] * 5 + [3])
    a, b = answers(np.random.default_rng(0), 4, targets, 0.5)
    found = stats.noise_sources(a, b, targets)
    each = {}
    for k in (0, 2, 3):
        rows = [b[:, i].mean() - a[:, i].mean() for i in np.flatnonzero(targets == k)]
        spread = np.std(rows, ddof=1) if len(rows) > 1 else 1.0
        each[k] = (len(rows), np.mean(rows), spread / math.sqrt(len(rows)))
    assert [c.label for c in found.classes] == [0, 2, 3]
    for c in found.classes:
        assert (c.n, c.difference, c.test_se) == pytest.approx(each[c.label])
    assert found.difference == pytest.approx(np.mean([e[1] for e in each.values()]))
    assert found.test_se == pytest.approx(math.sqrt(sum(e[2] ** 2 for e in each.values())) / 3)
    recall = np.array([[x[s, targets == k].mean() for k in each] for x in (a, b) for s in range(4)])
    by_seed_ = recall[4:].mean(1) - recall[:4].mean(1)
    assert found.seed_se == pytest.approx(scipy.stats.sem(by_seed_))
    assert found.total_se == pytest.approx(math.hypot(found.test_se, found.seed_se))
    json.dumps(asdict(found), allow_nan=False)


def test_test_se_is_the_spread_over_test_sets() -> None:
    """The same trained nets on 3,000 test sets drawn from one large one."""
    rng = np.random.default_rng(1)
    pool = np.repeat([0, 1, 2], 20_000)
    a, b = answers(rng, 3, pool, 0.5)
    sizes, seen, told = (10, 30, 200), [], []
    targets = np.repeat([0, 1, 2], sizes)
    for _ in range(3000):
        drawn = np.concatenate([rng.choice(20_000, n) + 20_000 * k for k, n in enumerate(sizes)])
        found = stats.noise_sources(a[:, drawn], b[:, drawn], targets)
        seen.append(found.difference)
        told.append(found.test_se**2)
    assert np.mean(told) == pytest.approx(np.var(seen), rel=0.1)


def test_the_larger_source_is_named() -> None:
    targets = np.zeros(1000, dtype=int)
    sure = np.zeros((4, 1000))
    lucky = np.repeat([[0.0], [0.0], [1.0], [1.0]], 1000, axis=1)
    mixed = np.repeat(np.arange(1000)[None] % 2, 4, axis=0)
    assert stats.noise_sources(sure, lucky, targets).larger == "seeds"
    assert stats.noise_sources(sure, mixed, targets).larger == "test set"
    one = stats.noise_sources(sure[:1], mixed[:1], targets)
    assert (one.seed_se, one.larger, one.total_se) == (None,) * 3


def test_the_two_way_bootstrap_is_the_t_interval_when_samples_agree() -> None:
    shares = np.array([0.1, 0.2, 0.15, 0.3, 0.25, 0.2, 0.1, 0.3, 0.2, 0.2])
    b = np.repeat(shares[:, None], 3000, axis=1)
    found = stats.two_way_bootstrap(np.zeros_like(b), b, np.zeros(3000))
    wanted = stats.t_interval(shares)
    assert bounds(found) == pytest.approx(bounds(wanted), abs=0.1 * (wanted.high - wanted.low))


def test_the_two_way_bootstrap_is_deterministic_and_never_sure_of_a_few_samples() -> None:
    targets = np.repeat([0, 1], [50, 8])
    a, b = answers(np.random.default_rng(2), 3, targets, 0.5)
    draw = stats.two_way_bootstrap(a, b, targets)
    assert draw == stats.two_way_bootstrap(a, b, targets)
    assert draw != stats.two_way_bootstrap(a, b, targets, seed=1)
    right = np.ones((3, 58))
    same = stats.two_way_bootstrap(right, right, targets, label=1)
    assert same.low < -0.2 < 0 < 0.2 < same.high
    assert same.estimate == 0


# The edge


SAMPLES = np.ones((2, 3)), np.ones((2, 3)), np.zeros(3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stats.t_interval([]), "at least one value"),
        (lambda: stats.t_interval([0.1, math.nan]), "all finite"),
        (lambda: stats.t_interval([0.1], 95), r"inside \(0, 1\), but got 95"),
        (lambda: stats.wilson(3, 2), "but got 3 of 2"),
        (lambda: stats.wilson(0, 0), "but got 0 of 0"),
        (lambda: stats.compare_paired({0: 1.0}, {1: 1.0}), "same seeds"),
        (lambda: stats.compare_paired({0: 1.0}, {0: 1.0}, margin=0), "margin must be above 0"),
        (lambda: stats.holm([0.1, 1.2]), "from 0 to 1, but got 1.2"),
        (lambda: stats.holm([math.nan]), "from 0 to 1, but got nan"),
        (lambda: stats.compare_variants({"a": {}}, "b"), "but got 'b' and \\['a'\\]"),
        (lambda: stats.seeds_needed(1, 0.0, 0.1), "but got n = 1"),
        (lambda: stats.seeds_needed(3, 0.0, math.nan), "sd = nan"),
        (lambda: stats.guessing_noise(0.1, [0]), "a class with test samples"),
        (lambda: stats.noise_sources([[1, 0]], [[1]], [0, 0]), "have shapes"),
        (lambda: stats.noise_sources([[1, 2]], [[1, 0]], [0, 0]), "not all from 0 to 1"),
        (lambda: stats.two_way_bootstrap([[1]], [[1]], [0]), "two seeds or more"),
        (lambda: stats.two_way_bootstrap(*SAMPLES, label=7), "and 0 samples"),
    ],
)
def test_errors_teach(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_it_is_light() -> None:
    """`counterpoise show` answers in under a second: no torch, and not the whole of scipy.stats."""
    heavy = {"torch", "sklearn", "pandas", "scipy.stats", "matplotlib"}
    code = "import sys; from counterpoise import stats; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()


def test_a_difference_far_beyond_its_noise_asks_for_few_seeds() -> None:
    """21 margins with a spread of 4.5: the five seeds that any verdict needs, or a few more."""
    assert stats.seeds_needed(3, 0.216, 0.045, margin=0.01, confidence=0.99) <= 8


def test_where_neither_learned_there_is_nothing_to_say():
    chance = dict.fromkeys(range(5), 0.25)
    scores = {"plain": chance, "group": dict(chance), "focal": {s: 0.9 - 0.01 * s for s in chance}}
    idle, learned = stats.compare_variants(scores, "plain", chance=0.25)
    assert (idle.verdict, idle.reason) == ("cannot tell yet", stats.NEITHER_LEARNED)
    assert idle.seeds_needed is None
    assert idle.words.startswith("cannot tell: neither learned")
    assert learned.verdict == "better"
    unknown = stats.compare_variants(scores, "plain")[0]  # chance is
    assert unknown.words.startswith("cannot tell: all scores are the same number")
