"""The probe's measurements, on nets where they are known, and that it leaves no trace."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from counterpoise import models, norms, probe

N = 6


class Tied(nn.Module):
    """An autoencoder in whose two layers one weight works, and one layer is called twice."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(8, 8), nn.Linear(8, 8)
        self.up.weight = self.down.weight

    def forward(self, x):
        return self.up(self.down(F.relu(self.down(x), inplace=True)))


class TwoInputs(nn.Module):
    """Named inputs, a dict of outputs, control flow, a layer never called, a raw parameter."""

    def __init__(self):
        super().__init__()
        self.table, self.left = nn.Embedding(11, 8), nn.Linear(8, 8)
        self.unused, self.right = nn.Linear(8, 8), nn.Linear(8, 8)
        self.mix = nn.Parameter(torch.randn(8, 3))

    def forward(self, words, numbers):
        h = self.left(numbers) if numbers.mean() < 99 else self.right(numbers)
        return {"label": "text", "logits": (self.table(words).mean(1) + h).relu_() @ self.mix}


class Sequence(nn.Module):
    """A recurrent net that reads (time, sample, feature)."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(5, 7, num_layers=2), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.attend(x, x, x)[0].mean(1))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def images():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(144, 3),
    )


def frozen():
    net = images()
    net[0].requires_grad_(False)
    return net


def parametrized():
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(8, 8)),
        nn.Tanh(),
        parametrizations.spectral_norm(nn.Linear(8, 3)),
    )


def on_logits(output, target):
    return F.cross_entropy(output["logits"], target)


def zoo():
    """Build all of them anew, from one seed."""
    torch.manual_seed(0)
    ce, y, seen = nn.CrossEntropyLoss(), torch.arange(N) % 3, torch.randn(N, 1, 8, 8)
    words = {"words": torch.randint(11, (N, 4)), "numbers": torch.randn(N, 8)}
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    return {
        "images": (images(), seen, y, weighted),
        "evaluated": (images().eval(), seen, y, ce),
        "frozen": (frozen(), seen, y, ce),
        "tied": (Tied(), torch.randn(N, 8), torch.randn(N, 8), nn.MSELoss()),
        "two inputs": (TwoInputs(), words, y, on_logits),
        "sequence": (Sequence(), torch.randn(9, N, 5), y, ce),
        "attention": (Attention(), torch.randn(N, 5, 8), y, ce),
        "encoder": (Encoder(), torch.randn(N, 5, 8), y, ce),
        "parametrized": (parametrized(), torch.randn(N, 8), y, ce),
    }


NAMES = sorted(zoo())


def batch_dim(name):
    return 1 if name == "sequence" else 0


HOOKS = [key for key in vars(nn.Linear(1, 1)) if key.endswith("hooks")]


def trace(net):
    """Everything that a probe could have changed in a net."""
    return {
        "state": {k: v.clone() for k, v in net.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "modes": [m.training for m in net.modules()],
        "hooks": [{k: len(getattr(m, k)) for k in HOOKS} for m in net.modules()],
        "weights' hooks": [len(p._backward_hooks or ()) for p in net.parameters()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def assert_same(left, right):
    torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


def call(net, inputs):
    return net(**inputs) if isinstance(inputs, dict) else net(inputs)


def test_numbers_of_one_linear_layer():
    net = nn.Linear(2, 1, bias=False)
    net.weight.data = torch.tensor([[1.0, 1.0]])
    x = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    (row,) = probe.first_step(net, lambda y, t: y.sum(), x, torch.zeros(2))
    assert row["activation_rms"] == pytest.approx(5**0.5)  # outputs 1 and 3
    assert row["visible_share"] == pytest.approx(1 / 5)  # variance 1, second moment 5
    assert row["grad_norm"] == pytest.approx(10**0.5)  # gradient (1, 3)


def test_a_constant_layer_has_no_visible_share():
    net = nn.Linear(2, 1)
    net.weight.data.zero_()
    net.bias.data.fill_(1.0)
    (row,) = probe.first_step(net, lambda y, t: y.sum(), torch.rand(4, 2), torch.zeros(4))
    assert row["visible_share"] == 0


def test_the_signal_vanishes_in_the_deep_plain_net_but_not_behind_norms():
    x, y = torch.rand(32, 1, 28, 28), torch.randint(10, (32,))
    share, ratio = {}, {}
    for name in (None, "layer", "group"):
        torch.manual_seed(0)
        net = models.DeeperCNN(norms.ALL[name] if name else None, convs_per_block=8)
        rows = probe.first_step(net, nn.CrossEntropyLoss(), x, y)
        assert len(rows) == 17
        share[name] = rows[-1]["visible_share"]
        ratio[name] = rows[0]["grad_norm"] / rows[-1]["grad_norm"]
    assert share[None] < 1e-10 < 1e-3 < min(share["layer"], share["group"])
    assert ratio[None] < 1e-5 < 1e-2 < min(ratio["layer"], ratio["group"])


@pytest.mark.parametrize("name", NAMES)
def test_first_step_leaves_no_trace(name):
    net, inputs, targets, loss = zoo()[name]
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    before = trace(net)
    rows = probe.first_step(net, loss, inputs, targets, batch_dim=batch_dim(name))
    assert_same(trace(net), before)
    assert rows
    assert all(0 <= r["visible_share"] <= 1 for r in rows if r["calls"])


@pytest.mark.parametrize("name", NAMES)
def test_watch_changes_nothing_and_sees_torchs_gradients(name):
    net, inputs, targets, loss = zoo()[name]
    net_alone = copy.deepcopy(net)
    torch.manual_seed(1)
    loss(call(net_alone, inputs), targets).backward()
    hooks = trace(net)["hooks"]
    torch.manual_seed(1)
    with probe.watch(net, batch_dim=batch_dim(name)) as flow:
        loss(call(net, inputs), targets).backward()
    assert trace(net)["hooks"] == hooks
    assert not any(p._backward_hooks for p in net.parameters())
    assert_same(trace(net)["state"], trace(net_alone)["state"])
    assert_same(trace(net)["grads"], trace(net_alone)["grads"])
    layers = dict(net_alone.named_modules())
    for row in flow.rows:
        owned = layers[row["name"]].parameters(recurse="parametrized" in name)
        grads = [p.grad for p in owned if p.dim() > 1 and p.grad is not None]
        norm = sum(float((g.double() ** 2).sum()) for g in grads) ** 0.5
        assert row["grad_norm"] is None or row["grad_norm"] == pytest.approx(norm, rel=1e-6)
    assert (None in [row["grad_norm"] for row in flow.rows]) == (name == "frozen")


def test_rows_of_a_net_with_everything():
    net, inputs, targets, loss = zoo()["two inputs"]
    rows = {row["name"]: row for row in probe.first_step(net, loss, inputs, targets)}
    assert [r["calls"] for r in rows.values()] == [1, 1, 1, 0, 0]
    assert rows["unused"]["activation_rms"] is None
    assert rows["unused"]["grad_norm"] == 0
    words = net.table(inputs["words"]).detach().double()
    share = words.var(0, correction=0).mean() / words.square().mean()
    assert rows["table"]["visible_share"] == pytest.approx(share.item())
    assert rows[""]["grad_norm"] > 0  # the net's own matrix


def test_the_samples_of_a_recurrent_net_lie_along_the_second_dimension():
    net, inputs, _, _ = zoo()["sequence"]
    with probe.watch(net, batch_dim=1) as flow:
        out = net.rnn(inputs)[0].detach().double()
        net(inputs)
    share = out.var(1, correction=0).mean() / out.square().mean()
    assert flow.rows[0]["visible_share"] == pytest.approx(share.item())


def test_a_layer_called_twice_is_one_row_of_both_calls():
    net, x, *_ = zoo()["tied"]
    with probe.watch(net) as flow:
        net(x)
    first, second = net.down(x), net.down(net.down(x).relu())
    both = torch.stack([first, second]).detach().double()
    assert [row["calls"] for row in flow.rows] == [2, 1]
    assert flow.rows[0]["activation_rms"] == pytest.approx(both.square().mean().sqrt().item())


@pytest.mark.parametrize("functional", [True, False])
def test_dead_units_are_counted_behind_the_activation(functional):
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    if functional:
        net[1].forward = lambda x: x.relu_()
    net[0].weight.data.fill_(1.0)
    net[0].bias.data = torch.tensor([-9.0, 0.0, 0.0, -9.0])
    with probe.watch(net) as flow:
        net(torch.rand(5, 1, 4, 4))
    assert [row["dead_share"] for row in flow.rows] == [0.5, None]


def test_the_update_is_the_latest_steps():
    net, x = nn.Linear(4, 3, bias=False), torch.randn(8, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    with probe.watch(net) as flow:
        for _ in range(3):
            size = net.weight.detach().norm().item()
            optimizer.zero_grad()
            net(x).square().sum().backward()
            assert net.weight.grad is not None
            ratio = 0.3 * net.weight.grad.norm().item() / size
            optimizer.step()
            assert flow.rows[0]["update_ratio"] == pytest.approx(ratio, rel=1e-5)
        assert "update" in str(flow)
    assert flow.rows[0]["update_ratio"] == pytest.approx(ratio, rel=1e-5)


def test_hooks_go_when_the_net_raises():
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 3)), torch.randn(2, 4)
    before = trace(net)
    with pytest.raises(RuntimeError, match="shapes"), probe.watch(net):
        net(x)
    assert_same(trace(net), before)
    with pytest.raises(RuntimeError, match="shapes"):
        probe.first_step(net, lambda y, t: y.sum(), x, None)
    assert_same(trace(net), before)


def test_hooks_go_when_watching_cannot_begin():
    net = nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(3))
    with pytest.raises(ValueError, match="1 is lazy"), probe.watch(net):
        pass
    assert not any(m._forward_hooks for m in net.modules())


def test_a_watch_does_not_see_a_probe_within_it():
    net, x, y, loss = zoo()["images"]
    with probe.watch(net) as flow:
        loss(net(x), y).backward()
        rows = flow.rows
        probe.first_step(net, loss, 7 * x, y)
    assert flow.rows == rows


def test_no_product_underflows():
    net = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(4)))
    for layer in net:
        layer.weight.data.fill_(1e-37)
    rows = probe.first_step(net, lambda y, t: y.sum(), torch.rand(8, 4), None)
    assert rows[-1]["activation_rms"] < 1e-140
    assert 0 < rows[-1]["visible_share"] < 1
    assert rows[0]["grad_norm"] > 0


def test_sparse_gradients_count():
    net = nn.EmbeddingBag(9, 3, sparse=True)
    words = torch.tensor([[1, 2], [1, 1]])
    with probe.watch(net) as flow:
        net(words).sum().backward()
    assert net.weight.grad is not None
    dense = net.weight.grad.to_dense().norm().item()
    assert flow.rows[0]["grad_norm"] == pytest.approx(dense)


class SinglePrecision(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) + torch.ones(4, 4) @ torch.ones(4) + self.layer.weight.float() @ x[0]


def test_a_net_of_fixed_dtype_is_measured_in_it():
    net = SinglePrecision()
    with pytest.warns(UserWarning, match="does not work in float64"):
        rows = probe.first_step(net, lambda y, t: y.sum(), torch.rand(8, 4), None)
    assert rows[0]["grad_norm"] > 0


def test_a_net_that_cannot_be_copied_is_restored():
    net, x, y, loss = zoo()["images"]
    net.cache = x * net[0].weight.sum()  # torch refuses to copy what has a history
    loss(net(x), y).backward()
    before = trace(net)
    with pytest.warns(UserWarning, match="cannot be copied"):
        rows = probe.first_step(net, loss, x, y)
    assert_same(trace(net), before)
    assert rows[0]["grad_norm"] > 0
