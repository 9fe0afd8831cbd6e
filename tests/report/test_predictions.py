"""predictions.csv, read by pandas."""

import json

import numpy as np
import pytest
import safetensors.numpy
from scipy.special import softmax

from counterpoise import findings, report
from counterpoise.study import open_study

pandas = pytest.importorskip("pandas")


def test_the_table_holds_the_answers_of_one_run(finished):
    study = open_study(finished)
    label = findings.best_variant(study)
    assert label == "group, logit_adjusted"  # the truth of the study
    path = report.write_predictions(study)
    assert path == finished / "predictions.csv"
    table = pandas.read_csv(path)
    validation = study.scores(kind="validation")[label]
    seed = max(validation, key=validation.get)
    assert set(table["seed"]) == {seed}
    assert set(table["variant"]) == {label}
    (run,) = [r for r in study.of(label) if r.seed == seed]
    logits, targets = run.predictions["test_logits"], run.predictions["test_targets"]
    names = np.array(study.data["class_names"])
    assert (table["sample"] == [f"test/{k}.png" for k in range(len(targets))]).all()
    assert (table["true"] == names[targets]).all()
    assert (table["predicted"] == names[logits.argmax(1)]).all()
    shares = table[[f"p_{name}" for name in names]]
    np.testing.assert_allclose(shares, softmax(logits.astype(float), 1), rtol=1e-5)


def test_a_table_has_rows_and_unnamed_samples_an_index(make, small, hostile):
    folder = make(small, hostile, shape=(7,))
    data = folder / "data.safetensors"
    for kind, names in (("row", [f"row {k}" for k in range(5, 365)]), ("index", None)):
        arrays = safetensors.numpy.load_file(data)
        arrays.pop("test_names", None)
        if names:
            arrays["test_names"] = np.frombuffer(json.dumps(names).encode(), np.uint8)
        with pytest.MonkeyPatch.context() as patch:
            safetensors.numpy.save_file(arrays, data)
            patch.setattr("counterpoise.study._prepared._is_whole", lambda *_: True)
            table = pandas.read_csv(report.write_predictions(open_study(folder)))
        first = 5 if kind == "row" else 0
        assert table[kind].tolist() == list(range(first, first + 360))
        assert set(table["true"]) == set(map(report._predictions.printable, hostile))


def test_without_a_finished_run_there_is_none(make, small):
    study = open_study(make(small, missing=6))
    assert report.write_predictions(study) is None
    assert not (study.folder / "predictions.csv").exists()
