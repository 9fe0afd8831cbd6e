"""swap_norm on nets of many kinds: what is carried over, what is left, and why."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from counterpoise import models, norms
from counterpoise.norms import swap_norm, swap_table


class Block(nn.Module):
    """A residual block as torchvision's ResNet has it."""

    def __init__(self, inside, outside):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1), nn.BatchNorm2d(outside))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def resnet():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), Block(16, 32), Block(32, 48),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 5),
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net


def norm_types(net):
    return {type(m) for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)}


def test_a_resnet_gets_group_norm_with_what_it_has_learned():
    net = resnet()
    swapped, table = swap_norm(net, return_table=True)
    assert norm_types(net) == {nn.BatchNorm2d}
    assert norm_types(swapped) == {norms.GroupNorm}
    assert len(table.changes) == 7
    for path, old in net.named_modules():
        if isinstance(old, nn.BatchNorm2d):
            new = swapped.get_submodule(path)
            torch.testing.assert_close(new.weight, old.weight)
            torch.testing.assert_close(new.bias, old.bias)
            assert new.eps == old.eps
            assert new.num_channels // new.num_groups >= 2
    x = torch.randn(2, 3, 12, 12)
    swapped(x).sum().backward()
    assert "GroupNorm(16, 32)" in str(table)
    assert "running statistics dropped" in str(table)


def test_the_copy_that_is_dropped_is_warned_of_and_the_net_stays():
    net = resnet()
    with pytest.warns(UserWarning, match="net = swap_norm") as warned:
        swap_norm(net, to="group")
    assert warned[0].filename == __file__
    assert norm_types(net) == {nn.BatchNorm2d}
    for mode in ("exec", "single"):  # of a script, and of a prompt or the end of a cell, which show
        with pytest.warns(UserWarning, match="dropped"):
            exec(compile("swap_norm(net)", "cell", mode), {"swap_norm": swap_norm, "net": net})


def test_the_copy_that_is_kept_is_not_warned_of():
    """A warning is an error here."""
    net = resnet()
    kept = [swap_norm(net), *(swap_norm(n) for n in (net,))]
    assert swap_norm(net) is not None
    assert [norm_types(n) for n in kept] == [{norms.GroupNorm}] * 2
    swap_norm(net, inplace=True)
    assert norm_types(net) == {norms.GroupNorm}


def test_the_table_is_a_dry_run():
    net = resnet().eval()
    net[1].register_forward_hook(lambda *_: None)
    before, modules = copy.deepcopy(net.state_dict()), list(net.modules())
    for to in ("group", "instance"):
        table = swap_table(net, to, only="3.*", example=torch.randn(1, 3, 12, 12))
        assert table == swap_norm(net, to, only="3.*", return_table=True)[1]
        assert len(table.changes) == 7
    assert repr(table) == "SwapTable(3 layers swapped, 4 left)"
    assert list(net.modules()) == modules
    assert [m.training for m in modules] == [False] * len(modules)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert len(net[1]._forward_hooks) == 1
    lazy = swap_table(nn.Sequential(nn.LazyBatchNorm2d()))
    assert "lazy: send a batch" in str(lazy)


def test_a_net_that_cannot_be_copied_is_swapped_in_place():
    net = resnet()
    net.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"cannot pickle.*inplace=True"):
        net = swap_norm(net)
    assert norm_types(swap_norm(net, inplace=True)) == {norms.GroupNorm}


def test_a_norm_by_itself_is_not_swapped_in_place():
    """The caller's name would go on naming the old one."""
    norm = nn.BatchNorm2d(8)
    with pytest.raises(ValueError, match=r"norm = swap_norm\(norm\)"):
        swap_norm(norm, inplace=True)
    assert swap_norm(norm, "batch", inplace=True) is norm


def test_the_swapped_layer_computes_torchs_norm_with_the_old_parameters():
    old = nn.BatchNorm2d(8, eps=1e-3)
    nn.init.normal_(old.weight)
    x = torch.randn(3, 8, 5, 5)
    wanted = {
        "group": nn.functional.group_norm(x, 4, old.weight, old.bias, 1e-3),
        "layer": nn.functional.group_norm(x, 1, old.weight, old.bias, 1e-3),
        "instance": nn.functional.instance_norm(x, None, None, old.weight, old.bias, eps=1e-3),
        "layer2d": nn.functional.layer_norm(
            x.movedim(1, -1), (8,), old.weight, old.bias, 1e-3
        ).movedim(-1, 1),
    }
    for word, y in wanted.items():
        torch.testing.assert_close(swap_norm(old, word)(x), y)


