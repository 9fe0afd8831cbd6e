"""Averaged weights, sharpness-aware steps and retrained heads, against a few lines of torch."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from tests.train.trainings import mlp, plain_mean, split, with_batch_norms
from torch import nn

from counterpoise.losses import SeesawLoss
from counterpoise.models import NormedLinear
from counterpoise.samplers import BalancedSampler, ShuffleSampler
from counterpoise.train import fit, make_optimizer, retrain_head


def untimed(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def states_of(make, **words):
    """Train; return the rows, the net's state in the end, and the state after each epoch."""
    net, states = make(), []
    rows = fit(
        net,
        nn.CrossEntropyLoss(),
        split(),
        optimizer=make_optimizer(net, lr=0.1),
        on_state=lambda state: states.append(copy.deepcopy(state)),
        **{"epochs": 4, "batch_size": 16, **words},
    )
    return untimed(rows), net.state_dict(), states


@pytest.mark.parametrize("words", [{"ema": 0.6}, {"sam": 0.1, "accumulate": 2}])
def test_a_training_is_resumed_from_any_epoch_to_the_same_bits(words):
    rows, net, states = states_of(with_batch_norms, **words)
    for state in states:
        found, again, _ = states_of(with_batch_norms, state=state, **words)
        assert found == rows
        assert all(map(torch.equal, again.values(), net.values()))


def test_the_average_is_that_of_its_formula_and_becomes_the_net():
    """Over the states after each step, in float64: an epoch here has one step."""
    words = {"epochs": 12, "batch_size": 70}
    plain, last, states = states_of(with_batch_norms, **words)
    rows, net, averaged = states_of(with_batch_norms, ema=0.6, **words)
    expected = {k: v.double() for k, v in states[1]["net"].items()}
    for k, state in enumerate(states[2:], 1):
        d = min(0.6, (1 + k) / (10 + k))
        expected = {n: d * v + (1 - d) * state["net"][n] for n, v in expected.items()}
    for name, value in net.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, last[name])
    assert not torch.equal(net["7.weight"], last["7.weight"])
    assert all(map(torch.equal, averaged[-1]["net"].values(), last.values()))
    scores = ("accuracy", "balanced_accuracy", "nll")
    for row, other in zip(rows, plain, strict=True):
        own = {k: v for k, v in row.items() if not k.startswith("ema_")}
        assert own == other
        assert row.keys() - own.keys() == {f"ema_train_{score}" for score in scores}
    made = with_batch_norms()
    made.load_state_dict(net)
    again = fit(made, plain_mean, split(), epochs=0)[0]
    assert [again[f"train_{s}"] for s in scores] == [rows[-1][f"ema_train_{s}"] for s in scores]


class Doubled(nn.Module):
    """A net in float64."""

    def __init__(self):
        super().__init__()
        self.net = mlp().double()

    def forward(self, x):
        return self.net(x.double())


@pytest.mark.parametrize("words", [{}, {"accumulate": 3}])
def test_sharpness_aware_steps_are_those_of_a_few_lines(words):
    net, train, clip = Doubled(), split(), 0.5
    how = {"lr": 0.1, "weight_decay": 0.01}
    optimizer = make_optimizer(net, **how)
    words = {"epochs": 2, "batch_size": 16, "seed": 3, "clip_norm": clip, "sam": 0.3} | words
    rows = fit(net, nn.CrossEntropyLoss(), train, optimizer=optimizer, **words)
    expected, order, found = Doubled(), ShuffleSampler(train.targets, seed=3), []
    optimizer = make_optimizer(expected, **how)
    weights = dict(expected.named_parameters())
    for epoch in range(2):
        order.set_epoch(epoch)
        found.append(0.0)
        for index in torch.tensor(list(order)).split(16):

            def loss(values, index=index):
                x = (train.inputs[index] / 255,)
                logits = torch.func.functional_call(expected, values, x)
                return F.cross_entropy(logits, train.targets[index])

            value = loss(weights)
            found[-1] += value.item() * len(index) / 70
            g = torch.autograd.grad(value, weights.values())
            norm = torch.cat([x.flatten() for x in g]).norm()
            up = {k: w + 0.3 * x / norm for (k, w), x in zip(weights.items(), g, strict=True)}
            g = torch.autograd.grad(loss(up), weights.values())
            norm = torch.cat([x.flatten() for x in g]).norm()
            for w, x in zip(weights.values(), g, strict=True):
                w.grad = x * (clip / (norm + 1e-6)).clamp(max=1)
            optimizer.step()
    torch.testing.assert_close(net.state_dict(), expected.state_dict(), rtol=1e-6, atol=1e-8)
    assert [row["loss"] for row in rows[1:]] == pytest.approx(found, rel=1e-6)


