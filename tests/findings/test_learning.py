"""What is said of how the runs of a study went."""

import numpy as np
import pytest
from scipy import stats

from counterpoise.findings import _learning, _training
from counterpoise.study import Training, Tuning

GOOD, STUCK = [90, 90, 90], [100, 0, 0]
CE, FOCAL = "cross_entropy", "focal"


def flow(share, dead=0.0, gradient=1.0):
    return [
        {"name": "first", "visible_share": 0.9, "dead_share": dead, "grad_norm": gradient},
        {"name": "last", "visible_share": share, "dead_share": None, "grad_norm": None},
    ]


def test_failed_runs_are_counted_with_the_first_reason(make):
    failed = [
        (FOCAL, 1, 0.1, "final", "Diverged: the loss is nan\nmore"),
        (FOCAL, 2, 0.1, "final", "another"),
        (CE, 9, 0.1, "tuning", "not to be reported"),
    ]
    hits = {CE: dict.fromkeys(range(3), GOOD), FOCAL: {0: GOOD, 1: None, 2: None}}
    (found,) = _learning.failed(make(hits, failed=failed))
    assert found.text == "focal: 2 of 3 runs failed; the first with: Diverged: the loss is nan"


def test_a_grid_of_which_no_rate_worked(make):
    rates = [(FOCAL, 10**6, lr, "tuning", f"too high: {lr}") for lr in (0.1, 1.0)]
    settings = {"training": Training("mlp"), "tuning": Tuning((0.1, 1.0))}
    hits = {CE: {0: GOOD}, FOCAL: {0: None}}
    (found,) = _learning.no_rate_worked(make(hits, failed=rates, **settings))
    assert "at each of the 2 learning rates" in found.text
    assert "too high: 0.1" in found.text
    assert _learning.no_rate_worked(make(hits, failed=rates[:1], **settings)) == []
    assert _learning.no_rate_worked(make(hits, failed=rates)) == []


@pytest.mark.parametrize("metric", ["balanced_accuracy", "accuracy", "macro_f1"])
def test_runs_that_never_learned_are_counted(make, metric):
    study = make({CE: {0: GOOD, 1: GOOD}, FOCAL: {0: STUCK, 1: GOOD}}, metric=metric)
    (found,) = _learning.never_learned(study)
    assert found.text.startswith("focal: 1 of 2 runs cannot be told from guessing by ")
    assert found.text.endswith(
        "of 300 samples: 33.3% at most, where a guess has 33.3% with a standard deviation of 2.7 "
        "points."
    )


@pytest.mark.parametrize(
    ("area", "sizes", "ranks"),
    [
        (0.8, (90, 10), True),
        (0.69, (900, 100), False),
        (0.8, (6, 6), False),
        (None, (90, 10), False),
    ],
)
def test_runs_that_rank_the_samples_did_learn(make, backed, area, sizes, ranks):
    study = make({CE: {0: [sizes[0], 0]}}, sizes)
    study.records[0].run["test"]["macro_auroc"] = area
    found = _learning.never_learned(study)
    assert ("with a macro AUROC of 0.80 or more they rank the samples" in found[0].text) is ranks
    backed(found)


@pytest.mark.parametrize(("right", "told"), [(38, True), (39, False)])
def test_the_line_to_guessing_is_two_standard_deviations(make, right, told):
    # Recalls of a guess in three classes of 100: mean 1/3, sd sqrt(2/9 / 300) is 2.7 points.
    study = make({FOCAL: {0: [right] * 3}})
    assert bool(_learning.never_learned(study)) == told
    draws = np.random.default_rng(0).binomial(100, 1 / 3, (100_000, 3)).mean(1) / 100
    assert abs(1 / 3 + 2 * draws.std() - 0.3877) < 0.001


@pytest.mark.parametrize(
    ("plain", "normed", "learned", "told"),
    [
        (1e-9, 0.2, True, "second moment: 1.0e-09; 0.2 or more in what learned"),
        (0.0021, 0.2, True, None),
        (0.0019, 0.2, True, "0.0019; 0.2 or more"),
        (1e-9, 1e-8, True, None),
        (1e-9, 1e-9, False, "second moment: 1.0e-09)"),
        (1.1e-6, 1e-3, False, None),
        (None, 0.2, True, None),
    ],
)
def test_a_vanishing_signal_explains_a_net_that_never_learned(make, plain, normed, learned, told):
    study = make(
        {"none": {0: STUCK}, "layer": {0: GOOD if learned else STUCK}},
        flows={"none": flow(plain), "layer": flow(normed)},
        norms=("none", "layer"),
        losses=(CE,),
    )
    texts = {f.evidence["label"]: f.text for f in _learning.vanishing_signal(study)}
    assert ("none" in texts) == bool(told)
    if told:
        assert told in texts["none"]
    assert "layer" not in texts or not learned


