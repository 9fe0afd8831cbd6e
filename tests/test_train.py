"""The training loop against one written out with torch's own splits."""

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from counterpoise.data import Split, Splits
from counterpoise.losses import DeferredReweighting
from counterpoise.norms import LayerNorm, LayerNorm2d
from counterpoise.samplers import BalancedSampler, ShuffleSampler
from counterpoise.train import Diverged, constant, cosine, fit, make_optimizer, predict


def splits(n=70, seed=0):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 1, 8, 8), generator=g, dtype=torch.uint8)
    return Split(images, torch.randint(3, (n,), generator=g))


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def test_equals_a_loop_written_out():
    train, test, net = splits(), splits(30, 1), small_net()
    rows = fit(net, nn.CrossEntropyLoss(), train, test, epochs=2, batch_size=16, seed=5)
    expected, order = small_net(), ShuffleSampler(train.targets, seed=5)
    losses = []
    for epoch in range(2):
        total = 0.0
        order.set_epoch(epoch)
        for index in torch.tensor(list(order)).split(16):
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
        fit(net, nn.CrossEntropyLoss(), splits(), splits(), epochs=1, seed=seed)
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

    gc.freeze()  # what other tests left behind
    try:
        fit(small_net(), loss, splits(), splits(), epochs=1, batch_size=10)
    finally:
        gc.unfreeze()
    assert len(alive) == 7


def test_predict_leaves_the_mode_alone_and_uses_evaluation_mode():
    net = nn.Sequential(small_net(), nn.Dropout(0.9))
    net.train()
    inputs = splits().inputs
    assert torch.equal(predict(net, inputs), predict(net, inputs, batch_size=7))
    assert net.training
    with pytest.raises(RuntimeError):
        predict(net, inputs[:, :, :3])
    assert net.training


def test_progress_rises_to_1():
    seen = []
    fit(
        small_net(), nn.CrossEntropyLoss(), splits(700), splits(), epochs=2, on_progress=seen.append
    )
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1, abs=0.02)
    assert len(seen) <= 201


def test_learns_with_an_optimizer_of_the_users():
    net = small_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    rows = fit(net, nn.CrossEntropyLoss(), splits(), splits(), epochs=30, optimizer=optimizer)
    assert rows[-1]["train_accuracy"] > rows[0]["train_accuracy"] + 0.3


def test_a_training_gone_on_with_ends_like_one_that_was_never_stopped():
    """Whatever has a state: momentum, the schedule, dropout's random numbers, the sampler."""

    def training(epochs_kept=None):
        torch.manual_seed(3)
        net = nn.Sequential(small_net(), nn.Dropout(0.5), nn.BatchNorm1d(3))
        loss, train = nn.CrossEntropyLoss(), splits()
        settings = {
            "epochs": 4,
            "optimizer": make_optimizer(net, "sgd", lr=0.05, weight_decay=1e-3),
            "schedule": cosine(warmup=0.2),
            "sampler": BalancedSampler(train.targets, seed=1),
            "each_epoch": [DeferredReweighting(loss, [0.5, 1.0, 1.5], start=2)],
        }
        kept = []

        def keep(state):
            kept.append(copy.deepcopy(state))

        if epochs_kept is None:
            rows = fit(net, loss, train, splits(30, 1), on_state=keep, **settings)
            return rows, net, kept
        torch.manual_seed(99)  # whatever the process did in between
        rows = fit(net, loss, train, splits(30, 1), state=epochs_kept, **settings)
        return rows, net, kept

    rows, net, states = training()
    assert len(states) == 5
    for state in states:
        again, other, _ = training(state)
        for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)
        without_time = [[{**r, "seconds": 0} for r in table] for table in (rows, again)]
        assert without_time[0] == without_time[1]


def test_the_schedule_is_torchs_cosine_at_the_middle_of_each_step():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    factors = []
    for step in range(40):
        if step % 2:
            factors.append(torchs.get_last_lr()[0] / 0.3)
        optimizer.step()
        torchs.step()
    ours = [cosine()((k + 0.5) / 20) for k in range(20)]
    assert ours == pytest.approx(factors)
    assert [constant(0.5)(t) for t in (0.0, 0.25, 0.75)] == [0.0, 0.5, 1.0]
    assert cosine(warmup=0.5)(0.75) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="share of the training"):
        cosine(warmup=1.0)


def test_the_schedule_and_the_largest_norm_reach_the_optimizer():
    seen, net = [], small_net()

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            grads = [p.grad.flatten() for p in net.parameters()]
            seen.append((self.param_groups[0]["lr"], torch.cat(grads).norm().item()))
            return super().step(closure)

    optimizer = Watched(net.parameters(), lr=0.4)
    fit(
        net,
        nn.CrossEntropyLoss(),
        splits(),
        epochs=2,
        batch_size=35,
        optimizer=optimizer,
        schedule=lambda t: t,
        clip_norm=1e-3,
    )
    assert [lr for lr, _ in seen] == pytest.approx([0.05, 0.15, 0.25, 0.35])
    assert all(norm == pytest.approx(1e-3, rel=1e-3) for _, norm in seen)


