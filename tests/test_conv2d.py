"""The folded convolution against torch's and against the reference, forward and gradient."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from counterpoise.kernels.conv2d import _suits_folding, conv2d
from counterpoise.kernels.conv2d.folded import pixels_folded
from counterpoise.kernels.conv2d.reference import conv2d as reference

CASES = list(
    itertools.product([1, 3, 4, 8, 9], [1, 2, 3, 4, 8], [(28, 28), (5, 14), (3, 2)], [1, 3, 5])
)


def made(i, o, size, kernel):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(3, i, *size, generator=g).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(o, i, kernel, kernel, generator=g), torch.randn(o, generator=g)
    return [t.requires_grad_() for t in (x, weight, bias)]


def outcome(function, inputs):
    y = function(*inputs)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    return [y, *torch.autograd.grad(y, inputs, g)]


@pytest.mark.parametrize(("i", "o", "size", "kernel"), CASES)
def test_equals_the_reference_in_float64(i, o, size, kernel):
    inputs, pad = made(i, o, size, kernel), (kernel // 2, kernel // 2)
    found = outcome(lambda x, w, b: conv2d(x, w, b, pad), inputs)
    double = [t.detach().double().requires_grad_() for t in inputs]
    wanted = outcome(lambda x, w, b: reference(x, w, b, pad), double)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.double(), w, rtol=1e-4, atol=1e-3)


def test_the_cases_reach_the_folded_path():
    folded = [c for c in CASES if _suits_folding(*made(*c)[:2], (c[3] // 2, c[3] // 2))]
    assert len(folded) > len(CASES) / 2
    assert [pixels_folded(c, 28) for c in (1, 2, 4, 8, 16, 3)] == [4, 4, 4, 2, 1, 4]
    assert [pixels_folded(4, w) for w in (28, 14, 7, 4, 2)] == [4, 2, 1, 2, 1]


def test_without_bias_and_frozen_parts():
    x, weight, _ = made(4, 4, (8, 8), 3)
    weight.requires_grad_(False)
    y = conv2d(x, weight, None, (1, 1))
    g = torch.ones_like(y)
    wanted = torch.autograd.grad(F.conv2d(x, weight, padding=1), x, g)[0]
    torch.testing.assert_close(torch.autograd.grad(y, x, g)[0], wanted, rtol=1e-4, atol=1e-4)


def test_a_gradient_in_the_other_layout():
    inputs = made(4, 8, (6, 8), 3)
    g = torch.randn(3, 8, 6, 8)
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
