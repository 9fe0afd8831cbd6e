"""The deep CNN against the sheet's own."""

import pytest
import torch
from torch import nn

from counterpoise import models, norms


def plain_torch(convs: int, image: int) -> nn.Sequential:
    """The same net from torch's own layers."""
    layers: list[nn.Module] = []
    before = 1
    for channels in (4, 8):
        for _ in range(convs):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * (image // 4) ** 2, 10))


@pytest.mark.parametrize("convs", [1, 2, 8])
@pytest.mark.parametrize("image", [8, 28, 31])
def test_equals_torchs_layers_with_the_same_seed(convs, image):
    torch.manual_seed(0)
    ours = models.DeeperCNN(convs_per_block=convs, image_size=image)
    torch.manual_seed(0)
    torchs = plain_torch(convs, image)
    x = torch.rand(5, 1, image, image)
    for f, w in zip(ours.parameters(), torchs.parameters(), strict=True):
        assert torch.equal(f, w)
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-4, atol=1e-5)
    found = torch.autograd.grad(ours(x)[:, 3].sum(), list(ours.parameters()))
    wanted = torch.autograd.grad(torchs(x)[:, 3].sum(), list(torchs.parameters()))
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), torchs(x), rtol=1e-4, atol=1e-5)


NORMS = norms.ALL | {"none": None, "torch's": lambda shape: nn.BatchNorm2d(shape[0])}


@pytest.mark.parametrize("word", NORMS)
def test_takes_any_norm_and_any_image(word):
    net = models.DeeperCNN(NORMS[word], in_channels=3, num_classes=7, image_size=(12, 20))
    assert net(torch.rand(2, 3, 12, 20)).shape == (2, 7)


def test_sizes_that_do_not_work_are_explained():
    with pytest.raises(ValueError, match="4x4 at least"):
        models.DeeperCNN(image_size=3)
    with pytest.raises(
        ValueError, match=r"built for images \(1, 28, 28\), but got \(2, 1, 32, 32\)"
    ):
        models.DeeperCNN()(torch.rand(2, 1, 32, 32))