def test_norms_and_biases_are_not_decayed():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        LayerNorm([4, 6, 6]),
        LayerNorm2d(4),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(144, 3),
    )
    net[5].weight.requires_grad_(False)
    optimizer = make_optimizer(net, "adamw", lr=1e-3, weight_decay=0.1)
    groups = {g["weight_decay"]: {id(p) for p in g["params"]} for g in optimizer.param_groups}
    assert groups[0.1] == {id(net[0].weight)}
    trainable = {id(p) for p in net.parameters() if p.requires_grad}
    assert groups[0.0] == trainable - groups[0.1]
    with pytest.raises(ValueError, match="sgd"):
        make_optimizer(net, "sdg", lr=0.1)
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(nn.ReLU(), lr=0.1)


def test_a_loss_that_is_no_number_ends_the_training_and_says_when():
    with pytest.raises(Diverged, match=r"epoch 1"):
        fit(small_net(), lambda z, t: z.sum() * torch.nan, splits(), epochs=3)


def test_bad_input_is_explained():
    with pytest.raises(ValueError, match="epochs >= 0"):
        fit(small_net(), nn.CrossEntropyLoss(), splits(), splits(), epochs=-1)


@pytest.mark.parametrize(
    ("samples", "sizes"), [(9, [4, 5]), (8, [4, 4]), (10, [4, 4, 2]), (1, [1])]
)
def test_a_sample_left_over_joins_the_batch_before(samples, sizes):
    seen, rates = [], []

    class Net(nn.Linear):
        def forward(self, x):
            if self.training:
                seen.append(len(x))
            return super().forward(x)

    split = Split(torch.randn(samples, 3), torch.arange(samples) % 2)

    def schedule(share):
        rates.append(share)
        return 1.0

    fit(Net(3, 2), nn.CrossEntropyLoss(), split, epochs=2, batch_size=4, schedule=schedule)
    assert seen == sizes * 2
    assert rates[-1] == 1 - 0.5 / len(seen)


class Pairs(torch.utils.data.Dataset):
    """A map-style Dataset, as torchvision's; `change` is what it does to an input when read."""

    def __init__(self, split, change=lambda x: x):
        self.split, self.change = split, change

    def __len__(self):
        return len(self.split)

    def __getitem__(self, k):
        return self.change(self.split.inputs[k]), int(self.split.targets[k])


FLOATS = Split(splits().inputs.float() / 255, splits().targets)


@pytest.mark.parametrize(
    "samples",
    [
        (FLOATS.inputs, FLOATS.targets),
        [FLOATS.inputs.double().numpy(), FLOATS.targets.tolist()],
        torch.utils.data.TensorDataset(FLOATS.inputs, FLOATS.targets),
        Pairs(FLOATS),
        Pairs(FLOATS, lambda x: x.numpy()),
        torch.utils.data.Subset(Pairs(FLOATS), range(len(FLOATS))),
    ],
    ids=["tensors", "arrays", "TensorDataset", "Dataset", "Dataset of arrays", "Subset"],
)
def test_samples_of_every_kind_train_the_same_net(samples):
    net, wanted = small_net(), small_net()
    fit(wanted, nn.CrossEntropyLoss(), FLOATS, FLOATS, epochs=1)
    rows = fit(net, nn.CrossEntropyLoss(), samples, samples, epochs=1, watch=None)
    assert all(map(torch.equal, net.parameters(), wanted.parameters()))
    watched = fit(small_net(), nn.CrossEntropyLoss(), samples, epochs=1, watch={"test": samples})
    assert watched[-1]["test_nll"] == rows[-1]["test_nll"]


@pytest.mark.parametrize(
    ("samples", "error", "words"),
    [
        (FLOATS.inputs, TypeError, r"pair \(inputs, targets\) or a torch Dataset.*got a Tensor"),
        (torch.utils.data.DataLoader(Pairs(FLOATS)), TypeError, "loader.dataset and batch_size"),
        (Splits("toy", FLOATS, FLOATS, tuple("abc"), ""), TypeError, "give its train"),
        (Pairs(FLOATS, lambda x: x + torch.rand(1)), ValueError, "give it as augment="),
        (Pairs(FLOATS, lambda x: Image.new("L", (8, 8))), TypeError, "got a Image.*ToTensor"),
        (Pairs(FLOATS, lambda x: torch.zeros(int(64 * x.max()))), ValueError, "one shape"),
        (torch.utils.data.TensorDataset(FLOATS.inputs), ValueError, "must hold pairs"),
        (Pairs(Split(torch.zeros(0, 1), torch.zeros(0).long())), ValueError, "one at least"),
        ((FLOATS.inputs, FLOATS.targets.float()), TypeError, "must be integer class numbers"),
        ((["a"], [1]), TypeError, "inputs that are tensors or arrays of numbers"),
    ],
)
def test_samples_of_other_kinds_are_answered_with_what_is_taken(samples, error, words):
    with pytest.raises(error, match=words):
        fit(small_net(), nn.CrossEntropyLoss(), samples, epochs=1)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), r"answers \(70, 1\).*SigmoidFocalLoss"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0)), r"\(70,\).*two outputs"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), r"\(70, 2\); give its last layer 3"),
    ],
)
def test_a_net_without_a_logit_for_each_class_is_refused(net, words):
    with pytest.raises(ValueError, match=words):
        fit(net, nn.CrossEntropyLoss(), FLOATS, epochs=1)
