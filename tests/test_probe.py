"""What the probe measures, on nets whose answer is known."""

import torch
from torch import nn

from counterpoise import models, norms, probe


def test_numbers_of_one_linear_layer():
    net = nn.Linear(2, 1, bias=False)
    net.weight.data = torch.tensor([[1.0, 1.0]])
    x = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    (row,) = probe.first_step(net, lambda y, t: y.sum(), x, torch.zeros(2))
    assert row["activation_rms"] == 5**0.5  # outputs 1 and 3
    assert row["visible_share"] == 1 / 5  # variance 1, second moment 5
    assert row["grad_norm"] == 10**0.5  # gradient (1, 3)
    assert net.weight.grad is None
    assert not net._forward_hooks


def test_a_constant_layer_is_blind():
    net = nn.Linear(2, 1)
    net.weight.data.zero_()
    net.bias.data.fill_(1.0)
    (row,) = probe.first_step(net, lambda y, t: y.sum(), torch.rand(4, 2), torch.zeros(4))
    assert row["visible_share"] == 0


def test_the_deep_plain_net_is_blind_and_a_norm_cures_it():
    x, y = torch.rand(32, 1, 28, 28), torch.randint(10, (32,))
    share, ratio = {}, {}
    for word in (None, "layer", "group"):
        torch.manual_seed(0)
        net = models.DeeperCNN(norms.ALL[word] if word else None, convs_per_block=8)
        rows = probe.first_step(net, nn.CrossEntropyLoss(), x, y)
        assert len(rows) == 17
        share[word] = rows[-1]["visible_share"]
        ratio[word] = rows[0]["grad_norm"] / rows[-1]["grad_norm"]
    assert share[None] < 1e-10 < 1e-3 < min(share["layer"], share["group"])
    assert ratio[None] < 1e-6 < 1e-2 < min(ratio["layer"], ratio["group"])
