"""Heads that are trained together: each is, to the last bit, the one that `fit` trains alone."""

import copy

import pytest
import torch
from torch import nn

from counterpoise import criterion, losses, samplers, train
from counterpoise.data import Split
from counterpoise.models import make_head
from counterpoise.net import with_cosine_head

C, D, EPOCHS = 5, 12, 3
CPU = torch.device("cpu")


def split(n=150, seed=0):
    g = torch.Generator().manual_seed(seed)
    targets = torch.multinomial(torch.tensor([60.0, 30, 10, 6, 3]), n, True, generator=g)
    centers = torch.randn(C, D, generator=torch.Generator().manual_seed(9))
    return Split(centers[targets] + torch.randn(n, D, generator=g), targets)


TRAIN, HELD = split(), split(60, seed=1)


def sampler(word="shuffle", seed=0):
    return samplers.ALL[word](TRAIN.targets, epochs=EPOCHS, seed=seed, num_classes=C)


class Made:
    """A head by the words of a plan, made anew, and all that trains it."""

    def __init__(self, word, kind="linear", drawn="shuffle", optimizer="sgd", lr=0.1):
        self.criterion = criterion.build(
            word.removesuffix("+drw"),
            {},
            sampler(drawn).seen_counts,
            epochs=EPOCHS,
            device=CPU,
            deferred=0.5 if word.endswith("+drw") else None,
            changing=drawn == "progressive",
        )
        torch.manual_seed(3)
        self.net = make_head(kind, D, C)
        if self.criterion.needs_cosine_head:
            self.net = with_cosine_head(self.net)
        self.optimizer = train.make_optimizer(self.net, optimizer, lr=lr, weight_decay=1e-2)

    def alone(self, drawn="shuffle", **settings):
        return train.fit(
            self.net,
            self.criterion.loss,
            TRAIN,
            epochs=EPOCHS,
            batch_size=16,
            optimizer=self.optimizer,
            sampler=sampler(drawn),
            each_epoch=self.criterion.each_epoch,
            watch={"validation": HELD},
            **settings,
        )

    def head(self, **settings):
        c = self.criterion
        return train.Head(self.net, c.loss, self.optimizer, c.each_epoch, **settings)


def together(heads, drawn="shuffle", **settings):
    return train.fit_heads(
        heads,
        TRAIN,
        epochs=EPOCHS,
        batch_size=16,
        sampler=sampler(drawn),
        watch={"validation": HELD},
        **settings,
    )


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same(rows, one, expected, other):
    assert timeless(rows) == timeless(expected)
    for name, value in other.net.state_dict().items():
        assert torch.equal(one.net.state_dict()[name], value), name


WORDS = [*losses.ALL, "cross_entropy+drw", "ldam+drw", "focal+drw"]
CASES = [
    ("linear", "shuffle", "sgd", {}),
    ("linear", "progressive", "sgd", {"schedule": train.cosine(0.1), "clip_norm": 0.5}),
    ("cosine", "balanced", "adamw", {"schedule": train.cosine(0.1)}),
    ("mlp", "square_root", "adamw", {"clip_norm": 0.5}),
    ("mlp", "shuffle", "sgd", {}),
]


@pytest.mark.parametrize(("kind", "drawn", "optimizer", "settings"), CASES)
def test_every_loss_ends_as_if_it_were_trained_alone(kind, drawn, optimizer, settings):
    def make():
        rates = [0.1, 0.03, 0.1]
        words = [w for w in WORDS if drawn != "progressive" or not w.endswith("+drw")]
        return [
            Made(word, kind, drawn, optimizer, rates[k % 3] * (1 if optimizer == "sgd" else 0.1))
            for k, word in enumerate(words)
        ]

    alone, joint = make(), make()
    found = together([made.head() for made in joint], drawn, **settings)
    for rows, one, other in zip(found, joint, alone, strict=True):
        expected = other.alone(drawn, **settings)
        assert expected[-1]["validation_accuracy"] > expected[0]["validation_accuracy"]
        assert_same(rows, one, expected, other)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_goes_on_from_either_state_and_those_ahead_wait(optimizer):
    """Its state is that of `fit`, the other way as well."""
    words, schedule = ["cross_entropy", "focal+drw", "ldam"], train.cosine(0.1)
    kept = [[], [], []]

    def keep(states):
        return lambda state: states.append(copy.deepcopy(state))

    first = [Made(word, optimizer=optimizer, lr=0.01) for word in words]
    first[0].alone(schedule=schedule, on_state=keep(kept[0]))
    heads = [m.head(on_state=keep(s)) for m, s in zip(first[1:], kept[1:], strict=True)]
    expected = together(heads, schedule=schedule)
    again = [Made(word, optimizer=optimizer, lr=0.01) for word in words]
    states = [kept[0][1], kept[1][2], None]  # after one epoch, after two, from the start
    found = together(
        [m.head(state=s) for m, s in zip(again, states, strict=True)], schedule=schedule
    )
    for rows, one, wanted, other in zip(
        found, again, [kept[0][-1]["rows"], *expected], first, strict=True
    ):
        assert_same(rows, one, wanted, other)
    last = Made(words[1], optimizer=optimizer, lr=0.01)
    assert_same(last.alone(schedule=schedule, state=kept[1][1]), last, expected[0], first[1])


class Breaks(nn.Module):
    """Cross entropy until the second epoch."""

    def __init__(self, where):
        super().__init__()
        self.where, self.calls = where, 0

    def forward(self, logits, target):
        self.calls += 1
        value = nn.functional.cross_entropy(logits, target)
        if self.calls < 12:
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
    made = [Made(word) for word in ("cross_entropy", "focal", "balanced_softmax")]
    heads = [m.head() for m in made]
    heads[1] = train.Head(made[1].net, Breaks(where), made[1].optimizer)
    found = together(heads)
    assert said in str(found[1])
    assert isinstance(found[1], train.Diverged) == (where == "value")
    for k in (0, 2):
        other = Made(("cross_entropy", "", "balanced_softmax")[k])
        assert_same(found[k], made[k], other.alone(), other)


def test_progress_reaches_the_end_of_each_head():
    shares = [[], []]
    heads = [Made("focal").head(on_progress=shares[k].append) for k in range(2)]
    together(heads)
    assert shares[0] == shares[1] == sorted(shares[0])
    assert shares[0][-1] == 1.0


def test_other_optimizers_and_no_heads_are_refused():
    with pytest.raises(ValueError, match="optimizers of one class, but got AdamW, SGD"):
        together([Made("focal").head(), Made("focal", optimizer="adamw").head()])
    with pytest.raises(ValueError, match="needs heads"):
        together([])
