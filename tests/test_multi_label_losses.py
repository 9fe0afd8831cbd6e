"""Losses of independent yes/no decisions: their authors' formulas, exact, and harmless at NaN."""

from functools import partial

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.covering import every_pair, in_turn
from torch import nn

from counterpoise import losses
from counterpoise.losses import AsymmetricLoss, SigmoidFocalLoss


def logits(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def labels(*shape, share=0.3):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share).double()


def shares(*shape):
    """Soft targets; some are 0 or 1."""
    return (2 * torch.rand(shape, generator=torch.Generator().manual_seed(2)) - 0.5).clamp(0, 1)


def gradient(value, z):
    return torch.autograd.grad(value.sum(), z, retain_graph=True)[0]


def assert_same(found, wanted, z, **tolerances):
    """Values and gradients by z."""
    torch.testing.assert_close(found, wanted, **tolerances)
    torch.testing.assert_close(gradient(found, z), gradient(wanted, z), **tolerances)


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
    for soft_targets in ("expected", "interpolated"):
        found = SigmoidFocalLoss(gamma, alpha, soft_targets=soft_targets)(z, labels(30, 5))
        assert_same(found, torchvisions(z, labels(30, 5), alpha, gamma).mean(), z)
    y = shares(30, 5).double()
    found = SigmoidFocalLoss(gamma, alpha, "none", soft_targets="interpolated")(z, y)
    assert_same(found, torchvisions(z, y, alpha, gamma), z)
    found = SigmoidFocalLoss(gamma, alpha, "none", soft_targets="expected")(z, y)
    yes, no = (torchvisions(z, torch.full_like(z, t), alpha, gamma) for t in (1.0, 0.0))
    assert_same(found, y * yes + (1 - y) * no, z)  # kornia's


@pytest.mark.parametrize("clip", [None, 0.0, 0.05])
@pytest.mark.parametrize("constant", [False, True])
def test_asymmetric_is_its_authors_formula(clip, constant):
    # Alibaba-MIIL/ASL losses.py: clip the negatives' 1 - p up, log(max(., eps)), sum; their
    # disable_torch_grad_focal_loss takes the focal factors without a gradient.
    z, y = logits(30, 5).double().requires_grad_(), labels(30, 5)
    p, kept = torch.sigmoid(z), (1 - torch.sigmoid(z) + (clip or 0.0)).clamp(max=1)
    loss = y * p.clamp(min=1e-8).log() + (1 - y) * kept.clamp(min=1e-8).log()
    factor = (1 - p * y - kept * (1 - y)) ** (1.0 * y + 4.0 * (1 - y))
    loss = loss * (factor.detach() if constant else factor)
    made = AsymmetricLoss(clip=clip, reduction="sum", disable_torch_grad_focal_loss=constant)
    assert_same(made(z, y), -loss.sum(), z)


ONES = torch.ones(4, 5)
PLAIN = {
    "expected": partial(SigmoidFocalLoss, 0.0, None),
    "interpolated": partial(SigmoidFocalLoss, 0.0, None, soft_targets="interpolated"),
    "asymmetric": partial(AsymmetricLoss, 0.0, 0.0, None),
}


