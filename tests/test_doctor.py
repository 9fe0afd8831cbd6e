"""The doctor, on nets whose fault is known."""

import copy
import math
import random

import pytest
import torch
from torch import nn

from counterpoise import data, models, norms, plots
from counterpoise.doctor import CAUSES, diagnose
from counterpoise.losses import LogitAdjustedLoss

CE = nn.CrossEntropyLoss()


def mlp(depth, width=16, activation=nn.ReLU, classes=2, norm=False):
    """`depth` hidden layers, named 0, 2, 4 ..."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [
            nn.Linear(width if i else 16, width),
            *([nn.LayerNorm(width)] * norm),
            activation(),
        ]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def sides(samples=128):
    """Points, and on which side of a plane they lie."""
    x = torch.randn(samples, 16, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def trace(net):
    """Everything that the doctor could have changed in a net."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "state": {k: v.clone() for k, v in net.state_dict().items()},
        "modules": {name: 0 for name, _ in net.named_modules()},
        "grads": [p.grad for p in net.parameters()],
        "modes": [m.training for m in net.modules()],
        "hooks": [len(getattr(m, hook)) for m in net.modules() for hook in hooks],
        "random": [torch.get_rng_state(), random.getstate()],
    }


def assert_same(left, right):
    torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


def train(net, x, y, lr, steps):
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        CE(net(x), y).backward()
        optimizer.step()
    return (net(x).argmax(1) == y).double().mean().item()


def test_a_sound_net_is_left_alone():
    found = diagnose(mlp(2), CE, *sides(), lr=0.5)
    assert (found.verdict, found.cause, found.layer) == ("will learn", None, None)
    assert found.remedies == ()
    assert str(found).startswith("Will learn.")


def test_a_vanishing_signal_is_found_and_remedied():
    net, (x, y) = mlp(20), sides()
    found = diagnose(net, CE, x, y, lr=0.1)
    vanish = "the signal and the gradient vanish"
    assert (found.verdict, found.cause) == ("will not learn", vanish)
    rows = {row["name"]: row["visible_share"] for row in found.rows}
    names = list(rows)
    before = names[names.index(found.layer) - 1]
    assert rows[found.layer] < 1e-3 <= rows[before]
    verdicts = {remedy.change: remedy.worked for remedy in found.remedies}
    assert verdicts["Kaiming initialization of 21 layers"]
    assert not verdicts["a norm after each of 20 layers"]
    assert found.recommended[0].numbers.visible_share > 1e9 * found.numbers.visible_share


def test_a_recommended_remedy_helps_and_another_does_not():
    x, y = sides()
    initialized, normed = mlp(20), mlp(20, norm=True)
    for layer in initialized:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    learned = [train(net, x, y, 0.1, 400) for net in (initialized, normed, mlp(20))]
    assert learned[0] > 0.9
    assert max(learned[1:]) < 0.7


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, "will learn"), (3.0, "will diverge")])
def test_gradient_descent_diverges_above_two_over_the_curvature(factor, verdict):
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    net, y = nn.Linear(4, 1, bias=False), x @ torch.ones(4, 1)
    curvature = torch.linalg.eigvalsh(2 * x.T @ x / 64).max().item()  # of the mean squared error
    options = {"lr": factor * 2 / curvature, "batch_size": 64}
    found = diagnose(net, nn.MSELoss(), x, y, **options)
    assert found.verdict == verdict
    if factor > 1:
        assert found.cause == "the learning rate is too high"
        assert [r.verdict for r in found.recommended if "learning rate" in r.change]


def test_a_signal_that_explodes():
    net = mlp(10)
    for p in net.parameters():
        p.data *= 30
    found = diagnose(net, CE, *sides(), lr=0.1)
    assert (found.verdict, found.cause) == ("will diverge", "the signal explodes")
    rms = {row["name"]: row["activation_rms"] for row in found.rows}
    assert rms[found.layer] > 100 * rms["0"]
    assert [r.change for r in found.recommended]


def test_dead_units_are_found():
    net = mlp(3)
    net[2].bias.data.fill_(-100.0)
    found = diagnose(net, CE, *sides(), lr=0.1)
    assert (found.verdict, found.cause, found.layer) == (
        "will not learn",
        "the units are dead",
        "2",
    )
    assert "Kaiming initialization of 4 layers" in [r.change for r in found.recommended]


def test_dead_units_behind_which_no_weight_gets_a_gradient():
    net = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2, bias=False))
    net[0].bias.data.fill_(-100.0)
    found = diagnose(net, CE, *sides(), lr=0.1)
    assert (found.cause, found.layer) == ("the units are dead", "0")


def test_nothing_to_train():
    net = mlp(2).requires_grad_(False)
    found = diagnose(net, CE, *sides(), lr=0.1)
    assert (found.verdict, found.cause) == ("will not learn", "no gradient reaches the parameters")
    assert [r.change for r in found.recommended] == ["a gradient for 6 frozen parameters"]


