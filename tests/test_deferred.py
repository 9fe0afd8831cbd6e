"""Deferred re-weighting against its authors' rule, with our losses and with torch's."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from counterpoise.losses import (
    DeferredReweighting,
    FocalLoss,
    LDAMLoss,
    effective_number_weights,
)

COUNTS = [500, 40, 7]
LOSSES = {
    "torch": nn.CrossEntropyLoss,
    "focal": FocalLoss,
    "ldam": lambda: LDAMLoss(COUNTS),
    "with a weight": lambda: nn.CrossEntropyLoss(torch.tensor([3.0, 2.0, 1.0])),
}


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]()


def test_follows_the_authors_rule(loss):
    # cifar_train.py of LDAM-DRW: betas = [0, 0.9999] by epoch // 160, inverse effective numbers
    schedule = DeferredReweighting(loss, effective_number_weights(COUNTS), start=160)
    for epoch in (0, 1, 159, 160, 161, 199, 319):
        beta = [0, 0.9999][epoch // 160]
        inverse = (1.0 - beta) / (1.0 - np.power(beta, COUNTS))
        wanted = torch.tensor(inverse / np.sum(inverse) * len(COUNTS), dtype=torch.float32)
        schedule.set_epoch(epoch)
        torch.testing.assert_close(loss.weight, wanted)
        assert schedule.epoch == epoch


def test_goes_on_after_the_authors_last_epoch(loss):
    schedule = DeferredReweighting(loss, [1.0, 2.0, 3.0], start=160)
    schedule.set_epoch(320)  # where theirs raises IndexError
    assert loss.weight.tolist() == [1, 2, 3]
    schedule.set_epoch(10**9)
    assert loss.weight.tolist() == [1, 2, 3]


def test_the_weight_is_what_the_loss_computes_with():
    torch.manual_seed(0)
    logits, target = torch.randn(9, 3), torch.arange(9) % 3
    for loss in (nn.CrossEntropyLoss(), FocalLoss(gamma=0.0)):
        schedule = DeferredReweighting(loss, [0.2, 1.0, 5.0], start=3)
        torch.testing.assert_close(
            loss(logits, target), nn.functional.cross_entropy(logits, target)
        )
        schedule.set_epoch(3)
        wanted = nn.functional.cross_entropy(logits, target, torch.tensor([0.2, 1.0, 5.0]))
        torch.testing.assert_close(loss(logits, target), wanted)


@pytest.mark.parametrize("start", [0, 1])
def test_stages_follow_each_other(loss, start):
    schedule = DeferredReweighting(loss, [(start, [1, 2, 3]), [5, torch.tensor([4.0, 5.0, 6.0])]])
    found = []
    for epoch in (0, 1, 4, 5, 6, 1):  # and back again
        schedule.set_epoch(epoch)
        found.append(loss.weight.tolist())
    first = [1, 2, 3] if start == 0 else [1, 1, 1]
    assert found == [first, [1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6], [1, 2, 3]]


def test_resumes_where_it_was(loss):
    schedule = DeferredReweighting(loss, [1.0, 2.0, 3.0], start=2)
    keys = list(loss.state_dict())
    schedule.set_epoch(2)
    assert list(loss.state_dict()) == keys
    again = DeferredReweighting(copy.deepcopy(loss), [1.0, 2.0, 3.0], start=2)
    assert again.loss.weight.tolist() == [1, 1, 1]
    again.loss.load_state_dict(loss.state_dict())
    again.load_state_dict(pickle.loads(pickle.dumps(schedule.state_dict())))
    assert again.epoch == 2
    assert again.loss.weight.tolist() == [1, 2, 3]


def test_a_copy_keeps_its_own_loss(loss):
    schedule = DeferredReweighting(loss, [1.0, 2.0, 3.0], start=2)
    for again in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        again.set_epoch(2)
        assert again.loss.weight.tolist() == [1, 2, 3]
    assert loss.weight.tolist() == [1, 1, 1]


def test_epochs_are_integers_of_every_kind(loss):
    schedule = DeferredReweighting(loss, [1.0, 2.0, 3.0], start=np.int64(2))
    schedule.set_epoch(np.int64(2))
    assert loss.weight.tolist() == [1, 2, 3]
    assert type(schedule.state_dict()["epoch"]) is int


def test_writes_into_no_tensor_it_was_given():
    mine, later = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 3.0])
    loss = nn.CrossEntropyLoss(mine)  # holds this very tensor
    schedule = DeferredReweighting(loss, later, start=1)
    schedule.set_epoch(1)
    loss.weight.zero_()
    assert mine.tolist() == [3, 2, 1]
    assert later.tolist() == [1, 2, 3]
    later.zero_()
    schedule.set_epoch(1)
    assert loss.weight.tolist() == [1, 2, 3]


def test_a_step_between_forward_and_backward_does_no_harm(loss):
    logits = torch.zeros(3, 3, requires_grad=True)
    schedule = DeferredReweighting(loss, [1.0, 2.0, 3.0], start=1)
    value = loss(logits, torch.arange(3))
    schedule.set_epoch(1)
    value.backward()
    assert logits.grad.isfinite().all()


def test_keeps_the_losss_dtype_and_device():
    loss = nn.CrossEntropyLoss()
    schedule = DeferredReweighting(loss, [1.0, 2.0], start=1)
    loss.double()
    schedule.set_epoch(1)
    assert loss.weight.dtype == torch.float64
    loss.to("meta")
    schedule.set_epoch(0)
    assert loss.weight.device.type == "meta"
    loss = LDAMLoss([5, 3]).to("meta")  # moved before the schedule came
    DeferredReweighting(loss, [1.0, 2.0], start=1)
    assert loss.weight.device.type == "meta"


def test_a_compiled_loss_sees_the_change():
    loss = FocalLoss()
    schedule = DeferredReweighting(loss, [0.1, 1.0, 9.0], start=1)
    whole = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    logits, target = torch.randn(9, 3), torch.arange(9) % 3
    for epoch in (0, 1, 2):
        schedule.set_epoch(epoch)
        torch.testing.assert_close(whole(logits, target), loss(logits, target))


CE = nn.CrossEntropyLoss


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: DeferredReweighting(nn.L1Loss(), [1.0], 1), TypeError, "but got L1Loss"),
        (lambda: DeferredReweighting(nn.Linear(2, 2), [1.0, 1.0], 1), TypeError, "buffer"),
        (lambda: DeferredReweighting(CE(), [1.0, 2.0]), TypeError, "`start`"),
        (lambda: DeferredReweighting(CE(), [(1, [1.0, 2.0])], 1), TypeError, "no `start`"),
        (lambda: DeferredReweighting(CE(), [1.0, 2.0], -1), ValueError, "but got -1"),
        (lambda: DeferredReweighting(CE(), [1.0, 2.0], 1.5), TypeError, "but got 1.5"),
        (lambda: DeferredReweighting(CE(), [1.0, -2.0], 1), ValueError, ">= 0 per class"),
        (lambda: DeferredReweighting(CE(), [(1, None)]), TypeError, "got None"),
        (lambda: DeferredReweighting(CE(), [(3, [1.0]), (3, [2.0])]), ValueError, "rising"),
        (lambda: DeferredReweighting(CE(), [(1, [1.0]), (3, [1.0, 2.0])]), ValueError, "[1, 2]"),
        (lambda: DeferredReweighting(CE(torch.ones(3)), [1.0], 1), ValueError, "[1, 3]"),
        (lambda: DeferredReweighting(LDAMLoss([9, 1]), [1, 2, 3], 2), ValueError, "[2, 3]"),
        (lambda: DeferredReweighting(CE(), [1.0], 1).set_epoch(-1), ValueError, "0 or more"),
        (lambda: DeferredReweighting(CE(), [1.0], 1).set_epoch(True), TypeError, "True"),
        (lambda: DeferredReweighting(CE(), [1.0], 1).load_state_dict({}), ValueError, "`epoch`"),
    ],
)
def test_bad_input_is_explained(call, error, says):
    with pytest.raises(error, match=says.replace("[", r"\[")):
        call()
