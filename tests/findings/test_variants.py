"""What is said of a study's variants and settings."""

import numpy as np
import pytest

from counterpoise import stats
from counterpoise.findings import _groups, _noise, _settings, _verdicts, answers
from counterpoise.study import Training, Tuning, Variant

CE, FOCAL = "cross_entropy", "focal"
BASE = {0: [70, 71, 72], 1: [73, 70, 71], 2: [69, 72, 71], 3: [71, 71, 73], 4: [72, 70, 70]}


def shifted(by):
    """The baseline's hits, and so many more in each class."""
    return {seed: [h + b for h, b in zip(hits, by, strict=True)] for seed, hits in BASE.items()}


def wobbling(mean, by, seeds=5):
    return {s: [mean + by * (-1) ** s * (s + 1)] * 3 for s in range(seeds)}


# --- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "verdict", "begin"),
    [
        (shifted([9, 10, 8]), "better", "focal is better than cross_entropy: +9.0 points"),
        (shifted([-9, -10, -8]), "worse", "focal is worse than cross_entropy: -9.0 points"),
        (BASE, "no difference that matters", "Between focal and cross_entropy there is no diff"),
        (wobbling(72, 4), "cannot tell yet", "Whether focal is better or worse than cross_entropy"),
    ],
)
def test_a_verdict_is_that_of_the_statistics(make, other, verdict, begin):
    study = make({CE: BASE, FOCAL: other})
    (judged,) = study.verdicts()
    (found,) = _verdicts.verdicts(study)
    assert judged.verdict == verdict
    assert found.text.startswith(begin)
    assert found.evidence["low"] == pytest.approx(100 * judged.interval.low, abs=0.051)
    assert f"better in {judged.comparison.wins} of them" in found.text
    assert "95.0% interval over 5 seeds" in found.text
    if verdict == "cannot tell yet":
        assert (f"about {judged.seeds_needed} seeds" in found.text) or (
            judged.seeds_needed > stats.MAX_SEEDS
            and f"more than {stats.MAX_SEEDS} seeds" in found.text
        )


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            {0: [72, 73, 74], 1: [76, 73, 74], 2: [71, 74, 73]},
            "focal looks better than cross_entropy: +2.3 points of balanced accuracy (+0.9 to "
            "+3.8, 95.0% interval over 3 seeds; better in 3 of them). But with 3 seeds only "
            "differences beyond the margin, ±1, are called, as so few do not show how far they "
            "scatter; about 5 seeds would tell.",
        ),
        (
            {0: [69, 65, 71], 1: [75, 78, 79]},
            "Whether focal is better or worse than cross_entropy cannot be told yet: +1.7 points "
            "of balanced accuracy (-53.4 to +56.7, 95.0% interval over 2 seeds; better in 1 of "
            "them); 2 seeds say too little to tell how many would, so run 5.",
        ),
        (
            {0: [95, 95, 95], 1: [60, 40, 61]},
            "Whether focal is better or worse than cross_entropy cannot be told yet: +3.2 points "
            "of balanced accuracy (-100.0 to +100.0, 95.0% interval over 2 seeds; better in 1 of "
            "them); 2 seeds say too little to tell how many would, so run 5.",
        ),
    ],
)
def test_few_seeds_are_said_to_be_few(make, other, says, backed):
    base = {seed: BASE[seed] for seed in other}
    found = _verdicts.verdicts(make({CE: base, FOCAL: other}))
    assert found[0].text == says
    backed(found)


def test_the_interval_is_that_of_all_variants_together(make):
    study = make({CE: BASE, FOCAL: shifted([9, 10, 8]), "poly": BASE})
    assert "97.5% interval" in _verdicts.verdicts(study)[0].text


def test_one_seed_has_no_interval(make):
    study = make({CE: {0: [70] * 3}, FOCAL: {0: [90] * 3}})
    (found,) = _verdicts.verdicts(study)
    assert found.text == (
        "Whether focal is better or worse than cross_entropy cannot be told from one seed: +20.0 "
        "points of balanced accuracy."
    )
    assert [f.code for f in _verdicts.single_seed(study)] == ["CP309"]
    assert _verdicts.single_seed(make({CE: {0: [70] * 3}})) == []
    assert _verdicts.single_seed(make({CE: BASE, FOCAL: BASE})) == []


