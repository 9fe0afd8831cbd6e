"""Studies that fine-tune a net of timm, and what is refused before anything trains."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.study.small import files, run
from tests.study.test_features_study import photos

from counterpoise import data, load
from counterpoise.cli import main
from counterpoise.export import export
from counterpoise.findings import collect_findings
from counterpoise.report import render, write_figures
from counterpoise.study import Data, Plan, Training, open_study, stream
from counterpoise.study._runs import final_runs
from counterpoise.study.defaults import fill
from counterpoise.study.events import Failed, Finished, Prepared, Started
from counterpoise.study.spec import run_id

timm = pytest.importorskip("timm")
NET = Training("timm:test_resnet", image_size=32, epochs=4, lr=1e-3, batch_size=16)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Photographs, and weights from some other training with five classes."""
    home = tmp_path_factory.mktemp("pretrained")
    photos(home / "photos", each=20)
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), home / "weights.pth")
    return home


def plan(home, training=NET, **changes):
    usual = {"losses": ("cross_entropy",), "seeds": (0, 1), "references": False}
    weights = str(home / "weights.pth")
    if training.weights == "auto":
        training = replace(training, weights=weights)
    source = Data(str(home / "photos"), cache=str(home / "cache"), test="held_out")
    return Plan(source, training=training, **{**usual, **changes})


def finished(made, folder):
    events = run(made, folder, workers=1)
    assert not [e for e in events if isinstance(e, Failed)], events
    return open_study(folder), events


def test_a_net_is_fine_tuned_from_a_file_and_all_of_it_is_said(home, tmp_path):
    study, events = finished(plan(home), tmp_path / "study")
    said = "\n".join(line for e in events if isinstance(e, Prepared) for line in e.lines())
    assert f"test_resnet of timm {timm.__version__} with" in said
    assert "not taken: fc.bias, fc.weight" in said
    assert "its input is 32 x 32 pixels" in said
    record = study.records[0]
    assert record.run["net"][0].startswith("test_resnet of timm")
    assert record.run["spec"]["training"]["optimizer"] == "adamw"
    assert record.run["spec"]["training"]["weights"] == "file"
    assert study.plan.norms == ("keep",)
    assert "from pretrained weights" in study.plan.regime
    before = files(tmp_path / "study" / "runs")
    finished(plan(home), tmp_path / "study")
    assert files(tmp_path / "study" / "runs") == before


def test_other_weights_are_another_run(home, tmp_path):
    study, _ = finished(plan(home, seeds=(0,)), tmp_path / "study")
    first = study.records[0]
    state = torch.load(home / "weights.pth", weights_only=True)
    other = tmp_path / "weights.pth"
    torch.save({k: v + 0.1 * v.std() if v.dim() > 1 else v for k, v in state.items()}, other)
    made = plan(home, replace(NET, weights=str(other)), seeds=(0,))
    study, _ = finished(made, tmp_path / "study")
    assert study.records[0].folder != first.folder


def test_only_what_is_not_frozen_changes(home, tmp_path):
    settings = replace(NET, freeze="body.conv1.*, body.layer[12].*", layer_decay=0.5, head_lr=10)
    study, _ = finished(plan(home, settings, seeds=(0,)), tmp_path / "study")
    trained = safetensors.torch.load_file(study.records[0].folder / "weights.safetensors")
    theirs = torch.load(home / "weights.pth", weights_only=True)
    same = {k for k, v in theirs.items() if torch.equal(v, trained.get(f"body.{k}", v * 0 - 7))}
    assert {k for k in theirs if k.endswith("weight") and k in same} == {
        k for k in theirs if k.endswith("weight") and k.startswith(("conv1.", "layer1.", "layer2."))
    }
    assert not {k for k in same if k.startswith(("layer3", "layer4"))} - {
        k for k in theirs if k.endswith("num_batches_tracked")
    }


