"""Nets trained as one batch of models: each is, up to rounding, the one that `fit` trains alone."""

import copy

import pytest
import torch
from torch import nn

from counterpoise import criterion, samplers, train
from counterpoise.data import Split
from counterpoise.net import build, with_cosine_head
from counterpoise.train import _fit_heads

C, EPOCHS = 4, 3
SHAPES = {"mlp": (12,), "deeper_cnn": (1, 8, 8), "resnet8": (3, 8, 8)}


def split(shape, seed, n=90):
    g = torch.Generator().manual_seed(seed)
    targets = torch.multinomial(torch.tensor([60.0, 30, 10, 6]), n, True, generator=g)
    targets[:C] = torch.arange(C)
    centers = 2 * torch.randn(C, *shape, generator=torch.Generator().manual_seed(9))
    return Split(centers[targets] + torch.randn(n, *shape, generator=g), targets)


class Made:
    """A net by the words of a plan and its seed, made anew, and all that trains it."""

    def __init__(self, seed, model="mlp", norm="none", loss="cross_entropy", drawn="shuffle",
                 optimizer="sgd", lr=0.05, dtype=torch.float32, **settings):  # fmt: skip
        shape, self.seed = SHAPES[model], seed
        some = [split(shape, 10 * seed + k) for k in range(2)]
        self.train, held = (Split(s.inputs.to(dtype), s.targets) for s in some)
        self.watch = {"validation": held}
        self.sampler = samplers.ALL[drawn](
            self.train.targets, epochs=EPOCHS, seed=seed, num_classes=C
        )
        self.criterion = criterion.build(
            loss.removesuffix("+drw"),
            {},
            self.sampler.seen_counts,
            epochs=EPOCHS,
            device=torch.device("cpu"),
            deferred=0.5 if loss.endswith("+drw") else None,
        )
        torch.manual_seed(seed)
        self.net = build(model, norm, shape, C)
        if self.criterion.needs_cosine_head:
            self.net = with_cosine_head(self.net)
        self.net.to(dtype)
        settings |= {"lr": lr * (0.1 if optimizer == "adamw" else 1), "weight_decay": 1e-2}
        self.optimizer = train.make_optimizer(self.net, optimizer, **settings)

    def alone(self, **settings):
        return train.fit(
            self.net,
            self.criterion.loss,
            self.train,
            epochs=EPOCHS,
            batch_size=16,
            seed=self.seed,
            optimizer=self.optimizer,
            sampler=self.sampler,
            each_epoch=self.criterion.each_epoch,
            watch=self.watch,
            **settings,
        )

    def member(self, **settings):
        return train.Member(
            self.net,
            self.criterion.loss,
            self.optimizer,
            self.criterion.each_epoch,
            train=self.train,
            sampler=self.sampler,
            watch=self.watch,
            seed=self.seed,
            **settings,
        )


def together(made, **settings):
    members = [one if isinstance(one, train.Member) else one.member() for one in made]
    return train.fit_stacked(members, epochs=EPOCHS, batch_size=16, **settings)


def assert_same(rows, one, expected, other, tolerance=1e-4):
    close = {"rtol": tolerance, "atol": tolerance}
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    assert rows[0]["loss"] is expected[0]["loss"] is None
    for row, wanted in zip(rows, expected, strict=True):
        for key in row.keys() - {"seconds", *["loss"] * (not row["epoch"])}:
            float32 = key == "loss"  # which is summed up in it
            near = max(tolerance, 1e-6) if float32 else tolerance
            assert row[key] == pytest.approx(wanted[key], rel=near, abs=near), key
    for name, value in other.net.state_dict().items():
        torch.testing.assert_close(one.net.state_dict()[name], value, **close)
    found, wanted = one.optimizer.state_dict(), other.optimizer.state_dict()
    assert found["state"].keys() == wanted["state"].keys()
    for p, state in wanted["state"].items():
        assert found["state"][p].keys() == state.keys()
        for key, value in state.items():
            torch.testing.assert_close(found["state"][p][key], value, **close)


