"""The training loop against one written out with torch's own parts."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.data import Part
from counterpoise.train import fit, predict


def parts(n=70, seed=0):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 1, 8, 8), generator=g, dtype=torch.uint8)
    return Part(images, torch.randint(3, (n,), generator=g))


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def test_equals_a_loop_written_out():
    train, test, net = parts(), parts(30, 1), small_net()
    rows = fit(net, nn.CrossEntropyLoss(), train, test, epochs=2, batch_size=16, seed=5)
    expected, order = small_net(), torch.Generator().manual_seed(5)
    losses = []
    for _ in range(2):
        total = 0.0
        for index in torch.randperm(70, generator=order).split(16):
            loss = F.cross_entropy(expected(train.inputs[index] / 255), train.targets[index])
            expected.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in expected.parameters():
                    p -= 0.1 * p.grad
            total += loss.item() * len(index)
        losses.append(total / 70)
    for f, w in zip(net.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(f, w)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert rows[0]["loss"] is None
    assert [row["loss"] for row in rows[1:]] == pytest.approx(losses, rel=1e-5)
    right = (expected(test.inputs / 255).argmax(1) == test.targets).double().mean().item()
    assert rows[-1]["test_accuracy"] == right
    assert all(type(row["train_accuracy"]) is float for row in rows)


def test_the_seed_fixes_the_order_of_the_samples():
    nets = [small_net() for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        fit(net, nn.CrossEntropyLoss(), parts(), parts(), epochs=1, seed=seed)
    same, other = (nets[0][1].weight - net[1].weight for net in nets[1:])
    assert same.abs().max() == 0
    assert other.abs().max() > 0


def test_no_graph_outlives_its_step():
    alive = []

    def loss(logits, target):
        value = F.cross_entropy(logits, target)
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 1  # the loop's last value, at most
        alive.append(weakref.ref(value))
        return value

    fit(small_net(), loss, parts(), parts(), epochs=1, batch_size=10)
    assert len(alive) == 7


def test_predict_leaves_the_mode_alone_and_uses_evaluation_mode():
    net = nn.Sequential(small_net(), nn.Dropout(0.9))
    net.train()
    inputs = parts().inputs
    assert torch.equal(predict(net, inputs), predict(net, inputs, batch_size=7))
    assert net.training
    with pytest.raises(RuntimeError):
        predict(net, inputs[:, :, :3])
    assert net.training


def test_progress_rises_to_1():
    seen = []
    fit(small_net(), nn.CrossEntropyLoss(), parts(700), parts(), epochs=2, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1, abs=0.02)
    assert len(seen) <= 201


def test_learns_with_an_optimizer_of_the_users():
    net = small_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    rows = fit(net, nn.CrossEntropyLoss(), parts(), parts(), epochs=30, optimizer=optimizer)
    assert rows[-1]["train_accuracy"] > rows[0]["train_accuracy"] + 0.3


def test_bad_input_is_explained():
    with pytest.raises(ValueError, match="epochs >= 0"):
        fit(small_net(), nn.CrossEntropyLoss(), parts(), parts(), epochs=-1)
