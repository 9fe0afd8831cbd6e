"""Frozen parameters and learning rates by layer, beside timm's."""

import copy

import pytest
import torch
from torch import nn

from counterpoise.data import Split
from counterpoise.models import open_backbone
from counterpoise.train import fit, freeze, make_optimizer


class Wrapped(nn.Module):
    """A net in another one, as `models.Backbone` has it."""

    def __init__(self, body):
        super().__init__()
        self.body = body


def net_with_norms():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8),
        nn.BatchNorm1d(8),
        nn.BatchNorm1d(8, affine=False),
        nn.Linear(8, 6),
        nn.LayerNorm(6),
        nn.BatchNorm1d(6),
        nn.Linear(6, 3),
    )


@pytest.mark.parametrize(
    ("what", "frozen"),
    [
        ("none", ()),
        ("backbone", (0, 1, 2, 3, 4, 5)),
        ("norms", (1, 2, 4, 5)),
        ("[01].*,4.weight, 4.b*", (0, 1, 4)),
        ("5.weight", ()),  # its bias is trained
    ],
)
def test_what_is_frozen_keeps_every_byte_in_training_running_statistics_too(what, frozen):
    net = net_with_norms()
    freeze(net, what, head="6")
    before = copy.deepcopy(net)
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    optimizer = make_optimizer(net, lr=0.1, weight_decay=0.1)
    fit(net, nn.CrossEntropyLoss(), Split(x, torch.arange(20) % 3), epochs=2, optimizer=optimizer)
    changed = {
        k
        for k, (old, new) in enumerate(zip(before, net, strict=True))
        if not all(map(torch.equal, old.state_dict().values(), new.state_dict().values()))
    }
    assert changed == set(range(7)) - set(frozen)


def test_freezing_nothing_or_everything_is_refused_and_changes_nothing():
    net = net_with_norms()
    for what, head, words in (
        ("backbone", "", r"head must be the path.*0\.weight, 0\.bias.*6\.bias"),
        ("backbone", "7", "got '7'"),
        ("0.*, conv*", "", r"'conv\*' matches none of 0\.weight"),
        ("*", "", r"leave parameters to train, but '\*' takes all of 0\.weight"),
    ):
        with pytest.raises(ValueError, match=words):
            freeze(net, what, head)
    with pytest.raises(ValueError, match="'norms' matches none"):
        freeze(nn.Linear(2, 2), "norms")
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_a_head_beside_the_body_is_the_layer_that_timms_own_head_is(name):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(name, num_classes=3)
    wanted = {
        id(p): g["lr_scale"]
        for g in pytest.importorskip("timm.optim").param_groups_layer_decay(theirs, layer_decay=0.5)
        for p in g["params"]
    }
    wanted = {key: wanted[id(p)] for key, p in theirs.named_parameters()}
    net = open_backbone(f"timm:{name}", 3, weights="none")
    before = list(net.state_dict())
    optimizer = make_optimizer(net, "adamw", lr=1.0, head="head", layer_decay=0.5)
    assert list(net.state_dict()) == before
    for key, (rate, _) in rates(net, optimizer).items():
        if key.startswith("body."):
            assert rate == pytest.approx(wanted[key.removeprefix("body.")]), key


def rates(net, optimizer):
    names = {id(p): name for name, p in net.named_parameters()}
    return {
        names[id(p)]: (g["lr"], g["weight_decay"])
        for g in optimizer.param_groups
        for p in g["params"]
    }


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "vit_tiny_patch16_224"])
def test_layers_are_those_of_timm_and_the_head_has_a_rate_of_its_own(name):
    timm = pytest.importorskip("timm")
    body = timm.create_model(name, num_classes=3)
    groups = pytest.importorskip("timm.optim").param_groups_layer_decay(body, 0.05, layer_decay=0.7)
    names = {id(p): name for name, p in body.named_parameters()}
    head = body.pretrained_cfg["classifier"]
    expected = {
        names[id(p)]: (0.2 * g["lr_scale"] * (10 if names[id(p)].startswith(head) else 1), decay)
        for g in groups
        for decay in [g["weight_decay"]]
        for p in g["params"]
    }
    net = Wrapped(body)
    optimizer = make_optimizer(
        net,
        "adamw",
        lr=0.2,
        weight_decay=0.05,
        head=f"body.{head}",
        head_lr=10,
        layer_decay=0.7,
    )
    found = {name.removeprefix("body."): pair for name, pair in rates(net, optimizer).items()}
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair), name


@pytest.mark.parametrize("wrapped", [False, True])
def test_nets_that_timm_does_not_know_have_the_layers_that_it_would_find(wrapped):
    timm, vision = pytest.importorskip("timm"), pytest.importorskip("torchvision")
    theirs, ours = timm.create_model("resnet18"), vision.models.resnet18()
    layers = timm.models.group_parameters(theirs, theirs.group_matcher(), reverse=True)
    ours.conv1.requires_grad_(False)  # what is frozen counts as a layer
    net, start = (Wrapped(ours), "body.") if wrapped else (ours, "")
    found = rates(net, make_optimizer(net, lr=1, layer_decay=0.5, head=f"{start}fc"))
    assert {name.removeprefix(start): rate for name, (rate, _) in found.items()} == {
        name: 0.5 ** (9 - layer) for name, layer in layers.items() if name != "conv1.weight"
    }


def test_groups_are_two_unless_rates_differ():
    net = net_with_norms()
    two = make_optimizer(net, lr=0.1, weight_decay=0.2).param_groups
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in two] == [
        (0.1, 0.2, 3),
        (0.1, 0.0, 9),
    ]
    four = make_optimizer(net, lr=0.1, weight_decay=0.2, head="6", head_lr=3).param_groups
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in four] == [
        (0.1, 0.2, 2),
        (pytest.approx(0.3), 0.2, 1),
        (0.1, 0.0, 8),
        (pytest.approx(0.3), 0.0, 1),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"head_lr": 2.0}, "head must be the path"),
        ({"head": "fc"}, r"got 'fc', and the net has 0\.weight"),
        ({"layer_decay": 0}, "layer_decay must be a positive number, but got 0"),
        ({"head": "6", "head_lr": float("nan")}, "head_lr must be a positive number"),
    ],
)
def test_rates_without_a_meaning_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(net_with_norms(), lr=0.1, **words)
