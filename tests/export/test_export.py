"""A study's model at home: what is written, what it answers, and what is refused."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.study.small import plan, run

from counterpoise import data, findings, load, open_study
from counterpoise.decisions import Rule
from counterpoise.export import Wanted, export
from counterpoise.inference import MODEL, read_shares, scores_of
from counterpoise.metrics import log_loss_at
from counterpoise.probabilities import estimate_prior
from counterpoise.sealed import Damaged, OtherFormat, seal, unseal
from counterpoise.study import Training, Variant, stream

QUICK = Training("mlp", epochs=2, lr=0.1, batch_size=64)


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Digits: two losses, two seeds, a cosine head and a classical model."""
    folder = tmp_path_factory.mktemp("export") / "study"
    variants = (
        Variant("layer", "cross_entropy"),
        Variant("layer", "balanced_softmax", "balanced"),
        Variant("layer", "ldam"),
        Variant(model="random_forest", settings={"n_estimators": 5}),
    )
    made = plan(norms=(), losses=(), variant=variants, training=QUICK)
    run(made, folder)
    return open_study(folder)


@pytest.fixture(scope="session")
def exported(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    return export(study, folder, variant=study.labels[1])


def test_an_export_answers_as_the_study_did(study, exported):
    model, (record, *_) = load(exported.folder), study.of(exported.label)
    seed = model.about["members"][0]["seed"]
    record = next(r for r in study.of(exported.label) if r.seed == seed)
    kept = study.samples("test")
    inputs = torch.from_numpy(np.array(kept.inputs[kept.rows]))
    answers = model.answers(inputs)
    np.testing.assert_allclose(
        np.exp(answers.log_p),
        np.exp(record.posterior()(record.predictions["test_logits"])),
        atol=1e-6,
    )
    right = record.predictions["test_logits"].argmax(1)
    assert model.predict(inputs).tolist() == [study.data["class_names"][k] for k in right]
    np.testing.assert_allclose(model.predict_proba(inputs).sum(1), 1)


def test_onnx_and_the_program_answer_the_same_without_us(study, exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = load(exported.folder)
    images = data.digits().test.inputs[:7]
    session = onnxruntime.InferenceSession(exported.folder / "model-0.onnx")
    logits, p = session.run(None, {"input": images.numpy()})
    np.testing.assert_allclose(p, model.predict_proba(images), atol=1e-5)
    program = torch.export.load(exported.folder / "model-0.pt2").module()
    np.testing.assert_allclose(program(images)[0].numpy(), logits, atol=1e-4)


@pytest.mark.parametrize("which", [2, 3])
def test_a_cosine_head_and_a_classical_model_are_exported_too(study, which, tmp_path):
    label = study.labels[which]
    done = export(study, tmp_path / "model", variant=label)
    model, record = load(done.folder), study.of(label)
    record = next(r for r in record if r.seed == model.about["members"][0]["seed"])
    kept = study.samples("test")
    inputs = torch.from_numpy(np.array(kept.inputs[kept.rows]))
    found = model.answers(inputs).log_p
    wanted = record.posterior()(record.predictions["test_logits"])
    np.testing.assert_allclose(np.exp(found), np.exp(wanted), atol=1e-5)


def test_an_ensemble_averages_the_probabilities_of_all_seeds(study, tmp_path):
    done = export(study, tmp_path / "model", variant=study.labels[0], ensemble=True, programs=False)
    model, records = load(done.folder), study.of(study.labels[0])
    assert len(model.members) == len(records) == 2
    kept = study.samples("test")
    inputs = torch.from_numpy(np.array(kept.inputs[kept.rows[:9]]))
    each = [np.exp(r.posterior()(r.predictions["test_logits"][:9])) for r in records]
    np.testing.assert_allclose(model.predict_proba(inputs), np.mean(each, 0), atol=1e-6)


def test_a_refit_trains_on_all_samples_but_those_of_the_test_split(study, tmp_path):
    label = study.labels[0]
    done = export(study, tmp_path / "model", variant=label, refit=True, programs=False)
    (folder,) = (study.folder / "refits").iterdir()
    kept = json.loads((folder / "run.json").read_text())
    assert sum(kept["train_counts"]) == sum(study.data["train_counts"])
    assert list(load(done.folder).train_counts) == kept["train_counts"]
    forest = export(study, tmp_path / "f", variant=study.labels[3], refit=True)
    assert list(load(forest.folder).train_counts) == kept["train_counts"]
    assert "test" not in kept
    weights = (done.folder / "weights-0.safetensors").read_bytes()
    assert weights == (folder / "weights.safetensors").read_bytes()
    assert "trained once more" in (done.folder / "README.md").read_text()
    before = (folder / "run.json").stat().st_mtime_ns
    export(study, tmp_path / "model", variant=label, refit=True, programs=False)
    assert (folder / "run.json").stat().st_mtime_ns == before  # it is not trained again


def test_what_the_verdicts_say_is_taken(study, monkeypatch):
    from counterpoise.export._choose import choose

    scores = {label: {s: 0.9 + 0.0001 * s for s in range(5)} for label in study.labels}
    monkeypatch.setattr(type(study), "scores", lambda self, *words, **more: scores)
    for gain, best in ((0.0, None), (0.05, study.labels[2])):
        scores[study.labels[2]] = {s: x + gain for s, x in scores[study.labels[2]].items()}
        found = dataclasses.replace(study)  # without what it has cached
        choice = choose(found)
        assert (choice.label, choice.why.split(";")[0]) == (
            findings.best_variant(found),
            f"it is {findings.best_and_reason(found)[1]}",
        )
        assert best in (None, choice.label)
        assert choice.optimism > 0


def test_every_file_is_checked_before_it_is_used(exported, tmp_path):
    whole = tmp_path / "model"
    names = [p.name for p in exported.folder.iterdir()]
    assert {"README.md", MODEL, "weights-0.safetensors", "model-0.onnx", "model-0.pt2"} == {*names}
    for name in names:
        shutil.copytree(exported.folder, whole)
        content = bytearray((whole / name).read_bytes())
        content[len(content) // 2] ^= 1
        (whole / name).write_bytes(content)
        with pytest.raises(Damaged, match=name.replace(".", r"\.")):
            load(whole)
        (whole / name).unlink()
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            load(whole)
        shutil.rmtree(whole)


def test_a_model_of_a_newer_version_says_so(exported, tmp_path):
    shutil.copytree(exported.folder, tmp_path / "model")
    (tmp_path / "model" / MODEL).write_text(seal({"files": {}}, 2))
    with pytest.raises(OtherFormat, match="is of format 2, but this counterpoise reads 1"):
        load(tmp_path / "model")


def test_nothing_is_unpickled(exported, study, tmp_path, monkeypatch):
    import pickle

    forest = export(study, tmp_path / "forest", variant=study.labels[3])
    monkeypatch.setattr(pickle, "load", pytest.fail)
    monkeypatch.setattr(pickle, "loads", pytest.fail)
    monkeypatch.setattr(pickle, "Unpickler", pytest.fail)
    for folder in (exported.folder, forest.folder):
        assert load(folder).predict(data.digits().test.inputs[:2]).shape == (2,)


@pytest.mark.parametrize("calibration", ["auto", "none", "isotonic"])
def test_the_card_has_the_log_loss_of_the_probabilities_that_are_exported(
    study, calibration, tmp_path
):
    label = study.labels[1]
    done = export(study, tmp_path / "m", variant=label, calibration=calibration, programs=False)
    losses = []
    for r in study.of(label):
        log_p, t = r.posterior(calibration)(r.predictions["test_logits"]), r.predictions
        losses.append(log_loss_at(log_p, t["test_targets"], r.run["train_counts"]))
    card = (done.folder / "README.md").read_text()
    assert f"| log-loss of the probabilities, nats | {np.mean(losses):.3f} |" in card


def test_a_rule_is_chosen_on_validation_kept_and_applied(study, tmp_path):
    wanted = Wanted(recall={"3": 0.8}, abstain=0.1, sets=0.8)
    done = export(study, tmp_path / "m", variant=study.labels[0], wanted=wanted, programs=False)
    model = load(done.folder)
    assert model.rule.kind == "thresholds"
    assert model.rule.thresholds[3] is not None
    assert any(line.startswith("3: recall ") for line in done.lines)
    assert f"| 3 | {model.rule.thresholds[3]:.3g} |" in (done.folder / "README.md").read_text()
    inputs = data.digits().test.inputs
    answers = model.answers(inputs)
    given = model.decide(answers)
    p = np.exp(answers.log_p)
    assert (given == -1).tolist() == (p.max(1) < model.rule.abstain).tolist()
    assert set(model.predict(inputs)) >= {None, "3"}
    with pytest.raises(ValueError, match="must be of one kind"):
        export(study, tmp_path / "n", wanted=Wanted(probable=True, thresholds={"3": 0.2}))
    with pytest.raises(ValueError, match="a class must be one of 0, 1"):
        export(study, tmp_path / "n", wanted=Wanted(thresholds={"x": 0.2}))
    assert not (tmp_path / "n").exists()


def test_a_forged_model_imports_nothing_and_reads_no_other_file(exported, tmp_path):
    def forged(change):
        shutil.rmtree(tmp_path / "m", ignore_errors=True)
        shutil.copytree(exported.folder, tmp_path / "m")
        content = unseal(tmp_path / "m" / MODEL, 1)
        change(content)
        (tmp_path / "m" / MODEL).write_text(seal(content, 1))
        return tmp_path / "m"

    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    changes = {
        "a net of counterpoise, but names 'evil:x'": lambda c: c["net"].update(model="evil:x"),
        "none of its files": lambda c: c["members"][0].update(weights="../m2/w.safetensors"),
        "does not name its files": lambda c: c.update(files={"../x": {"bytes": 1, "sha256": ""}}),
        "temperature must be": lambda c: c["members"][0]["posterior"].update(temperature=0),
        "do not fit together": lambda c: c.update(rule=[]),
        "say how data are read": lambda c: c.update(reading=[]),
        "do not fit together: 'before'": lambda c: c.update(estimate={}),
        "of several sizes": lambda c: c.update(train_counts=[1]),
    }
    for said, change in changes.items():
        with pytest.raises(Damaged, match=said) as caught:
            load(forged(change))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_an_export_replaces_an_export_and_nothing_else(study, tmp_path, monkeypatch):
    folder = tmp_path / "m"
    export(study, folder, variant=study.labels[0], ensemble=True, programs=False)
    (folder / "predictions.csv").write_text("mine")
    before = load(folder).predict_proba(data.digits().test.inputs[:3])

    def full(*words):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("counterpoise.files.write", full)
        with pytest.raises(OSError, match="No space"):
            export(study, folder, variant=study.labels[1], programs=False)
    np.testing.assert_array_equal(load(folder).predict_proba(data.digits().test.inputs[:3]), before)
    export(study, folder, variant=study.labels[1], programs=False)
    there = {p.name for p in folder.iterdir()}
    assert there == {"README.md", MODEL, "weights-0.safetensors", "predictions.csv"}
    (tmp_path / "killed" / ".new-1").mkdir(parents=True)  # as SIGKILL leaves it
    (tmp_path / "killed" / "weights-0.safetensors").touch()
    killed = export(study, tmp_path / "killed", variant=study.labels[1], programs=False).folder
    assert not (killed / ".new-1").exists()
    assert load(killed).classes == load(folder).classes
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / MODEL).write_text("{}")
    with pytest.raises(ValueError, match="holds other things"):
        export(study, tmp_path / "n")
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"thesis\.txt is a file"):
        export(study, tmp_path / "thesis.txt" / "below")


def test_a_folder_with_other_things_is_left_alone(study, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ValueError, match="holds other things"):
        export(study, tmp_path)
    with pytest.raises(ValueError, match=r"--variant must be one of .*, but got 'focl'"):
        export(study, tmp_path / "m", variant="focl")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_class_names_are_text_in_the_card(tmp_path):
    split = data.Split(torch.rand(40, 4), torch.arange(40) % 2)
    names = ("<script>alert(1)</script>", "a|b\n# c")
    from counterpoise import compare

    made = compare(
        data.Splits("x", split, split, names, "here"),
        losses=["cross_entropy"],
        seeds=1,
        training=QUICK,
        out=tmp_path / "s",
        progress=False,
        references=False,
    )
    done = export(made, tmp_path / "m", programs=False)
    card = (done.folder / "README.md").read_text()
    assert "<script>" not in card
    assert "\n# c" not in card
    assert load(done.folder).classes == names


def test_predict_on_another_machine_with_the_wheel_alone(exported, tmp_path):
    """In three commands before this: compare, export, predict; no extra, torch on a CPU."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("onnx", "onnxruntime", "onnxscript", "skops", "ray", "submitit", "datasets"):
        (hidden / f"{name}.py").write_text(f"raise ImportError('No module named {name}')")
    photos = tmp_path / "photos" / "deep"
    photos.mkdir(parents=True)
    test = data.digits().test
    for k in range(12):
        Image.fromarray(test.inputs[k, 0].numpy()).save(photos / f"{k}.png")
    (photos.parent / "broken.png").write_text("no image")
    root = Path(__file__).parents[2] / "src"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (hidden, root)))}
    words = [sys.executable, "-m", "counterpoise", "predict", str(exported.folder), "photos"]
    done = subprocess.run(
        [*words, "--out", "p.csv"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1  # one is broken
    assert "broken.png" in done.stderr
    table = pd.read_csv(tmp_path / "p.csv", dtype={"predicted": str})
    assert sorted(table["sample"]) == sorted(f"deep/{k}.png" for k in range(12))
    names = np.array(load(exported.folder).classes)
    order = [int(Path(s).stem) for s in table["sample"]]
    found = load(exported.folder)
    assert table["predicted"].tolist() == found.predict(test.inputs[order]).tolist()
    np.testing.assert_allclose(
        table[[f"p:{name}" for name in names]].to_numpy(),
        found.predict_proba(test.inputs[order]),
        atol=1e-6,
    )
    again = subprocess.run(
        [*words, "--out", "p.csv"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "--force" in again.stderr


def test_scores_stand_beside_where_there_are_labels(exported):
    test = data.digits().test
    model = load(exported.folder)
    folder = exported.folder.parent
    np.savez(folder / "labelled.npz", x=test.inputs.numpy(), y=test.targets.numpy())
    answers = model.answers(folder / "labelled.npz")
    found = scores_of(model, answers)
    right = model.predict(test.inputs) == np.array(model.classes)[test.targets.numpy()]
    assert found["samples"] == len(test)
    assert found["accuracy"] == pytest.approx(right.mean())
    assert 0 < found["nll"] < 3


def test_the_prior_at_deployment_moves_probabilities(exported, tmp_path):
    model, inputs = load(exported.folder), data.digits().test.inputs
    shares = [1.0] * 9 + [0.0]
    assert model.predict_proba(inputs, prior=shares)[:, 9].max() == 0
    answers = model.answers(inputs)
    found = estimate_prior(answers.log_p, model.train_counts).shares
    assert model.estimate_prior(answers).shares == found
    np.testing.assert_array_equal(
        model.predict_proba(inputs, prior="estimate"), model.predict_proba(inputs, prior=found)
    )
    file = tmp_path / "counts.csv"
    file.write_text("class,count\n" + "\n".join(f"{c},{k}" for k, c in enumerate(model.classes)))
    assert read_shares(file, model.classes).tolist() == list(range(10))
    for wrong, said in (("0,1\n1,x\n", "1,x"), ("0,1\n", "no row of '1'"), ("0,1\n0,2\n", "0,2")):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=said):
            read_shares(file, model.classes)
    by_name = {name: float(name == "3") for name in model.classes}
    assert model.predict_proba(inputs, prior=by_name)[:, 3].min() == pytest.approx(1)
    tried = {
        "before": 0.5,
        "after": 3.2,
        "chance": 0.1,
        "said": "as it takes 2.1% of fraud for 0.0%",
    }
    unable = dataclasses.replace(model, about={**model.about, "estimate": tried})
    with pytest.raises(ValueError, match=r"from 0\.500 to 3\.200, as it takes 2\.1% of fraud"):
        unable.predict_proba(inputs, prior="estimate")
    file.write_text("\n".join(f"{c};{k},5" for k, c in enumerate(model.classes)))
    assert read_shares(file, model.classes).tolist() == [k + 0.5 for k in range(10)]
    with pytest.raises(ValueError, match="uniform, estimate, or one number"):
        model.predict_proba(inputs, prior="flat")


@pytest.mark.parametrize("floating", [False, True])
def test_a_net_of_ones_own_runs_without_its_code(floating, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\ndef make(norm, shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    made = plan(
        losses=("cross_entropy",),
        seeds=(0,),
        training=Training("own_net:make", epochs=1, lr=0.1, batch_size=64),
    )
    digits = data.digits()
    if floating:  # which is standardized
        train, test = (
            data.Split(s.inputs.float() * 3 + 7, s.targets) for s in (digits.train, digits.test)
        )
        digits = dataclasses.replace(digits, train=train, test=test)
    list(stream({tmp_path / "study": made}, data={tmp_path / "study": digits}))
    study = open_study(tmp_path / "study")
    done = export(study, tmp_path / "model")
    assert any("own" in line for line in done.lines)
    (tmp_path / "own_net.py").unlink()
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    model = load(done.folder)
    kept = study.samples("test")
    inputs = torch.from_numpy(np.array(kept.inputs[kept.rows]))
    wanted = study.records[0].posterior()(study.records[0].predictions["test_logits"])
    np.testing.assert_allclose(model.answers(inputs).log_p, wanted, atol=1e-4)


def test_the_rule_of_the_study_is_the_highest_logit(exported):
    assert load(exported.folder).rule == Rule()
