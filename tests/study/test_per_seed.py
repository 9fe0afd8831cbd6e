"""A test split that each seed draws anew."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.study.small import QUICK, files, plan, prepared, run

from counterpoise import stats
from counterpoise.data import Split, Splits, digits, draw_test
from counterpoise.data._hold_out import as_splits
from counterpoise.findings import collect_findings
from counterpoise.report import render, write_predictions
from counterpoise.study import Data, Imbalance, Training, _run_data, open_study, record
from counterpoise.study.defaults import fill
from counterpoise.study.plan_file import read_file
from counterpoise.study.spec import run_id

SEEDS = (0, 1, 2)


def drawn(**changes):
    return replace(plan(seeds=SEEDS, **changes), data=Data("digits", test="per_seed"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("drawn") / "study"
    run(drawn(references=True), made, workers=1)
    return made


def test_each_seed_tests_all_variants_and_references_on_a_split_of_its_own(folder):
    study = open_study(folder)
    rows = {seed: [] for seed in SEEDS}
    for r in (*study.records, *study.references):
        rows[r.seed].append(r.test_rows)
    for same in rows.values():
        assert len(same) == 2 + len(study.reference_labels)
        assert all(np.array_equal(same[0], other) for other in same)
    assert not np.array_equal(rows[0][0], rows[1][0])
    whole, total = digits(), 1797
    counts = np.bincount(torch.cat([whole.train.targets, whole.test.targets]))
    for r in study.records:
        assert np.allclose(r.run["test"]["support"], counts / 5, atol=0.5)
        assert (
            len(r.test_rows) + sum(r.run["train_counts"]) + sum(r.run["validation"]["support"])
            == total
        )
        targets = study.samples("pool").targets
        assert np.array_equal(r.answers[1], targets[r.test_rows])


def test_nothing_that_a_seed_tests_on_is_trained_or_chosen_on(tmp_path):
    work = prepared(drawn(), tmp_path, toy(100))
    names = work.names("final")
    for name in names:
        splits, rows, _ = _run_data.read_data(work.job(name), 0.1)
        kept = [set(map(tuple, s.inputs[:].tolist())) for s in splits.values()]
        assert set(splits) == {"train", "validation", "test"}
        assert sum(map(len, kept)) == len(set.union(*kept)) == 100
        assert len(rows["test_rows"]) == len(splits["test"]) == 20


def test_intervals_are_those_of_nadeau_and_bengio(folder):
    study = open_study(folder)
    scores = study.scores()
    before, after = ([scores[k][s] for s in SEEDS] for k in study.labels)
    d = np.subtract(after, before)
    ratio = np.mean(
        [sum(r.run["test"]["support"]) / sum(r.run["train_counts"]) for r in study.records]
    )
    assert ratio == pytest.approx(0.2 / 0.72, rel=0.01)
    half = 4.302653 * d.std(ddof=1) * (1 / 3 + ratio) ** 0.5
    (verdict,) = study.verdicts()
    assert verdict.interval.high - verdict.interval.estimate == pytest.approx(half, rel=1e-3)
    for v in study.reference_verdicts():
        plain = stats.compare_paired(scores[study.best], study.reference_scores()[v.variant])
        assert v.comparison.sd == plain.sd
        if plain.sd:
            wide, narrow = (x.difference.high - x.difference.low for x in (v.comparison, plain))
            assert wide > 1.3 * narrow


def test_a_study_that_is_run_again_or_was_stopped_is_the_same(folder, tmp_path):
    before = files(folder)
    run(drawn(references=True), folder)
    assert files(folder) == before
    study = open_study(folder)
    for r in study.records[:2]:
        (r.folder / record.RUN).unlink()
    run(read_file(folder / "plan.toml"), folder, workers=2)
    assert files(folder) == before


def test_fixed_and_drawn_splits_are_other_runs_and_tuning_never_sees_its_test(tmp_path):
    fixed = plan(seeds=SEEDS, training=Training("mlp", epochs=1, batch_size=64))
    tuned = replace(drawn(), training=fixed.training)
    run(tuned, tmp_path / "study")
    study = open_study(tmp_path / "study")
    run_of = study.tuning[0].run
    held = sum(run_of["train_counts"]) + sum(run_of["validation"]["support"])
    assert held == 1797 - sum(study.data["test_counts"])
    assert "test" not in run_of
    assert run_of["spec"]["test"] == "per_seed"
    other = {**run_of["spec"]}
    del other["test"]
    assert run_id(other) != run_id(run_of["spec"])


def test_the_table_of_predictions_names_the_samples_of_every_seed(folder):
    study = open_study(folder)
    with write_predictions(study, "focal").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(r.test_rows) for r in study.of("focal"))
    targets = study.samples("pool").targets
    assert all(int(row["true"]) == targets[int(row["index"])] for row in rows)
    assert {int(row["seed"]) for row in rows} == set(SEEDS)


def test_the_report_and_the_findings_say_that_each_seed_has_its_own(folder):
    study = open_study(folder)
    page = render(study).read_text()
    assert "on a test split that each seed draws anew from all samples" in page
    assert "Balanced accuracy on each seed&#39;s test split, the best mean first." in page
    shown = [tuple(map(int, m)) for m in re.findall(r"<span>(\d+) of (\d+) runs</span>", page)]
    assert shown
    assert all(1 <= wrong <= tested <= 6 and tested % 2 == 0 for wrong, tested in shown)
    assert any(tested < 6 for _, tested in shown)
    texts = {f.code: f.text for f in collect_findings(study)}
    assert "a seed's test samples are so few" in texts["CP101"]
    assert "CP339" not in texts


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"set imbalance\.test = true"):
        drawn(imbalance=Imbalance("exponential", 10))
    drawn(imbalance=Imbalance("exponential", 10, test=True))
    with pytest.raises(ValueError, match="says which samples to test on"):
        replace(plan(), data=Data("x.csv", test="per_seed", split="fold"))
    own = replace(digits(), held_out=False)
    with pytest.raises(ValueError, match=r"has splits of its own; leave data\.test out"):
        run(drawn(), tmp_path / "study", data={tmp_path / "study": own})
    assert not (tmp_path / "study").exists()


def toy(samples, groups=None):
    targets = torch.arange(samples) % 10 // 8
    names = tuple(f"row {k + 2}" for k in range(samples))
    inputs = torch.randn(samples, 3, generator=torch.Generator().manual_seed(0)) + targets[:, None]
    return as_splits("toy", "toy.csv", Split(inputs, targets, names, groups), None, ("a", "b"), 0)


def test_a_small_class_is_the_reason_to_draw_by_default():
    asked = replace(plan(), data=Data("toy"))
    filled, defaults = fill(asked, toy(100))
    (found,) = [d for d in defaults if d.setting == "data.test"]
    assert filled.data.test == found.value == "per_seed"
    assert found.reason.startswith("a fixed fifth holds 4 samples of the smallest class")
    for data, plan_ in (
        (toy(1_000), asked),
        (replace(toy(100), held_out=False), asked),
        (toy(100), replace(asked, data=Data("toy", test="held_out"))),
        (toy(100), replace(asked, imbalance=Imbalance("step", 2))),
    ):
        assert fill(plan_, data)[0].data.test == plan_.data.test


def test_what_was_decided_is_kept_when_the_study_goes_on(tmp_path):
    folder, data = tmp_path / "study", toy(100)
    asked = replace(plan(seeds=(0, 1), losses=("cross_entropy",), training=QUICK), data=Data("toy"))
    run(asked, folder, data={folder: data})
    before = files(folder)
    run(asked, folder, data={folder: data})
    assert files(folder) == before
    study = open_study(folder)
    assert study.plan.data.test == "per_seed"
    names = study.sample_names("pool")
    pool = torch.cat([data.train.targets, data.test.targets])
    known = dict(zip([*data.train.names, *data.test.names], pool.tolist(), strict=True))
    for r in study.records:
        assert [known[names[k]] for k in r.test_rows] == r.answers[1].tolist()
    more = replace(asked, seeds=(0, 1, 2))
    run(more, folder, data={folder: data})
    assert len(open_study(folder).records) == 3
    own = replace(data, held_out=False)  # the data got a test split since
    run(asked, folder, data={folder: own})
    assert open_study(folder).plan.data.test == "auto"


def test_groups_are_whole_in_the_splits_of_every_seed(tmp_path):
    groups = torch.arange(200) // 5
    data = toy(200, groups)
    asked = replace(plan(seeds=SEEDS, losses=("cross_entropy",)), data=Data("toy", test="per_seed"))
    folder = tmp_path / "study"
    run(asked, folder, data={folder: data})
    study = open_study(folder)
    kept = study.samples("pool").groups
    draws = [r.test_rows for r in study.records]
    assert len({tuple(rows) for rows in draws}) == 3
    for rows in draws:
        rest = np.setdiff1d(np.arange(200), rows)
        assert not set(kept[rows]) & set(kept[rest])


def test_draws_are_by_the_seed_and_stored_samples_stay_where_they_are():
    data = toy(100)
    first, again, other = (draw_test(data.train, data.test, s) for s in (1, 1, 2))
    assert torch.equal(first[2], again[2])
    assert not torch.equal(first[2], other[2])
    assert isinstance(Splits("toy", *first[:2], ("a", "b"), "here"), Splits)
    assert set(first[0].names) | set(first[1].names) == {f"row {k + 2}" for k in range(100)}
