"""The focal loss against torch, the paper's formula, mmcv's published values and mpmath."""

import pickle

import mpmath
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.kernels.focal_loss.reference import focal_loss as reference
from counterpoise.losses import FocalLoss

WEIGHT = torch.tensor([0.1, 1.0, 5.0, 0.5])


def made(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=g)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=g)
    return logits.requires_grad_(), target


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("shape", [(7, 4), (3, 4, 5), (2, 4, 3, 2)])
def test_gamma_0_is_cross_entropy(reduction, weight, shape):
    logits, target = made(*shape)
    found = FocalLoss(0.0, weight, reduction)(logits, target)
    wanted = F.cross_entropy(logits, target, weight, reduction=reduction)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    found, wanted = (torch.autograd.grad(v.sum(), logits)[0] for v in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_equals_the_papers_formula(gamma):
    logits, target = made(50, 4)
    logits = logits.detach().double().requires_grad_()
    found = FocalLoss(gamma, WEIGHT, "none")(logits, target)
    wanted = reference(logits, target, WEIGHT.double(), gamma)
    torch.testing.assert_close(found, wanted)
    found, wanted = (torch.autograd.grad(v.sum(), logits)[0] for v in (found, wanted))
    torch.testing.assert_close(found, wanted)


def test_published_values_of_mmcv():
    # tests/test_ops/test_focal_loss.py of open-mmlab/mmcv: softmax focal, alpha 0.25, gamma 2
    cases = [
        ([[1.0, 0.0], [0.0, 1.0]], [0, 1], 0.00566451),
        ([[1.0, 0.0, -1.0], [0.0, 1.0, 2.0]], [2, 1], 0.34956908),
        ([[1e-6, 2e-6, 3e-6], [4e-6, 5e-5, 6e-4], [7e-3, 8e-2, 9e-1]], [1, 2, 0], 0.15754992),
    ]
    for logits, target, value in cases:
        loss = FocalLoss(2.0, [0.25] * len(logits[0]), "batchmean")
        found = loss(torch.tensor(logits), torch.tensor(target)).item()
        assert found == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("margin", [-80, -20, -5, -1, 0, 1, 5, 15, 20, 40])
def test_float32_is_right_at_every_margin(gamma, margin):
    logits = torch.tensor([[float(margin), 0.0]], requires_grad=True)
    loss = FocalLoss(gamma)(logits, torch.tensor([0]))
    loss.backward()
    with mpmath.workdps(60):

        def exact(z):
            p = 1 / (1 + mpmath.exp(-z))
            return -((1 - p) ** gamma) * mpmath.log(p) if gamma else -mpmath.log(p)

        value, slope = exact(mpmath.mpf(margin)), mpmath.diff(exact, mpmath.mpf(margin))
    tiny = 1e-37  # below, float32 has no normal numbers
    bound = 4 * (1 + abs(margin) * (1 + gamma)) * torch.finfo(torch.float32).eps
    assert loss.item() == pytest.approx(float(value), rel=bound, abs=tiny)
    assert logits.grad[0, 0].item() == pytest.approx(float(slope), rel=bound, abs=tiny)


@given(st.floats(0, 8), st.floats(-1e4, 1e4), st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_finite_for_every_logit_and_gamma(gamma, logit, dtype):
    logits = torch.tensor([[logit, 0.0, -3.0]], dtype=dtype, requires_grad=True)
    for target in range(3):
        loss = FocalLoss(gamma)(logits, torch.tensor([target]))
        (grad,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert grad.isfinite().all()


def test_second_derivatives():
    logits, target = made(5, 4)
    logits = logits.detach().double().requires_grad_()
    loss = FocalLoss(1.5, WEIGHT)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target), logits)


def test_relabelling_the_classes_changes_nothing():
    logits, target = made(9, 4)
    order = torch.tensor([2, 0, 3, 1])
    found = FocalLoss(2.0, WEIGHT[order])(logits[:, order], order.argsort()[target])
    torch.testing.assert_close(found, FocalLoss(2.0, WEIGHT)(logits, target))


def test_batchmean_divides_by_the_samples_and_mean_by_their_weights():
    logits, target = made(9, 4)
    total = FocalLoss(2.0, WEIGHT, "sum")(logits, target)
    torch.testing.assert_close(FocalLoss(2.0, WEIGHT, "batchmean")(logits, target), total / 9)
    mean = total / WEIGHT[target].sum()
    torch.testing.assert_close(FocalLoss(2.0, WEIGHT)(logits, target), mean)


def test_half_precision_is_computed_in_float32():
    logits, target = made(9, 4)
    low = logits.detach().bfloat16()
    assert FocalLoss()(low, target).dtype == torch.float32
    torch.testing.assert_close(FocalLoss()(low, target), FocalLoss()(low.float(), target))


def test_is_a_good_module():
    loss = FocalLoss(2.0, WEIGHT)
    assert list(loss.state_dict()) == ["weight"]
    assert "4 classes" in repr(loss)
    logits, target = made(9, 4)
    again = pickle.loads(pickle.dumps(loss))
    torch.testing.assert_close(again(logits, target), loss(logits, target), rtol=0, atol=0)


def test_compiles_in_one_graph():
    logits, target = made(9, 4)
    loss = FocalLoss(2.0, WEIGHT)
    whole = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(logits, target), loss(logits, target))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: FocalLoss(-1.0), ValueError, "at least 0, but got -1"),
        (lambda: FocalLoss(float("nan")), ValueError, "at least 0"),
        (lambda: FocalLoss(reduction="avg"), ValueError, "reduction must be one of"),
        (lambda: FocalLoss(weight=[1.0, -1.0]), ValueError, ">= 0 per class"),
        (lambda: FocalLoss(weight=[1.0] * 3)(*made(5, 4)), ValueError, "3 for 4 classes"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.tensor([0, 1, 2, 3, 4])), ValueError, "0 .. 4"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.tensor([0, 1, 2, 3, -1])), ValueError, "-1 .. 3"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.rand(5)), TypeError, "float32"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.zeros(4).long()), ValueError, r"\(4,\)"),
    ],
)
def test_bad_input_is_explained(call, error, says):
    with pytest.raises(error, match=says):
        call()
