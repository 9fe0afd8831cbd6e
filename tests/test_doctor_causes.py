"""The causes that the doctor names, each in a net that shows no other."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from counterpoise.doctor import CAUSES, diagnose

CE = nn.CrossEntropyLoss()


def points(samples=256, features=8):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(samples, features, generator=draw)
    return x, (x @ torch.randn(features, 3, generator=draw)).argmax(1)


def net(*last, between=()):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), *between, nn.Linear(32, 3), *last)


class Foreign(nn.BatchNorm1d):
    """A batch norm that is left in evaluation mode by mistake."""

    def train(self, mode=True):
        return super().train(False)


def foreign():
    norm = Foreign(32)
    norm.running_mean.fill_(50.0)
    return norm.eval()


class Mixes(nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[1], -1).t()


class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


class Masked(nn.Module):
    """Attention whose mask hides everything."""

    def forward(self, x):
        return x * torch.softmax(torch.full_like(x, -torch.inf), 1)


def alike():
    made = net()
    nn.init.constant_(made[0].weight, 0.1)
    nn.init.zeros_(made[0].bias)
    nn.init.constant_(made[2].weight, 0.1)
    return made


X, Y = points()
HOT = F.one_hot(Y, 3).float()
CASES = {
    "the inputs hold values that are not finite": {
        "inputs": X.index_fill(0, torch.tensor([17]), torch.nan),
        "why": "sample 17",
    },
    "the inputs are the same for all samples": {"inputs": X[:1].expand(256, 8)},
    "the inputs are far from a scale of 1": {
        "inputs": X * torch.tensor([1e6] + [1e-3] * 7),
        "why": "column 0 has",
        "lr": 0.01,
    },
    "the targets are the same for all samples": {"targets": torch.full_like(Y, 2), "why": "are 2"},
    "the targets are outside the outputs": {"targets": Y + 1, "why": "1 to 3, and the 3 outputs"},
    "no optimizer holds the parameters": {
        "optimizer": lambda _, lr: torch.optim.SGD(net().parameters(), lr=lr),
        "why": "4 of 4 parameters",
    },
    "no gradient reaches the parameters": {"net": net(Cut()), "why": "detached"},
    "the loss has the wrong sign": {"loss": lambda z, y: -F.cross_entropy(z, y), "lr": 0.01},
    "the loss is constant": {"loss": lambda z, y: F.cross_entropy(z, y).clamp(max=0.01)},
    "values become not a number": {"net": net(Masked()), "layer": "3"},
    "batch norm is in evaluation mode, with foreign statistics": {
        "net": net(between=[foreign()]),
        "layer": "2",
        "lr": 0.01,
    },
    "the net mixes samples": {"net": nn.Sequential(Mixes(), *net())},
    "dropout leaves nothing": {"net": net(between=[nn.Dropout(1.0)]), "layer": "2"},
    "the weight decay is stronger than the loss": {
        "optimizer": partial(torch.optim.SGD, weight_decay=10.0),
        "why": "0.05 of their size|e-",
        "lr": 0.05,
    },
    "the units of a layer start alike": {"net": alike(), "layer": "0", "lr": 0.003},
    "the net ends in a softmax or sigmoid that the loss contains": {
        "net": net(nn.Softmax(1)),
        "lr": 0.001,
        "why": "still have",
    },
}


def diagnosed(case, **more):
    made = case.get("net") or net()
    given = {"lr": case.get("lr", 0.1), "optimizer": case.get("optimizer", "sgd"), **more}
    inputs, targets = case.get("inputs", X), case.get("targets", Y)
    return diagnose(copy.deepcopy(made), case.get("loss", CE), inputs, targets, **given)


@pytest.mark.parametrize("cause", CASES)
def test_a_cause_is_named_with_its_layer_and_numbers(cause):
    case = CASES[cause]
    found = diagnosed(case)
    assert cause in CAUSES
    assert (found.cause, found.verdict == "will learn") == (cause, False), str(found)
    assert found.layer == case.get("layer", found.layer)
    assert any(part in found.why for part in case.get("why", "").split("|")), found.why


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        ("the inputs hold values that are not finite", "without the samples that are not finite"),
        ("the inputs are far from a scale of 1", "standardized inputs"),
        ("no optimizer holds the parameters", "an optimizer of all parameters"),
        ("the loss has the wrong sign", "the loss with the other sign"),
        (
            "batch norm is in evaluation mode, with foreign statistics",
            "1 batch norms in training mode",
        ),
        ("dropout leaves nothing", "no dropout in 1 layers"),
        ("the weight decay is stronger than the loss", "no weight decay"),
        ("the units of a layer start alike", "Kaiming initialization of 2 layers"),
    ],
)
def test_its_remedy_is_tried_and_recommended_first(cause, change):
    assert diagnosed(CASES[cause]).recommended[0].change == change


def test_a_softmax_over_the_batch_mixes_samples():
    found = diagnose(net(nn.Softmax(0)), CE, X, Y, lr=0.1, remedies=False)
    assert "each sample has an output of its own" in [c.name for c in found.checks if not c.passed]


def test_outputs_and_targets_that_are_broadcast_are_told():
    x = X
    y = x[:, :1].sum(1)
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    with pytest.warns(UserWarning, match="broadcast"):
        found = diagnose(wide, nn.MSELoss(), x, y, lr=0.05)
    assert found.cause == "outputs and targets of different shapes are broadcast"
    assert found.recommended[0].change == "targets in the shape of the outputs"


def test_log_softmax_before_nll_learns():
    """The mistake of a lowest constant loss that has no lower bound."""
    found = diagnosed({"net": net(nn.LogSoftmax(1)), "loss": nn.NLLLoss()})
    assert (found.verdict, found.sure) == ("will learn", True)
    share = torch.bincount(Y).double() / len(Y)
    entropy = -(share * share.log()).sum().item()
    assert found.numbers.constant_loss == pytest.approx(entropy, rel=0.05)


def test_classes_that_come_in_turn_are_no_fault():
    """The mistake of evenly spaced samples, which are all of one class."""
    x = torch.randn(640, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(640) % 10
    x[:, 0] += y / 2
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 10))
    found = diagnose(wide, CE, x, y, lr=0.1)
    assert found.verdict == "will learn"
    assert found.numbers.constant_loss == pytest.approx(torch.tensor(10.0).log().item(), rel=0.05)


def test_a_loss_that_falls_and_stays_far_above_guessing_is_no_learning():
    torch.manual_seed(0)
    made = net()
    for p in made.parameters():
        p.data *= 40
    found = diagnose(made, CE, X, Y, lr=1e-5, remedies=False)
    assert found.numbers.loss_after < found.numbers.loss
    assert found.numbers.loss_after > 3 * found.numbers.constant_loss
    assert found.verdict != "will learn"


def test_random_labels_are_learned_by_heart_at_most():
    y = Y[torch.randperm(256, generator=torch.Generator().manual_seed(1))]
    found = diagnose(net(), CE, X, y, lr=0.5)
    assert found.recommended == () or found.verdict == "will learn"
    assert found.numbers.held_out_improvement < 0.05


# What trainings look like


def test_optimizers_that_exist_are_copied():
    made = net()
    one = torch.optim.Adam(made[0].parameters(), lr=0.01)
    two = torch.optim.SGD(made[2].parameters(), lr=0.1, momentum=0.9)
    both = diagnose(made, CE, X, Y, optimizer=[one, two])
    assert both.verdict == "will learn"
    assert (one.state, two.state) == ({}, {})
    alone = diagnose(made, CE, X, Y, optimizer=torch.optim.SGD(made[2].parameters(), lr=1e-9))
    assert alone.verdict == "will not learn"
    foreign = torch.optim.SGD(net().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="must hold parameters of the net, but holds none"):
        diagnose(made, CE, X, Y, optimizer=foreign)


@pytest.mark.parametrize("instance", [False, True])
def test_lbfgs_gets_its_closure(instance):
    made = net()
    lbfgs = torch.optim.LBFGS
    given = {"optimizer": lbfgs(made.parameters(), lr=0.5)} if instance else {"optimizer": lbfgs}
    found = diagnose(made, CE, X, Y, lr=0.5, batch_size=128, **given)
    assert found.verdict == "will learn"


def test_a_loss_of_a_number_a_sample_is_averaged_and_said():
    found = diagnose(net(), nn.CrossEntropyLoss(reduction="none"), X, Y, lr=0.1)
    assert found.verdict == "will learn"
    assert "The loss gives a number a sample; their mean is taken." in found.notes


class Tagger(nn.Module):
    """A net with an output a word, flattened."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)

    def forward(self, words):
        return self.head(self.words(words)).flatten(0, 1)


