"""Verdicts on runs that were trained elsewhere: their numbers, guesses and limits."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

import counterpoise
from counterpoise.judgement import Runs, judge
from counterpoise.judgement._datasets import over_datasets
from counterpoise.judgement._metric import metric_of

# Demšar 2006, JMLR 7, Table 6: AUC of C4.5, with m, with cf, with both, on 14 data sets. That of
# voting in the last column is a little below 0.975, by its published rank.
METHODS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.9749],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def table(metric="accuracy", datasets=("",), **scores):
    """Rows of variants, with scores by seed; each further data set is a point easier."""
    rows = [
        (name, seed, dataset, score + 0.01 * k)
        for k, dataset in enumerate(datasets)
        for name, by_seed in scores.items()
        for seed, score in enumerate(by_seed)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "dataset", metric])
    return frame if datasets != ("",) else frame.drop(columns="dataset")


BASE = (0.71, 0.74, 0.70, 0.73, 0.72)
BETTER = (0.75, 0.77, 0.745, 0.765, 0.758)
NOISE = (0.74, 0.70, 0.73, 0.71, 0.75)


def by_method(names=METHODS, rows=DEMSAR):
    return {
        name: {f"set {k}": float(x) for k, x in enumerate(column)}
        for name, column in zip(names, rows.T, strict=True)
    }


def test_paired_verdicts_have_scipys_p_and_interval():
    found = judge(table(base=BASE, noise=NOISE, better=BETTER), margin=0.01)
    assert found is not None
    p = [oracle.ttest_rel(other, BASE) for other in (NOISE, BETTER)]
    adjusted = multipletests([x.pvalue for x in p], method="holm")[1]
    assert [v.p_holm for v in found.verdicts] == pytest.approx(adjusted)
    noise = found.verdicts[0].interval
    ends = p[0].confidence_interval(0.975)  # Bonferroni, of two
    assert (noise.low, noise.high) == pytest.approx((ends.low, ends.high))
    assert [v.verdict for v in found.verdicts] == ["cannot tell yet", "better"]
    mean = found.families[0].means["better"]
    ends = oracle.ttest_1samp(BETTER, 0).confidence_interval(0.95)
    assert (mean.low, mean.high) == pytest.approx((ends.low, ends.high))
    assert found.best == "better"


def test_runs_without_common_seeds_have_welchs_interval():
    frame = table(base=BASE, new=NOISE[:4])
    welch = oracle.ttest_ind(NOISE[:4], BASE, equal_var=False)
    ends = welch.confidence_interval(0.95)
    apart = frame.assign(seed=frame["seed"] + 3 * (frame["variant"] == "new"))  # two in common
    unnamed = frame.drop(columns="seed")
    more = table(base=BASE, new=NOISE).query("variant == 'base' or seed == 0")
    for found in (judge(frame, unpaired=True), judge(unnamed), judge(apart.query("seed != 4"))):
        (verdict,) = found.verdicts
        assert not verdict.comparison.paired
        assert "not paired" in found.read
    for found in (judge(frame, unpaired=True), judge(unnamed)):
        (verdict,) = found.verdicts
        assert verdict.p_holm == pytest.approx(welch.pvalue)
        assert (verdict.interval.low, verdict.interval.high) == pytest.approx((ends.low, ends.high))
    assert "paired by 4 seeds" in judge(frame).read
    lone = judge(more, unpaired=True).verdicts[0]
    assert lone.verdict == "cannot tell yet"


def test_verdicts_that_are_read_often_are_stricter():
    frame = table(base=BASE, better=BETTER)
    once, often = (judge(frame, looks=n).verdicts[0] for n in (1, 5))
    assert often.p_holm == pytest.approx(min(1, 5 * once.p_holm))
    ends = oracle.ttest_rel(BETTER, BASE).confidence_interval(1 - 0.05 / 5)
    assert (often.interval.low, often.interval.high) == pytest.approx((ends.low, ends.high))
    assert judge(frame, looks=5).to_json()["looks"] == 5


def test_guesses_are_said_and_can_be_overruled():
    frame = table("val_loss", new=(2.1, 2.2, 2.15), Default=(2.5, 2.4, 2.6))
    found = judge(frame)
    assert (found.baseline, found.higher_is_better, found.margin) == ("Default", False, 0.03)
    said = " ".join(found.notes)
    assert "baseline: Default (by its name)" in said
    assert "direction: lower is better (by the name val_loss)" in said
    assert "margin: 0.03 (a guess: 1% of the baseline's mean)" in said
    assert "margin 0.03)" in found.read
    assert (
        judge(frame[frame["variant"] != "Default"].replace("new", "a").pipe(both)).baseline == "a"
    )
    told = judge(frame, baseline="new", margin=0.5, lower_is_better=False)
    assert (told.baseline, told.higher_is_better, told.margin) == ("new", True, 0.5)
    assert told.notes == ("variant: by 'variant'", "seed: by 'seed'")


def both(frame):
    return pd.concat([frame, frame.replace("a", "b")], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "scores", "margin", "unit", "higher"),
    [
        ("test/acc", [0.8, 0.9], 0.01, "%", True),
        ("accuracy", [81.0, 92.5], 1.0, "", True),
        ("top1_error", [0.2, 0.19], 0.01, "%", False),
        ("WER", [12.1, 13.0], 1.0, "", False),
        ("valLoss", [0.5, 0.4], 0.005, "", False),
        ("mse", [2e-8, 1e-8], 2e-10, "", False),
        ("logloss", [31.0, 42.0], 0.3, "", False),
        ("neg_log_loss", [-0.31, -0.42], 0.003, "", True),
        ("perplexity", [20.0, 18.0], 0.2, "", False),
        ("matthews", [0.5, 0.6], 0.01, "", True),
        ("bits_per_byte", [0.9, 0.8], 0.009, "", False),
        ("smape", [12.0, 13.0], 0.1, "", False),
        ("fpr95", [0.2, 0.3], 0.01, "%", False),
        ("calibration_error", [0.2, 0.3], 0.01, "%", False),
        ("loss_free_accuracy", [0.8, 0.9], 0.01, "%", True),
        ("negative_mse", [-2.0, -1.0], 0.02, "", True),
        ("true_negative_rate", [0.8, 0.9], 0.01, "%", True),
        ("closser_look", [0.5, 0.6], 0.01, "%", True),
        ("reward", [-260.0, 900.0], 3.0, "", True),
        ("reward", [0.0, 900.0], 9.0, "", True),
    ],
)
def test_direction_unit_and_margin_follow_from_name_and_scores(name, scores, margin, unit, higher):
    row, _ = metric_of(name, scores, scores[:1])
    assert (row.margin, row.unit, row.higher_is_better) == (pytest.approx(margin), unit, higher)


def test_other_metrics_share_a_stricter_confidence():
    frame = table(base=BASE, better=BETTER)
    for name in ("nll", "f1"):
        frame[name] = 1.5 - frame["accuracy"] if name == "nll" else frame["accuracy"]
    found = judge(frame)
    assert found.metric == "accuracy"
    assert {name: f[0].confidence for name, f in found.secondary.items()} == pytest.approx(
        {"nll": 0.975, "f1": 0.975}
    )
    (verdict,) = found.secondary["nll"][0].verdicts
    ends = oracle.ttest_rel(BASE, BETTER).confidence_interval(0.975)
    assert (verdict.interval.low, verdict.interval.high) == pytest.approx((ends.low, ends.high))
    assert verdict.verdict == "better"  # lower is
    assert "accuracy decides" in found.notes[-1]


def test_each_data_set_is_a_family_of_its_own():
    found = judge(table(datasets=("a", "b"), base=BASE, better=BETTER, noise=NOISE))
    assert [f.dataset for f in found.families] == ["a", "b"]
    assert [f.confidence for f in found.families] == [0.975, 0.975]
    ends = oracle.ttest_rel(NOISE, BASE).confidence_interval(1 - 0.05 / 4)
    noise = found.families[1].verdicts[1].interval
    assert (noise.low, noise.high) == pytest.approx((ends.low, ends.high))
    assert {row.words for row in found.datasets.against} == {
        "cannot tell from 2 data sets: it takes 6 or more"
    }
    assert found.datasets.p_friedman is None


def test_ranks_are_those_that_demsar_published_and_friedmans_f_is_that_of_anova_on_them():
    found = over_datasets(by_method(), "C4.5")
    assert [round(r, 3) for r in found.ranks.values()] == [3.143, 2.0, 2.893, 1.964]
    ranks = oracle.rankdata(-DEMSAR, axis=1)
    rows = [(x, j, i) for i, row in enumerate(ranks) for j, x in enumerate(row)]
    model = ols("rank ~ C(method) + C(set)", pd.DataFrame(rows, columns=["rank", "method", "set"]))
    assert found.p_friedman == pytest.approx(anova_lm(model.fit())["PR(>F)"].iloc[0])


@pytest.mark.parametrize("n", [14, 13, 7])
def test_wilcoxon_is_scipys_and_adjusted_by_holm(n):
    rng = np.random.default_rng(n)
    rows = rng.normal((0, 1.2, -0.3), size=(n, 3))
    found = over_datasets(by_method("abc", rows), "a", higher_is_better=False)
    p = [oracle.wilcoxon(rows[:, k], rows[:, 0]).pvalue for k in (1, 2)]
    assert [row.p for row in found.against] == pytest.approx(p, rel=1e-9 if n < 14 else 0.15)
    adjusted = multipletests([row.p for row in found.against], method="holm")[1]
    assert [row.p_holm for row in found.against] == pytest.approx(adjusted)
    assert [row.better for row in found.against] == [
        int((rows[:, k] < rows[:, 0]).sum()) for k in (1, 2)
    ]
    claims = [p <= 0.05 for p in adjusted]
    assert [row.direction != 0 for row in found.against] == claims
    assert all(row.direction in (0, -1 if k == 1 else 1) for k, row in enumerate(found.against, 1))


def test_equal_gains_on_six_data_sets_have_the_exact_p_in_spite_of_ties():
    scores = np.linspace(0.5, 0.8, 6)
    found = over_datasets(by_method("ab", np.c_[scores, scores + 0.01]), "a")
    assert found.against[0].p == 2 / 2**6
    assert found.against[0].words == "tends to be better over these 6 data sets"
    same = over_datasets(by_method("abc", np.c_[scores, scores, scores]), "a")
    assert (same.p_friedman, same.against[0].p, same.against[0].equal) == (1.0, 1.0, 6)
    assert same.against[0].words == "cannot tell over these 6 data sets"


def test_failed_and_collapsed_runs_come_first():
    found = judge(table(base=BASE, new=(0.8, float("nan"), 0.1, 0.79, 0.8)), chance=0.1)
    assert found.failures == [
        "new: 1 of 5 runs failed, no score",
        "new: 1 of 5 runs did not learn",
    ]
    assert repr(found).splitlines()[1] == found.failures[0]
    with pytest.raises(ValueError, match="higher is better"):
        judge(table("loss", base=BASE, new=NOISE), chance=0.1)


def test_a_data_set_without_the_baseline_is_left_out_and_said():
    frame = table(datasets=("a", "b", "c"), base=BASE, better=BETTER)
    found = judge(frame[(frame["variant"] != "base") | (frame["dataset"] != "b")])
    assert [f.dataset for f in found.families] == ["a", "c"]
    assert "left out, as base has no run on it: b" in found.notes


def test_few_equal_and_missing_runs_are_no_errors():
    one = judge(table(base=BASE[:1], new=BETTER[:1]))
    assert one.verdicts[0].words == "cannot tell yet: it takes two seeds to see what chance does"
    lone = judge(table(base=BASE, new=BETTER[:1], better=BETTER))
    assert [v.verdict for v in lone.verdicts] == ["cannot tell yet", "better"]
    same = judge(table(base=BASE, again=BASE))
    assert same.verdicts[0].verdict == "no difference that matters"
    lost = judge(table(base=BASE, new=[float("nan")] * 5))
    assert lost.families[0].sentences() == ["new: no run finished"]
    assert judge(table(base=[float("nan")] * 5, new=BASE)).families[0].sentences() == [
        "new: no run of the baseline finished"
    ]
    assert lost.best is None
    for found in (one, lone, same, lost):
        assert "nan" not in repr(found)
        assert found.baseline in found._repr_html_()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"baseline": "bse"}, "did you mean 'base'"),
        ({"margin": 0}, "margin must be above 0"),
        ({"margin": float("nan")}, "margin must be above 0"),
        ({"looks": 0}, "looks must be 1 or more"),
        ({"confidence": 1.0}, "confidence must be inside"),
    ],
)
def test_bad_input_is_one_line(change, says):
    with pytest.raises(ValueError, match=says) as error:
        judge(table(base=BASE, new=NOISE), **change)
    assert "\n" not in str(error.value)


def test_runs_are_taken_as_they_are():
    frame = table(base=BASE, new=BETTER).assign(dataset="", f1=float("nan"))
    runs = Runs(frame, ("accuracy",), ("a note",))
    assert counterpoise.judge(runs).notes[-1] == "a note"
    with pytest.raises(ValueError, match="runs that are to be read"):
        judge(runs, seed="seed")
    with pytest.raises(ValueError, match="one run a seed, but base has 2 of 0"):
        judge(dataclasses.replace(runs, frame=pd.concat([frame, frame])))
    with pytest.raises(ValueError, match="f1 must have a score in some run, but all 10 runs have"):
        judge(dataclasses.replace(runs, metrics=("f1",)))


def test_more_runs_than_looks_are_counted_for_are_told():
    rows = [(name, s, 0.5 + s % 7 / 100) for name in "ab" for s in range(1001)]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "accuracy"])
    with pytest.raises(ValueError, match="for 1000 runs a variant at most, but there are 1001"):
        judge(frame, looks=3)
    with pytest.raises(TypeError, match="metric must be a name or a list of names, but got 3"):
        judge(frame, metric=3)
