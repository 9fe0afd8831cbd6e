"""Gradients of weight and bias in half precision on a CPU: summed in float32, rounded once."""

import contextlib
import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.covering import every_pair, in_turn
from torch import nn
from torch.utils.checkpoint import checkpoint

from counterpoise import norms
from counterpoise.norms import swap_norm

LAST = torch.channels_last
HALVES = [torch.bfloat16, torch.float16]
half = pytest.mark.parametrize("dtype", HALVES)
NORMS = {
    "layer": lambda c, h, w: norms.LayerNorm((c, h, w)),
    "last axis": lambda c, h, w: norms.LayerNorm(w),
    "last two": lambda c, h, w: norms.LayerNorm((h, w)),
    "layer2d": lambda c, h, w: norms.LayerNorm2d(c),
    "rms": lambda c, h, w: norms.RMSNorm((c, h, w)),
    "rms of one": lambda c, h, w: norms.RMSNorm(w),
    "one group": lambda c, h, w: norms.GroupNorm(1, c),
    "groups": lambda c, h, w: norms.GroupNorm(c // 2, c),
    "instance": lambda c, h, w: norms.InstanceNorm(c, affine=True),
}
LAYOUTS = {
    "contiguous": torch.Tensor.contiguous,
    "channels_last": lambda x: x.contiguous(memory_format=LAST),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
    "sliced": lambda x: torch.cat([x, x], 1).contiguous(memory_format=LAST)[:, : x.shape[1]],
}


def made(name, shape, dtype, of_own=None, offset=0.0, seed=0):
    """A layer, an input and a gradient, whose sums mostly are of one sign."""
    torch.manual_seed(seed)
    norm = NORMS[name](*shape[1:]).to(of_own or dtype)
    for p in norm.parameters():
        nn.init.normal_(p)
    return norm, (torch.randn(shape) + offset).to(dtype), (torch.randn(shape) + 0.3).to(dtype)


def gradients(norm, x, grad):
    y = norm(x)
    return torch.autograd.grad(y, list(norm.parameters()), grad.to(y.dtype))


def exact(norm, x, grad):
    """The gradients in float64 by the formula."""
    norm = copy.deepcopy(norm).double()
    if norm.eps is None:  # an RMSNorm's, which half precision takes from float32
        norm.eps = torch.finfo(torch.float32).eps
    with norms.backend("reference"):
        return gradients(norm, x.double().contiguous(), grad.double())


def sizes(norm, x, grad):
    """The sums of the absolute sizes of what the gradients of weight and bias are the sums of."""
    plain, x, grad = copy.deepcopy(norm).double(), x.double().contiguous(), grad.double().abs()
    nn.init.ones_(plain.weight)
    if getattr(plain, "bias", None) is not None:
        nn.init.zeros_(plain.bias)
    return [exact(plain, x, grad * plain(x).sign())[0], *exact(plain, x, grad)[1:]]


def ulps(found, wanted):
    """By how many steps of its own dtype a gradient is off from the rounded one, at most."""
    right, info = wanted.to(found.dtype), torch.finfo(found.dtype)
    assert torch.equal(found.isfinite(), right.isfinite())
    right, found = (t.double()[right.isfinite()] for t in (right, found))
    step = right.abs().clamp_min(info.tiny).log2().floor().exp2() * info.eps
    return ((found - right).abs() / step).max().item() if len(right) else 0.0


def assert_right(norm, x, grad, found=None):
    """One rounding to the parameter's dtype, and float32's of the terms, which may cancel."""
    found = gradients(norm, x, grad) if found is None else found
    total = sizes(norm, x, grad)
    for f, w, t in zip(found, exact(norm, x, grad), total, strict=True):
        info = torch.finfo(f.dtype)
        finite = w.to(f.dtype).isfinite()
        assert torch.equal(f.isfinite(), finite)
        step = info.eps * w.abs().clamp_min(info.tiny)  # below tiny they are all the same
        assert ((f - w).abs() <= 1.01 * step + 3e-6 * t)[finite].all()


@every_pair(
    name=NORMS,
    layout=LAYOUTS,
    run=[(torch.bfloat16, None), (torch.bfloat16, "eager"), (torch.float16, None)],  # it has no C
)
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's own
def test_they_are_float64s_rounded_once(name, layout, run):
    (dtype, backend), shape = run, (40, 4, 12, 10)
    norm, x, grad = made(name, shape, dtype)
    mixed, x_of_mixed, grad_of_mixed = made(name, shape, dtype, torch.float32, 3.0, seed=1)
    with norms.backend(backend) if backend else contextlib.nullcontext():
        assert_right(norm, LAYOUTS[layout](x), grad)
        found = gradients(mixed, LAYOUTS[layout](x_of_mixed), grad_of_mixed)
    wanted = exact(mixed, x_of_mixed, grad_of_mixed)
    total = sizes(mixed, x_of_mixed, grad_of_mixed)
    for f, w, t in zip(found, wanted, total, strict=True):
        assert f.dtype == torch.float32
        assert ((f - w).abs() <= 1e-6 * t).all()


@in_turn(name=NORMS, layout=["contiguous", "channels_last"])
def test_numbers_near_float16s_largest(name, layout):
    """As a loss scale makes them: infinite where float64's rounded are, and nowhere else."""
    for scale in (1e4, 3e3):
        norm, x, grad = made(name, (8, 4, 6, 6), torch.float16)
        assert_right(norm, LAYOUTS[layout](x), grad * scale)
        assert_right(norm, LAYOUTS[layout](x * scale), grad / 64)


@pytest.mark.parametrize("number", [257, 259])
@pytest.mark.parametrize("name", ["layer", "groups"])
def test_what_lies_between_two_numbers_is_rounded_to_the_even_one(name, number):
    """As torch does: bfloat16 knows every second number from 256 on."""
    even = {257: 256.0, 259: 260.0}[number]
    shape = (number, 4, 2, 3) if name == "layer" else (1, 4, 1, number)
    low, x, _ = made(name, shape, torch.bfloat16)
    mixed, *_ = made(name, shape, torch.bfloat16, torch.float32)
    nn.init.constant_(mixed.bias, number)
    for layout in ("contiguous", "channels_last"):
        x = LAYOUTS[layout](x)
        _, sums = gradients(low, x, torch.ones(shape))
        assert sums.unique().tolist() == [even], layout
        assert mixed(torch.zeros_like(x)).unique().tolist() == [even], layout


@half
def test_the_image_of_64_channels_that_torch_gets_wrong(dtype):
    torch.manual_seed(0)
    x, grad = torch.randn(64, 64, 32, 32).to(dtype), (torch.randn(64, 64, 32, 32) + 0.3).to(dtype)
    norm = norms.LayerNorm2d(64)
    own = {"weight": norm.weight.to(dtype).detach(), "bias": norm.bias.to(dtype).detach()}
    for of_own in (dict(norm.named_parameters()), own):  # float32 beside half, and half
        y = torch.func.functional_call(norm, {k: p.requires_grad_() for k, p in of_own.items()}, x)
        found = torch.autograd.grad(y, of_own["bias"], grad)[0]
        wanted = grad.sum((0, 2, 3), dtype=torch.float64)
        assert wanted.min() > 19_000
        assert (found - wanted).abs().max() <= max(
            torch.finfo(found.dtype).eps, 1e-5
        ) * wanted.max()


@half
@given(
    rows=st.integers(1, 300),
    columns=st.integers(2, 40),  # xhat of one number is what rounding left, times 1/sqrt(eps)
    offset=st.sampled_from([0.0, 3.0, 100.0]),
    size=st.sampled_from([1e-4, 1.0, 100.0]),
)
def test_any_number_of_rows_and_columns(dtype, rows, columns, offset, size):
    torch.manual_seed(rows)
    x = (torch.randn(rows, columns) + offset).to(dtype)
    grad = (size * torch.randn(rows, columns)).to(dtype)  # heavy cancellation
    for norm in (norms.LayerNorm(columns), norms.RMSNorm(columns), norms.GroupNorm(1, columns)):
        assert_right(norm.to(dtype), x, grad)


@in_turn(dtype=HALVES, columns=[1, 4])
def test_a_million_rows(dtype, columns):
    """In float16 the sum of the ones exceeds what the dtype holds: infinite, as it should be."""
    x = torch.randn(2**20, columns, generator=torch.Generator().manual_seed(0)).to(dtype)
    norm = norms.LayerNorm(columns).to(dtype)
    for scale in (1.0, 2.0**-10):
        grad = torch.full_like(x, scale)
        found = torch.autograd.grad(norm(x), norm.bias, grad)[0]
        assert ulps(found, grad.sum(0, dtype=torch.float64)) == 0


@every_pair(dtype=HALVES, name=["layer2d", "layer"], of_own=[torch.float32, None])
def test_only_what_is_asked_for_and_only_what_there_is(name, dtype, of_own):
    norm, x, grad = made(name, (9, 4, 5, 6), dtype, of_own)
    weight, bias = exact(norm, x, grad)
    room = 1.01 * torch.finfo(norm.weight.dtype).eps + 1e-5
    for learned in ("weight", "bias"):
        for p in norm.parameters():
            p.requires_grad_(p is getattr(norm, learned))
        found = torch.autograd.grad(norm(x), getattr(norm, learned), grad)[0]
        wanted = weight if learned == "weight" else bias
        torch.testing.assert_close(found.double(), wanted, rtol=room, atol=1e-4)
    norm.bias = None
    norm.weight.requires_grad_()
    for f in (gradients(norm, x, grad)[0], gradients(norm.eval(), x, grad)[0]):
        torch.testing.assert_close(f.double(), weight, rtol=room, atol=1e-4)
    norm.weight.requires_grad_(False)
    x.requires_grad_()
    assert torch.autograd.grad(norm(x), x, grad)[0].dtype == dtype
    assert not norm(x.detach()).requires_grad


@in_turn(name=NORMS, given=itertools.product(HALVES, ["contiguous", "channels_last"]))
def test_the_output_is_torchs_and_the_inputs_gradient_no_worse(name, given):
    dtype, layout = given
    norm, x, grad = made(name, (6, 4, 8, 10), dtype, offset=2.0)
    x = LAYOUTS[layout](x).requires_grad_()
    with torch.no_grad():
        torch.testing.assert_close(norm(x), norm(x.detach()), rtol=0, atol=0)
    y = norm(x)
    torch.testing.assert_close(y.detach(), norm(x.detach()).detach(), rtol=0, atol=0)
    wide, plain = x.detach().double().requires_grad_(), copy.deepcopy(norm).double()
    with norms.backend("reference"):
        wanted = torch.autograd.grad(plain(wide), wide, grad.double())[0]
    found = torch.autograd.grad(y, x, grad)[0]
    assert (found - wanted).abs().max() <= torch.finfo(dtype).eps * wanted.abs().max()


@in_turn(name=["layer2d", "layer", "rms", "groups"], dtype=HALVES)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_every_kind_of_derivative(name, dtype):
    norm, x, grad = made(name, (12, 4, 6, 5), dtype)
    own = {key: p.detach() for key, p in norm.named_parameters()}
    x.requires_grad_()

    def of(own, x, grad):
        return (torch.func.functional_call(norm, own, (x,)).double() * grad.double()).sum()

    assert_right(norm, x, grad, list(torch.func.grad(of)(own, x, grad).values()))
    assert_right(norm, x, grad, gradients(lambda_of(norm, checkpoint), x, grad))
    many = torch.stack([grad, grad.square()])
    batch = torch.autograd.grad(norm(x), list(norm.parameters()), many, is_grads_batched=True)
    for i, given_grad in enumerate(many):
        assert_right(norm, x, given_grad, [b[i] for b in batch])
    each = torch.vmap(torch.func.grad(of), (None, 0, 0))(own, x[:, None], grad[:, None])
    for i, found in enumerate(zip(*each.values(), strict=True)):
        assert_right(norm, x[i : i + 1], grad[i : i + 1], found)
    tangents = {key: torch.ones_like(p) for key, p in own.items()}
    _, found = torch.func.jvp(lambda own: of(own, x, grad), (own,), (tangents,))
    torch.testing.assert_close(found, sum(g.sum() for g in exact(norm, x, grad)), rtol=2e-2, atol=9)


def lambda_of(norm, through):
    """A layer with the parameters of another, called through a function."""
    module = nn.Module()
    module.forward = lambda x: through(norm, x, use_reentrant=False)
    module.norm = norm
    return module


@in_turn(name=NORMS, dtype=HALVES)
def test_second_order(name, dtype):
    norm, x, grad = made(name, (8, 4, 6, 5), dtype)

    def penalty(norm, x, grad):
        x = x.detach().requires_grad_()
        of_x, *own = torch.autograd.grad(norm(x), [x, *norm.parameters()], grad, create_graph=True)
        return torch.autograd.grad(of_x.double().square().sum(), norm.weight)[0], own

    found, own = penalty(norm, x, grad)
    wide = copy.deepcopy(norm).double()
    with norms.backend("reference"):
        wanted, _ = penalty(wide, x.double(), grad.double())
    assert_right(norm, x, grad, own)
    assert (found - wanted).abs().max() <= 4 * torch.finfo(dtype).eps * wanted.abs().max()


@in_turn(name=["layer2d", "layer", "rms", "groups"], dtype=HALVES)
def test_compiled_in_one_graph_and_exported_for_inference(name, dtype):
    torch.compiler.reset()
    norm, x, grad = made(name, (20, 4, 6, 5), dtype)
    whole = torch.compile(norm, backend="aot_eager", fullgraph=True)
    for f, w in zip(gradients(whole, x, grad), exact(norm, x, grad), strict=True):
        torch.testing.assert_close(f.double(), w, rtol=2 * torch.finfo(dtype).eps, atol=1e-4)
    exported = torch.export.export(norm, (x,))
    assert "float64" not in str(exported.graph)
    torch.testing.assert_close(exported.module()(x), norm(x))


@every_pair(dtype=HALVES, autocast=[True, False], memory=[torch.contiguous_format, LAST])
def test_a_net_with_swapped_norms_trains_with_the_right_gradients(dtype, autocast, memory):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
    )  # fmt: skip
    net = swap_norm(net, to="layer2d").to(memory_format=memory)
    if not autocast:
        net = net.to(dtype)
    seen = {}

    def look(norm, args, y):
        """What each norm gets, forward and backward: the layers beside it round, too."""
        seen[norm] = [args[0].detach()]
        y.register_hook(seen[norm].append)

    handles = [net[i].register_forward_hook(look) for i in (1, 4)]
    x = torch.randn(16, 3, 20, 20).contiguous(memory_format=memory)
    with torch.autocast("cpu", dtype, enabled=autocast):
        y = net(x if autocast else x.to(dtype))
    y.float().square().sum().backward()
    for handle in handles:
        handle.remove()
    assert len(seen) == 2
    for norm, (given_x, grad) in seen.items():
        assert given_x.dtype == dtype
        wanted, total = exact(norm, given_x, grad), sizes(norm, given_x, grad)
        for p, w, t in zip(norm.parameters(), wanted, total, strict=True):
            room = 1e-3 * t if autocast else 1.01 * torch.finfo(dtype).eps * w.abs()
            assert ((p.grad - w).abs() <= room).all()


@every_pair(
    dtype=HALVES,
    shape=[(2, 4, 5, 6), (2, 4, 3, 5, 6)],
    backend=["cpu", "eager", "reference"],
)
def test_an_in_place_relu_may_follow_in_any_layout(dtype, shape, backend):
    last = LAST if len(shape) == 4 else torch.channels_last_3d
    made = [norms.GroupNorm(1, 4), norms.GroupNorm(2, 4), norms.LayerNorm(shape[1:])]
    made += [norms.RMSNorm(shape[1:]), norms.LayerNorm(6)]
    for norm in made + [norms.LayerNorm2d(4)] * (len(shape) == 4):
        x, grad = torch.randn(shape).to(dtype), (torch.randn(shape) + 0.3).to(dtype)
        for memory in (torch.contiguous_format, last):
            given_x = x.contiguous(memory_format=memory)
            with norms.backend(backend):
                y = nn.Sequential(norm.to(dtype), nn.ReLU(inplace=True))(given_x)
            assert y.is_contiguous(memory_format=memory)
            y.backward(grad)
            assert backend == "reference" or all(
                ulps(p.grad, w) <= 1
                for p, w in zip(norm.parameters(), exact(norm, x, grad * (y > 0)), strict=True)
            )
            norm.zero_grad()
