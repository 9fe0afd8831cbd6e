"""The nets against torch's own layers, the sheet and the papers."""

import pytest
import torch
from tests.covering import every_pair
from torch import nn

from counterpoise import data, models, norms, train
from counterpoise.net import with_cosine_head


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


@pytest.mark.parametrize(("convs", "image"), [(1, 8), (2, 28), (8, 31)])
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


def test_sizes_that_do_not_work_are_explained():
    with pytest.raises(ValueError, match="4x4 at least"):
        models.DeeperCNN(image_size=3)
    with pytest.raises(
        ValueError, match=r"built for images \(1, 28, 28\), but got \(2, 1, 32, 32\)"
    ):
        models.DeeperCNN()(torch.rand(2, 1, 32, 32))


def batch(shape: tuple[int, ...]) -> nn.Module:
    return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


# Table 6 of arXiv 1512.03385, in millions; to the digit where other implementations count them:
# github.com/akamaster/pytorch_resnet_cifar10, and for ResNet-20 with option B the Keras example.
@pytest.mark.parametrize(
    ("depth", "millions", "exact"),
    [(20, 0.27, 269722), (32, 0.46, 464154), (44, 0.66, 658586), (56, 0.85, 853018)],
)
def test_resnets_are_as_large_as_published(depth, millions, exact):
    assert size(models.ResNet(batch, depth=depth)) == exact
    assert round(exact / 1e6, 2) == millions
    layers = [m for m in models.ResNet(depth=depth).modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) + 1 == depth


def test_resnet_110_is_as_large_as_published():
    assert round(size(models.ResNet(batch, depth=110)) / 1e6, 1) == 1.7


def test_option_b_adds_two_convolutions_with_their_norms():
    added = size(models.ResNet(batch, shortcut="B")) - size(models.ResNet(batch))
    assert added == 16 * 32 + 32 * 64 + 2 * (32 + 64)


def functional_resnet8(net: nn.Module, x: torch.Tensor, shortcut: str) -> torch.Tensor:
    """ResNet-8 without norms, written down step by step."""
    weights = iter([m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)])

    def conv(x, stride=1):
        w = next(weights).weight
        return nn.functional.conv2d(x, w, None, stride, w.shape[2] // 2)

    x = conv(x).relu()
    for stride in (1, 2, 2):
        y = conv(conv(x, stride).relu())
        if stride == 2:
            x = conv(x, 2) if shortcut == "B" else torch.cat([x, 0 * x], 1)[:, :, ::2, ::2]
        x = (x + y).relu()
    return nn.functional.linear(x.mean((2, 3)), net.head.weight, net.head.bias)


@every_pair(shortcut=["A", "B"], image=[(8, 8), (9, 15)])
def test_resnet_computes_what_the_paper_draws(shortcut, image):
    net = models.ResNet(depth=8, shortcut=shortcut, in_channels=2, image_size=image).double()
    x = torch.rand(3, 2, *image, dtype=torch.float64)
    torch.testing.assert_close(net(x), functional_resnet8(net, x, shortcut))


def test_resnets_weights_have_the_variance_of_he():
    for name, weight in models.ResNet(width=2).named_parameters():
        if weight.dim() == 4 and "stem" not in name:
            assert weight.var().item() == pytest.approx(2 / (9 * weight.shape[1]), rel=0.1)


@pytest.mark.parametrize("word", ["resnet8", "mlp"])
def test_equal_seeds_give_equal_weights_whatever_the_norm(word):
    def weights(norm):
        torch.manual_seed(3)
        net = models.ALL[word](norm, (1, 8, 8), 10)
        return [m.weight for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    for a, b in zip(weights(None), weights(norms.ALL["layer"]), strict=True):
        assert torch.equal(a, b)


NEEDS_PIXELS = {"layer2d", "instance"}


@every_pair(shape=[(1, 8, 8), (3, 11, 16)], norm=[None, "batch", *norms.ALL], word=models.ALL)
def test_every_model_takes_every_norm(word, norm, shape):
    make = {None: None, "batch": batch, **norms.ALL}[norm]
    net, x = models.ALL[word](make, shape, 7), torch.rand(4, *shape)
    if word == "mlp" and norm in NEEDS_PIXELS:
        with pytest.raises(ValueError, match=r"needs an input|one pixel|needs at least two"):
            net(x)
        return
    logits = net(x)
    assert logits.shape == (4, 7)
    assert torch.isfinite(logits).all()
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_the_words_mean_what_they_say():
    def convs(word):
        net = models.ALL[word](None, (3, 32, 32), 10)
        return sum(isinstance(m, nn.Conv2d) for m in net.modules())

    assert {word: convs(word) for word in models.ALL} == {
        "deeper_cnn": 4,
        "resnet8": 7,
        "resnet20": 19,
        "mlp": 0,
        "linear": 0,
        "cosine": 0,
    }


@pytest.mark.parametrize("word", ["resnet8", "mlp"])
def test_learns_digits(word):
    digits = data.digits()
    torch.manual_seed(0)
    net = models.ALL[word](norms.ALL["group"], (1, 8, 8), 10)
    optimizer = train.make_optimizer(net, lr=0.1)
    loss, schedule = nn.CrossEntropyLoss(), train.cosine()
    train.fit(net, loss, digits.train, epochs=4, optimizer=optimizer, schedule=schedule)
    assert train.accuracy(net, digits.test) > 0.95


def test_mlp_equals_torchs_layers_with_the_same_seed():
    torch.manual_seed(0)
    ours = models.MLP(in_features=6, num_classes=3, hidden=(5, 4), activation=nn.Tanh)
    torch.manual_seed(0)
    torchs = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    x = torch.rand(7, 6)
    assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours(x.view(7, 1, 2, 3)), torchs(x))


def test_mlp_drops_out_in_training_only():
    net, x = models.MLP(in_features=6, hidden=(512,), dropout=0.9), torch.rand(2, 6)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_a_cosine_head_for_margins_takes_the_place_of_one_with_a_scale():
    """The loss has the scale: with both, logits would be 900 times cosines."""
    head = with_cosine_head(models.make_head("cosine", 4, 3))
    assert isinstance(head, models.NormedLinear)
    assert head.scale == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.ResNet(depth=18), r"depth must be 6n \+ 2 .* but got 18"),
        (lambda: models.ResNet(depth=2), r"depth must be 6n \+ 2 .* but got 2"),
        (lambda: models.ResNet(shortcut="C"), "'A' or 'B', but got 'C'"),
        (lambda: models.ResNet(image_size=(8, 7)), "8x8 at least .* 8x7"),
        (lambda: models.ResNet(width=0), "width >= 1"),
        (lambda: models.ResNet()(torch.rand(1, 1, 32, 32)), r"built for images \(3, 32, 32\)"),
        (lambda: models.MLP(in_features=0), "in_features"),
        (lambda: models.MLP(in_features=4, hidden=(8, 0)), r"got 4, 10, \(8, 0\)"),
        (lambda: models.MLP(in_features=4, dropout=1.0), "dropout"),
        (lambda: models.MLP(in_features=4)(torch.rand(2, 5)), "in_features=4 .* got inputs"),
        (lambda: models.MLP(in_features=4)(torch.rand(4)), r"got inputs \(4,\)"),
        (lambda: models.ALL["resnet8"](None, (30,), 2), "resnet8 needs images .* take mlp"),
        (lambda: models.ALL["deeper_cnn"](None, (30,), 2), "deeper_cnn needs images"),
    ],
)
def test_what_does_not_work_is_explained(build, message):
    with pytest.raises(ValueError, match=message):
        build()