FLIP, COSINE = train.AUGMENTS["flip+crop"], train.cosine(0.1)
CASES = [
    ({"loss": "focal", "norm": "layer"}, {"clip_norm": 0.5}),
    ({"loss": "ldam+drw", "optimizer": "adamw", "drawn": "balanced"}, {"schedule": COSINE}),
    ({"model": "deeper_cnn", "loss": "weighted"}, {"augment": FLIP, "clip_norm": 0.5}),
    ({"model": "deeper_cnn", "norm": "layer", "loss": "focal+drw"}, {"schedule": COSINE}),
    ({"model": "deeper_cnn", "norm": "group", "optimizer": "adamw"}, {"augment": FLIP}),
    ({"model": "resnet8", "norm": "batch", "layer_decay": 0.8, "lr": 0.005}, {"augment": FLIP}),
    ({"model": "resnet8", "norm": "rms", "loss": "ldam", "lr": 0.005}, {"schedule": COSINE}),
]


@pytest.mark.parametrize(("words", "settings"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_each_seed_ends_as_if_it_were_trained_alone(words, settings, dtype, tolerance):
    def make():
        return [Made(seed, dtype=dtype, **words) for seed in range(3)]

    alone, joint = make(), make()
    found = together(joint, **settings)
    for rows, one, other in zip(found, joint, alone, strict=True):
        expected = other.alone(**settings)
        assert expected[-1]["loss"] < expected[1]["loss"]
        assert_same(rows, one, expected, other, tolerance)
    assert not torch.equal(*(next(iter(m.net.parameters())) for m in joint[:2]))


class Tied(nn.Module):
    """A net with one weight under two names."""

    def __init__(self):
        super().__init__()
        self.one, self.last = nn.Linear(12, 12), nn.Linear(12, C)
        self.two = nn.Linear(12, 12)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.last(self.two(self.one(x).relu()).relu())


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_weight_under_two_names_stays_one(seeds):
    def make():
        made = [Made(seed) for seed in range(seeds)]
        for m in made:
            torch.manual_seed(m.seed)
            m.net = Tied()
            m.optimizer = train.make_optimizer(m.net, lr=0.05)
        return made

    alone, joint = make(), make()
    for rows, one, other in zip(together(joint), joint, alone, strict=True):
        assert_same(rows, one, other.alone(), other)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_goes_on_from_either_state_and_those_ahead_wait(optimizer):
    """Its state is that of `fit`, the other way as well."""
    words = {"optimizer": optimizer, "norm": "batch", "loss": "focal+drw", "dtype": torch.float64}
    kept = [[], [], []]

    def keep(states):
        return lambda state: states.append(copy.deepcopy(state))

    first = [Made(seed, **words) for seed in range(3)]
    expected = [first[0].alone(schedule=COSINE, on_state=keep(kept[0]))]
    members = [m.member(on_state=keep(s)) for m, s in zip(first[1:], kept[1:], strict=True)]
    expected += together(members, schedule=COSINE)
    again = [Made(seed, **words) for seed in range(3)]
    states = [kept[0][1], kept[1][2], None]  # after one epoch, after two, from the start
    members = [m.member(state=s) for m, s in zip(again, states, strict=True)]
    found = together(members, schedule=COSINE)
    for rows, one, wanted, other in zip(found, again, expected, first, strict=True):
        assert_same(rows, one, wanted, other, 1e-10)
    last = Made(1, **words)
    assert_same(last.alone(schedule=COSINE, state=kept[1][1]), last, expected[1], first[1], 1e-10)


class Breaks(nn.Module):
    """Cross entropy until the second epoch."""

    def __init__(self, where):
        super().__init__()
        self.where, self.calls = where, 0

    def forward(self, logits, target):
        self.calls += 1
        value = nn.functional.cross_entropy(logits, target)
        if self.calls < 8:
            return value
        if self.where == "forward":
            raise RuntimeError("no more")
        return value.detach() if self.where == "backward" else value * float("nan")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("forward", "no more"),
        ("backward", "does not require grad"),
        ("value", "the loss is nan in epoch 2; lower the learning rate"),
    ],
)
def test_one_that_fails_leaves_the_others_as_they_are(where, said):
    made = [Made(seed) for seed in range(3)]
    made[1].criterion.loss = Breaks(where)
    found = together(made, clip_norm=1.0)
    assert said in str(found[1])
    assert isinstance(found[1], train.Diverged) == (where == "value")
    for k in (0, 2):
        other = Made(k)
        assert_same(found[k], made[k], other.alone(clip_norm=1.0), other)


