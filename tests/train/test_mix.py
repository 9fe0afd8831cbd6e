"""Mixing: torchvision's on the same draws, reproducible, and exact in parts and after a stop."""

import copy

import pytest
import torch
import torch.nn.functional as F
from tests.study.small import QUICK, prepared
from tests.study.test_check_data import made, refused
from tests.train.trainings import ByShare, mlp, plain_mean, split
from torch import nn
from torchvision.transforms import v2

from counterpoise import losses, train
from counterpoise.study import Plan, Training, Variant, one_run, record
from counterpoise.train import MIXES, Mix, fit

COUNTS = torch.tensor([60, 20, 6])
WORDS = ("mixup", "cutmix", "remix")


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def share_of(draws, alpha):
    """The lambda that is drawn next: mixup of 1 with 0."""
    mixed, _ = Mix("mixup", COUNTS, alpha)(
        torch.tensor([[1.0], [0.0]]), torch.tensor([0, 1]), draws
    )
    return mixed[0].item()


class Fixed:
    """A distribution that draws what it is given."""

    def __init__(self, share):
        self.share = share

    def sample(self, shape):
        return torch.tensor(self.share)


@pytest.mark.parametrize(("word", "oracle"), [("mixup", v2.MixUp), ("cutmix", v2.CutMix)])
def test_is_torchvisions(word, oracle):
    changed = 0
    for seed in range(20):
        x, y = torch.rand(7, 3, 12, 9), torch.randint(3, (7,))
        draws, theirs = generator(seed), oracle(num_classes=3)
        theirs._dist = Fixed(share_of(draws, 0.7))
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(draws.get_state())  # the box is drawn after the share
            wanted = theirs(x, y)
        found = Mix(word, COUNTS, 0.7)(x, y, generator(seed))
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
        changed += not torch.equal(found[0], x)
    assert changed > 15


@pytest.mark.parametrize("counts", [(60, 20, 6), (5, 5, 5), (30, 10, 1)])
def test_remix_gives_labels_by_its_papers_rule(counts):
    x, y = torch.rand(40, 4), torch.randint(3, (40,))
    rules = set()
    for seed in range(20):
        mixed, q = Mix("remix", torch.tensor(counts))(x, y, generator(seed))
        assert torch.equal(mixed, Mix("mixup", COUNTS)(x, y, generator(seed))[0])
        share = share_of(generator(seed), 1.0)
        for i in range(40):
            j, own = i - 1, share
            ratio = counts[y[i]] / counts[y[j]]
            if ratio >= 3 and share < 0.5:
                own = 0.0
            elif ratio <= 1 / 3 and 1 - share < 0.5:
                own = 1.0
            rules.add(own if own in (0, 1) else "share")
            wanted = own * F.one_hot(y[i], 3) + (1 - own) * F.one_hot(y[j], 3)
            torch.testing.assert_close(q[i], wanted, rtol=0, atol=1e-6)
    assert rules == ({"share"} if counts == (5, 5, 5) else {0.0, 1.0, "share"})


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_drawn_from_beta(alpha):
    draws = generator()
    shares = torch.tensor([share_of(draws, alpha) for _ in range(4000)]).double()
    wanted = torch.distributions.Beta(torch.tensor(alpha).double(), torch.tensor(alpha).double())
    grid = torch.linspace(0.05, 0.95, 7).double()
    below = torch.stack([(shares < at).double().mean() for at in grid])
    with torch.random.fork_rng(devices=[]):
        theirs = wanted.sample((100_000,))
    torch.testing.assert_close(
        below, torch.stack([(theirs < at).double().mean() for at in grid]), rtol=0, atol=0.03
    )


@pytest.mark.parametrize("word", WORDS)
def test_a_share_of_1_leaves_samples_alone(word, monkeypatch):
    for module in ("_mixup", "_cutmix"):
        monkeypatch.setattr(f"counterpoise.train.{module}.draw_share", lambda *_: 1.0)
    x, y = torch.rand(5, 1, 6, 6), torch.tensor([0, 1, 2, 1, 0])
    mixed, q = Mix(word, COUNTS)(x, y, generator())
    assert torch.equal(mixed, x)
    assert torch.equal(q, F.one_hot(y, 3).float())


@pytest.mark.parametrize("word", WORDS)
def test_draws_from_its_generator_alone(word):
    x, y, before = torch.rand(5, 1, 6, 6), torch.randint(3, (5,)), torch.get_rng_state()
    mix = Mix(word, COUNTS)
    first, same, other = (mix(x, y, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, first, same))
    assert not torch.equal(first[0], other[0])


