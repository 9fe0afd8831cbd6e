"""How often the verdicts of `counterpoise.stats` are right, where the truth is known.

Each cell is some thousand studies, drawn by benchmarks/calibration.py and all at once through
`decide` and `predict_seeds`, the functions that `compare_variants` and `seeds_needed` call; that
they agree is tested first. The rng is fixed: a cell has one figure, not a new one in each run.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest
from tests.covering import every_pair, in_turn

from counterpoise import stats
from counterpoise.stats._comparison import summarize
from counterpoise.stats._seeds import predict_seeds

CALIBRATION = Path(__file__).parent.parent / "benchmarks" / "calibration.py"
simulated = runpy.run_path(str(CALIBRATION))
MARGIN, SPREADS, TRUTHS = (simulated[name] for name in ("MARGIN", "SPREADS", "TRUTHS"))
draw, decisions, claimed = (simulated[name] for name in ("draw", "decisions", "claimed"))


def test_the_simulated_rule_is_the_one_that_judges() -> None:
    for n in (2, 3, 5, 10):
        before, after = draw(np.random.default_rng(n), n, variants=4, delta=0.008, sd=0.007)
        found, (mean, sd) = decisions(before, after, n), summarize(before, after)
        for study in range(25):
            rows = [before[study, 0], *after[study]]
            scores = {str(k): dict(enumerate(map(float, row))) for k, row in enumerate(rows)}
            for k, verdict in enumerate(stats.compare_variants(scores, "0", margin=MARGIN)):
                at = study, k
                assert verdict.direction == found.direction[at]
                assert verdict.by_margin == found.by_margin[at]
                assert (verdict.verdict == "no difference that matters") == found.inside[at]
                assert (verdict.verdict in ("better", "worse")) == claimed(found)[at]
                assert verdict.p_holm == pytest.approx(found.p_holm[at])
                assert verdict.interval.low == pytest.approx(found.low[at], abs=1e-12)
                assert verdict.interval.high == pytest.approx(found.high[at], abs=1e-12)
                if verdict.seeds_needed:
                    pilot = mean[study, k : k + 1] / MARGIN, sd[study, k : k + 1] / MARGIN
                    assert verdict.seeds_needed == predict_seeds(n, *pilot, 1 - 0.05 / 4)[0]


@in_turn(n=[2, 3, 5, 10], delta=[0.0, 0.01])
def test_intervals_hold_the_truth_in_93_to_97_percent(n: int, delta: float) -> None:
    rng = np.random.default_rng([n, round(1000 * delta)])
    found = decisions(*draw(rng, n, delta=delta, sd=0.02), n)
    assert 0.93 <= np.mean((found.low <= delta) & (delta <= found.high)) <= 0.97


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_interval_and_compare_paired_hold_the_truth_in_93_to_97_percent(n: int) -> None:
    """The public functions themselves, one study at a time."""
    before, after = draw(np.random.default_rng(n), n, delta=0.01, sd=0.02)
    held = np.zeros(2)
    for a, b in zip(before[:1500, 0], after[:1500, 0], strict=True):
        pair = stats.compare_paired(dict(enumerate(a)), dict(enumerate(b))).difference
        for k, (found, truth) in enumerate([(stats.t_interval(a), 0.8), (pair, 0.01)]):
            held[k] += found.low <= truth <= found.high
    assert ((held / 1500 >= 0.93) & (held / 1500 <= 0.97)).all()


@every_pair(
    n=[2, 3, 5, 10], shape=["normal", "log-normal", "collapsed", "rounded"], variants=[1, 8]
)
def test_variants_that_are_the_same_are_called_different_in_at_most_5_percent(
    n: int, shape: str, variants: int
) -> None:
    """Of whole studies: one wrong word among eight counts. 0.055 leaves room for 4,000 draws."""
    rng = np.random.default_rng([n, variants])
    found = decisions(*draw(rng, n, variants, sd=0.02, shape=shape), n)
    assert claimed(found).any(-1).mean() <= 0.055


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_difference_of_the_margin_is_called_none_in_at_most_2_5_percent(n: int) -> None:
    """As many as there are: the spread for which it happens most is among these."""
    for sd in (0.001, 0.002, 0.004, 0.008):
        found = decisions(*draw(np.random.default_rng(n), n, delta=MARGIN, sd=sd), n)
        assert found.inside.mean() <= 0.03


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_study_of_many_truths_makes_a_false_claim_in_about_5_percent(n: int) -> None:
    """Any of: a direction that is not there, no difference where there is one, by the margin."""
    delta = np.array([0, 0, 0, 0.005, -0.005, 0.01, -0.01, 0.02])
    for sd in (0.002, 0.006, 0.02):
        before, after = draw(np.random.default_rng(n), n, variants=8, sd=sd)
        found = decisions(before, after + delta[:, None], n)
        wrong = simulated["wrong"](found, delta)
        assert wrong.any(-1).mean() <= 0.06


@every_pair(sd=SPREADS, delta=TRUTHS, n=[3, 5, 10])
def test_the_seeds_asked_for_are_enough_in_70_percent(n: int, delta: float, sd: float) -> None:
    """Of the studies that cannot tell after n seeds, asked to go on; "more than 200" gets 201."""
    rng = np.random.default_rng([n, round(10 * delta), round(10 * sd)])
    most = stats.MAX_SEEDS + 1
    scores = draw(rng, most, delta=delta * MARGIN, sd=sd * MARGIN, studies=1000)
    before, after = (x[:, 0] for x in scores)
    still = simulated["open_after"](before, after, n)
    before, after = before[still], after[still]
    asked = simulated["seeds_asked"](before, after, n)
    enough = simulated["decided"](simulated["later"](before, after, asked))
    least = 0.7 if n >= stats.MIN_SEEDS else 0.66  # the upper end of a range
    assert still.mean() < 0.03 or enough.mean() >= least


@pytest.mark.parametrize("n", [5, 10])
def test_the_seeds_asked_for_are_at_most_half_as_many_again_as_the_truth_needs(n: int) -> None:
    """On the median over the studies that cannot tell, of all spreads and differences."""
    ratios = []
    for sd in SPREADS[1:]:
        for delta in TRUTHS:
            rng = np.random.default_rng([n, round(10 * delta), round(10 * sd)])
            most = stats.MAX_SEEDS + 1
            scores = draw(rng, most, delta=delta * MARGIN, sd=sd * MARGIN, studies=300)
            before, after = (x[:, 0] for x in scores)
            still = simulated["open_after"](before, after, n)
            asked = simulated["seeds_asked"](before[still], after[still], n)
            truth = simulated["fewest"](delta * MARGIN, sd * MARGIN, 600)
            ratios.append(asked / max(truth, n + 1))
    assert np.median(np.concatenate(ratios)) <= 1.5


@every_pair(
    name=[name for name in simulated["UNLIKE"] if "skewed, and" not in name],
    n=[3, 5, 10],
    variants=[1, 8],
)
def test_other_kinds_of_noise_make_no_more_false_claims(name: str, n: int, variants: int) -> None:
    """Variants of the baseline's mean whose runs scatter in another way."""
    both = simulated["draw_unlike"](np.random.default_rng([n, variants]), n, variants, name)
    assert simulated["wrong"](decisions(*both, n), 0.0).any(-1).mean() <= 0.06