@every_pair(
    plain=PLAIN,
    reduction=["mean", "sum", "none"],
    shape=[(30, 5), (5,), (3, 5, 4, 2)],
    names=[(), ("weight",), ("pos_weight",), ("weight", "pos_weight")],
)
def test_without_focus_it_is_torchs_bce_with_its_weights(plain, reduction, shape, names):
    z, y = logits(*shape).double().requires_grad_(), shares(*shape).double()
    vectors = {name: (1 + torch.arange(5.0)) ** (len(name) - 7) for name in names}
    found = PLAIN[plain](reduction=reduction, **vectors)(z, y)
    dense = {n: v.double().view(5, *[1] * (len(shape) - 2)) for n, v in vectors.items()}
    wanted = nn.BCEWithLogitsLoss(reduction=reduction, **dense)(z, y)
    assert_same(found, wanted, z, rtol=1e-13, atol=1e-15)
    if names == ("pos_weight",):  # one for all, as for a single decision per sample
        wanted = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]).double())(z, y)
        for three in (3.0, [3.0], torch.tensor(3.0)):
            assert_same(PLAIN[plain](pos_weight=three)(z, y), wanted, z, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("plain", PLAIN)
def test_label_smoothing_is_keras_rule(plain):
    z, y = logits(30, 5).double().requires_grad_(), labels(30, 5)
    wanted = nn.BCEWithLogitsLoss()(z, y * 0.8 + 0.1)
    assert_same(PLAIN[plain](label_smoothing=0.2)(z, y), wanted, z)
    y[3:] = -100
    assert_same(
        PLAIN[plain](label_smoothing=0.2)(z, y), nn.BCEWithLogitsLoss()(z[:3], y[:3] * 0.8 + 0.1), z
    )


@in_turn(
    plain=PLAIN,
    shapes=[  # of the logits, of the weights as they are given, and as they are spread
        ((6, 5), (6,), (6, 1)),
        ((6, 5), (6, 5), (6, 5)),
        ((6,), (6,), (6,)),
        ((5,), (), ()),
        ((4, 5, 3, 2), (4,), (4, 1, 1, 1)),
        ((4, 5, 3, 2), (4, 3, 2), (4, 1, 3, 2)),
        ((4, 5, 3, 2), (4, 5, 3, 2), (4, 5, 3, 2)),
    ],
)
def test_sample_weight_multiplies_and_the_mean_still_divides_by_the_labels(plain, shapes):
    shape, given, seen = shapes
    z, y = logits(*shape).double().requires_grad_(), labels(*shape)
    own = torch.rand(given, generator=torch.Generator().manual_seed(4)).double()
    each = own.view(seen) * F.binary_cross_entropy_with_logits(z, y, reduction="none")
    for reduction, wanted in {"none": each, "mean": each.mean(), "sum": each.sum()}.items():
        assert_same(PLAIN[plain](reduction=reduction)(z, y, sample_weight=own), wanted, z)


@pytest.mark.parametrize("plain", PLAIN)
@pytest.mark.parametrize("reduction", ["mean", "batchmean"])
def test_the_normalizer_is_what_is_divided_by(plain, reduction):
    z, y = logits(6, 5).double().requires_grad_(), labels(6, 5)
    y[0, :2] = -100
    loss, total = PLAIN[plain](reduction=reduction), 28 if reduction == "mean" else 6
    for by in (total, float(total), torch.tensor(total), torch.tensor([total])):
        parts = [loss(z[p], y[p], normalizer=by) for p in (slice(0, 2), slice(2, 6))]
        assert_same(sum(parts), loss(z, y), z)
    nothing = loss(z, torch.full_like(z, -100), normalizer=0)
    assert nothing.isnan()
    assert (gradient(nothing, z) == 0).all()


@every_pair(
    dtype=[torch.float32, torch.float64], clip=[0.0, 1e-8, 0.05, 0.5, 0.9], gamma=[0.0, 0.5, 4.0]
)
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


@every_pair(
    dtype=[torch.float32, torch.float64], share=[0.0, 1e-30, 0.1, 1 - 2**-20], gamma=[0.5, 4.0]
)
def test_interpolated_targets_against_50_digits(dtype, share, gamma):
    z = torch.cat([torch.linspace(-80, 80, 161), torch.linspace(-4, 4, 33)]).to(dtype)
    z.requires_grad_()
    y = torch.full_like(z, share)
    value = SigmoidFocalLoss(gamma, None, "none", soft_targets="interpolated")(z, y)
    limits = torch.finfo(dtype)
    with mpmath.workdps(50):
        for row in zip(*[x.tolist() for x in (z, y, value, gradient(value, z))], strict=True):
            x, t, *found = map(mpmath.mpf, row)
            p, q = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
            error = t * q + (1 - t) * p  # 1 - p_t
            cost = -t * mpmath.log(p) - (1 - t) * mpmath.log(q)
            terms = [(1 - t) * p, -t * q, gamma * cost * (1 - t - t) * p * q / error]
            wanted = [(cost, cost), (mpmath.fsum(terms), mpmath.fsum(map(abs, terms)))]
            for f, (w, size) in zip(found, wanted, strict=True):
                bound = 4 * (1 + gamma) * (1 + abs(x)) * limits.eps * size
                assert abs(f - error**gamma * w) <= error**gamma * bound + 2 * limits.tiny


SET = {
    **losses.MULTI_LABEL,
    "interpolated": lambda _: SigmoidFocalLoss(soft_targets="interpolated"),
    "weighted": lambda _: AsymmetricLoss(weight=[1.0, 2, 3, 4, 5], pos_weight=3.0),
    "smoothed": lambda _: SigmoidFocalLoss(alpha=None, label_smoothing=0.1, pos_weight=[2.0] * 5),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("word", SET)
def test_multi_label_losses_are_good_modules(word):
    loss = SET[word](torch.tensor([9.0, 1.0]))
    z = logits(6, 5).double().requires_grad_()
    y = torch.linspace(0, 1, 30, dtype=torch.float64).view(6, 5)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), z, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, y), z)
    tie = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)  # p = y
    assert torch.autograd.gradcheck(lambda z: loss(z, torch.full_like(z, 0.5)), tie)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, torch.full_like(z, 0.5)), tie)
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
    own = torch.linspace(0, 2, 6).double()
    by_hand = torch.stack([loss(z[[i]], y[[i]]) * w for i, w in enumerate(own)]).mean()
    torch.testing.assert_close(loss(z, y, sample_weight=own), by_hand)
    mapped = torch.vmap(loss)(z[:, None], y[:, None])
    torch.testing.assert_close(
        mapped, torch.stack([loss(*pair) for pair in zip(z[:, None], y[:, None], strict=True)])
    )
    fresh = SET[word](None)
    fresh.load_state_dict(loss.state_dict())
    assert repr(fresh) == repr(loss)


