"""The losses against torch's own inputs, 50 digits, published values and authors' formulas."""

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tests.covering import every_pair
from torch import nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_inputs_torch_nn_CrossEntropyLoss

from counterpoise import losses
from counterpoise.losses import (
    AdjustedCrossEntropyLoss,
    AsymmetricLoss,
    BalancedSoftmaxLoss,
    CDTLoss,
    ClassBalancedLoss,
    FocalLoss,
    LDAMLoss,
    LogitAdjustedLoss,
    PolyLoss,
    SeesawLoss,
    SigmoidFocalLoss,
    VSLoss,
    adjusted_cross_entropy,
)

COUNTS = [5000, 1200, 300, 50]
WEIGHT = torch.tensor([0.1, 1.0, 5.0, 0.5])


def made(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=g)
    return logits.requires_grad_(), torch.randint(shape[1], (shape[0], *shape[2:]), generator=g)


def gradient(value, logits):
    if not logits.numel():
        return torch.zeros_like(logits)
    return torch.autograd.grad(value, logits, torch.ones_like(value))[0]


# torch's own inputs


def test_torchs_module_inputs_of_cross_entropy():
    torch.manual_seed(0)  # draws a batch, among others, in which every target is ignored
    inputs = module_inputs_torch_nn_CrossEntropyLoss(None, "cpu", torch.float64, True, True)
    assert len(inputs) > 100
    for given_ in inputs:
        settings = dict(given_.constructor_input.kwargs)
        logits, target = given_.forward_input.args
        found = AdjustedCrossEntropyLoss(**settings)(logits, target)
        wanted = nn.CrossEntropyLoss(**settings)(logits, target)
        torch.testing.assert_close(found, wanted, equal_nan=True)
        torch.testing.assert_close(
            gradient(found, logits), gradient(wanted, logits), equal_nan=True
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_torchs_operator_samples_of_cross_entropy(dtype):
    op = next(o for o in op_db if o.name == "nn.functional.cross_entropy")
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=True))
    assert len(samples) > 20
    for sample in samples:
        logits, (target,) = sample.input, sample.args
        found = adjusted_cross_entropy(logits, target, **sample.kwargs)
        wanted = F.cross_entropy(logits, target, **sample.kwargs)
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted, equal_nan=True)
        if wanted.isfinite().all():
            low = dtype in (
                torch.float16,
                torch.bfloat16,
            )  # where torch computes in half, we do not
            close = {"rtol": 0.02, "atol": 2e-3} if low else {}
            torch.testing.assert_close(gradient(found, logits), gradient(wanted, logits), **close)


@every_pair(
    shape=[(7, 4), (2, 4, 3, 5)],
    reduction=["mean", "sum", "none"],
    ignored=[-100, 1],
    weighted=[False, True],
    smoothing=[0.1, 1.0],
)
def test_label_smoothing_is_torchs(shape, reduction, ignored, weighted, smoothing):
    logits, target = made(*shape)
    weight = WEIGHT if weighted else None
    settings = {"label_smoothing": smoothing, "reduction": reduction, "ignore_index": ignored}
    found = adjusted_cross_entropy(logits, target, weight=weight, **settings)
    wanted = F.cross_entropy(logits, target, weight, **settings)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient(found, logits), gradient(wanted, logits))


