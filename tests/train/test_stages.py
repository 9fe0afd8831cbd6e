"""Averaged weights, sharpness-aware steps and retrained heads, against a few lines of torch."""

import copy

import pytest
import torch
from tests.train.trainings import plain_mean, split, with_batch_norms
from torch import nn

from counterpoise.train import fit, make_optimizer


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


@pytest.mark.parametrize("words", [{"ema": 0.6}])
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