def test_a_fine_margin_is_told_with_more_decimals(make):
    (found,) = _verdicts.verdicts(make({CE: BASE, FOCAL: shifted([1, 0, 0])}, margin=0.0005))
    assert "+0.33 points" in found.text


def test_fewer_seeds_are_told(make):
    study = make(
        {CE: {0: [70] * 3, 1: [71] * 3, 2: None}, FOCAL: {0: None, 1: [9] * 3, 2: [9] * 3}}
    )
    (found,) = _verdicts.fewer_seeds(study)
    assert "on 1 of 3 seeds" in found.text
    assert _verdicts.fewer_seeds(make({CE: BASE, FOCAL: BASE})) == []


# --- noise ---------------------------------------------------------------------------------------


def test_the_larger_source_of_noise(make):
    steady = make({CE: BASE, FOCAL: shifted([9, 10, 8])})
    (found,) = _noise.larger_source(steady)
    assert found.text.startswith(
        "More test samples would make the difference to cross_entropy surer"
    )
    wild = make({CE: BASE, FOCAL: wobbling(70, 5)})
    assert _noise.larger_source(wild)[0].text.startswith("More seeds would make the diff")
    both = make({CE: BASE, FOCAL: shifted([9, 10, 8]), "poly": wobbling(70, 5), "ldam": BASE})
    found = _noise.larger_source(both)
    assert [f.evidence["labels"] for f in found] == ["focal", "poly"]  # of ldam nothing is unsure
    assert "the standard error of that of poly is" in found[1].text


@pytest.mark.parametrize("metric", ["balanced_accuracy", "accuracy"])
def test_the_standard_errors_are_those_of_the_hits(make, metric):
    sizes = (100, 60, 20)
    before = {s: [70 + s, 40, 10 + s] for s in range(3)}
    after = {s: [75, 42 + s, 12] for s in range(3)}
    found = _noise.larger_source(make({CE: before, FOCAL: after}, sizes, metric=metric))[0]
    hits = np.array([list(before.values()), list(after.values())], float)
    shares = hits / sizes if metric == "balanced_accuracy" else hits.sum(2, keepdims=True) / 180
    differences = (shares[1] - shares[0]).mean(1)
    expected = 100 * differences.std(ddof=1) / np.sqrt(3)
    assert found.evidence["seed_se"] == pytest.approx(expected, abs=0.051)


def test_a_difference_that_another_test_set_may_not_show(make):
    small, large = (10, 10, 10), (1000, 1000, 1000)
    base = {s: [6, 6 + s % 2, 6] for s in range(6)}
    few = make({CE: base, FOCAL: {s: [h + 1 for h in hits] for s, hits in base.items()}}, small)
    assert few.verdicts()[0].verdict == "better"
    (found,) = _noise.another_test_set(few)
    assert "+10.0 points" in found.text
    many = make(
        {
            CE: {s: [100 * h for h in hits] for s, hits in base.items()},
            FOCAL: {s: [100 * h + 100 for h in hits] for s, hits in base.items()},
        },
        large,
    )
    assert _noise.another_test_set(many) == []
    assert _noise.another_test_set(make({CE: BASE, FOCAL: BASE})) == []


# --- groups --------------------------------------------------------------------------------------

GROUPS = {"train_counts": [500, 50, 5]}


@pytest.mark.parametrize(
    ("by", "head", "tail"),
    [
        ([9, 0, 0], 1, 0),
        ([9, 0, -9], 1, 0),
        ([9, 0, 9], 0, 0),
        ([-9, 0, 9], 0, 1),
        ([0, 0, 9], 0, 0),
        ([0, 0, 0], 0, 0),
    ],
)
def test_where_the_gain_is(make, by, head, tail):
    noisy = {s: [h + s % 2 for h in hits] for s, hits in shifted(by).items()}
    study = make({CE: BASE, FOCAL: noisy}, **GROUPS)
    assert (len(_groups.gain_on_the_head(study)), len(_groups.gain_on_the_tail(study))) == (
        head,
        tail,
    )


def test_a_gain_on_the_head_tells_both_ends(make):
    study = make({CE: BASE, FOCAL: shifted([9, 0, 0])}, **GROUPS)
    (found,) = _groups.gain_on_the_head(study)
    assert "of the many-shot classes +9.0 points" in found.text
    assert "of the few-shot ones +0.0" in found.text
    assert "over 5 seeds" in found.text