@pytest.mark.parametrize("classes", [33, 64, 65, 513, 1100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_any_number_of_classes(classes, smoothing):
    """Also one that no vector and no block of the kernels divides: none of them is left out."""
    logits, target = made(5, classes)
    weight = torch.linspace(0.5, 2, classes)
    target[-1] = classes - 1
    found = adjusted_cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
    wanted = F.cross_entropy(logits, target, weight, label_smoothing=smoothing)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient(found, logits), gradient(wanted, logits))


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_label_smoothing_is_the_same_in_every_reduction(weight):
    logits, target = made(7, 4)
    loss = AdjustedCrossEntropyLoss(weight=weight, label_smoothing=0.1, reduction="none")
    own = torch.linspace(0, 2, 7)
    losses_ = loss(logits, target) * own
    torch.testing.assert_close(loss(logits, target, sample_weight=own), losses_)
    loss.reduction = "batchmean"
    torch.testing.assert_close(loss(logits, target, sample_weight=own), losses_.sum() / 7)
    loss.reduction = "mean"
    total = (own if weight is None else own * weight[target]).sum()
    torch.testing.assert_close(loss(logits, target, sample_weight=own), losses_.sum() / total)
    found = loss(logits, target, sample_weight=own, normalizer=3)
    torch.testing.assert_close(found, losses_.sum() / 3)


def test_label_smoothing_without_gamma_is_its_limit():
    logits, target = made(7, 4)
    settings = {"label_smoothing": 0.1, "scale": WEIGHT, "offset": WEIGHT, "weight": WEIGHT}
    found = adjusted_cross_entropy(logits, target, **settings)
    wanted = adjusted_cross_entropy(logits, target, gamma=1e-12, **settings)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient(found, logits), gradient(wanted, logits))


# 50 digits


@pytest.mark.parametrize("soft", [False, True])
def test_many_classes_against_50_digits(soft):
    generator = torch.Generator().manual_seed(0)
    logits = (20 * torch.randn(20, 6, generator=generator)).requires_grad_()
    target = torch.randint(6, (20,), generator=generator)
    q = F.one_hot(target, 6).float()
    found = adjusted_cross_entropy(logits, q if soft else target, gamma=1.5, reduction="none")
    with mpmath.workdps(50):
        for row, t, value in zip(logits.tolist(), target.tolist(), found.tolist(), strict=True):
            e = [mpmath.exp(mpmath.mpf(z)) for z in row]
            rest = mpmath.fsum(x for j, x in enumerate(e) if j != t) / mpmath.fsum(e)
            wanted = rest**1.5 * mpmath.log(mpmath.fsum(e) / e[t])
            assert abs(value / wanted - 1) < 4 * (1 + 60) * 1.2e-7


@given(st.floats(0, 8), st.floats(-1e4, 1e4), st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_finite_for_every_logit_and_gamma(gamma, logit, dtype):
    logits = torch.tensor([[logit, 0.0, -3.0]], dtype=dtype, requires_grad=True)
    for target in (torch.tensor([0]), torch.tensor([1]), torch.full((1, 3), 1 / 3, dtype=dtype)):
        loss = FocalLoss(gamma)(logits, target)
        assert loss.isfinite()
        assert gradient(loss, logits).isfinite().all()


def test_classes_masked_by_minus_infinity():
    logits = torch.tensor([[1.0, float("-inf"), 0.0]], requires_grad=True)
    value = FocalLoss(2.0)(logits, torch.tensor([0]))
    short = logits.detach()[:, ::2].requires_grad_()
    wanted = FocalLoss(2.0)(short, torch.tensor([0]))
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(gradient(value, logits)[:, ::2], gradient(wanted, short))
    assert gradient(FocalLoss(0.5)(logits, torch.tensor([1])), logits).isfinite().all()


# Published values


def test_published_values_of_mmcv():
    # tests/test_ops/test_focal_loss.py of open-mmlab/mmcv: softmax focal, alpha 0.25, gamma 2
    cases = [
        ([[1.0, 0.0], [0.0, 1.0]], [0, 1], 0.00566451),
        ([[1.0, 0.0, -1.0], [0.0, 1.0, 2.0]], [2, 1], 0.34956908),
        ([[1e-6, 2e-6, 3e-6], [4e-6, 5e-5, 6e-4], [7e-3, 8e-2, 9e-1]], [1, 2, 0], 0.15754992),
    ]
    for logits, target, value in cases:
        loss = FocalLoss(2.0, [0.25] * len(logits[0]), "batchmean")
        assert loss(torch.tensor(logits), torch.tensor(target)).item() == pytest.approx(
            value, abs=1e-7
        )


def test_published_tail_values_of_keras():
    # keras/src/losses/losses_test.py, CategoricalFocalCrossentropyTest, from_logits, alpha 0.25
    logits = torch.tensor([[8.0, 1.0, 1.0], [0.0, 9.0, 1.0], [2.0, 3.0, 5.0]], dtype=torch.float64)
    found = FocalLoss(2.0, [0.25] * 3, "none")(logits, torch.tensor([0, 1, 2]))
    wanted = [1.5096224e-09, 2.4136547e-11, 1.0360638e-03]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=5e-4)  # theirs: float32, from 1 - p


