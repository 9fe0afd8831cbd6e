"""Verdicts that are read while seeds are added, against scipy's integrals and simulated studies."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import multivariate_normal, norm
from tests.covering import every_pair

from counterpoise import stats
from counterpoise.stats import Looks

CALIBRATION = Path(__file__).parent.parent / "benchmarks" / "calibration.py"
simulated = runpy.run_path(str(CALIBRATION))


@pytest.mark.parametrize("p", [0.2, 0.05, 0.01, 1e-3])
@pytest.mark.parametrize("n", [2, 3, 5, 60])
def test_one_look_needs_no_correction(n, p):
    looks = Looks(n, n)
    assert float(looks.adjusted(p)) == pytest.approx(p, rel=1e-6)
    assert looks.nominal(p) == pytest.approx(p, rel=1e-6)


def test_of_many_seeds_it_is_scipys_integral_of_normal_statistics():
    """t of 200 to 203 seeds is nearly normal, with the correlation √(n / n') of two means."""
    first, last = 200, 203
    n = np.arange(first, last + 1)
    correlation = np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n))
    for p in (0.1, 0.02, 0.003):
        edge = np.full(len(n), norm.isf(p / 2))
        rng = np.random.default_rng(0)
        inside = multivariate_normal(cov=correlation, seed=rng, abseps=1e-7, releps=1e-7).cdf(
            edge, lower_limit=-edge
        )
        assert float(Looks(first, last).adjusted(p)) == pytest.approx(1 - inside, rel=0.005)


@every_pair(first=[2, 3, 5, 10], last=[11, 25, 60])
def test_it_is_how_often_normal_differences_show_such_a_p_at_any_look(first, last):
    rng, studies = np.random.default_rng([first, last]), 40_000
    d = rng.normal(size=(studies, last))
    n = np.arange(first, last + 1)
    mean = (d.cumsum(1) / np.arange(1, last + 1))[:, first - 1 :]
    square = (d**2).cumsum(1)[:, first - 1 :] / n - mean**2
    t = np.abs(mean) / np.sqrt(square / (n - 1))
    for p in (0.1, 0.02, 0.004):
        seen = (t > -stdtrit(n - 1, p / 2)).any(1).mean()
        spread = np.sqrt(seen * (1 - seen) / studies)
        expected = float(Looks(first, last).adjusted(p))
        assert abs(expected - seen) <= 3.5 * spread + 0.01 * seen
        assert Looks(first, last).nominal(expected) == pytest.approx(p, rel=1e-6)


def test_few_looks_cost_no_more_than_bonferroni():
    assert Looks(3, 200, at_most=3).adjusted(0.01) == pytest.approx(0.03)
    assert Looks(3, 200, at_most=3).nominal(0.05) == pytest.approx(0.05 / 3)
    assert Looks(3, 200, at_most=7).nominal(0.05) == pytest.approx(0.05 / 7)
    assert Looks(3, 200).adjusted(0.05) > 5 * 0.05  # so that five looks need no more
    all_of_them, many = Looks(3, 25), Looks(3, 25, at_most=1000)
    assert (
        many.adjusted([1e-9, 0.01, 0.9]).tolist()
        == all_of_them.adjusted([1e-9, 0.01, 0.9]).tolist()
    )
    assert many.nominal(0.05) == all_of_them.nominal(0.05)


def test_p_and_level_keep_their_order_and_their_bounds():
    looks, p = Looks(3, 40), np.geomspace(1e-12, 1, 400)
    found = looks.adjusted(p)
    assert (np.diff(found) >= 0).all()
    assert (found >= p).all()
    assert (found <= np.minimum(38 * p, 1)).all()
    levels = [looks.nominal(level) for level in np.geomspace(1e-10, 0.5, 60)]
    assert (np.diff(levels) > 0).all()


@every_pair(shape=["normal", "log-normal", "collapsed", "rounded"], variants=[1, 20], first=[3, 5])
def test_of_equal_variants_a_false_claim_in_20_looks_is_made_in_5_percent_at_most(
    shape, variants, first
):
    """Of whole studies that are read after each seed; 0.055 leaves room for 2,000 draws."""
    looks = Looks(first, first + 19)
    rng = np.random.default_rng([first, variants])
    before, after = simulated["draw"](rng, looks.last, variants, sd=0.02, shape=shape, studies=2000)
    wrong = np.zeros(2000, bool)
    for n in range(looks.first, looks.last + 1):
        found = simulated["decisions"](before, after, n, looks)
        wrong |= simulated["wrong"](found, np.zeros(variants)).any(-1)
    assert wrong.mean() <= 0.055


def test_a_study_of_many_truths_makes_a_false_claim_of_any_kind_in_5_percent():
    """No difference where there is one, by the margin where it is not, or a wrong sign."""
    delta = np.array([0, 0, 0.005, -0.005, 0.01, -0.01, 0.02])
    looks = Looks(5, 24)
    for sd in (0.002, 0.006, 0.02):
        rng = np.random.default_rng(round(1000 * sd))
        before, after = simulated["draw"](rng, looks.last, len(delta), sd=sd, studies=2000)
        wrong = np.zeros(2000, bool)
        for n in range(looks.first, looks.last + 1):
            found = simulated["decisions"](before, after + delta[:, None], n, looks)
            wrong |= simulated["wrong"](found, delta).any(-1)
        assert wrong.mean() <= 0.06


def test_verdicts_before_the_first_look_and_after_the_last():
    scores = {
        "a": dict(enumerate([0.70, 0.71, 0.69, 0.72, 0.70, 0.71])),
        "b": dict(enumerate([0.80, 0.82, 0.79, 0.81, 0.80, 0.82])),
    }

    def read(seeds, looks):
        some = {name: {s: x for s, x in row.items() if s < seeds} for name, row in scores.items()}
        return stats.compare_variants(some, "a", looks=looks)[0]

    assert read(4, Looks(5, 20)).verdict == "cannot tell yet"
    assert read(5, Looks(5, 20)).verdict == "better"
    with pytest.raises(ValueError, match="looks must allow for all seeds, but got 6"):
        read(6, Looks(3, 5))
    once, often = (read(5, looks).interval for looks in (None, Looks(5, 20)))
    assert often.low < once.low < once.high < often.high


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"first": 1}, "2 <= first <= last"),
        ({"first": 9, "last": 8}, "2 <= first <= last"),
        ({"at_most": 0}, "at_most must be 1 look or more"),
    ],
)
def test_errors_teach(settings, words):
    with pytest.raises(ValueError, match=words):
        Looks(**settings)