class Own(nn.Module):
    """A net with what a batch of models cannot know, or would lose."""

    def __init__(self, how):
        super().__init__()
        self.how, self.linear = how, nn.Linear(12, C)
        self.mixed = torch.randn(12)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.how == "branch" and x.mean() > 9:
            return self.linear(-x)
        if self.how == "buffer":
            self.seen = self.seen + len(x)
        return self.linear(x * self.mixed if self.how == "attribute" else x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: setattr(m, "net", nn.Sequential(nn.Dropout(0.5), m.net)), "randomness"),
        (lambda m: setattr(m, "net", Own("branch")), "data-dependent control flow"),
        (lambda m: setattr(m, "net", Own("buffer")), "change buffers in place"),
        (lambda m: setattr(m, "net", Own("attribute")), "differ in parameters and buffers alone"),
        (lambda m: setattr(m, "net", nn.Linear(12, C + m.seed)), "nets of one kind, but member 1"),
        (
            lambda m: setattr(m, "optimizer", torch.optim.Adamax(m.net.parameters())),
            "SGD or AdamW of its parameters with the same settings",
        ),
        (
            lambda m: m.optimizer.add_param_group({"params": [torch.ones(3, requires_grad=True)]}),
            "SGD or AdamW of its parameters",
        ),
        (
            lambda m: setattr(m, "optimizer", train.make_optimizer(m.net, lr=0.1 + m.seed)),
            "same settings, but member 1",
        ),
        (
            lambda m: setattr(m, "sampler", samplers.ShuffleSampler(m.train.targets[m.seed :])),
            "samplers of one length, but member 1",
        ),
    ],
)
def test_what_would_not_end_as_alone_is_refused_before_anything_is_trained(change, said):
    made = [Made(seed) for seed in range(2)]
    for m in made:
        optimizer = m.optimizer
        change(m)
        if m.optimizer is optimizer and not said.startswith(("samplers", "SGD")):
            m.optimizer = train.make_optimizer(m.net, lr=0.1)
    before = copy.deepcopy([m.net.state_dict() for m in made])
    with pytest.raises(train.NotStackable, match=said):
        together(made)
    for m, kept in zip(made, before, strict=True):
        assert all(torch.equal(v, kept[name]) for name, v in m.net.state_dict().items())


def test_no_members_are_refused():
    with pytest.raises(ValueError, match="needs members"):
        together([])


def test_heads_multiplied_as_one_are_those_alone(monkeypatch):
    """As on a GPU: cosine and linear heads, of which one fails."""
    monkeypatch.setattr(_fit_heads, "_as_one", lambda device: True)
    words = ["cross_entropy", "ldam+drw", "focal", "cross_entropy", "ldam"]

    def make():
        made = [Made(0, loss=word, optimizer="adamw") for word in words]
        made[3].criterion.loss = Breaks("backward")
        return made

    joint, alone = make(), make()
    heads = [m.member() for m in joint]
    found = train.fit_heads(
        heads,
        joint[0].train,
        epochs=EPOCHS,
        batch_size=16,
        sampler=joint[0].sampler,
        clip_norm=0.5,
        watch=joint[0].watch,
    )
    assert "does not require grad" in str(found[3])
    for k in (0, 1, 2, 4):
        assert_same(found[k], joint[k], alone[k].alone(clip_norm=0.5), alone[k])