def test_a_study_with_patience_ends_early_and_reports_and_exports(home, tmp_path):
    settings = replace(NET, epochs=12, patience=1, accumulate=3, precision="bfloat16")
    study, _ = finished(plan(home, settings), tmp_path / "study")
    assert any(len(r.history) < 13 for r in study.records)
    for record in study.records:
        best = record.history[-1]["best_epoch"]
        want = record.history[best]["validation_balanced_accuracy"]
        assert record.run["validation"]["balanced_accuracy"] == pytest.approx(want)
        assert record.run["precision"] == "bfloat16"
    collect_findings(study)
    render(study)
    write_figures(study, tmp_path / "figures")
    done = export(study, tmp_path / "model", programs=False)
    assert len(load(done.folder).predict(str(home / "photos" / "a"))) == 20


def test_another_norm_takes_the_place_of_the_nets_own_and_the_record_has_the_table(home, tmp_path):
    made = plan(home, norms=("keep", "group"), seeds=(0,))
    study, _ = finished(made, tmp_path / "study")
    keep, group = (study.of(label)[0].run["net"] for label in study.labels)
    assert any("GroupNorm" in line and "BatchNorm" in line for line in group)
    assert not any("GroupNorm" in line for line in keep)


@pytest.mark.slow
def test_lora_is_trained_and_exported(home, tmp_path):
    pytest.importorskip("peft")
    settings = replace(NET, model="timm:test_vit", weights="none", lora=2, epochs=2, lr=0.01)
    study, _ = finished(plan(home, settings, seeds=(0,)), tmp_path / "study")
    assert "by LoRA of rank 2" in study.plan.regime
    assert any("LoRA of rank 2 on 12" in line for line in study.records[0].run["net"])
    state = safetensors.torch.load_file(study.records[0].folder / "weights.safetensors")
    moved = [k for k, v in state.items() if "lora_B" in k and v.abs().sum() > 0]
    assert len(moved) == 12
    assert len(load(export(study, tmp_path / "model").folder).predict(home / "photos" / "b")) == 20


