"""What stands beside every variant without another training, against numbers made otherwise."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.special
from sklearn.metrics import balanced_accuracy_score
from tests.study.small import QUICK, files

from counterpoise import stats
from counterpoise.study import Imbalance, Record, Variant, compare, open_study
from counterpoise.study.record import Damaged

LOSSES = ("cross_entropy", "balanced_softmax")
SAME = Variant("none", "logit_adjusted", settings={"tau": 1.0})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return compare(
        "digits",
        norms=("none",),
        losses=LOSSES,
        variant=(SAME,),
        seeds=3,
        imbalance=Imbalance("exponential", 30),
        training=dataclasses.replace(QUICK, epochs=8),
        references=False,
        out=tmp_path_factory.mktemp("after"),
    )


def test_an_ensemble_is_the_mean_of_log_probabilities_with_its_jackknife(study):
    assert list(study.ensembles()) == list(study.labels)
    for label, found in study.ensembles().items():
        runs = [r.predictions for r in study.of(label)]
        p = [scipy.special.softmax(k["test_logits"].astype(float), 1) for k in runs]

        def score(some, targets=runs[0]["test_targets"]):
            product = np.exp(np.mean(np.log(some), 0))  # geometric mean
            return balanced_accuracy_score(targets, product.argmax(1))

        left = [score(some) for some in itertools.combinations(p, 2)]
        assert found.seeds == (0, 1, 2)
        assert found.score == pytest.approx(score(p))
        assert (found.low, found.high) == pytest.approx((min(left), max(left)))
        # of n values the jackknife's error is (n - 1) / √n times their standard deviation
        assert found.standard_error == pytest.approx(2 / 3**0.5 * np.std(left, ddof=1))
        assert found.low < found.high
        assert "3 nets at prediction" in found.words


def test_an_ensemble_of_two_without_one_is_the_other_run(study):
    two = dataclasses.replace(study, records=tuple(r for r in study.records if r.seed < 2))
    found, scores = two.ensembles()["cross_entropy"], two.scores()["cross_entropy"]
    assert sorted([scores[0], scores[1]]) == pytest.approx([found.low, found.high])
    one = dataclasses.replace(study, records=tuple(r for r in study.records if r.seed < 1))
    assert one.ensembles() == {}


def test_seeds_with_their_own_test_splits_have_no_ensemble(study):
    own = dataclasses.replace(study.plan.data, test="per_seed")
    plan = dataclasses.replace(study.plan, data=own, imbalance=Imbalance())
    drawn = dataclasses.replace(study, plan=plan)
    assert drawn.resampled
    assert drawn.ensembles() == {}


def test_runs_on_other_test_samples_are_not_mixed(study, monkeypatch):
    read = Record._read_predictions

    def rolled(record):
        kept = read(record)
        return kept | {"test_targets": np.roll(kept["test_targets"], record.seed)}

    monkeypatch.setattr(Record, "_read_predictions", rolled)
    with pytest.raises(Damaged, match="tested on other samples"):
        dataclasses.replace(study).ensembles()


def test_every_row_stands_beside_itself_as_trained(study):
    scores = {kind: study.scores(kind=kind) for kind in ("test", "adjusted", "normalized")}
    rows = study.after_training()
    assert [row.label for row in rows] == list(study.labels)
    for row in rows:
        before = scores["test"][row.label]
        assert row.trained == pytest.approx(np.mean(list(before.values())))
        for kind, pair in (("adjusted", row.adjusted), ("normalized", row.normalized)):
            assert pair == stats.compare_paired(before, scores[kind][row.label])
        assert row.ensemble == study.ensembles()[row.label]
    shifted = rows[0].adjusted.difference  # which 30 : 1 makes worth it
    assert shifted.estimate > 0


def test_balanced_softmax_is_logit_adjustment_under_another_name(study):
    first, same = study.labels[1:]
    assert study.duplicates == {same: first}
    found = study.verdicts()
    assert [v.words for v in found][1] == "the same as balanced_softmax"
    assert found[0].confidence == 0.95  # one comparison, not two


def test_records_without_normalized_scores_are_read(study, tmp_path):
    kept = files(study.folder)
    for r in study.records:
        assert r.run.pop("normalized")
        r.run.pop("tau_norm")
    assert [row.normalized for row in study.after_training()] == [None] * 3
    again = open_study(study.folder)
    assert again.records[0].run["normalized"]
    assert files(study.folder) == kept