@pytest.mark.parametrize("word", ["group", "layer", "instance", "layer2d"])
def test_to_another_norm_and_back_is_the_batch_norm_that_was(word):
    net = resnet()
    back = swap_norm(swap_norm(net, word), "batch")
    assert norm_types(back) == {nn.BatchNorm2d}
    x = torch.randn(4, 3, 12, 12)
    torch.testing.assert_close(back(x), net(x))


@pytest.mark.parametrize(
    ("layer", "way", "told"),
    [
        (nn.BatchNorm2d(16, momentum=0.3), ["group"], "momentum=0.3"),
        (nn.BatchNorm2d(16, momentum=None), ["group", "layer"], "momentum=None"),
        (nn.BatchNorm2d(16, track_running_stats=False), ["instance"], "stats=False"),
        (nn.BatchNorm1d(64), ["layer", "group"], "BatchNorm1d"),
        (nn.BatchNorm3d(16), ["group"], "BatchNorm3d"),
        (nn.SyncBatchNorm(16), ["layer2d"], "SyncBatchNorm"),
        (norms.GroupNorm(2, 16), ["batch"], "GroupNorm(2, 16"),
        (norms.GroupNorm(2, 16), ["layer", "instance", "batch"], "GroupNorm(2, 16"),
        (norms.RMSNorm(16), ["layer"], "eps=None"),
    ],
)
def test_there_and_back_is_the_layer_that_was(layer, way, told):
    home = {nn.GroupNorm: "group", nn.RMSNorm: "rms"}
    home = next((word for kind, word in home.items() if isinstance(layer, kind)), "batch")
    net = nn.Sequential(layer)
    for word in way:
        net = pickle.loads(pickle.dumps(copy.deepcopy(swap_norm(net, word))))
        assert not any("past" in key for key in net.state_dict())
    back = swap_norm(net, home)
    assert type(back[0]) is type(layer)
    assert repr(back) == repr(nn.Sequential(layer))
    assert told in repr(back)
    if home == "group":
        assert swap_norm(net, "group", max_groups=1)[0].num_groups == 1


def test_mode_dtype_frozen_parameters_and_hooks_are_carried():
    seen = []
    old = nn.BatchNorm2d(8, dtype=torch.float64).eval()
    old.weight.requires_grad_(False)
    old.register_forward_hook(lambda *_: seen.append("after"))
    old.register_forward_pre_hook(lambda *_, **__: seen.append("before"), with_kwargs=True)
    new = swap_norm(old)
    new(torch.randn(2, 8, 3, 3, dtype=torch.float64))
    assert seen == ["before", "after"]
    assert new.weight.dtype == torch.float64
    assert not new.weight.requires_grad
    assert new.bias.requires_grad
    assert not new.training
    assert swap_norm(nn.BatchNorm2d(8, device="meta")).weight.is_meta
    batch = swap_norm(nn.GroupNorm(2, 8, dtype=torch.float64), to="batch")
    assert batch.running_mean.dtype == torch.float64


def test_hooks_of_every_kind_are_carried_and_their_handles_still_remove_them():
    seen = []
    net = nn.Sequential(nn.BatchNorm2d(8))
    handles = [
        net[0].register_forward_hook(lambda *_: seen.append("forward")),
        net[0].register_full_backward_hook(lambda *_: seen.append("backward")),
        net[0].register_full_backward_pre_hook(lambda *_: seen.append("backward pre")),
        net[0].register_state_dict_post_hook(lambda *_: seen.append("state_dict")),
        net[0].weight.register_hook(lambda *_: seen.append("gradient")),
    ]
    swap_norm(net, inplace=True)
    x = torch.randn(2, 8, 3, 3, requires_grad=True)
    net(x).sum().backward()
    net.state_dict()
    assert sorted(seen) == ["backward", "backward pre", "forward", "gradient", "state_dict"]
    seen.clear()
    for handle in handles:
        handle.remove()
    net(x).sum().backward()
    net.state_dict()
    assert seen == []


