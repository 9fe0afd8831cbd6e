"""Our convolution in C against torch's and against the reference, forward and gradient."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from tests.covering import every_pair, in_turn

from counterpoise.kernels import compiled
from counterpoise.kernels.conv2d import choose, conv2d, cpu, eager
from counterpoise.kernels.conv2d.reference import conv2d as reference

in_c = pytest.mark.skipif(cpu._FORWARD is None, reason="no kernel was compiled")


def made(i, o, size, kernel, n=3):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, i, *size, generator=g).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(o, i, kernel, kernel, generator=g), torch.randn(o, generator=g)
    return [t.requires_grad_() for t in (x, weight, bias)]


def outcome(function, inputs):
    y = function(*inputs)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    return [y, *torch.autograd.grad(y, inputs, g)]


@in_turn(
    given=[(1, 8, 3), (4, 4, 3), (8, 2, 3), (3, 4, 3), (4, 4, 1), (3, 2, 1)],  # C's, and torch's
    size=[(28, 28), (5, 14), (3, 2)],
)
def test_equals_the_reference_in_float64(given, size):
    i, o, kernel = given
    inputs, pad = made(i, o, size, kernel), (kernel // 2, kernel // 2)
    found = outcome(lambda x, w, b: conv2d(x, w, b, pad), inputs)
    double = [t.detach().double().requires_grad_() for t in inputs]
    wanted = outcome(lambda x, w, b: reference(x, w, b, pad), double)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.double(), w, rtol=1e-4, atol=1e-3)


def error(found, wanted):
    return ((found.double() - wanted).norm() / wanted.norm()).item()


@every_pair(size=[(28, 28), (5, 7), (1, 1), (33, 17), (2, 70)], i=[1, 4, 8], o=[4, 8])
@in_c
def test_is_as_exact_as_torch(i, o, size):
    for n in (1, 20):
        inputs = made(i, o, size, 3, n)
        assert cpu.suits(*inputs, (1, 1))
        found = outcome(lambda *a: conv2d(*a, (1, 1)), inputs)
        torchs = outcome(lambda *a: F.conv2d(*a, padding=1), inputs)
        double = [t.detach().double().requires_grad_() for t in inputs]
        wanted = outcome(lambda *a: reference(*a, (1, 1)), double)
        for f, t, w in zip(found, torchs, wanted, strict=True):
            assert error(f, w) < max(2 * error(t, w), 5e-7)  # a few roundings


@in_c
def test_what_the_kernel_takes():
    def suits(i, o, kernel=3, padding=(1, 1), change=lambda t: t):
        x, weight, bias = (change(t.detach()) for t in made(i, o, (6, 8), kernel))
        return cpu.suits(x, weight, bias, padding)

    found = {(i, o) for i in range(1, 10) for o in range(1, 10) if suits(i, o)}
    assert found == {(i, o) for i in (1, 4, 8) for o in (4, 8)}
    assert not suits(4, 4, kernel=5, padding=(2, 2))
    assert not suits(4, 4, padding=(0, 0))
    assert not suits(4, 4, change=torch.Tensor.double)
    x, weight, bias = made(4, 4, (6, 8), 3)
    assert not cpu.suits(x.contiguous(), weight, bias, (1, 1))
    assert not cpu.suits(x, weight, bias[:3], (1, 1))
    assert not cpu.suits(x[:, :, ::2], weight, bias, (1, 1))


def test_without_a_library_there_is_no_kernel(monkeypatch):
    monkeypatch.setattr(compiled, "LIBRARY", None)
    assert compiled.prototype("conv3x3", "p") is None


def test_sizes_that_do_not_fit_raise_as_torch_does():
    x, weight, bias = made(4, 4, (6, 8), 3)
    with pytest.raises(RuntimeError, match="channels"):
        conv2d(x, made(8, 4, (6, 8), 3)[1], bias, (1, 1))
    with pytest.raises(RuntimeError, match="bias"):
        conv2d(x, weight, bias[:3], (1, 1))


@in_c
def test_the_numbers_are_the_same_for_any_number_of_threads():
    before, found = torch.get_num_threads(), []
    inputs = made(4, 8, (28, 28), 3, n=37)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(outcome(lambda *a: conv2d(*a, (1, 1)), inputs))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_zeros_around_the_image_and_nothing_else():
    """What lies beside an image, or a tile of it, in memory is never read as if it were in it."""
    x, weight, bias = (t.detach() for t in made(4, 4, (31, 33), 3))
    for part in ((0, 0), (30, 32), (15, 16)):
        only = torch.zeros_like(x)
        only[1, :, part[0], part[1]] = float("inf")
        y = conv2d(only, weight.abs(), bias, (1, 1))
        assert y.isfinite().sum() == y.numel() - 4 * (4 if part != (15, 16) else 9)
        assert not y.isnan().any()


@in_c
def test_choose_tells_what_is_called():
    x, weight, bias = made(4, 4, (6, 8), 3)
    assert choose(x, weight, bias, (1, 1))[0] is cpu.conv2d
    assert choose(x.contiguous(), weight, bias, (1, 1))[0] is eager.conv2d


def test_without_bias_and_frozen_parts():
    x, weight, _ = made(4, 4, (8, 8), 3)
    weight.requires_grad_(False)
    y = conv2d(x, weight, None, (1, 1))
    g = torch.ones_like(y)
    wanted = torch.autograd.grad(F.conv2d(x, weight, padding=1), x, g)[0]
    torch.testing.assert_close(torch.autograd.grad(y, x, g)[0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "lazy", [torch._efficientzerotensor, lambda s: torch._neg_view(torch.ones(s))]
)
def test_a_gradient_whose_memory_is_not_its_numbers(lazy):
    inputs = made(4, 4, (6, 8), 3)
    y = conv2d(*inputs, (1, 1))
    g = lazy(y.shape).contiguous(memory_format=torch.channels_last)
    found = torch.autograd.grad(y, inputs, g)
    wanted = torch.autograd.grad(F.conv2d(*inputs, padding=1), inputs, g.clone() + 0)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-3)


@in_turn(asked=list(itertools.product([False, True], repeat=3))[1:], i=[1, 4])
def test_each_gradient_alone(i, asked):
    inputs = made(i, 4, (6, 8), 3)
    for t, wanted in zip(inputs, asked, strict=True):
        t.requires_grad_(wanted)
    chosen = [t for t in inputs if t.requires_grad]
    g = torch.randn(3, 4, 6, 8)
    found = torch.autograd.grad(conv2d(*inputs, (1, 1)), chosen, g)
    wanted = torch.autograd.grad(F.conv2d(*inputs, padding=1), chosen, g)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-4)


GRADS = {
    "contiguous": torch.randn(3, 8, 6, 8, generator=torch.Generator().manual_seed(2)),
    "of a sum": torch.ones(()).expand(3, 8, 6, 8),
    "of each channel": torch.arange(8.0).reshape(8, 1, 1).expand(3, 8, 6, 8),
}


@pytest.mark.parametrize("g", GRADS.values(), ids=GRADS)
def test_a_gradient_in_another_layout(g):
    inputs = made(4, 8, (6, 8), 3)
    found = torch.autograd.grad(conv2d(*inputs, (1, 1)), inputs, g)
    wanted = torch.autograd.grad(F.conv2d(*inputs, padding=1), inputs, g)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-4)


def test_the_gradient_can_be_differentiated():
    inputs = made(4, 4, (4, 4), 3)

    def penalty(function):
        grads = torch.autograd.grad(function(*inputs).square().sum(), inputs, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in grads), inputs)

    wanted = penalty(lambda x, w, b: F.conv2d(x, w, b, padding=1))
    for f, w in zip(penalty(lambda x, w, b: conv2d(x, w, b, (1, 1))), wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-3, atol=1e-1)


def test_several_gradients_may_come_at_once():
    inputs = made(4, 4, (4, 8), 3)
    g = torch.randn(5, 3, 4, 4, 8)
    found = torch.autograd.grad(conv2d(*inputs, (1, 1)), inputs, g, is_grads_batched=True)
    for k in range(5):
        wanted = torch.autograd.grad(F.conv2d(*inputs, padding=1), inputs, g[k])
        for f, w in zip(found, wanted, strict=True):
            torch.testing.assert_close(f[k], w, rtol=1e-4, atol=1e-4)


def test_autocast_is_obeyed():
    inputs = made(4, 4, (8, 8), 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = outcome(lambda *a: conv2d(*a, (1, 1)), inputs)
        wanted = outcome(lambda *a: F.conv2d(*a, padding=1), inputs)
    assert found[0].dtype == torch.bfloat16
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w)


@pytest.mark.parametrize("i", [1, 4])
def test_a_weight_in_channels_last_and_inference_mode(i):
    x, weight, bias = made(i, 4, (8, 8), 3)
    weight = weight.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    found = outcome(lambda *a: conv2d(*a, (1, 1)), [x, weight, bias])
    wanted = outcome(lambda *a: F.conv2d(*a, padding=1), [x, weight, bias])
    with torch.inference_mode():
        found.append(conv2d(x, weight, bias, (1, 1)))
    for f, w in zip(found, [*wanted, wanted[0]], strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-3)


def test_a_single_image_without_a_batch_is_left_to_torch():
    x, weight, bias = made(4, 4, (8, 8), 3)
    assert torch.equal(conv2d(x[0], weight, bias, (1, 1)), F.conv2d(x[0], weight, bias, padding=1))


def test_an_in_place_relu_may_follow():
    inputs = made(4, 4, (8, 8), 3)
    found = outcome(lambda *a: conv2d(*a, (1, 1)).relu_(), inputs)
    wanted = outcome(lambda *a: F.conv2d(*a, padding=1).relu(), inputs)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-3)