def test_a_net_that_learned_has_no_vanishing_signal(make):
    study = make({CE: {0: GOOD}, FOCAL: {0: GOOD}}, flows={CE: flow(0.5), FOCAL: flow(1e-20)})
    assert _learning.vanishing_signal(study) == []


def test_dead_layers_are_named(make):
    flows = {(CE, 0): flow(0.1, 0.95), (CE, 1): flow(0.1, 0.2), FOCAL: flow(0.1, 0.5)}
    study = make({CE: {0: GOOD, 1: GOOD}, FOCAL: {0: GOOD}}, flows=flows)
    (found,) = _learning.dead_layers(study)
    assert "in 1 of 2 runs a layer is dead" in found.text
    assert "95.0% of the units of first" in found.text


@pytest.mark.parametrize(("share", "told"), [(0.89, False), (0.9, True)])
def test_a_layer_is_dead_from_nine_tenths_on(make, share, told):
    study = make({CE: {0: GOOD}}, flows={CE: flow(0.1, share)})
    assert bool(_learning.dead_layers(study)) == told


def test_a_last_layer_that_starts_at_zero_is_not_dead(make):
    last = [{"name": "head", "dead_share": 1.0, "visible_share": 0.0, "grad_norm": 1.0}]
    study = make({CE: {0: GOOD}}, flows={CE: flow(0.1)[:1] + last})
    assert _learning.dead_layers(study) == []


def test_a_run_that_answers_one_class(make):
    study = make({CE: {0: GOOD, 1: [0, 96, 0]}, FOCAL: {0: GOOD}}, (100, 100, 4))
    cells = [[0, 1, 100], [1, 0, 2], [1, 1, 96], [1, 2, 2], [2, 1, 4]]
    study.records[1].run["test"]["confusion_cells"] = cells
    (found,) = _learning.one_answer(study)
    assert found.text == (
        "cross_entropy: in 1 of 2 runs nearly all answers are one class; in the first of them "
        "class bread gets 98.0% of the answers and has 49.0% of the test samples."
    )


def test_answers_like_a_lopsided_test_split_are_no_collapse(make):
    assert _learning.one_answer(make({CE: {0: [960, 20]}}, (970, 30))) == []


@pytest.mark.parametrize(
    ("right", "sizes", "told"),
    [
        ([100, 10], (100, 100), True),  # 95% of the answers
        ([100, 11], (100, 100), False),  # 94.5%
        ([86, 3], (86, 14), True),  # 97%, 11 points more than there are
        ([88, 3], (88, 12), False),  # 97%, 9 points more
    ],
)
def test_one_answer_is_95_percent_and_10_points_more_than_there_are(make, right, sizes, told):
    assert bool(_learning.one_answer(make({CE: {0: right}}, sizes))) == told


# --- curves --------------------------------------------------------------------------------------


def history(balanced, nll=None, loss=None):
    nll, loss = nll or [1.0] * len(balanced), loss or [1.0] * len(balanced)
    rows = zip(balanced, nll, [None, *loss[1:]], strict=True)
    return [
        {
            "epoch": epoch,
            "loss": fit,
            "validation_nll": likelihood,
            "validation_balanced_accuracy": share,
            "validation_accuracy": 0.5,
        }
        for epoch, (share, likelihood, fit) in enumerate(rows)
    ]


LONG = {"training": Training("mlp", epochs=20, lr=0.1)}


def test_a_metric_that_rises_to_the_end(make):
    rising = list(np.linspace(0.3, 0.9, 21))
    flat = [0.3] * 10 + [0.9, 0.91] * 5 + [0.9]
    hits = {CE: {0: GOOD, 1: GOOD}, FOCAL: {0: GOOD, 1: GOOD}}
    study = make(hits, histories={CE: history(rising), FOCAL: history(flat)}, **LONG)
    (found,) = _training.still_improving(study)
    assert found.text.startswith(
        "cross_entropy was still improving when training ended: over the last 5 epochs its "
        "balanced accuracy on validation rose by 12.0 points (straight line through the mean of 2 "
        "seeds)"
    )


def test_the_line_is_scipys():
    for curve in np.random.default_rng(0).normal(0.8, 0.02, (50, 7)) + np.linspace(0, 0.1, 7):
        line = stats.linregress(np.arange(7), curve)
        sure = line.slope > 0 and line.slope / line.stderr > stats.t.ppf(0.975, 5)
        expected = 6 * line.slope if sure else 0.0
        assert _training._sure_rise(curve) == pytest.approx(expected)


def test_noise_is_rarely_called_improving(make):
    study, told = make({CE: {0: GOOD}}, **LONG), []
    for curve in np.random.default_rng(0).normal(0.8, 0.02, (1000, 21)):
        study.records[0].__dict__["history"] = history(list(map(float, curve)))
        told.append(bool(_training.still_improving(study)))
    assert np.mean(told) < 0.04  # one-sided 2.5%