# The authors' formulas, written down from their papers and code


def test_ldam_of_its_authors():
    # LDAM-DRW losses.py: m = n^(-1/4), scaled to max_m; cross_entropy(s * (x - m_t at the target))
    x, target = made(20, 4)
    n = np.array(COUNTS)
    m = 1 / np.sqrt(np.sqrt(n))
    m = torch.tensor(m * (0.5 / m.max()), dtype=torch.float32)
    shifted = x - F.one_hot(target, 4) * m
    torch.testing.assert_close(LDAMLoss(COUNTS)(x, target), F.cross_entropy(30 * shifted, target))
    weighted = LDAMLoss(COUNTS, weight=WEIGHT)(x, target)
    torch.testing.assert_close(weighted, F.cross_entropy(30 * shifted, target, WEIGHT))


def test_logit_adjustment_and_balanced_softmax_of_their_authors():
    # google-research logit_adjustment/utils.py: log(pi^tau + 1e-12); BALMS: logits + log(n)
    x, target = made(20, 4)
    n = torch.tensor(COUNTS).float()
    adjusted = x + torch.log((n / n.sum()) ** 1.5 + 1e-12)
    torch.testing.assert_close(
        LogitAdjustedLoss(n, tau=1.5)(x, target), F.cross_entropy(adjusted, target)
    )
    balanced = F.cross_entropy(x + n.log(), target)
    torch.testing.assert_close(BalancedSoftmaxLoss(n)(x, target), balanced)


def test_vs_and_cdt_of_their_authors():
    # VS-Loss class_imbalance/losses.py: delta = ((1/n)^gamma) / min, iota = tau log pi, x / delta
    x, target = made(20, 4)
    n = np.array(COUNTS, dtype=float)
    delta = (1 / n) ** 0.3
    delta = torch.tensor(delta / delta.min(), dtype=torch.float32)
    iota = torch.tensor(1.2 * np.log(n / n.sum()), dtype=torch.float32)
    wanted = F.cross_entropy(x / delta + iota, target)
    torch.testing.assert_close(VSLoss(COUNTS, power=0.3, tau=1.2)(x, target), wanted)
    torch.testing.assert_close(
        CDTLoss(COUNTS, power=0.3)(x, target), F.cross_entropy(x / delta, target)
    )


def test_class_balanced_of_its_authors():
    # richardaecn/class-balanced-loss: (1 - beta) / (1 - beta^n), scaled to sum to the classes
    x, target = made(20, 4)
    w = (1 - 0.999) / (1 - 0.999 ** np.array(COUNTS))
    w = torch.tensor(w / w.sum() * 4, dtype=torch.float32)
    wanted = F.cross_entropy(x, target, w)
    torch.testing.assert_close(ClassBalancedLoss(COUNTS, beta=0.999)(x, target), wanted)