def test_flattened_targets_are_taken_apart():
    words = torch.randint(11, (128, 6), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    found = diagnose(Tagger(), CE, words, (words.flatten() + 3) % 11, lr=1.0)
    assert found.verdict == "will learn"


def test_a_graph_is_trained_on_as_a_whole():
    """A matrix of neighbours, which cannot be cut to some samples."""
    draw = torch.Generator().manual_seed(0)
    links = (torch.rand(60, 60, generator=draw) < 0.1).float() + torch.eye(60)
    x = torch.randn(60, 8, generator=draw)
    y = ((links @ x)[:, 0] > 0).long()

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 2)

        def forward(self, x, links):
            return self.two(links @ torch.relu(self.one(links @ x)))

    torch.manual_seed(0)
    found = diagnose(Graph(), CE, (x, links), y, lr=0.05, optimizer="adam", whole=True)
    assert found.verdict == "will learn"


def test_without_a_learning_rate_it_says_so():
    with pytest.raises(ValueError, match="needs an lr above 0, but got none"):
        diagnose(net(), CE, X, Y)
    with pytest.raises(ValueError, match="must be a word, a function or optimizers"):
        diagnose(net(), CE, X, Y, lr=0.1, optimizer=[3])
    with pytest.raises(ValueError, match="must return a tensor of one number"):
        diagnose(net(), lambda z, y: 0.5, X, Y, lr=0.1)


