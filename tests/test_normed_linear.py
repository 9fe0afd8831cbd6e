"""The cosine head against torch's cosine similarity and its authors' formula."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.models import NormedLinear


def made(*shape, dtype=torch.float32):
    torch.manual_seed(0)
    return NormedLinear(6, 4, dtype=dtype), torch.randn(*shape, 6, dtype=dtype)


def test_equals_the_authors_formula():
    # LDAM-DRW, models/resnet_cifar.py: both normalised, with the weight of shape (in, out)
    head, x = made(9)
    head.weight.data *= torch.tensor([[0.1], [1.0], [7.0], [300.0]])
    wanted = F.normalize(x, dim=1).mm(F.normalize(head.weight.T, dim=0))
    torch.testing.assert_close(head(x), wanted)
    wanted_grad = torch.autograd.grad(wanted[:, 1].sum(), head.weight)
    torch.testing.assert_close(torch.autograd.grad(head(x)[:, 1].sum(), head.weight), wanted_grad)


@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (0,)])
def test_equals_torchs_cosine_similarity(shape):
    head, x = made(*shape)
    wanted = F.cosine_similarity(x.unsqueeze(-2), head.weight, dim=-1)
    torch.testing.assert_close(head(x), wanted)


def test_lengths_change_nothing():
    head, x = made(9)
    wanted = head(x)
    head.weight.data *= 100
    torch.testing.assert_close(head(x * 1e-3), wanted)


def test_starts_with_rows_of_length_1_in_every_direction():
    weight = NormedLinear(32, 1000).weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(1000))
    assert weight.mean(0).abs().max() < 0.03


def test_first_and_second_derivatives():
    head, x = made(5, dtype=torch.float64)
    x.requires_grad_()

    def call(x, weight):
        return torch.func.functional_call(head, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(call, (x, head.weight))
    assert torch.autograd.gradgradcheck(call, (x, head.weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_zeros_have_cosine_0_and_gradient_0(dtype):
    head, x = made(3, dtype=dtype)
    head.weight.data[1] = 0
    x[0] = 0
    y = head(x.requires_grad_())
    y.sum().backward()
    assert (y[0] == 0).all()
    assert (y[:, 1] == 0).all()
    assert (x.grad[0] == 0).all()
    assert (head.weight.grad[1] == 0).all()
    assert x.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()
    assert (x.grad[1:] != 0).any()


def test_half_precision_does_not_overflow():
    head, x = made(3)
    low = NormedLinear(6, 4, dtype=torch.float16)
    low.load_state_dict(head.state_dict())
    found = low((x * 2e4).half())  # of a length that float16 cannot hold
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), head(x), rtol=0, atol=5e-3)


def test_has_the_state_of_a_linear_layer_without_bias():
    head, _ = made(3)
    linear = nn.Linear(6, 4, bias=False)
    linear.load_state_dict(head.state_dict())
    assert torch.equal(linear.weight, head.weight)
    assert list(head.state_dict()) == ["weight"]
    assert repr(head) == "NormedLinear(in_features=6, out_features=4, eps=1e-12)"


def test_compiles_in_one_graph():
    head, x = made(3)
    whole = torch.compile(head, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x), head(x))


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (3, 3, -1.0), (3, 3, float("nan"))])
def test_bad_sizes_are_explained(sizes):
    with pytest.raises(ValueError, match="at least one input and one class"):
        NormedLinear(*sizes)
