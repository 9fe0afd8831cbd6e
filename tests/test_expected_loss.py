"""The losses for probabilities and label smoothing: the kernel in C, and torch's operators."""

import contextlib

import mpmath
import pytest
import torch
from tests.covering import every_pair, in_turn
from torch import nn

from counterpoise import norms
from counterpoise.kernels.adjusted_cross_entropy import Arguments, cpu
from counterpoise.kernels.adjusted_cross_entropy.reference import (
    adjusted_cross_entropy as reference,
)
from counterpoise.losses import FocalLoss, adjusted_cross_entropy

NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=["cpu", "eager"])
def backend(request):
    """What does the work."""
    if request.param == "cpu" and cpu.LIBRARY is None:
        pytest.skip("no C compiler made the library")
    with norms.backend("eager") if request.param == "eager" else contextlib.nullcontext():
        yield request.param


def outcome(loss, logits, *arguments, **keywords):
    z = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(z, *arguments, **keywords)
    (grad,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), grad


def by_definition(logits, q, vectors, gamma, poly, smoothing):
    """Return the papers' formula of every sample."""
    rows, q = (x.movedim(1, -1).reshape(-1, logits.shape[1]) for x in (logits, q))
    arguments = Arguments(q, gamma=gamma, poly=poly, label_smoothing=smoothing, **vectors)
    return reference(rows, arguments).view(logits.movedim(1, -1).shape[:-1])


@every_pair(
    names=["", "scale offset weight", "margin"],
    focus=[(0, 0), (0.5, 0), (1, 0), (2, 1.5)],  # gamma, poly
    smoothed=[(0.1, "numbers"), (0, "probabilities"), (0.3, "both")],  # by how much, and what
    given=[  # shape, whether the classes lie side by side, dtype
        ((40, 7), True, torch.float64),
        ((3, 600, 2, 5), False, torch.float32),
        ((2, 9, 6), True, torch.float32),
        ((2, 9, 6), False, torch.bfloat16),
    ],
)
def test_is_the_sum_over_the_classes(backend, names, focus, smoothed, given):
    (gamma, poly), (smoothing, what), (shape, last, dtype) = focus, smoothed, given
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(shape, generator=generator)).to(dtype)
    if last:
        logits = logits.movedim(1, -1).contiguous().movedim(-1, 1)
    vectors = {n: torch.rand(shape[1], generator=generator) + 0.5 for n in names.split()}
    if what == "numbers":
        target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
        q = nn.functional.one_hot(target, shape[1]).movedim(-1, 1).double()
    else:
        target = torch.randn(shape, generator=generator).softmax(1)
        q = target.double()
    found = outcome(
        adjusted_cross_entropy,
        logits,
        target,
        gamma=float(gamma),
        poly=float(poly),
        label_smoothing=smoothing,
        reduction="none",
        **vectors,
    )
    exact = {n: v.double() for n, v in vectors.items()}
    wanted = outcome(by_definition, logits.double(), q, exact, gamma, poly, smoothing)
    close = {torch.float32: 1e-5, torch.float64: 1e-6, torch.bfloat16: 1e-2}[dtype]
    for f, w in zip(found, wanted, strict=True):
        assert f.dtype == dtype
        torch.testing.assert_close(f.double(), w, rtol=close, atol=close)


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
@pytest.mark.parametrize("probabilities", [True, False])
def test_reductions_are_of_the_samples_that_count(backend, reduction, probabilities):
    logits, sample_weight = torch.randn(50, 6), torch.rand(50)
    target = torch.randn(50, 6).softmax(1) if probabilities else torch.randint(6, (50,))
    weight = torch.rand(6) + 0.5
    settings = {"weight": weight, "label_smoothing": 0.2, "gamma": 2.0}
    left_out = torch.arange(50) % 3 == 0
    if probabilities:
        sample_weight[left_out] = 0
        mass, counted = sample_weight, 50
    else:
        mass = sample_weight * weight[target] * ~left_out
        target[left_out], counted = -100, int((~left_out).sum())
    by = {"mean": mass.sum(), "batchmean": counted, "sum": 1}[reduction]
    logits[left_out, 1] = INF  # whatever they hold
    each, grads = outcome(
        adjusted_cross_entropy,
        logits[~left_out],
        target[~left_out],
        sample_weight=sample_weight[~left_out],
        reduction="none",
        **settings,
    )
    value, grad = outcome(
        adjusted_cross_entropy,
        logits,
        target,
        sample_weight=sample_weight,
        reduction=reduction,
        **settings,
    )
    torch.testing.assert_close(value, each.sum() / by)
    torch.testing.assert_close(grad[~left_out], grads / by)
    assert not grad[left_out].any()


