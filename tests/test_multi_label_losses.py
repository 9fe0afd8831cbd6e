"""Losses of independent yes/no decisions: their authors' formulas, exact, and harmless at NaN."""

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from counterpoise import losses
from counterpoise.losses import AsymmetricLoss, SigmoidFocalLoss


def logits(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def gradient(value, z):
    return torch.autograd.grad(value.sum(), z)[0]


def torchvisions(z, y, alpha, gamma):
    """arXiv 1708.02002 as torchvision.ops.sigmoid_focal_loss has it, element by element."""
    p = torch.sigmoid(z)
    p_t = p * y + (1 - p) * (1 - y)
    loss = F.binary_cross_entropy_with_logits(z, y, reduction="none") * (1 - p_t) ** gamma
    return loss if alpha is None else (alpha * y + (1 - alpha) * (1 - y)) * loss


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_sigmoid_focal_is_torchvisions_formula(alpha, gamma):
    z = logits(30, 5).double().requires_grad_()
    y = (torch.rand(30, 5, generator=torch.Generator().manual_seed(1)) < 0.3).double()
    found = SigmoidFocalLoss(gamma, alpha)(z, y)
    wanted = torchvisions(z, y, alpha, gamma).mean()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient(found, z), gradient(wanted, z))


def test_asymmetric_is_its_authors_formula():
    # Alibaba-MIIL/ASL losses.py: clip the negatives' 1 - p up by 0.05, log(max(., eps)), sum
    z = logits(30, 5).double().requires_grad_()
    y = (torch.rand(30, 5, generator=torch.Generator().manual_seed(1)) < 0.3).double()
    p, kept = torch.sigmoid(z), (1 - torch.sigmoid(z) + 0.05).clamp(max=1)
    loss = y * p.log() + (1 - y) * kept.log()
    loss = loss * (1 - p * y - kept * (1 - y)) ** (1.0 * y + 4.0 * (1 - y))
    found = AsymmetricLoss(reduction="sum")(z, y)
    torch.testing.assert_close(found, -loss.sum())
    torch.testing.assert_close(gradient(found, z), gradient(-loss.sum(), z))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", [0.0, 1e-8, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.0])
def test_asymmetric_negatives_against_50_digits(dtype, clip, gamma):
    z = torch.cat([torch.linspace(-80, 80, 321), torch.linspace(-4, 4, 66)]).to(dtype)
    z.requires_grad_()
    loss = AsymmetricLoss(gamma, 1.0, clip, "none")
    value = loss(z, torch.zeros_like(z))
    slope = gradient(value, z)
    limits = torch.finfo(dtype)
    with mpmath.workdps(50):
        for row in zip(z.tolist(), value.tolist(), slope.tolist(), strict=True):
            x, *found = map(mpmath.mpf, row)
            p = 1 / (1 + mpmath.exp(-x))
            p_m, p_slope = max(p - mpmath.mpf(clip), mpmath.mpf(0)), p * (1 - p)
            wanted = [mpmath.mpf(0)] * 2
            if p_m:
                cost = -mpmath.log1p(-p_m)
                bend = p_slope / (1 - p_m) + gamma * cost * p_slope / p_m
                wanted = [p_m**gamma * cost, p_m**gamma * bend]
            for f, w in zip(found, wanted, strict=True):
                if abs(w) > limits.tiny:  # what rounding the logit and the clip's logit costs
                    cost_of_rounding = (1 + abs(x)) * (1 + 1 / p_m * bool(clip))
                    assert abs(f / w - 1) <= 4 * (1 + gamma) * limits.eps * cost_of_rounding
                else:
                    assert abs(f) <= 2 * limits.tiny


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("word", losses.MULTI_LABEL)
def test_multi_label_losses_are_good_modules(word):
    loss = losses.MULTI_LABEL[word](torch.tensor([9.0, 1.0]))
    z = logits(6, 5).double().requires_grad_()
    y = torch.linspace(0, 1, 30, dtype=torch.float64).view(6, 5)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), z, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, y), z)
    unknown = y.clone()
    unknown[2:] = -100
    torch.testing.assert_close(loss(z, unknown), loss(z[:2], y[:2]))
    whole = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(z, y), loss(z, y))
    for dtype in (torch.float16, torch.bfloat16):
        low = z.detach().to(dtype)
        assert loss(low, y.float()).dtype == dtype
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert loss(low, y.float()).dtype == torch.float32
    if word == "sigmoid_focal":
        plain = SigmoidFocalLoss(0.0, None)
        torch.testing.assert_close(plain(z, y), nn.BCEWithLogitsLoss()(z, y))


@given(
    st.sampled_from([0.0, 0.25, 1.0, 4.0]),
    st.sampled_from([0.0, 1e-8, 0.05, 0.5]),
    st.floats(-1e4, 1e4, width=32),
)
def test_multi_label_gradients_are_finite_at_every_logit(gamma, clip, logit):
    z = torch.tensor([logit, logit], requires_grad=True)
    y = torch.tensor([0.0, 1.0])
    for loss in (SigmoidFocalLoss(gamma), AsymmetricLoss(gamma, gamma, clip)):
        value = loss(z, y)
        assert value.isfinite()
        assert gradient(value, z).isfinite().all()


@pytest.mark.parametrize("word", losses.MULTI_LABEL)
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf")])
def test_multi_label_logits_of_unknown_labels_do_no_harm(word, wild):
    loss = losses.MULTI_LABEL[word](None)
    z, y = torch.tensor([1.0, wild, -1.0], requires_grad=True), torch.tensor([1.0, -100.0, 0.0])
    value = loss(z, y)
    torch.testing.assert_close(value, loss(z[::2], y[::2]))
    grad = gradient(value, z)
    assert grad[1] == 0
    assert grad.isfinite().all()


@pytest.mark.parametrize("word", losses.MULTI_LABEL)
def test_multi_label_targets_of_uint8_are_not_ignored_by_overflow(word):
    with pytest.raises(ValueError, match=r"within 0 \.\. 1 .* holds 0 \.\. 156"):
        losses.MULTI_LABEL[word](None)(torch.zeros(2), torch.tensor([0, 156], dtype=torch.uint8))


def test_sigmoid_focal_alpha_per_class():
    z, y = logits(6, 3), torch.eye(3).repeat(2, 1)
    found = SigmoidFocalLoss(2.0, [0.1, 0.5, 0.9])(z, y)
    one_by_one = [SigmoidFocalLoss(2.0, a)(z[:, j], y[:, j]) for j, a in enumerate([0.1, 0.5, 0.9])]
    torch.testing.assert_close(found, torch.stack(one_by_one).mean())


def test_alpha_is_exact_for_logits_in_float64():
    z = torch.zeros(1, dtype=torch.float64)
    assert SigmoidFocalLoss(0.0, 0.3)(z, z) == 0.7 * np.log(2)