def test_in_place_an_optimizer_keeps_hold_of_the_parameters_and_tied_ones_stay_tied():
    first, second = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    second.weight = first.weight
    net = nn.Sequential(first, second)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    swap_norm(net, inplace=True)
    assert net[0].weight is net[1].weight is first.weight
    net(torch.randn(2, 8, 3, 3)).square().sum().backward()
    optimizer.step()
    assert (net[0].weight != 1).all()
    copied = swap_norm(nn.Sequential(first, second))
    assert copied[0].weight is copied[1].weight is not first.weight


def test_torchs_own_layers_become_this_packages_and_compute_the_same():
    x = torch.randn(3, 8, 4, 4)
    for layer, to, kind in [
        (nn.GroupNorm(4, 8, eps=0.1), "group", norms.GroupNorm),
        (nn.GroupNorm(1, 8), "layer", norms.GroupNorm),
        (nn.LayerNorm((8, 4, 4)), "layer", norms.LayerNorm),
        (nn.LayerNorm(4, bias=False), "layer", norms.LayerNorm),
        (nn.RMSNorm((4, 4)), "rms", norms.RMSNorm),
        (nn.InstanceNorm2d(8, affine=True), "instance", norms.InstanceNorm),
    ]:
        for p in layer.parameters():
            nn.init.normal_(p)
        new = swap_norm(layer, to)
        assert type(new) is kind
        assert new.state_dict().keys() == layer.state_dict().keys()
        torch.testing.assert_close(new(x), layer(x), rtol=1e-4, atol=1e-5)


def test_a_layer_without_bias_gets_none():
    old = nn.GroupNorm(4, 8)
    old.bias = None
    for to in ("layer", "layer2d", "instance", "batch"):
        new = swap_norm(old, to)
        assert new.bias is None
        assert new(torch.randn(2, 8, 3, 3)).shape == (2, 8, 3, 3)


def test_sequences_of_an_instance_norm_1d():
    x = torch.randn(2, 6, 9)
    old = nn.InstanceNorm1d(6, affine=True)
    torch.testing.assert_close(swap_norm(old, "instance")(x), old(x), rtol=1e-4, atol=1e-5)


def random_net(depth, width, generator):
    def one_of(*makers):
        return makers[torch.randint(len(makers), (), generator=generator)]()

    if depth == 0:
        return one_of(
            lambda: nn.BatchNorm2d(width),
            lambda: nn.BatchNorm2d(width, eps=1e-2, affine=False),
            lambda: nn.SyncBatchNorm(width),
            lambda: nn.InstanceNorm2d(width, affine=True),
            lambda: nn.Conv2d(width, width, 1),
            nn.ReLU,
        )
    many = int(torch.randint(1, 4, (), generator=generator))
    return nn.Sequential(*(random_net(depth - 1, width, generator) for _ in range(many)))


@pytest.mark.parametrize("seed", range(10))
def test_random_nets_keep_their_parameters_and_run(seed):
    generator = torch.Generator().manual_seed(seed)
    width = (1, 2, 3, 6, 8)[seed % 5]
    net = nn.Sequential(nn.Conv2d(3, width, 1), random_net(3, width, generator))
    for module in net.modules():
        if isinstance(getattr(module, "weight", None), nn.Parameter):
            module.weight.requires_grad_(bool(torch.rand((), generator=generator) < 0.5))
    net.train(seed % 2 == 0)
    before = {name: p.clone() for name, p in net.named_parameters()}
    for to in ("group", "layer", "layer2d", "instance"):
        swapped = swap_norm(net, to)
        swapped(torch.randn(2, 3, 4, 4, requires_grad=True)).sum().backward()
        assert not [m for m in swapped.modules() if isinstance(m, nn.BatchNorm2d)]
        assert dict(swapped.named_parameters()).keys() == before.keys()
        for name, p in swapped.named_parameters():
            assert torch.equal(p, before[name])
            assert p.requires_grad == net.get_parameter(name).requires_grad
        assert {m.training for m in swapped.modules()} == {net.training}
        back = swap_norm(swapped, "batch")
        assert all(torch.equal(p, before[name]) for name, p in back.named_parameters())