def test_the_same_seed_starts_each_loss_from_the_same_head(home, tmp_path):
    settings = replace(NET, epochs=1, lr=1e-9)
    made = plan(home, settings, losses=("cross_entropy", "focal"), seeds=(3,))
    study, _ = finished(made, tmp_path / "study")
    one, other = (
        safetensors.torch.load_file(study.of(label)[0].folder / "weights.safetensors")
        for label in study.labels
    )
    np.testing.assert_allclose(one["head.weight"], other["head.weight"], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "timm:resnet81"], "did you mean 'timm:resnet18'"),
        (["--model", "timm:test_resnet", "--weights", "absent.pth"], "absent.pth"),
        (["--model", "timm:test_resnet", "--norms", "none"], "norm must be one of auto, keep"),
        (["--model", "timm:test_vit", "--weights", "none", "--norms", "group"], "take keep"),
        (["--model", "resnet8", "--features"], "of pretrained nets"),
        (["--model", "timm:test_vit", "--weights", "none", "--image-size", "7"], "image_size"),
        (["--model", "timm:test_resnet", "--features", "--norms", "group"], "norm must be keep"),
        (["--model", "timm:test_resnet", "--head", "lstm"], "training.head must be one of linear"),
        (["--model", "timm:resnet18.nonsense"], "did you mean 'timm:resnet18."),
        (["--model", "torchvision:vit_b_16", "--weights", "none", "--image-size", "33"], "33 x 33"),
        (["--model", "timm:test_resnet", "--weights", ""], "but is ''"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_nothing_is_written(
    home, tmp_path, monkeypatch, capsys, words, said
):
    assert said in refused(tmp_path, monkeypatch, capsys, str(home / "photos"), *words)
    assert not list(tmp_path.iterdir())


def refused(folder, monkeypatch, capsys, *words):
    """Call `counterpoise compare`, and return the one line with which it ends."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["counterpoise", "compare", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("counterpoise: ")]
    return line


def test_a_table_is_no_input_of_a_net_for_images(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text("a,b,target\n" + "1,2,x\n2,1,y\n" * 20)
    words = ("t.csv", "--model", "timm:test_resnet", "--weights", "none")
    assert "takes images" in refused(tmp_path, monkeypatch, capsys, *words)


def test_one_head_alone_is_reported_like_any_run(home, tmp_path):
    """A group of one is that run."""
    settings = replace(NET, freeze="backbone", lr=0.01)
    study, events = finished(plan(home, settings, seeds=(0,)), tmp_path / "study")
    (name,) = (r.folder.name for r in study.records)
    told = [(type(e).__name__, e.run) for e in events if isinstance(e, Started | Finished)]
    assert told == [("Started", name), ("Finished", name)]


def test_weights_that_are_replaced_while_a_study_runs_are_noticed(home, tmp_path):
    other, made = tmp_path / "weights.pth", []
    other.write_bytes((home / "weights.pth").read_bytes())
    stream_of = stream(
        {tmp_path / "study": plan(home, replace(NET, weights=str(other)))}, workers=1
    )
    for event in stream_of:
        made.append(event)
        if isinstance(event, Finished) and not event.kept:
            state = torch.load(home / "weights.pth", weights_only=True)
            torch.save(
                {k: v * 1.5 if v.is_floating_point() else v for k, v in state.items()}, other
            )
    failed = [e for e in made if isinstance(e, Failed)]
    assert len(failed) == 1
    assert "has changed since" in failed[0].reason


def test_the_same_weights_elsewhere_are_the_same_run(home, tmp_path):
    other = tmp_path / "renamed.pth"
    other.write_bytes((home / "weights.pth").read_bytes())
    one, two = (
        final_runs(plan(home, replace(NET, weights=str(path), lr=0.1)), "ab", {"cross_entropy": {}})
        for path in (home / "weights.pth", other)
    )
    assert [run_id(r.spec.to_json()) for r in one] == [run_id(r.spec.to_json()) for r in two]


@pytest.mark.parametrize(
    ("settings", "losses", "said"),
    [
        ({"patience": 2}, ("focal+drw",), "what sets in late"),
        ({"freeze": "backbone", "head_lr": 5.0}, ("focal",), "heads alone are"),
        ({"freeze": "backbone", "patience": 2}, ("focal",), "heads that are trained together"),
        ({"freeze": "norms", "lora": 4}, ("focal",), r"training\.lora freezes all"),
        ({"patience": 2, "watch": ()}, ("focal",), "does not hold 'validation'"),
        ({"model": "resnet8", "lora": 4}, ("focal",), "head and lora are of pretrained nets"),
        ({"model": "resnet8", "freeze": "backbone"}, ("focal",), r"--features .* is of pretrained"),
        ({"weights": "none", "precision": "float16"}, ("focal",), "precision must be one of auto"),
    ],
)
def test_settings_that_undo_each_other_are_refused(settings, losses, said):
    training = Training(**{"model": "timm:test_resnet", **settings})
    with pytest.raises(ValueError, match=said):
        Plan(Data("photos"), losses=losses, training=training)


def test_cautions_name_random_features_and_small_images(home):
    from counterpoise.study.cautions import foresee

    splits = data.load(home / "photos", image_size=32)
    random = replace(NET, weights="none", freeze="backbone")
    for training, said in ((random, "with random weights"), (NET, "32 x 32 pixels are small")):
        assert said in " ".join(foresee(fill(plan(home, training), splits)[0], splits))


def test_the_head_of_a_net_of_timm_is_trained_once_more(home, tmp_path):
    short = replace(NET, epochs=1, ema=0.9, retrain_epochs=1)
    for head, how in (("linear", "lws"), ("cosine", "crt")):
        made = plan(home, replace(short, head=head, retrain=how), seeds=(0,))
        record = finished(made, tmp_path / head)[0].records[0]
        assert [row["stage"] for row in record.history] == [1, 1, 2]
        score = record.run["validation"]["balanced_accuracy"]
        assert score == record.history[-1]["validation_balanced_accuracy"]
    for head, how in (("mlp", "crt"), ("cosine", "lws")):
        with pytest.raises(ValueError, match=f"retrain = '{how}' needs a net with a linear head"):
            run(plan(home, replace(short, head=head, retrain=how)), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
