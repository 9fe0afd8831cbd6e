"""How often the verdicts of `counterpoise.stats` are right, where the truth is known.

Each cell is some thousand studies, all at once through `decide` and `predict_seeds`, the functions
that `judge` and `seeds_needed` call; that they say the same is tested first. The rng is fixed: a
cell has one figure, not a new one in each run. benchmarks/calibration.py prints the whole table.
"""

from typing import Any

import numpy as np
import pytest

from counterpoise import stats
from counterpoise.stats._decide import Decision, decide
from counterpoise.stats._paired import summarize
from counterpoise.stats._seeds import predict_seeds

MARGIN = 0.01
STUDIES = 4000


def draw(
    rng: Any,
    n: int,
    variants: int = 1,
    *,
    delta: float = 0.0,
    sd: float = 0.01,
    shape: str = "normal",
    studies: int = STUDIES,
) -> tuple[Any, Any]:
    """Scores of baseline and variants [study, variant, seed], half of the variance the seed's own.

    `sd` is that of the paired differences, before runs collapse.
    """
    noise = rng.normal(size=(studies, variants + 2, n))
    own, shared = noise[:, :-1], noise[:, -1:]
    if shape == "log-normal":
        own, shared = np.exp(own), np.exp(shared)
        own = own / np.sqrt(np.e * (np.e - 1))
    scores = 0.8 + sd / np.sqrt(2) * (own + shared)
    scores[:, 1:] += delta
    if shape == "collapsed":
        scores[rng.random(scores.shape) < 0.2] = 0.1
    if shape == "rounded":
        scores = scores.round(2)
    return scores[:, :1], scores[:, 1:]


def decisions(before: Any, after: Any, n: int) -> Decision:
    return decide(n, *summarize(before[..., :n], after[..., :n]), MARGIN, 0.95)


def claimed(found: Decision) -> Any:
    """Where "better" or "worse" is said."""
    return (found.direction != 0) & ~found.inside


def decided(found: Decision) -> Any:
    return (found.direction != 0) | found.inside


def test_the_simulated_rule_is_the_one_that_judges() -> None:
    for n in (2, 3, 5, 10):
        before, after = draw(np.random.default_rng(n), n, variants=4, delta=0.008, sd=0.007)
        found, (mean, sd) = decisions(before, after, n), summarize(before, after)
        for study in range(25):
            rows = [before[study, 0], *after[study]]
            scores = {str(k): dict(enumerate(map(float, row))) for k, row in enumerate(rows)}
            for k, verdict in enumerate(stats.judge(scores, "0", margin=MARGIN)):
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


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize("delta", [0.0, 0.01])
def test_intervals_hold_the_truth_in_93_to_97_percent(n: int, delta: float) -> None:
    rng = np.random.default_rng([n, round(1000 * delta)])
    mean, sd = summarize(*draw(rng, n, delta=delta, sd=0.02))
    found = decide(n, mean, sd, MARGIN, 0.95)
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


@pytest.mark.parametrize("n", [2, 3, 5, 10])
@pytest.mark.parametrize("shape", ["normal", "log-normal", "collapsed", "rounded"])
@pytest.mark.parametrize("variants", [1, 8])
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
        wrong = (found.direction != 0) & (found.direction != np.sign(delta))
        wrong |= found.inside & (np.abs(delta) >= MARGIN)
        wrong |= found.by_margin & (np.abs(delta) <= MARGIN)
        assert wrong.any(-1).mean() <= 0.06


@pytest.mark.parametrize("sd", [0.3, 0.6, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("delta", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_seeds_asked_for_are_enough_in_70_percent(n: int, delta: float, sd: float) -> None:
    """Of the studies that cannot tell after n seeds, asked to go on; "more than 200" gets 201."""
    rng = np.random.default_rng([n, round(10 * delta), round(10 * sd)])
    scores = draw(rng, stats.MAX_SEEDS + 1, delta=delta * MARGIN, sd=sd * MARGIN, studies=1000)
    before, after = (x[:, 0] for x in scores)
    # One comparison a row: without an axis for the family, `decide` would take them for one.
    open_ = ~decided(decisions(before[:, None], after[:, None], n))[:, 0]
    assert open_.mean() < 0.03 or enough_seeds(before[open_], after[open_], n).mean() >= 0.7


def enough_seeds(before: Any, after: Any, n: int) -> Any:
    """Whether each study [study, seed] can tell after the number of seeds that its first n ask."""
    mean, spread = summarize(before[:, :n], after[:, :n])
    needed = predict_seeds(n, mean / MARGIN, spread / MARGIN, 0.95)
    enough = np.zeros(needed.size, dtype=bool)
    for size in np.unique(needed):
        at = needed == size
        enough[at] = decided(decisions(before[at, None], after[at, None], int(size)))[:, 0]
    return enough


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("samples", [8, 20, 200])
def test_the_two_way_interval_holds_the_truth_for_new_seeds_and_new_samples(
    n: int, samples: int
) -> None:
    """A rare class; each study has its own seeds and its own test samples."""
    rng = np.random.default_rng([n, samples])
    held = 0
    for _ in range(200):
        hard = rng.normal(size=(1, samples))
        luck = 0.5 * rng.normal(size=(2, n, 1))
        p = 1 / (1 + np.exp(-(hard + luck)))  # of both variants alike: the true difference is 0
        a, b = rng.random((2, n, samples)) < p
        found = stats.two_way_bootstrap(a, b, np.zeros(samples), resamples=400)
        held += found.low <= 0 <= found.high
    assert held / 200 >= 0.93