def test_a_net_with_lazy_layers_cannot_be_copied():
    with pytest.raises(ValueError, match="send a batch through it first"):
        swap_norm(nn.Sequential(nn.LazyBatchNorm2d()))


def test_a_layer_used_twice_has_one_successor():
    shared = nn.BatchNorm2d(8)
    swapped, table = swap_norm(nn.Sequential(shared, nn.ReLU(), shared), return_table=True)
    assert swapped[0] is swapped[2]
    assert [c.path for c in table.changes] == ["0", "2"]


def test_in_place_and_by_path():
    net = resnet()
    swapped, table = swap_norm(net, only="3.*", inplace=True, return_table=True)
    assert swapped is net
    assert isinstance(net[1], nn.BatchNorm2d)
    assert isinstance(net[3].bn1, norms.GroupNorm)
    assert isinstance(net[4].bn1, nn.BatchNorm2d)
    assert sum(c.note == "left: not asked for" for c in table.changes) == 4
    by_function = swap_norm(resnet(), only=lambda path: path.endswith("bn2"))
    assert isinstance(by_function[3].bn2, norms.GroupNorm)
    assert isinstance(by_function[3].bn1, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("channels", "most", "groups"),
    [(64, 32, 32), (48, 32, 24), (7, 32, 1), (2, 32, 1), (64, 8, 8)],
)
def test_groups_have_two_channels_at_least(channels, most, groups):
    new = swap_norm(nn.BatchNorm2d(channels), max_groups=most)
    assert (new.num_groups, new.num_channels) == (groups, channels)


@pytest.mark.parametrize(("channels", "groups"), [(16, 1), (32, 2), (50, 2), (2048, 32)])
def test_groups_of_vectors_have_sixteen_channels_at_least(channels, groups):
    new = swap_norm(nn.BatchNorm1d(channels))
    assert (new.num_groups, new.num_channels) == (groups, channels)
    by_the_way = swap_norm(swap_norm(nn.BatchNorm1d(channels), "layer"), "group")
    assert by_the_way.num_groups == groups
    x = torch.randn(4, channels, requires_grad=True)
    (new(x) * torch.randn(4, channels)).sum().backward()
    assert x.grad.std() > 0.1  # of groups of two it is 1e-3


class Odd(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).abs()


class FrozenBatchNorm2d(nn.Module):
    """As DETR's: everything is a buffer, and eps a number in forward."""

    def __init__(self, n):
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.full((n,), 2.0))

    def forward(self, x):
        return x


def with_a_forward_of_its_own():
    layer = nn.BatchNorm2d(8)
    layer.forward = lambda x: x
    return layer


@pytest.mark.parametrize(
    ("layer", "to", "why"),
    [
        (nn.LazyBatchNorm2d(), "group", "lazy: send a batch"),
        (nn.BatchNorm1d(1), "group", "groups would have one element"),
        (nn.BatchNorm1d(4), "instance", "group of one element"),
        (nn.BatchNorm1d(4), "layer2d", "not made for images"),
        (nn.LayerNorm(8), "group", "normalizes the last axes"),
        (nn.LayerNorm(8), "rms", "bias has no place"),
        (nn.BatchNorm2d(8), "rms", "RMSNorm does not"),
        (norms.GroupNorm(2, 8), "group", "is group already"),
        (norms.LayerNorm(8), "layer", "is layer already"),
        (norms.RMSNorm(8), "rms", "is rms already"),
        (nn.BatchNorm2d(8), "batch", "is batch already"),
        (norms.LayerNorm2d(8), "layer2d", "is layer2d already"),
        (Odd(8), "group", "Odd has a forward of its own"),
        (with_a_forward_of_its_own(), "group", "has a forward of its own"),
        (torch.ao.nn.quantized.BatchNorm2d(8), "layer", "has a forward of its own"),
        (nn.LazyBatchNorm2d(affine=False, track_running_stats=False), "group", "lazy, and without"),
        (parametrizations.weight_norm(nn.LayerNorm(8, bias=False)), "rms", "is parametrized"),
        (prune.l1_unstructured(nn.BatchNorm2d(8), "weight", 0.5), "group", "weight is computed by"),
        (prune.l1_unstructured(nn.BatchNorm2d(8), "bias", 0.5), "group", "make it permanent"),
    ],
)
def test_what_cannot_be_swapped_is_left_with_a_reason(layer, to, why):
    net = nn.Sequential(layer)
    swapped, table = swap_norm(net, to, inplace=True, return_table=True)
    assert swapped[0] is layer
    (change,) = table.changes
    assert change.note.startswith("left: ")
    assert why in change.note
    assert why in str(table)