def test_on_a_quadratic_the_step_is_that_of_the_paper():
    a = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)

    class Weights(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))

        def forward(self, x):
            return self.w.expand(len(x), 2)

    net, train = Weights(), split()
    w = net.w.detach().clone()
    one = type(train)(train.inputs[:2], train.targets[:2].clamp(max=1))
    fit(net, lambda z, _: z[0] @ a @ z[0] / 2, one, epochs=1, lr=0.1, sam=0.5)
    g = a @ w  # the norm of (1, -3)
    torch.testing.assert_close(net.w.detach(), w - 0.1 * a @ (w + 0.5 * g / 10**0.5))


def test_the_second_pass_leaves_running_statistics_and_a_losss_counts_alone():
    counts, buffers = [], []
    for sam in (0.0, 0.5):
        net, loss = with_batch_norms(), SeesawLoss(num_classes=3)
        fit(net, loss, split(), epochs=1, batch_size=70, sam=sam)
        counts.append(loss.counts)
        buffers.append(dict(net.named_buffers()))
    assert torch.equal(*counts)
    assert all(map(torch.equal, buffers[0].values(), buffers[1].values()))


def second_stage(net, how):
    """Train the head of a net on other samples, or its factors, in float64; return its logits."""
    train = split(70, 2)
    with torch.no_grad():
        features = net[:-1].eval()(train.inputs / 255).double()
    torch.manual_seed(5)
    head = copy.deepcopy(net[-1])
    if how == "crt":
        head.reset_parameters()
    w, b = head.weight.detach().double(), head.bias.detach().double()
    scale, moments = torch.ones(3, dtype=torch.float64), [0.0] * 3
    chosen = slice(0, 2) if how == "crt" else slice(2, 3)
    for p in (values := [w, b, scale])[chosen]:
        p.requires_grad_()
    order, done, total = BalancedSampler(train.targets, seed=5), 0, 3 * 5  # 16, 16, 16, 16, 6
    for epoch in range(3):
        order.set_epoch(epoch)
        for index in torch.tensor(list(order)).split(16):
            loss = F.cross_entropy(scale * (features[index] @ w.T + b), train.targets[index])
            grads = torch.autograd.grad(loss, values[chosen])
            rate = 0.2 * (1 + math.cos(math.pi * (done + 0.5) / total)) / 2
            with torch.no_grad():
                for k, (p, g) in enumerate(zip(values[chosen], grads, strict=True)):
                    moments[k] = 0.9 * moments[k] + g + (0.01 * p if p is w else 0)
                    p -= rate * moments[k]
            done += 1
    with torch.no_grad():
        return scale * (features @ w.T + b)


def retrained(how, state=None, **words):
    net, states = mlp(), []
    settings = {"epochs": 3, "batch_size": 16, "lr": 0.2, "weight_decay": 0.01, "seed": 5}
    rows = retrain_head(
        net,
        nn.CrossEntropyLoss(),
        split(70, 2),
        how=how,
        state=state,
        on_state=lambda state: states.append(copy.deepcopy(state)),
        **settings | words,
    )
    return net, untimed(rows), states


@pytest.mark.parametrize("how", ["crt", "lws"])
def test_a_head_is_retrained_alone_as_a_few_lines_do_it(how):
    net, rows, states = retrained(how)
    inputs = split(70, 2).inputs / 255
    torch.testing.assert_close(net(inputs).double(), second_stage(mlp(), how), rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, net[:-1].state_dict().values(), mlp()[:-1].state_dict().values()))
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    for state in states:
        again, found, _ = retrained(how, state)
        assert found == rows
        assert torch.equal(again[-1].weight, net[-1].weight)


class Squashed(nn.Module):
    """A net whose logits are not its head's."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x).tanh()


class Pixels(nn.Module):
    """A net whose head takes pixels."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(x).mean((1, 2))


def test_a_net_without_a_head_of_vectors_is_refused():
    for net in (Squashed(), Pixels(), nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU())):
        with pytest.raises(ValueError, match=r"the net must end in a torch.nn.Linear, which takes"):
            retrain_head(net, plain_mean, split(), epochs=1)
    cosine = nn.Sequential(nn.Flatten(), NormedLinear(64, 3))
    with pytest.raises(ValueError, match="lws scales a head's weights"):
        retrain_head(cosine, plain_mean, split(), how="lws", epochs=1)
    with pytest.raises(ValueError, match="did you mean 'crt'"):
        retrain_head(mlp(), plain_mean, split(), how="ctr", epochs=1)