def test_what_was_not_watched_is_not_judged(make):
    assert _training.still_improving(make({CE: {0: GOOD}}, histories={CE: []}, **LONG)) == []
    rows = [{"epoch": k, "loss": 1.0, "test_accuracy": k / 20} for k in range(21)]
    study = make({CE: {0: GOOD}}, histories={CE: rows}, **LONG)
    assert _training.still_improving(study) + _training.overfit(study) == []


OVERFIT = ([0.5, 0.8, 0.82, 0.81], [1.1, 0.5, 0.6, 0.9], [1.1, 0.6, 0.3, 0.1])


def test_overfitting_tells_both_sides(make):
    (found,) = _training.overfit(make({CE: {0: GOOD}}, histories={CE: history(*OVERFIT)}))
    assert found.text == (
        "cross_entropy overfits: after epoch 1 its mean negative log-likelihood on validation rose "
        "from 0.5 to 0.9 (it rose in 1 of 1 seeds) while its training loss fell from 0.6 to 0.1; "
        "balanced accuracy on validation went from 80.0% to 81.0%."
    )


@pytest.mark.parametrize(
    ("nll", "loss"),
    [
        ([1.1, 0.5, 0.6, 0.52], [1.1, 0.6, 0.3, 0.1]),  # rose by less than a tenth
        ([1.1, 0.5, 0.6, 0.9], [1.1, 0.6, 0.7, 0.8]),  # the training got worse as well
        ([1.1, 0.9, 0.6, 0.5], [1.1, 0.6, 0.3, 0.1]),  # both got better
    ],
)
def test_what_is_not_overfitting(make, nll, loss):
    study = make({CE: {0: GOOD}}, histories={CE: history(OVERFIT[0], nll, loss)})
    assert _training.overfit(study) == []


@pytest.mark.parametrize(("last", "told"), [(0.54, False), (0.56, True)])
def test_validation_rose_if_it_did_by_a_tenth(make, last, told):
    rows = history(OVERFIT[0], [1.1, 0.5, 0.6, last], OVERFIT[2])
    assert bool(_training.overfit(make({CE: {0: GOOD}}, histories={CE: rows}))) == told


@pytest.mark.parametrize(("risen", "seeds", "told"), [(1, 2, False), (2, 3, True), (1, 3, False)])
def test_overfitting_is_what_most_seeds_do(make, risen, seeds, told):
    rows = {
        (CE, s): history(OVERFIT[0], [1.1, 0.5, 0.6, 4.0 if s < risen else 0.4], OVERFIT[2])
        for s in range(seeds)
    }
    study = make({CE: dict.fromkeys(range(seeds), GOOD)}, histories=rows)
    assert bool(_training.overfit(study)) == told


def test_a_loss_that_changes_on_the_way_is_not_judged(make):
    study = make({"ldam+drw": {0: GOOD}}, histories={"ldam+drw": history(*OVERFIT)})
    assert _training.overfit(study) == []


# --- the size of the first gradient --------------------------------------------------------------

SMALL = {CE: flow(0.1, gradient=2.0), FOCAL: flow(0.1, gradient=0.1)}


def test_gradients_that_differ_in_size_are_told(make):
    study = make({CE: {0: GOOD}, FOCAL: {0: GOOD}}, flows=SMALL)
    (found,) = _training.gradient_sizes(study)
    assert found.text.startswith(
        "The first gradient of focal is 20 times smaller than that of cross_entropy, and at the "
        "same learning rate (0.1) so are its first steps"
    )


@pytest.mark.parametrize(
    ("gradient", "told"), [(0.7, False), (0.6, True), (5.9, False), (6.1, True)]
)
def test_gradients_differ_from_three_times_on(make, gradient, told):
    flows = {CE: flow(0.1, gradient=2.0), FOCAL: flow(0.1, gradient=gradient)}
    study = make({CE: {0: GOOD}, FOCAL: {0: GOOD}}, flows=flows)
    assert bool(_training.gradient_sizes(study)) == told


@pytest.mark.parametrize(
    "training",
    [
        Training("mlp", lr="auto"),
        Training("mlp", lr=0.1, optimizer="adamw"),
        Training("mlp", lr=0.1, clip_norm=1.0),
    ],
)
def test_gradient_sizes_do_not_matter_where_steps_are_scaled(make, training):
    study = make({CE: {0: GOOD}, FOCAL: {0: GOOD}}, flows=SMALL, training=training)
    assert _training.gradient_sizes(study) == []


def test_gradients_of_other_norms_are_not_compared(make):
    flows = {"none": flow(0.1, gradient=2.0), "layer": flow(0.1, gradient=0.1)}
    hits = {"none": {0: GOOD}, "layer": {0: GOOD}}
    study = make(hits, flows=flows, norms=("none", "layer"), losses=(CE,))
    assert _training.gradient_sizes(study) == []
