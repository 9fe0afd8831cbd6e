"""Precision, batches in parts, patience and compilation in `fit`, against torch and against fit."""

import copy
import functools

import pytest
import torch
import torch.nn.functional as F
from tests.train.trainings import mlp, plain_mean, split
from torch import nn

from counterpoise import losses
from counterpoise.samplers import ShuffleSampler
from counterpoise.train import fit, make_optimizer, predict_logits, resolve_precision

UNEQUAL = torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64)


class Doubled(nn.Module):
    """A net in float64 that remembers the sizes of its training batches."""

    def __init__(self):
        super().__init__()
        self.net, self.sizes = mlp().double(), []

    def forward(self, x):
        if self.training:
            self.sizes.append(len(x))
        return self.net(x.double())


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (nn.CrossEntropyLoss(UNEQUAL, ignore_index=1, label_smoothing=0.1), {}),
        (losses.FocalLoss(2.0, alpha=UNEQUAL), {}),
        (losses.FocalLoss(2.0, alpha=UNEQUAL), {"sample_weight": torch.linspace(0.01, 9, 70)}),
        (losses.FocalLoss(2.0, reduction="sum"), {"clip_norm": 0.1}),
        (plain_mean, {}),
    ],
)
def test_a_batch_in_parts_trains_as_a_whole_one(loss, words):
    nets, tables = [], []
    for parts in (1, 3, 5, 99):
        net = Doubled()
        optimizer = make_optimizer(net, lr=0.1)
        how = {"epochs": 2, "batch_size": 16, "optimizer": optimizer, "accumulate": parts, **words}
        tables.append([row["loss"] for row in fit(net, loss, split(), **how)[1:]])
        nets.append(net)
    for net, found in zip(nets[1:], tables[1:], strict=True):
        torch.testing.assert_close(net.state_dict(), nets[0].state_dict(), rtol=1e-11, atol=1e-13)
        assert found == pytest.approx(tables[0], rel=1e-6)
    assert nets[1].sizes[:3] == [6, 5, 5]
    assert nets[3].sizes[:8] == [2] * 8  # a batch norm needs two
    assert sum(nets[3].sizes) == 140


def test_weights_of_samples_in_parts_need_a_loss_that_can_be_divided():
    def loss(logits, targets, sample_weight=None):
        return (F.cross_entropy(logits, targets, reduction="none") * sample_weight).mean()

    with pytest.raises(ValueError, match="several processes or parts needs a loss with"):
        fit(mlp(), loss, split(), epochs=1, sample_weight=torch.ones(70), accumulate=2)


def test_bfloat16_is_torchs_autocast_with_the_loss_in_float32():
    train, net, kinds = split(), mlp(), []

    def loss(logits, targets):
        kinds.append(logits.dtype)
        return F.cross_entropy(logits, targets)

    rows = fit(net, loss, train, epochs=1, batch_size=16, seed=5, precision="bfloat16")
    expected, order = mlp(), ShuffleSampler(train.targets, seed=5)
    optimizer = torch.optim.SGD(expected.parameters(), lr=0.1)
    order.set_epoch(0)
    for index in torch.tensor(list(order)).split(16):
        with torch.autocast("cpu", torch.bfloat16):
            logits = expected(train.inputs[index] / 255)
            assert logits.dtype == torch.bfloat16
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), train.targets[index]).backward()
        optimizer.step()
    torch.testing.assert_close(net.state_dict(), expected.state_dict())
    assert {*kinds, *(p.dtype for p in net.parameters())} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        logits = expected(train.inputs / 255).float()
    assert torch.equal(predict_logits(net, train.inputs, precision="bfloat16"), logits)
    assert not torch.equal(predict_logits(net, train.inputs), logits)
    assert rows[-1]["train_nll"] == pytest.approx(F.cross_entropy(logits, train.targets).item())


@pytest.mark.parametrize("has", [False, True])
def test_auto_is_bfloat16_where_the_device_is_made_for_it(has, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has})
    for device in ("cpu", "cuda", torch.device("cuda", 1)):
        assert resolve_precision("auto", device, True) == ("bfloat16" if has else "float32")
        assert resolve_precision("auto", device, False) == "float32"
        assert resolve_precision("bfloat16", device, False) == "bfloat16"
    assert resolve_precision("auto", "mps", True) == "float32"


def train_with(patience, state=None, epochs=30, monitor="test_balanced_accuracy", **words):
    """Train a net that gets worse after a while; return it, its rows and states."""
    torch.manual_seed(3)
    net, states = nn.Sequential(mlp(), nn.BatchNorm1d(3), nn.Dropout(0.2)), []
    rows = fit(
        net,
        nn.CrossEntropyLoss(),
        split(),
        split(90, 1),
        epochs=epochs,
        optimizer=make_optimizer(net, lr=0.3),
        patience=patience,
        monitor=monitor,
        state=state,
        on_state=lambda state: states.append(copy.deepcopy(state)),
        **words,
    )
    return net.state_dict(), rows, states


def untimed(rows):
    return [{k: v for k, v in row.items() if k not in ("seconds", "best_epoch")} for row in rows]


@pytest.mark.parametrize(
    ("monitor", "sign"), [("test_balanced_accuracy", 1), ("test_nll", -1), ("train_nll", -1)]
)
def test_patience_leaves_the_best_epoch_of_the_training_that_it_ends(monitor, sign):
    _, every, states = train_with(0)
    scores = [sign * row[monitor] for row in every]
    best = last = 1
    while last < 30 and last - best < 4:
        last += 1
        best = last if scores[last] > scores[best] else best
    net, rows, _ = train_with(4, monitor=monitor)
    assert untimed(rows) == untimed(every[: last + 1])
    assert rows[-1]["best_epoch"] == best
    assert all(map(torch.equal, net.values(), states[best]["net"].values()))
    assert best < last < 30
    assert "best" not in states[0]


def test_a_training_with_patience_is_resumed_from_any_epoch_the_last_included():
    shares = []
    net, rows, states = train_with(4, on_progress=shares.append)
    assert len(rows) == len(states) < 31
    assert rows[-1]["best_epoch"] < rows[-1]["epoch"]
    assert shares[-1] == pytest.approx(1)
    for state in states:
        again, found, _ = train_with(4, state)
        assert all(map(torch.equal, again.values(), net.values()))
        assert untimed(found) == untimed(rows)
        assert [r["best_epoch"] for r in found] == [r["best_epoch"] for r in rows]


def test_options_without_a_meaning_are_refused():
    for words, message in (
        ({"patience": 2}, "one of train_accuracy, train_balanced_accuracy, train_nll, but got ''"),
        ({"patience": 2, "monitor": "validation_nll"}, "but got 'validation_nll'"),
        ({"patience": -1}, "patience >= 0"),
        ({"sam": -0.1}, "sam >= 0"),
        ({"ema": 1.0}, "0 <= ema < 1"),
        ({"ema": 0.9, "patience": 1, "monitor": "train_nll"}, "ema = 0 with patience"),
        ({"accumulate": 0}, "accumulate >= 1"),
        ({"precision": "float16"}, "precision must be one of .*'float16'"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(mlp(), plain_mean, split(), epochs=1, **words)


def test_a_compiled_net_trains_as_it_would_and_keeps_its_names(monkeypatch):
    graphs = []

    def backend(module, _):
        graphs.append(module)
        return module.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    plain, compiled = mlp(), mlp()
    rows = fit(plain, plain_mean, split(), epochs=2)
    found = fit(compiled, plain_mean, split(), epochs=2, compile=True)
    assert graphs
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())
    assert found[-1]["loss"] == pytest.approx(rows[-1]["loss"])