@given(
    st.sampled_from([0.0, 0.25, 1.0, 4.0]),
    st.sampled_from([0.0, 1e-8, 0.05, 0.5]),
    st.floats(-1e4, 1e4, width=32),
)
def test_multi_label_gradients_are_finite_at_every_logit(gamma, clip, logit):
    z = torch.tensor([logit, logit], requires_grad=True)
    y = torch.tensor([0.0, 1.0])
    every = [SigmoidFocalLoss(gamma), AsymmetricLoss(gamma, gamma, clip)]
    every.append(SigmoidFocalLoss(gamma, soft_targets="interpolated"))
    for loss in every:
        for target in (y, y * 0.2 + 0.4, y * 0.999):
            value = loss(z, target)
            assert value.isfinite()
            slope = torch.autograd.grad(value, z, create_graph=True)[0]
            assert slope.isfinite().all()
            assert gradient(slope, z).isfinite().all()


@pytest.mark.parametrize("word", SET)
@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf")])
def test_multi_label_logits_of_unknown_labels_do_no_harm(word, wild):
    loss = SET[word](None)
    z = torch.tensor([1.0, wild, -1.0]).repeat(5, 1).T.clone().requires_grad_()
    y = torch.tensor([1.0, -100.0, 0.0]).repeat(5, 1).T
    value = loss(z, y)
    torch.testing.assert_close(value, loss(z[::2], y[::2]))
    grad = gradient(value, z)
    assert (grad[1] == 0).all()
    assert grad.isfinite().all()
    value = loss(z, y.relu(), sample_weight=torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(value, loss(z[::2], y[::2]) * 2 / 3)
    assert gradient(value, z).isfinite().all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: SigmoidFocalLoss(soft_targets="soft"), "'expected' or 'interpolated'"),
        (lambda: SigmoidFocalLoss(pos_weight=-1.0), "pos_weight must be a number >= 0"),
        (lambda: AsymmetricLoss(weight=[1.0, -1.0]), "weight must be one finite number >= 0 per"),
        (lambda: AsymmetricLoss(label_smoothing=2.0), "label_smoothing must be within 0 .. 1"),
        (lambda: AsymmetricLoss(weight=[1.0] * 3)(ONES, ONES), "weight must .* for the 5 classes"),
        (lambda: AsymmetricLoss(pos_weight=[1.0] * 3)(ONES, ONES), "pos_weight must .* 5 classes"),
        (lambda: AsymmetricLoss()(ONES, ONES, sample_weight=ONES[0]), "one entry per sample"),
        (lambda: AsymmetricLoss(reduction="sum")(ONES, ONES, normalizer=2), "'sum'; leave it out"),
        (lambda: AsymmetricLoss()(ONES, ONES, normalizer=ONES), "normalizer must be one number"),
    ],
)
def test_bad_settings_are_explained(call, says):
    with pytest.raises(ValueError, match=says):
        call()


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