def test_inputs_that_the_net_does_not_take_are_told():
    with pytest.raises(ValueError, match=r"take inputs of shape \(2, 7\), but raised Runtime"):
        diagnose(net(), CE, X[:, :7], Y, lr=0.1)


# Checks on one batch


def test_a_sound_net_passes_all_checks():
    found = diagnose(net(), CE, X, Y, lr=0.1)
    assert [c.name for c in found.checks if c.passed is not True] == []
    assert len(found.checks) == 6
    assert "Not so" not in str(found)


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (nn.Sequential(Mixes(), *net()), "each sample has an output of its own"),
        (net(between=[nn.Dropout(1.0)]), "each parameter moves, or is frozen"),
        (nn.Sequential(net(), Cut()), "the loss falls on one batch that is repeated"),
    ],
)
def test_a_bug_fails_its_check(made, name):
    found = diagnose(made, CE, X, Y, lr=0.1, remedies=False)
    failed = [c for c in found.checks if c.passed is False]
    assert name in [c.name for c in failed]
    assert f"Not so: {name}." in str(found)


def test_a_loss_that_starts_far_above_guessing_fails_its_check():
    made = net()
    made[2].weight.data *= 100
    found = diagnose(made, CE, X, Y, lr=0.1, remedies=False)
    failed = {c.name: c.why for c in found.checks if c.passed is False}
    assert "guessing has 1." in failed["the loss at the start is near that of guessing"]


# What a breaker found


def trained():
    made = net()
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        CE(made(X), Y).backward()
        optimizer.step()
    return made


@pytest.mark.parametrize("lr", [1e-12, 1e4])
def test_a_good_start_is_no_learning_by_itself(lr):
    assert diagnose(trained(), CE, X, Y, lr=lr, remedies=False).verdict != "will learn"
    assert diagnose(trained(), CE, X, Y, lr=0.1, remedies=False).verdict == "will learn"
    frozen = trained().requires_grad_(False)
    assert diagnose(frozen, CE, X, Y, lr=0.1).cause == "no gradient reaches the parameters"


class Centers(nn.Module):
    """A net that changes its inputs in place."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x.sub_(100).div_(50))


def test_inputs_that_a_net_changes_in_place_stay_as_they_are():
    torch.manual_seed(0)
    x = 50 * X + 100
    before = x.clone()
    for some in (x, x[:48]):
        found = diagnose(Centers(), CE, some, Y[: len(some)], lr=0.1)
        assert found.verdict == "will learn", str(found)
        assert torch.equal(x, before)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.net, x, use_reentrant=False)


def test_gradient_checkpointing_is_no_obstacle():
    torch.manual_seed(0)
    assert diagnose(Checkpointed(), CE, X, Y, lr=0.5).verdict == "will learn"


def test_targets_that_a_loss_ignores_are_not_blamed():
    found = diagnose(
        net().requires_grad_(False), lambda z, _: z.square().mean(), X, torch.zeros(256), lr=0.1
    )
    assert found.cause == "no gradient reaches the parameters"


def test_a_weight_that_is_not_a_number_is_named():
    made = net()
    made[0].weight.data[0, 0] = torch.nan
    found = diagnose(made, CE, X, Y, lr=0.1)
    assert (found.cause, found.layer) == ("values become not a number", "0")


def test_targets_that_are_not_finite_are_told_as_such():
    y = X[:, :1].clone()
    y[9] = torch.inf
    torch.manual_seed(0)
    found = diagnose(nn.Linear(8, 1), nn.MSELoss(), X, y, lr=0.1)
    assert found.cause == "the targets hold values that are not finite"
    assert "the first is sample 9" in found.why
    assert found.recommended[0].change == "without the samples that are not finite"


def test_one_sample_a_step_and_lbfgs_pass_the_checks():
    for given in ({"batch_size": 1, "lr": 0.05}, {"optimizer": torch.optim.LBFGS, "lr": 0.5}):
        found = diagnose(net(), CE, X, Y, **given)
        assert [c.name for c in found.checks if c.passed is False] == []


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, "cross_entropy"])
def test_what_is_no_loss_is_refused(loss):
    with pytest.raises(TypeError, match=r"loss must be called as loss\(output, targets\)"):
        diagnose(net(), loss, X, Y, lr=0.1)
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module"):
        diagnose(F.relu, CE, X, Y, lr=0.1)