def test_without_a_tail_nothing_is_said_of_it(make):
    study = make({CE: BASE, FOCAL: shifted([9, 0, -9])}, train_counts=[500, 500, 500])
    assert _groups.gain_on_the_head(study) + _groups.gain_on_the_tail(study) == []


@pytest.mark.parametrize(
    ("adjusted", "normalized", "told"),
    [
        ([10, 10, 10], None, "post-hoc logit adjustment"),
        ([9, 9, 10], None, "post-hoc logit adjustment"),
        ([2, 2, 2], None, ""),
        ([2, 2, 2], [10, 10, 10], "τ-normalization of the head"),
        ([9, 9, 10], [10, 10, 10], "τ-normalization of the head"),
        ([10, 10, 10], [9, 9, 10], "post-hoc logit adjustment"),
        ([2, 2, 2], [2, 2, 2], ""),
    ],
)
def test_a_gain_that_a_correction_gives_as_well(make, backed, adjusted, normalized, told):
    better = {s: [h + s % 2 for h in hits] for s, hits in shifted([9, 9, 9]).items()}
    best = {s: [h + 5 for h in hits] for s, hits in better.items()}  # CP341 is about that one
    more = {"normalized": {CE: shifted(normalized)}} if normalized else {}
    study = make({CE: BASE, FOCAL: better, "poly": best}, adjusted={CE: shifted(adjusted)}, **more)
    found = _groups.corrected_baseline(study)
    assert [f.evidence["correction"] for f in found] == ([told] if told else [])
    backed(found)
    if told:
        kind = "adjusted" if told.startswith("post-hoc") else "normalized"
        free, scores = study.scores(kind=kind)[CE], study.scores()
        judged = stats.compare_paired(
            scores[FOCAL], free, confidence=0.975 if normalized else 0.95
        ).difference
        alone = stats.compare_paired(scores[CE], free).difference
        gain = study.verdicts()[0].interval
        for name, numbers in (("difference", judged), ("free", alone), ("gain", gain)):
            for end, x in (("", numbers.estimate), ("_low", numbers.low), ("_high", numbers.high)):
                assert found[0].evidence[name + end] == pytest.approx(100 * x, abs=0.051)


def test_a_correction_is_no_finding_where_there_is_no_gain_or_no_correction(make):
    same = make({CE: BASE, FOCAL: BASE}, adjusted={CE: shifted([9, 9, 9])})
    assert _groups.corrected_baseline(same) == []
    without = make({CE: BASE, FOCAL: shifted([9, 9, 9])})
    for r in without.records:
        r.run["adjusted"] = None
    assert _groups.corrected_baseline(without) == []


# --- one under two names -------------------------------------------------------------------------


def test_a_variant_under_two_names_counts_once(make, backed):
    better, poly = shifted([9, 10, 8]), wobbling(72, 4)
    hits = {CE: BASE, FOCAL: better, "poly": poly, "ldam": better, "vs": BASE}
    assert make(hits).duplicates == {}
    study = make(hits, same=[CE, FOCAL, "ldam", "vs"])
    assert study.duplicates == {"ldam": FOCAL, "vs": CE}
    found = {v.variant: v for v in study.verdicts()}
    assert list(found) == [FOCAL, "poly", "ldam", "vs"]
    assert found["ldam"].words == "the same as focal"
    assert found["vs"].words == "the same as cross_entropy"
    assert found["vs"].interval.estimate == 0
    alone = stats.compare_variants(
        {k: x for k, x in study.scores().items() if k in (CE, FOCAL, "poly")}, CE
    )
    for v in alone:
        assert found[v.variant].p_holm == v.p_holm
        assert found[v.variant].interval == v.interval
    assert found["ldam"].interval == found[FOCAL].interval
    told = _settings.under_another_name(study)
    assert [(f.evidence["label"], f.evidence["first"]) for f in told] == [
        ("ldam", FOCAL),
        ("vs", CE),
    ]
    backed(told)
    assert [f.evidence["label"] for f in _verdicts.verdicts(study)] == [FOCAL, "poly"]
    assert "ldam" not in answers(study).better


