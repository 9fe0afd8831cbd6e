"""Norms against torch's own, float64, and their reference formula, in both layouts."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

from counterpoise import norms
from counterpoise.kernels.group_norm import group_norm
from counterpoise.kernels.group_norm.reference import group_norm as group_reference
from counterpoise.kernels.layer_norm import layer_norm
from counterpoise.kernels.layer_norm.reference import layer_norm as layer_reference

pytestmark = pytest.mark.usefixtures("with_and_without_c")

LAYOUTS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(2, 4, 28, 28), (3, 8, 14, 14), (1, 6, 5, 7), (5, 12, 1, 1), (4, 2, 3, 1), (2, 260, 2, 2)]


def made(shape, layout=torch.contiguous_format, offset=0.0, dtype=torch.float32):
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) + offset
    return x.contiguous(memory_format=layout).requires_grad_()


def outcome(function, x, *parameters):
    """Output and all gradients, for a gradient that is not constant."""
    y = function(x, *parameters)
    weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    return [y, *torch.autograd.grad(y, [x, *parameters], weight)]


def doubled(*tensors):
    return [t.detach().double().requires_grad_() for t in tensors]


def affine(shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize(("shape", "layout"), list(itertools.product(SHAPES, LAYOUTS)))
def test_group_norm_equals_its_formula_in_float64(shape, layout):
    x, (weight, bias) = made(shape, layout), affine(shape[1])
    groups = 2
    found = outcome(lambda *a: group_norm(a[0], groups, *a[1:]), x, weight, bias)
    wanted = outcome(lambda *a: group_reference(a[0], groups, *a[1:]), *doubled(x, weight, bias))
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.double(), w, rtol=1e-4, atol=2e-4)
    assert found[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("shape", "layout"), list(itertools.product(SHAPES[:4], LAYOUTS)))
def test_layer_norm_equals_its_formula_in_float64(shape, layout):
    x, (weight, bias) = made(shape, layout), affine(shape[1:])
    found = outcome(lambda *a: layer_norm(a[0], shape[1:], *a[1:]), x, weight, bias)
    wanted = outcome(lambda *a: layer_reference(a[0], shape[1:], *a[1:]), *doubled(x, weight, bias))
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.double(), w, rtol=1e-4, atol=2e-4)
    assert found[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e3, 1e4])
def test_channels_last_group_norm_is_as_exact_as_contiguous_at_large_means(offset):
    x, (weight, bias) = made((4, 32, 16, 16), torch.channels_last, offset), affine(32)
    wanted = outcome(lambda *a: group_reference(a[0], 8, *a[1:]), *doubled(x, weight, bias))
    ours = outcome(lambda *a: group_norm(a[0], 8, *a[1:]), x, weight, bias)
    straight = x.detach().contiguous().requires_grad_()
    torchs = outcome(lambda *a: nn.functional.group_norm(a[0], 8, *a[1:]), straight, weight, bias)
    for o, t, w in zip(ours, torchs, wanted, strict=True):
        assert (o - w).abs().max() <= 2 * (t - w).abs().max() + 1e-6


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", ["group", "layer"])
def test_gradients_are_right_to_second_order(function, layout):
    x = made((2, 4, 2, 3), layout, dtype=torch.float64)
    shape = (4,) if function == "group" else (4, 2, 3)
    parameters = [p.detach().double().requires_grad_() for p in affine(shape)]

    def norm(x, weight, bias):
        if function == "group":
            return group_norm(x, 2, weight, bias)
        return layer_norm(x, (4, 2, 3), weight, bias)

    assert torch.autograd.gradcheck(norm, (x, *parameters))
    assert torch.autograd.gradgradcheck(norm, (x, *parameters))


@pytest.mark.parametrize("affine_parts", [(), ("weight",), ("weight", "bias")])
def test_group_norm_without_weight_or_bias(affine_parts):
    x = made((2, 4, 6, 6), torch.channels_last)
    given = {
        part: p
        for part, p in zip(("weight", "bias"), affine(4), strict=True)
        if part in affine_parts
    }
    torch.testing.assert_close(group_norm(x, 2, **given), nn.functional.group_norm(x, 2, **given))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_vmap_and_forward_mode_work_on_channels_last():
    x = made((2, 4, 6, 6), torch.channels_last).detach()
    y, tangent = torch.func.jvp(lambda x: group_norm(x, 2), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(y, group_reference(x, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tangent, torch.zeros_like(x), rtol=0, atol=1e-5)
    many = torch.stack([x, 2 * x])
    torch.testing.assert_close(
        torch.vmap(lambda x: group_norm(x, 2))(many)[1], group_norm(2 * x, 2), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_in_place_relu_may_follow(layout):
    for module in (norms.GroupNorm(2, 4), norms.LayerNorm((4, 6, 6))):
        x = made((2, 4, 6, 6), layout)
        together = nn.Sequential(module, nn.ReLU(inplace=True))
        apart = nn.Sequential(module, nn.ReLU())
        for f, w in zip(outcome(together, x), outcome(apart, x), strict=True):
            torch.testing.assert_close(f, w)


def test_empty_batch():
    x = torch.empty(0, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    assert norms.GroupNorm(2, 4)(x).shape == x.shape
    assert norms.LayerNorm((4, 6, 6))(x).shape == x.shape


PAIRS = [
    (norms.LayerNorm((4, 6, 6)), nn.LayerNorm((4, 6, 6))),
    (norms.LayerNorm(6, bias=False), nn.LayerNorm(6, bias=False)),
    (norms.GroupNorm(2, 4), nn.GroupNorm(2, 4)),
    (norms.GroupNorm(2, 4, affine=False), nn.GroupNorm(2, 4, affine=False)),
]


@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_module_is_a_drop_in(ours, torchs):
    assert isinstance(ours, type(torchs))
    assert repr(ours) == repr(torchs)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    torchs.load_state_dict(ours.state_dict())
    x = made((2, 4, 6, 6))
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-5, atol=1e-6)
    again = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    torch.testing.assert_close(again(x), ours(x), rtol=0, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiles_in_one_graph(layout):
    for module in (norms.GroupNorm(2, 4), norms.LayerNorm((4, 6, 6))):
        x = made((2, 4, 6, 6), layout)
        whole = torch.compile(module, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(whole(x), module(x), rtol=1e-4, atol=1e-5)


def test_torchs_own_module_inputs_pass():
    modules = pytest.importorskip("torch.testing._internal.common_modules")
    checked = 0
    for info in modules.module_db:
        ours = {nn.GroupNorm: norms.GroupNorm, nn.LayerNorm: norms.LayerNorm}.get(info.module_cls)
        if ours is None:
            continue
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=True, training=True
        )
        for given in inputs:
            args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
            x = given.forward_input.args[0]
            ours_here, torchs = ours(*args, **kwargs), info.module_cls(*args, **kwargs)
            torch.testing.assert_close(ours_here(x), torchs(x), rtol=1e-5, atol=1e-5)
            checked += 1
    assert checked >= 15


def test_wrong_shapes_are_explained():
    with pytest.raises(ValueError, match=r"6 channels and 4 groups"):
        norms.GroupNorm(4, 6)
    with pytest.raises(ValueError, match=r"4 channels, but got \(2, 6, 5, 5\)"):
        norms.GroupNorm(2, 4)(torch.zeros(2, 6, 5, 5))
    with pytest.raises(ValueError, match=r"last 2 axes are \(4, 5\), but got \(2, 5, 4\)"):
        norms.LayerNorm((4, 5))(torch.zeros(2, 5, 4))