def test_poly_of_its_authors():
    # arXiv 2204.12511, listing: CE + epsilon * (1 - p_t); with focal, + epsilon * (1-p_t)^(gamma+1)
    x, target = made(20, 4)
    p = torch.softmax(x, 1).gather(1, target[:, None]).squeeze(1)
    wanted = (F.cross_entropy(x, target, reduction="none") + 2.0 * (1 - p)).mean()
    torch.testing.assert_close(PolyLoss(2.0)(x, target), wanted)
    focal = ((1 - p) ** 2 * -p.log() + 2.0 * (1 - p) ** 3).mean()
    torch.testing.assert_close(PolyLoss(2.0, gamma=2.0)(x, target), focal)


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: FocalLoss(-1.0), ValueError, "gamma must be a number >= 0, but got -1"),
        (lambda: FocalLoss(float("nan")), ValueError, "gamma must be"),
        (lambda: FocalLoss(reduction="avg"), ValueError, "reduction must be one of"),
        (lambda: FocalLoss(alpha=[1.0, float("nan")]), ValueError, "alpha must be one finite"),
        (lambda: FocalLoss(alpha=[1.0] * 3)(*made(5, 4)), ValueError, r"\(3,\) for 4 classes"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.tensor([0, 1, 2, 3, 4])), ValueError, "0 .. 4"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.tensor([0, 1, 2, 3, -1])), ValueError, "-1 .. 3"),
        (lambda: FocalLoss(alpha=WEIGHT)(made(5, 4)[0], torch.full((5,), -1)), ValueError, "-1"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.rand(5)), TypeError, "float32"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.zeros(5).bool()), TypeError, "bool"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.zeros(4).long()), ValueError, r"\(4,\)"),
        (lambda: FocalLoss()(torch.zeros(5, 4).long(), torch.zeros(5).long()), TypeError, "int64"),
        (
            lambda: FocalLoss()(torch.zeros(5, 0), torch.zeros(5).long()),
            ValueError,
            "two classes or more.*SigmoidFocalLoss",
        ),
        (lambda: FocalLoss()(torch.tensor(1.0), torch.tensor(0)), ValueError, "single number"),
        (
            lambda: FocalLoss()(*made(5, 4), sample_weight=torch.ones(4)),
            ValueError,
            "one entry per sample",
        ),
        (
            lambda: FocalLoss(reduction="sum")(*made(5, 4), normalizer=2.0),
            ValueError,
            "leave it out",
        ),
        (
            lambda: FocalLoss(ignore_index=0)(made(5, 4)[0], torch.rand(5, 4)),
            ValueError,
            "sample_weight of 0",
        ),
        (lambda: PolyLoss(-2.0), ValueError, "epsilon must be a number >= -1"),
        (lambda: AdjustedCrossEntropyLoss(poly=-2.0), ValueError, "poly must be a number >= -1"),
        (lambda: FocalLoss(gamma="2"), TypeError, "gamma must be a number, but got '2'"),
        (lambda: FocalLoss(nn.Parameter(torch.tensor(2.0))), TypeError, "give gamma.item"),
        (
            lambda: adjusted_cross_entropy(*made(5, 4), gamma="2"),
            TypeError,
            "gamma must be a number",
        ),
        (
            lambda: adjusted_cross_entropy(*made(5, 4), gamma=nn.Parameter(torch.tensor(2.0))),
            TypeError,
            "asks for a gradient",
        ),
        (lambda: adjusted_cross_entropy(*made(5, 4), weight=[1.0] * 4), TypeError, "torch.tensor"),
        (
            lambda: adjusted_cross_entropy(made(5, 4)[0], [0] * 5),
            TypeError,
            "target must be a tens",
        ),
        (lambda: FocalLoss()(*made(5, 4), sample_weight=[1.0] * 5), TypeError, "sample_weight"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.eye(5, 4).long()), ValueError, r"argmax\(1\)"),
        (lambda: FocalLoss()(made(5, 4)[0], torch.zeros(5)), TypeError, r"target.long\(\)"),
        (lambda: FocalLoss().normalizer(torch.tensor([-1])), ValueError, "must be >= 0"),
        (lambda: FocalLoss(alpha=WEIGHT).normalizer(torch.tensor([-1])), ValueError, "-1 .. -1"),
        (lambda: FocalLoss(alpha=WEIGHT).normalizer(torch.tensor([4])), ValueError, "0 .. 3"),
        (lambda: LogitAdjustedLoss(COUNTS, float("nan")), ValueError, "tau must be a finite"),
        (lambda: VSLoss(COUNTS, power=-1), ValueError, "power must be a number >= 0"),
        (lambda: VSLoss(COUNTS, tau=float("inf")), ValueError, "number, but got inf"),
        (lambda: SeesawLoss(), ValueError, "needs counts, .* or num_classes"),
        (lambda: SeesawLoss([1, 2], num_classes=2), ValueError, "counts .1, 2. and num_classes 2"),
        (lambda: SeesawLoss([1, 2], q=-1), ValueError, "q must be a number >= 0"),
        (lambda: SeesawLoss([1, 2])(*made(5, 4)), ValueError, "counts must .* has 2 for 4"),
        (
            lambda: SeesawLoss([1] * 3)(made(5, 3)[0], torch.arange(5)),
            ValueError,
            "0 .. 2 .* 0 .. 4",
        ),
        (lambda: AsymmetricLoss(clip="no"), TypeError, "None clips nothing"),
        (lambda: SigmoidFocalLoss()(torch.ones(2), torch.tensor([0, 1.5])), ValueError, "0 .. 1.5"),
        (lambda: SigmoidFocalLoss()(torch.ones(2), [0, 1]), TypeError, "target must be a tensor"),
        (lambda: AdjustedCrossEntropyLoss(label_smoothing=1.5), ValueError, "within 0 .. 1"),
        (lambda: LogitAdjustedLoss([]), ValueError, "counts must be"),
        (lambda: LogitAdjustedLoss([0, 0]), ValueError, "at least one above 0"),
        (lambda: LDAMLoss(COUNTS, max_margin=-1), ValueError, "max_margin must be"),
        (lambda: SigmoidFocalLoss(alpha=2.0), ValueError, "alpha must be within 0 .. 1"),
        (lambda: SigmoidFocalLoss()(torch.zeros(3), torch.zeros(2)), ValueError, "one_hot"),
        (lambda: SigmoidFocalLoss(alpha=[0.5] * 3)(*[torch.ones(3, 1)] * 2), ValueError, "axis 1"),
        (lambda: SigmoidFocalLoss(alpha=[0.5] * 3)(*[torch.ones(4)] * 2), ValueError, "4 classes"),
        (lambda: AsymmetricLoss(clip=1.0), ValueError, "clip must be"),
        (lambda: AsymmetricLoss(reduction="average"), ValueError, "but got .average"),
    ],
)
def test_bad_input_is_explained(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("kind", [int, np.int64, np.float32, torch.tensor])
def test_numbers_are_of_every_kind(kind):
    logits, target = made(5, 4)
    wanted = FocalLoss(1.0)(logits, target, normalizer=6.0)
    torch.testing.assert_close(FocalLoss(kind(1))(logits, target, normalizer=kind(6)), wanted)
    wanted = F.cross_entropy(logits, target, label_smoothing=1.0)
    found = adjusted_cross_entropy(logits, target, label_smoothing=kind(1), gamma=kind(0))
    torch.testing.assert_close(found, wanted)
    q = F.one_hot(target, 4)
    wanted = SigmoidFocalLoss(1.0, 1.0)(logits, q)
    torch.testing.assert_close(SigmoidFocalLoss(kind(1), kind(1))(logits, q), wanted)
    wanted = VSLoss(COUNTS, 1.0, 1.0)(logits, target)
    torch.testing.assert_close(VSLoss(COUNTS, kind(1), kind(1))(logits, target), wanted)


def test_vectors_of_the_counts_are_exact_in_the_default_dtype():
    n = torch.tensor(COUNTS).double()
    torch.set_default_dtype(torch.float64)
    try:
        made_ = LogitAdjustedLoss(COUNTS), VSLoss(COUNTS, 0.3), LDAMLoss(COUNTS)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(made_[0].offset, (n / n.sum()).log())
    assert torch.equal(made_[1].scale, (n / n.max()) ** 0.3)
    torch.testing.assert_close(made_[2].margin, 15.0 * (50 / n) ** 0.25, rtol=1e-15, atol=0)
    assert LogitAdjustedLoss(COUNTS).offset.dtype == torch.float32


def test_the_normalizer_is_as_exact_as_the_weights():
    loss = FocalLoss(alpha=[0.1, 0.7]).double()
    loss.weight = torch.tensor([0.1, 0.7], dtype=torch.float64)
    assert loss.normalizer(torch.tensor([0, 1, 1])).item() == pytest.approx(1.5, abs=1e-15)
    own = torch.tensor([0.1, 0.2], dtype=torch.float64)
    assert FocalLoss().normalizer(torch.tensor([0, 1]), own).item() == pytest.approx(0.3, abs=1e-15)


def test_an_empty_class_counts_as_the_rarest_of_the_others():
    for loss in (LogitAdjustedLoss, VSLoss, LDAMLoss, SeesawLoss):
        x, target = made(9, 4)
        found, wanted = loss([90, 10, 1, 0]), loss([90, 10, 1, 1])
        torch.testing.assert_close(found(x, target), wanted(x, target))


def mmdetections_seesaw(logits, target, counts, p=0.8, q=2.0, eps=1e-2):
    """mmdet.models.losses.seesaw_ce_loss, without reduction."""
    n, rows = counts.clamp(min=1), torch.arange(len(target))
    ratio = n[None, :] / n[:, None]
    mitigation = torch.where(ratio < 1, ratio**p, 1.0)[target]
    scores = logits.detach().softmax(1)
    ratio = scores / scores[rows, target, None].clamp(min=eps)
    compensation = torch.where(ratio > 1, ratio**q, 1.0)
    others = 1 - F.one_hot(target, logits.shape[1])
    changed = logits + (mitigation * compensation).log() * others
    return F.cross_entropy(changed, target, reduction="none")


def test_seesaw_is_mmdetections_and_counts_as_it_does():
    loss, counts = SeesawLoss(num_classes=5, eps=1e-2, reduction="none"), torch.zeros(5)
    resumed = SeesawLoss(num_classes=5, eps=1e-2, reduction="none")
    for seed in range(4):
        logits, _ = made(40, 5, seed=seed)
        target = torch.tensor([0] * 30 + [1] * (9 - seed) + [2] * (1 + seed))
        counts += target.bincount(minlength=5)
        logits = (4 * logits.detach()).requires_grad_()
        found, wanted = loss(logits, target), mmdetections_seesaw(logits, target, counts)
        torch.testing.assert_close(found, wanted)
        slopes = [torch.autograd.grad(x.sum(), logits)[0] for x in (found, wanted)]
        torch.testing.assert_close(*slopes)
        resumed.load_state_dict(loss.state_dict())
        assert loss.counts.equal(counts.long())
    ignored = loss.counts.clone()
    loss(logits, torch.full_like(target, -100))
    assert loss.counts.equal(ignored)
    torch.testing.assert_close(loss.eval()(logits, target), found)  # counts nothing any more
    torch.testing.assert_close(resumed.eval()(logits, target), found)
    impossible = torch.tensor([[0.0, 1.0, 2.0, 3.0, float("-inf")]])
    assert SeesawLoss(counts)(impossible, torch.tensor([4])) == float("inf")
    weight = torch.arange(1.0, 6.0)
    weighted = SeesawLoss(counts, weight=weight, gamma=2.0, reduction="none")(logits, target)
    p_t = (-SeesawLoss(counts, reduction="none")(logits, target)).exp()
    torch.testing.assert_close(
        weighted, -weight[target] * (1 - p_t) ** 2 * p_t.log(), rtol=1e-4, atol=1e-5
    )


def test_learned_letters_get_their_gradients():
    offset = torch.zeros(4, requires_grad=True)
    logits, target = made(9, 4)
    found = torch.autograd.grad(adjusted_cross_entropy(logits, target, offset=offset), offset)[0]
    wanted = torch.autograd.grad(F.cross_entropy(logits + offset, target), offset)[0]
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: losses.LogitAdjustedLoss([1, 2], tua=1.0), "LogitAdjustedLoss .* mean 'tau'"),
        (lambda: losses.CDTLoss([1, 2], reductoin="sum"), "CDTLoss .* mean 'reduction'"),
        (lambda: losses.AdjustedCrossEntropyLoss(weigth=[1, 2]), "CrossEntropyLoss .*'weight'"),
        (lambda: losses.SeesawLoss([1, 2], num_clases=2), "SeesawLoss .* mean 'num_classes'"),
        (lambda: losses.FocalLoss(gama=2.0), "gama"),
    ],
)
def test_a_misspelled_setting_names_the_loss_and_what_was_meant(make, says):
    with pytest.raises(TypeError, match=says):
        make()