class Head(nn.Module):
    """As timm's: a norm between the pooling and the classifier."""

    def __init__(self, channels):
        super().__init__()
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Identity())
        self.norm = norms.LayerNorm2d(channels)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, 3)

    def forward(self, x):
        return self.fc(self.flatten(self.norm(self.global_pool(x))))


class SelectAdaptivePool2d(nn.Module):
    """As timm's: it has the size and kind of its pooling by itself."""

    def __init__(self, pool_type):
        super().__init__()
        self.pool_type = pool_type

    def forward(self, x):
        return x.mean((2, 3), keepdim=True) if self.pool_type else x


class Squeezed(nn.Module):
    """Squeeze and excitation within the block, whose last norm has all the pixels."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 4, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, channels, 1),
            nn.Sigmoid(),
        )
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.bn1(self.conv1(x))
        return self.bn2(self.conv2(y * self.se(y)))


class PoolFirst(nn.Module):
    """Its pooling is made before all that is used before it."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.bn1, self.conv1 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3)
        self.bn2 = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.pool(self.bn2(self.conv1(self.bn1(x))))


class ByFunction(nn.Module):
    """Its pooling is no module."""

    def __init__(self):
        super().__init__()
        self.norm, self.bn = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.norm(x).mean((2, 3), keepdim=True))


STEM = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
POOLED = {
    "a head": (nn.Sequential(*STEM, Head(8)), ["3.norm"]),
    "in a row": (
        nn.Sequential(*STEM, nn.AdaptiveMaxPool2d((1, 1)), nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6)),
        ["5"],
    ),
    "timm's": (nn.Sequential(*STEM, SelectAdaptivePool2d("avg"), nn.GroupNorm(2, 8)), ["4"]),
    "timm's without": (nn.Sequential(*STEM, SelectAdaptivePool2d(""), nn.GroupNorm(2, 8)), []),
    "not to one": (nn.Sequential(*STEM, nn.AdaptiveAvgPool2d((2, 1)), nn.BatchNorm2d(8)), []),
    "squeezed": (nn.Sequential(*STEM, Squeezed(8), nn.BatchNorm2d(8)), ["3.se.2"]),
    "pool first": (nn.Sequential(*STEM, PoolFirst()), []),
    "back to pixels": (
        nn.Sequential(
            *STEM, nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.Upsample(scale_factor=4),
            nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8),
        ),
        ["4"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLED)
def test_layers_of_one_pixel_are_no_instance_norms(name):
    net, left = POOLED[name]
    example = torch.zeros(2, 3, 12, 12)
    swapped, table = swap_norm(net, "instance", example=example, return_table=True)
    assert table.changes == swap_table(net, "instance").changes
    assert [c.path for c in table.changes if c.note.startswith("left")] == left
    assert str(table).count("gets one pixel a channel, which would always be 0") == len(left)
    assert any(isinstance(m, norms.InstanceNorm) for m in swapped.modules())
    swapped(torch.randn(2, 3, 12, 12)).sum().backward()
    assert not [c for c in swap_table(net, "layer2d").changes if "one pixel" in c.note]


