"""Models on frozen features at home: raw images in, the study's answers out."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.study.small import run
from tests.study.test_features_study import photos, plan

from counterpoise import load, models, open_study
from counterpoise.export import export
from counterpoise.stats import t_interval
from counterpoise.study import Training

timm = pytest.importorskip("timm")
NET = Training(
    "timm:test_resnet", weights="none", freeze="backbone", image_size=32, epochs=3, lr=0.1
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    home = tmp_path_factory.mktemp("pretrained")
    settings = {"test": "held_out", "training": NET, "losses": ("focal",)}
    made = plan(photos(home / "photos"), home / "cache", **settings)
    run(made, home / "study", workers=1)
    return open_study(home / "study")


def test_the_exported_model_takes_raw_images_to_the_answers_of_the_study(study, tmp_path):
    done = export(study, tmp_path / "model")
    model = load(done.folder)
    seed = model.about["members"][0]["seed"]
    record = next(r for r in study.of(done.label) if r.seed == seed)
    kept = study.samples("test", images=True)
    images = torch.from_numpy(np.array(kept.inputs[kept.rows]))
    assert images.shape[1:] == (3, 32, 32)
    recorded = record.predictions["test_logits"]
    np.testing.assert_allclose(
        np.exp(model.answers(images).log_p), np.exp(record.posterior()(recorded)), atol=1e-4
    )
    table = model.predict(study.plan.data.source + "/b")
    assert len(table) == 30
    card = (done.folder / "README.md").read_text()
    assert "frozen features of timm:test\\_resnet" in card


def test_its_weights_are_those_of_the_whole_net(study, tmp_path):
    """Another program can load them: a net of timm, the scaling of features and the head."""
    done = export(study, tmp_path / "model")
    state = safetensors.torch.load_file(done.folder / "weights-0.safetensors")
    body = timm.create_model("test_resnet", num_classes=0).eval()
    body.load_state_dict({k.removeprefix("body."): v for k, v in state.items() if "body" in k})
    config = models.input_config("timm:test_resnet")
    kept = study.samples("test", images=True)
    x = torch.from_numpy(np.array(kept.inputs[kept.rows][:5])).float() / 255
    x = (x - torch.tensor(config.mean).view(3, 1, 1)) / torch.tensor(config.std).view(3, 1, 1)
    with torch.no_grad():
        x = (body(x) - state["head.mean"]) / state["head.std"]
        logits = x.float() @ state["head.head.weight"].T + state["head.head.bias"]
    model = load(done.folder)
    seed = model.about["members"][0]["seed"]
    record = next(r for r in study.of(done.label) if r.seed == seed)
    np.testing.assert_allclose(logits, record.predictions["test_logits"][:5], atol=1e-3)


def test_a_backbone_with_other_weights_is_refused(study, tmp_path, monkeypatch):
    def another(t, shape):
        torch.manual_seed(1)
        return models.open_backbone(t.model, 2, channels=shape[0], size=32, weights="none")

    monkeypatch.setattr("counterpoise.study.open_backbone", another)
    with pytest.raises(ValueError, match="must have the weights whose features"):
        export(study, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_logistic_regression_on_features_takes_raw_images_too(study, tmp_path):
    done = export(study, tmp_path / "model", variant="logistic regression")
    model = load(done.folder)
    assert {p.name for p in done.folder.iterdir()} >= {"features-0.onnx", "model-0.skops"}
    seed = model.about["members"][0]["seed"]
    record = next(r for r in study.references if r.label == done.label and r.seed == seed)
    kept = study.samples("test", images=True)
    images = torch.from_numpy(np.array(kept.inputs[kept.rows]))
    want = record.posterior()(record.predictions["test_logits"])
    np.testing.assert_allclose(np.exp(model.answers(images).log_p), np.exp(want), atol=1e-3)


def test_the_study_says_everywhere_that_features_were_frozen(study):
    from counterpoise.cli._tables import results_json
    from counterpoise.report import render

    said = "rozen features of timm:test_resnet"
    assert said in json.loads(results_json(study))["regime"]
    assert said in render(study).read_text()


def test_the_intervals_of_the_card_allow_for_other_test_splits(tmp_path):
    """As wide as those of `show`: seeds that draw their test split share samples."""
    settings = {"test": "per_seed", "training": NET, "losses": ("focal",), "seeds": range(3)}
    made = plan(photos(tmp_path / "photos"), tmp_path / "cache", **settings)
    run(made, tmp_path / "study", workers=2)
    study = open_study(tmp_path / "study")
    values = [x for x in study.scores()["focal"].values() if x is not None]
    wide = t_interval(values, test_to_train=study.test_to_train)
    assert study.test_to_train > 0
    done = export(study, tmp_path / "model", programs=False)
    low, high = max(wide.low, 0), min(wide.high, 1)
    assert f"{low:.3f} to {high:.3f}" in (done.folder / "README.md").read_text()