@every_pair(samples=[10, 20, 100], n=[3, 5, 10], variants=[1, 8])
def test_scores_of_few_test_samples_make_no_more_false_claims(samples, n, variants) -> None:
    both = simulated["draw_hits"](np.random.default_rng([n, variants]), n, variants, samples)
    assert simulated["wrong"](decisions(*both, n), 0.0).any(-1).mean() <= 0.06


@every_pair(runs=[(3, 3), (5, 5), (3, 10), (5, 20), (10, 5)], times=[1 / 3, 1, 3], variants=[1, 8])
def test_unpaired_runs_of_unequal_number_and_spread_make_false_claims_in_about_5_percent(
    runs, times, variants
) -> None:
    """Up to 8% where the variant with fewer runs scatters more: Welch's t is no exact test."""
    n, m = runs
    rng = np.random.default_rng([n, m, variants])
    before = 0.8 + 0.02 * rng.normal(size=(4000, 1, n))
    after = 0.8 + 0.02 * times * rng.normal(size=(4000, variants, m))
    found = simulated["welch"](before, after)
    assert simulated["wrong"](found, 0.0).any(-1).mean() <= (0.08 if times == 3 else 0.06)


def test_the_simulated_welch_is_the_one_that_judges() -> None:
    before, after = 0.8 + 0.02 * np.random.default_rng(0).normal(size=(2, 25, 3, 6))
    found = simulated["welch"](before[:, :1, :4], after)
    for study in range(25):
        rows = [before[study, 0, :4], *after[study]]
        scores = {str(k): dict(enumerate(map(float, row))) for k, row in enumerate(rows)}
        for k, verdict in enumerate(stats.compare_variants(scores, "0", paired=False)):
            at = study, k
            assert verdict.direction == found.direction[at]
            assert verdict.p_holm == pytest.approx(found.p_holm[at])
            assert verdict.interval.low == pytest.approx(found.low[at], abs=1e-12)


@every_pair(n=[3, 5, 10], samples=[8, 200], luck=[0.5, 2.0])
def test_the_two_way_interval_holds_the_truth_for_new_seeds_and_new_samples(
    n: int, samples: int, luck: float
) -> None:
    """A rare class; each study has its own seeds and its own test samples. Too wide is allowed."""
    assert simulated["two_way"](n, samples, 200, luck) >= 0.93