def test_an_example_shows_what_the_order_of_the_modules_does_not():
    net = nn.Sequential(*STEM, ByFunction()).train()
    net[3].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="more than one pixel"):
        swap_norm(net, "instance")(torch.randn(2, 3, 12, 12))
    example = torch.randn(2, 3, 12, 12)
    swapped, table = swap_norm(net, "instance", example=example, return_table=True)
    assert [c.path for c in table.changes if c.note.startswith("left")] == ["3.bn"]
    assert swapped.training
    assert not swapped[3].training
    swapped(torch.randn(2, 3, 12, 12))
    assert not swapped[3].bn._forward_pre_hooks
    table = swap_table(net, "instance", example=torch.randn(2, 3, 3, 3))
    assert [c.path for c in table.changes if c.note.startswith("left")] == ["1", "3.norm", "3.bn"]
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_more_kinds_of_sources():
    sources = [
        (nn.SyncBatchNorm(8), "group"),
        (nn.BatchNorm3d(8, affine=False), "group"),
        (nn.InstanceNorm2d(8, affine=True), "group"),
        (nn.InstanceNorm2d(8), "layer"),
        (nn.GroupNorm(2, 8), "layer2d"),
        (norms.LayerNorm2d(8), "group"),
        (nn.LayerNorm((8, 4, 4), bias=False), "rms"),
    ]
    for layer, to in sources:
        x = torch.randn(2, 8, 4, 4, *[4] * isinstance(layer, nn.BatchNorm3d))
        y = swap_norm(layer, to)(x)
        assert y.shape == x.shape
    lazy = nn.Sequential(nn.LazyBatchNorm2d())
    lazy(torch.randn(2, 6, 4, 4))
    assert isinstance(swap_norm(lazy)[0], norms.GroupNorm)


def test_an_rms_norm_without_eps_becomes_a_layer_norm_with_torchs():
    swapped, table = swap_norm(nn.RMSNorm(8), "layer", return_table=True)
    x = torch.randn(3, 8)
    wanted = nn.functional.layer_norm(x, (8,), eps=torch.finfo(torch.float32).eps)
    torch.testing.assert_close(swapped(x), wanted)
    assert table.changes[0].note == "now takes the mean away"


def test_a_frozen_batch_norm_stays_frozen():
    new = swap_norm(FrozenBatchNorm2d(8))
    assert isinstance(new, norms.GroupNorm)
    assert (new.weight == 2).all()
    assert not new.weight.requires_grad


def test_our_own_net_and_a_net_in_channels_last():
    net = models.DeeperCNN(lambda shape: nn.BatchNorm2d(shape[0]), convs_per_block=2)
    swapped = swap_norm(net, "group")
    x = torch.randn(2, 1, 28, 28)
    assert swapped(x).shape == (2, 10)
    last = copy.deepcopy(swapped).to(memory_format=torch.channels_last)
    x_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last(x_last), swapped(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_b0", "convnext_atto", "mobilenetv3_small_050"]
)
def test_timms_nets(name):
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, num_classes=3)
    swapped = swap_norm(net, "group")
    assert swapped(torch.randn(2, 3, 64, 64)).shape == (2, 3)
    assert not [m for m in swapped.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", ["convnext_atto", "mobilenetv4_conv_small", "poolformer_s12"])
def test_timms_nets_with_a_norm_behind_the_pooling(name):
    timm = pytest.importorskip("timm")
    net = timm.create_model(name, num_classes=3)
    swapped, table = swap_norm(net, "instance", return_table=True)
    assert sum("gets one pixel" in c.note for c in table.changes) == 1
    assert swapped(torch.randn(2, 3, 64, 64)).shape == (2, 3)


def test_a_net_in_distributed_data_parallel_is_refused():
    wrapped = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = nn.BatchNorm2d(4)
    for net in (wrapped, nn.Sequential(wrapped)):
        with pytest.raises(ValueError, match="swap first, then wrap"):
            swap_norm(net, inplace=True)


@pytest.mark.parametrize(
    ("net", "settings", "says"),
    [
        ("resnet18", {}, r"net must be a torch\.nn\.Module, but got a str"),
        (nn.BatchNorm2d(4), {"only": ["0"]}, "only must be a pattern"),
        (nn.BatchNorm2d(4), {"max_groups": 2.0}, "max_groups must be a whole number"),
        (nn.BatchNorm2d(4), {"example": (2, 4, 5, 5)}, "example must be a tensor, but got a tuple"),
    ],
)
def test_arguments_of_another_type_are_explained(net, settings, says):
    with pytest.raises(TypeError, match=says):
        swap_norm(net, **settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"to": "gruop"}, "to must be one of"),
        ({"max_groups": 0}, "at least 1"),
        ({"dims": 4}, "1, 2 or 3"),
    ],
)
def test_bad_settings_are_explained(settings, says):
    with pytest.raises(ValueError, match=says):
        swap_norm(nn.BatchNorm2d(4), **settings)