def test_a_learning_rate_too_low():
    found = diagnose(mlp(2), CE, *sides(), lr=1e-6)
    assert (found.verdict, found.cause) == ("will not learn", "the learning rate is too low")
    assert not found.recommended  # tenfold is not enough, and it does not say so


def test_a_learning_rate_too_high():
    x, y = sides()
    found = diagnose(mlp(6, activation=nn.ReLU), CE, x, y, lr=30.0)
    assert found.verdict != "will learn"
    assert found.cause == "the learning rate is too high"
    assert train(mlp(6), x, y, 30.0, 400) < 0.7


class Faint(nn.Module):
    """A layer of almost no weight in the output, and a shift that is the same for every sample."""

    def __init__(self):
        super().__init__()
        self.fixed = nn.Linear(16, 2).requires_grad_(False)
        self.shift, self.faint = nn.Embedding(1, 2), nn.Linear(16, 2)

    def forward(self, x):
        shift = self.shift(torch.zeros(len(x), dtype=torch.long))
        return self.fixed(x) + shift + 1e-5 * self.faint(x)


def test_a_gradient_that_vanishes():
    torch.manual_seed(0)
    found = diagnose(Faint(), CE, *sides(), lr=0.1, remedies=False)
    assert (found.verdict, found.cause) == ("will not learn", "the gradient vanishes")
    assert found.layer == "faint"


def test_of_layers_without_a_gradient_the_one_nearest_to_the_loss_is_named():
    torch.manual_seed(0)
    net = Faint()
    net.faint = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 2))
    found = diagnose(net, CE, *sides(), lr=0.1, remedies=False)
    assert (found.cause, found.layer) == ("the gradient vanishes", "faint.1")


@pytest.mark.parametrize("depth", [1, 8])
def test_the_deep_cnn(depth):
    digits = data.digits().train
    torch.manual_seed(0)
    net = models.DeeperCNN(convs_per_block=depth, image_size=8)
    lr = 0.5 if depth == 1 else 0.2  # at 0.5 rounding decides which remedies the deep one needs
    found = diagnose(net, CE, digits.inputs[:256], digits.targets[:256], lr=lr)
    assert found.verdict == ("will learn" if depth == 1 else "will not learn")
    assert depth == 1 or found.recommended[0].change == "a norm after each of 16 layers"