@in_turn(gamma=[0.0, 0.5, 2.0, 5.0], dtype=[torch.float32, torch.float64])
def test_certain_targets_lose_no_digits(gamma, dtype):
    """Where p_t is next to 1, in the kernel in C."""
    if cpu.LIBRARY is None:
        pytest.skip("no C compiler made the library")
    logits = torch.zeros(81, 3, dtype=dtype)
    logits[:, 0] = torch.linspace(0, 60, 81)
    q = nn.functional.one_hot(torch.zeros(81, dtype=torch.long), 3).to(dtype)
    value, grad = outcome(adjusted_cross_entropy, logits, q, gamma=gamma, reduction="none")
    with mpmath.workdps(50):
        for row, v, s in zip(logits.tolist(), value.tolist(), grad.tolist(), strict=True):
            odds = 2 * mpmath.exp(-mpmath.mpf(row[0]))
            miss, loss = odds / (1 + odds), mpmath.log1p(odds)
            wanted = miss**gamma * loss
            slope = miss**gamma * (miss + gamma * loss / (1 + odds))
            bound = 4 * (1 + row[0]) * torch.finfo(dtype).eps
            for found, w in ((v, wanted), (s[0], -slope), (s[1], slope / 2)):
                assert abs(w) < torch.finfo(dtype).tiny or abs(found / w - 1) <= bound


@in_turn(wild=[NAN, INF, -INF], place=[0, -1])
def test_wild_logits_are_what_torch_makes_of_them(backend, wild, place):
    logits, target = torch.randn(4, 5), torch.zeros(4, dtype=torch.long)
    logits[1, place] = wild
    torchs = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")
    found = outcome(FocalLoss(0, label_smoothing=0.1, reduction="none"), logits, target)
    wanted = outcome(torchs, logits, target)
    torch.testing.assert_close(found[0], wanted[0], equal_nan=True)
    others = torch.arange(4) != 1
    torch.testing.assert_close(found[1][others], wanted[1][others])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_threads_change_no_bit(dtype):
    logits, target = torch.randn(700, 100).to(dtype), torch.randint(100, (700,))
    loss, found = FocalLoss(2.5, alpha=torch.rand(100), label_smoothing=0.1), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(outcome(loss, logits, target))
    torch.set_num_threads(1)
    for other in found[1:]:
        for f, w in zip(other, found[0], strict=True):
            torch.testing.assert_close(f, w, rtol=0, atol=0)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_second_backward_elsewhere(label_smoothing):
    """The gradient is kept for one backward only; the next may be asked of torch's operators."""
    logits = torch.randn(6, 4, requires_grad=True)
    loss = FocalLoss(label_smoothing=label_smoothing)(logits, torch.arange(6) % 4)
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    with norms.backend("eager"):
        (second,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (third,) = torch.autograd.grad(loss, logits, create_graph=True)
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(third, first)


def test_class_numbers_out_of_range_are_refused(backend):
    with pytest.raises(ValueError, match=r"within 0 \.\. 2"):
        FocalLoss(label_smoothing=0.1)(torch.zeros(2, 3), torch.tensor([0, 3]))


def test_probabilities_that_are_learned_get_their_gradient(backend):
    logits, free = torch.randn(5, 3), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)

    def loss(free):
        return FocalLoss()(logits.double(), free.softmax(1))

    assert torch.autograd.gradcheck(loss, free)


def test_what_was_kept_from_a_transform_costs_as_ever():
    """Such a tensor has no memory of its own to take the address of."""
    logits, target, kept = torch.randn(5, 3), torch.arange(5) % 3, []
    torch.func.grad(lambda z: (kept.append(z), z.sum())[1])(logits)
    for loss in (FocalLoss(), FocalLoss(label_smoothing=0.1)):
        torch.testing.assert_close(loss(kept[0], target), loss(logits, target))