class Seen(nn.Module):
    """A net in float64 that remembers what it is trained on."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = mlp().double(), []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.net(x.double())


def cut_in_float64(x, y, draws):
    return Mix("cutmix", COUNTS)(x.double(), y, draws)


UNEQUAL = torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64)


@pytest.mark.parametrize(
    "loss",
    [
        losses.AdjustedCrossEntropyLoss(),
        losses.ALL["weighted"](COUNTS),
        losses.FocalLoss(2.0, alpha=UNEQUAL),
        losses.BalancedSoftmaxLoss(COUNTS),
        losses.FocalLoss(2.0, reduction="batchmean"),
        losses.FocalLoss(2.0, reduction="sum"),
        nn.CrossEntropyLoss(UNEQUAL, label_smoothing=0.1),
        plain_mean,
        ByShare(),
    ],
)
def test_a_mixed_batch_in_parts_trains_as_a_whole_one(loss):
    nets, tables = [], []
    for parts in (1, 3):
        net = Seen()
        optimizer = train.make_optimizer(net, lr=0.1)
        how = {"epochs": 2, "batch_size": 17, "optimizer": optimizer, "accumulate": parts}
        rows = fit(net, loss, split(), clip_norm=1.0, mix=cut_in_float64, **how)
        tables.append([row["loss"] for row in rows[1:]])
        nets.append(net)
    assert len(nets[1].seen) > 2 * len(nets[0].seen)
    assert torch.equal(torch.cat(nets[1].seen), torch.cat(nets[0].seen))
    torch.testing.assert_close(nets[1].state_dict(), nets[0].state_dict(), rtol=1e-10, atol=1e-12)
    assert tables[1] == pytest.approx(tables[0], rel=1e-6)


def test_the_order_and_the_augmentation_are_those_of_unmixed_samples():
    seen = {}
    for mix in (None, Mix("mixup", COUNTS), Mix("cutmix", COUNTS)):

        def kept(x, draws, key=mix):
            x = train.AUGMENTS["flip+crop"](x, draws)
            seen.setdefault(key and key.name, []).append(x)
            return x

        fit(mlp(), losses.FocalLoss(), split(), epochs=2, augment=kept, mix=mix)
    whole = [torch.cat(batches) for batches in seen.values()]
    assert len(whole) == 3
    assert torch.equal(whole[0], whole[1])
    assert torch.equal(whole[0], whole[2])


def test_each_epoch_and_batch_is_mixed_anew_and_a_resumed_training_goes_on():
    states, how = [], {"loss": losses.FocalLoss(), "train": split(), "mix": Mix("remix", COUNTS)}

    def keep(state):
        states.append(copy.deepcopy(state))

    whole = Seen()
    rows = fit(whole, epochs=3, on_state=keep, **how)
    shares = {x.unique().numel() for x in whole.seen}  # of grey values, other ones for each lambda
    assert len(shares) > len(whole.seen) / 2
    resumed = Seen()
    again = fit(resumed, epochs=3, state=states[1], **how)
    assert all(map(torch.equal, resumed.seen, whole.seen[len(whole.seen) // 3 :]))
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert [r["loss"] for r in again] == [r["loss"] for r in rows]


def test_a_mixed_sample_has_no_weight_of_its_own():
    how = {"epochs": 1, "mix": Mix("mixup", COUNTS), "sample_weight": torch.ones(70)}
    with pytest.raises(ValueError, match="sample_weight and mix exclude each other"):
        fit(mlp(), losses.FocalLoss(), split(), **how)
    with pytest.raises(ValueError, match="did you mean 'mixup'"):
        Mix("mixip", COUNTS)
    with pytest.raises(ValueError, match="alpha must be above 0, but got 0"):
        Mix("mixup", COUNTS, 0)


def test_variants_of_a_study_mix_and_see_the_same_samples_in_the_same_order(tmp_path, monkeypatch):
    found, seen = {}, {}
    variants = tuple(Variant(loss="focal", training={"mix": word}) for word in MIXES)
    every = Plan("digits", variant=variants, norms=(), seeds=(0,), training=QUICK, references=False)
    work = prepared(every, tmp_path)
    for name in work.names("final"):
        word = work.job(name).spec.training.mix

        def kept(images, draws, word=word):
            seen.setdefault(word, []).append(images)
            return images

        monkeypatch.setattr(train, "augmentation", lambda _, kept=kept: kept)
        one_run.train_run(work.job(name), lambda event: None)
        found[word] = record.read(work.job(name).folder)
    assert len({r["test"]["nll"] for r in found.values()}) == 4
    assert found["none"]["link"] == {"gamma": [2.0]}
    for word in WORDS:
        assert found[word]["link"] == {"gamma": [2.0], "approximate": "samples were mixed"}
        assert torch.equal(torch.cat(seen[word]), torch.cat(seen["none"]))


@pytest.mark.parametrize(
    ("settings", "training", "says"),
    [
        ({}, {"mix": "cutmix", "model": "mlp"}, r"made for images .* but got \(2, 4\); take mixup"),
        ({"losses": ("seesaw",)}, {"mix": "mixup"}, "'seesaw' must take class probabilities"),
        (
            {"losses": ("tests.train.test_mix:no_probabilities",)},
            {"mix": "remix"},
            "must take class probabilities .* class numbers, please; set mix to 'none'",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused_before_any_run(tmp_path, settings, training, says):
    x = torch.zeros(12, 4) if "model" in training else torch.zeros(12, 1, 8, 8)
    p = Plan(norms=("none",), training=Training(**training), **settings)
    refused(tmp_path, says, made(x=x, test_x=x), p)


def no_probabilities(counts):
    def loss(logits, targets):
        if targets.is_floating_point():
            raise TypeError("class numbers, please")
        return F.cross_entropy(logits, targets)

    return loss


@pytest.mark.parametrize("words", [{"model": "linear"}, {"stack_seeds": True, "model": "mlp"}])
def test_nets_that_are_trained_together_are_not_mixed(words):
    with pytest.raises(ValueError, match=r"training.mix is of nets that are trained as a whole"):
        Plan("digits", training=Training(mix="mixup", **words))
    with pytest.raises(ValueError, match="did you mean 'cutmix'"):
        Plan("digits", training=Training(mix="cutmx"))


@pytest.mark.parametrize("name", losses.ALL)
def test_every_loss_but_seesaw_takes_mixed_samples(name):
    loss, q = losses.ALL[name](COUNTS), torch.tensor([[0.3, 0.7, 0.0], [0.0, 0.4, 0.6]])
    if name == "seesaw":
        with pytest.raises(TypeError, match="must be class numbers"):
            loss(torch.zeros(2, 3), q)
    else:
        assert loss(torch.zeros(2, 3), q) > 0