class Reads(nn.Module):
    """A recurrent net with batch normalization and dropout in training mode."""

    def __init__(self):
        super().__init__()
        self.rnn, self.norm = nn.LSTM(5, 16), nn.BatchNorm1d(16)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(16, 2)

    def forward(self, x):
        return {"logits": self.head(self.drop(self.norm(self.rnn(x)[0][-1])))}


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, words, mask=None):
        h = self.words(words)
        return self.head(self.layer(h + self.attend(h, h, h)[0]).mean(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        self.second.weight = self.first.weight

    def forward(self, x):
        for layer in (self.first, self.second, self.first):
            x = layer(x).relu_()
        return self.head(x)


def examples():
    draw = torch.Generator().manual_seed(0)
    series = torch.randn(6, 128, 5, generator=draw)
    words = torch.randint(7, (128, 5), generator=draw)
    later = (series[-1, :, 0] > 0).long()

    def of_logits(output, target):
        return CE(output["logits"], target)

    return {
        "recurrent": (Reads, of_logits, series, later, {"lr": 0.01, "batch_dim": 1}),
        "attention": (Attends, CE, {"words": words}, (words == 3).any(1).long(), {"lr": 0.005}),
        "tied": (Tied, CE, *sides(), {"lr": 0.01}),
    }


@pytest.mark.parametrize("name", list(examples()))
@pytest.mark.parametrize("failing", [False, True])
def test_nets_of_other_kinds_and_no_trace(name, failing):
    kind, loss, inputs, targets, options = examples()[name]
    torch.manual_seed(0)
    net = kind()
    if failing:
        net.head.weight.data.zero_()
        net.head.requires_grad_(False)
    before = trace(net)
    found = diagnose(net, loss, inputs, targets, optimizer="adam", **options)
    assert_same(trace(net), before)
    assert found.verdict == ("will not learn" if failing else "will learn"), str(found)
    assert found.cause in (CAUSES if failing else (None,))
    again = diagnose(net, loss, inputs, targets, optimizer="adam", **options)
    assert again.numbers == found.numbers


def test_no_trace_when_the_loss_raises():
    net, (x, y) = mlp(3), sides()

    def loss(output, target):
        raise ArithmeticError("no")

    before = trace(net)
    with pytest.raises(ArithmeticError):
        diagnose(net, loss, x, y, lr=0.1)
    assert_same(trace(net), before)


def test_a_net_that_cannot_be_copied():
    net, (x, y) = mlp(20), sides()
    copied = diagnose(copy.deepcopy(net), CE, x, y, lr=0.1)
    net.cache = x @ net[0].weight.T  # torch refuses to copy what has a history
    before = trace(net)
    found = diagnose(net, CE, x, y, lr=0.1)
    assert_same(trace(net), before)
    assert found.verdict == copied.verdict
    assert "cannot be copied" in " ".join(found.notes)
    unlike = ("learning rate", "standardized")  # what needs no copy
    assert all(r.change.startswith(unlike) for r in found.remedies)


def test_other_optimizers_change_the_step():
    x, y = sides()
    momentum = diagnose(mlp(2), CE, x, y, lr=1.0, optimizer=torch.optim.SGD, remedies=False)
    plain = diagnose(mlp(2), CE, x, y, lr=1.0, remedies=False)
    adam = diagnose(mlp(2), CE, x, y, lr=1.0, optimizer="adam", remedies=False)
    assert momentum.numbers == plain.numbers
    assert adam.rows[0]["update_ratio"] > plain.rows[0]["update_ratio"]


def test_the_constant_loss_is_the_entropy_of_the_classes_or_the_variance_of_the_targets():
    x, y = sides(64)
    share = y.double().mean().item()
    entropy = -(share * math.log(share) + (1 - share) * math.log(1 - share))
    found = diagnose(mlp(2), CE, x, y, lr=0.1, remedies=False)
    assert found.numbers.constant_loss == pytest.approx(entropy, rel=1e-6)
    squared = diagnose(mlp(2, classes=1), nn.MSELoss(), x, x[:, :1], lr=0.1, remedies=False)
    assert squared.numbers.constant_loss == pytest.approx(
        x[:, 0].var(correction=0).item(), rel=1e-5
    )


def test_the_first_order_decrease_of_gradient_descent():
    x, _ = sides(64)
    net = mlp(2, classes=1).double()
    found = diagnose(net, nn.MSELoss(), x.double(), x[:, :1].double(), lr=1e-3, remedies=False)
    halves = []
    for part in (x[::2], x[1::2]):
        net.zero_grad()
        output = net(part.double())
        grad_output = 2 * (output - part[:, :1]).detach() / 32
        output.backward(grad_output - grad_output.mean(0))
        halves.append([p.grad.clone() for p in net.parameters()])
    decrease = 1e-3 * sum(float((a * b).sum()) for a, b in zip(*halves, strict=True))
    expected = decrease / found.numbers.constant_loss
    assert found.numbers.first_order_decrease == pytest.approx(expected, rel=1e-6)


def test_the_printed_diagnosis():
    found = diagnose(mlp(20), CE, *sides(), lr=0.1)
    lines = str(found).splitlines()
    assert lines[0] == f"Will not learn: the signal and the gradient vanish at {found.layer}."
    assert "Remedies that help, tried on copies:" in lines
    assert sum(line.split()[1:2] == ["Linear"] for line in lines) == 21
    assert lines[-1] == "visible share: variance over the inputs divided by the second moment"


def test_the_rows_make_a_figure():
    found = diagnose(mlp(3), CE, *sides(), lr=0.1)
    figure = plots.layer_flow({"before": found.rows, "after": found.rows_after})
    assert len(figure.axes[0].lines) >= 2


def test_evaluation_mode_is_noted():
    net = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
    before = trace(net)
    found = diagnose(net, CE, *sides(), lr=0.1)
    assert_same(trace(net), before)
    assert "evaluation mode" in found.notes[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 0.0}, "lr above 0"),
        ({"steps": 0}, "steps and batch_size"),
        ({"optimizer": "sdg"}, "optimizer must be one of"),
        ({"batch_dim": 3}, "two at least, but got 0"),
    ],
)
def test_invalid_arguments_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        diagnose(mlp(1), CE, *sides(), **{"lr": 0.1, **change})


def test_norms_go_only_where_there_is_none():
    torch.manual_seed(0)
    blocks = [(nn.Conv2d(4, 4, 3, padding=1), norms.GroupNorm(2, 4), nn.ReLU()) for _ in range(3)]
    plain = [(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(2)]
    parts = [part for block in [*plain, *blocks] for part in block]
    net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64, 2))
    x, y = torch.randn(32, 4, 4, 4), torch.arange(32) % 2
    found = diagnose(net, CE, x, y, lr=1e-7)
    assert "a norm after each of 2 layers" in [r.change for r in found.remedies]
    assert "a shortcut around each of 5 layers" in [r.change for r in found.remedies]


@pytest.mark.parametrize("out", [nn.Linear(4, 1), nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), LogitAdjustedLoss([5, 3])])
def test_one_logit_a_sample_is_answered_with_the_loss_for_it(out, loss):
    x = torch.randn(16, 4)
    with pytest.raises(ValueError, match=r"one logit a sample.*SigmoidFocalLoss.*two outputs"):
        diagnose(nn.Sequential(out), loss, x, (x[:, 0] > 0).long(), lr=0.1)


def test_one_logit_with_a_loss_for_it_is_diagnosed():
    x = torch.randn(64, 4)
    loss = lambda z, y: nn.functional.binary_cross_entropy_with_logits(z[:, 0], y.to(z.dtype))  # noqa: E731
    found = diagnose(nn.Linear(4, 1), loss, x, (x[:, 0] > 0).long(), lr=0.5)
    assert found.verdict == "will learn"