def test_seeds_that_only_one_has_do_not_tell_two_names_apart(make):
    part = {seed: hits if seed < 2 else None for seed, hits in BASE.items()}
    study = make({CE: BASE, FOCAL: part}, same=[CE, FOCAL])
    assert study.duplicates == {FOCAL: CE}
    assert study.verdicts()[0].missing == (2, 3, 4)
    other = make({CE: BASE, FOCAL: part | {1: BASE[1][::-1]}}, same=[CE, FOCAL])
    assert other.duplicates == {}
    none = make({CE: BASE, FOCAL: dict.fromkeys(BASE)}, same=[CE, FOCAL])
    assert none.duplicates == {}


# --- settings ------------------------------------------------------------------------------------

HITS, EVEN = {0: [70] * 3}, [500.0, 500.0, 500.0]


@pytest.mark.parametrize(
    ("loss", "seen", "sampler", "told"),
    [
        ("balanced_softmax", EVEN, "balanced", True),
        ("class_balanced", EVEN, "shuffle", True),
        ("ldam", EVEN, "balanced", True),
        ("balanced_softmax", [900.0, 90.0, 9.0], "square_root", False),
        ("balanced_softmax", EVEN, "progressive", False),
        ("balanced_softmax", [500.0, 504.0, 500.0], "balanced", True),
        ("balanced_softmax", [500.0, 506.0, 500.0], "balanced", False),
        ("focal", EVEN, "balanced", False),
    ],
)
def test_a_balancing_loss_that_saw_balanced_classes(make, loss, seen, sampler, told):
    study = make({loss: HITS}, seen={loss: seen}, samplers=(sampler,))
    assert bool(_settings.balanced_already(study)) == told
    assert _settings.balanced_twice(study) == []


def with_weight(make, loss, sampler="shuffle", seen=(900.0, 90.0, 9.0), **settings):
    variant = Variant("none", loss, sampler, settings)
    label = ", ".join([loss, *(f"{k}={v}" for k, v in settings.items())])
    found = {"norms": (), "losses": (), "samplers": (), "variant": (variant,)}
    return make({label: HITS}, seen={label: list(seen)}, **found)


@pytest.mark.parametrize(
    ("study", "told"),
    [
        ({"loss": "logit_adjusted", "weight": [1, 2, 3]}, True),
        ({"loss": "logit_adjusted", "weight": [1, 2, 3], "tau": 0.5}, False),
        ({"loss": "ldam", "weight": [1, 2, 3], "sampler": "balanced", "seen": EVEN}, True),
        ({"loss": "ldam", "weight": [1, 2, 3]}, False),
        ({"loss": "focal", "alpha": [1, 2, 3], "sampler": "balanced", "seen": EVEN}, True),
        ({"loss": "focal", "alpha": [1, 2, 3]}, False),
        ({"loss": "balanced_softmax+drw"}, True),
        ({"loss": "balanced_softmax+drw", "sampler": "balanced", "seen": EVEN}, False),
        ({"loss": "ldam+drw"}, False),
        ({"loss": "logit_adjusted"}, False),
    ],
)
def test_classes_balanced_twice(make, study, told):
    assert bool(_settings.balanced_twice(with_weight(make, **study))) == told


def test_rates_at_the_edge_of_the_grid(make):
    hits, auto = {CE: HITS, FOCAL: HITS, "poly": HITS, "cdt": HITS}, Training("mlp")
    choices = {CE: 0.3, FOCAL: 0.1, "poly": 0.01, "cdt": 0.3}
    lowest, highest = _settings.edge_of_the_grid(make(hits, choices=choices, training=auto))
    assert lowest.text == (
        "The learning rate 0.01 is the lowest that was tried (0.01, 0.03, 0.1, 0.3), and was "
        "chosen for poly: a lower one may do better there."
    )
    assert highest.evidence["labels"] == "cross_entropy; cdt"
    middle = make({CE: HITS}, choices={CE: 0.1}, training=auto)
    assert _settings.edge_of_the_grid(middle) == []


def test_fixed_rates_and_single_ones_have_no_edge(make):
    assert _settings.edge_of_the_grid(make({CE: HITS}, choices={CE: 0.1})) == []
    single = {"training": Training("mlp"), "tuning": Tuning((0.1,))}
    assert _settings.edge_of_the_grid(make({CE: HITS}, choices={CE: 0.1}, **single)) == []
