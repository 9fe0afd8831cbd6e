"""The implementations of the family: one loss, exact, and torch's where a logit is not finite."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mpmath
import pytest
import torch
from tests.covering import every_pair, in_turn
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from counterpoise import norms
from counterpoise.kernels.adjusted_cross_entropy import Arguments, choose, cpu, eager
from counterpoise.losses import (
    AdjustedCrossEntropyLoss,
    FocalLoss,
    SeesawLoss,
    adjusted_cross_entropy,
    explain,
)

INF, NAN = float("inf"), float("nan")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # on the CPU: the kernel for GPUs


@pytest.fixture(params=["gpu"] if INTERPRETED else ["cpu", "eager"])
def implementation(request):
    if request.param == "gpu":
        if request.node.callspec.params.get("dtype") == torch.float64:
            pytest.skip("float64 is for the operators")
        from counterpoise.kernels.adjusted_cross_entropy import gpu

        return gpu.adjusted_cross_entropy
    if request.param == "cpu" and cpu.LIBRARY is None:
        pytest.skip("no C compiler made the library")
    return {"cpu": cpu, "eager": eager}[request.param].adjusted_cross_entropy


def gradient(value, logits):
    return torch.autograd.grad(value.sum(), logits)[0]


def outcome(loss, logits, *arguments, **keywords):
    z = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(z, *arguments, **keywords)
    return value.detach(), gradient(value, z)


def assert_same(found, wanted, **tolerances):
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, equal_nan=True, **tolerances)


def exact(row, gamma):
    """Margin, loss, and slopes by the first two logits of a sample of class 0."""
    others = [mpmath.exp(mpmath.mpf(x) - mpmath.mpf(row[0])) for x in row[1:]]
    odds = mpmath.fsum(others)
    loss, miss = mpmath.log1p(odds), odds / (1 + odds)
    slope = miss**gamma * (miss + gamma * loss / (1 + odds))
    return mpmath.log(odds), miss**gamma * loss, -slope, slope * others[0] / odds


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="is what runs")
def test_the_kernel_for_gpus_in_tritons_interpreter():
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore", __file__, "-k", "gpu"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 30


@every_pair(
    gamma=[0.0, 0.5, 1.0, 2.0, 5.0],
    classes=[2, 10, 100],
    dtype=[torch.float32, torch.float64, torch.bfloat16],
)
def test_error_is_what_rounding_the_logits_costs(implementation, dtype, classes, gamma):
    assert_as_exact_as_logits(implementation, dtype, classes, gamma)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_compiled_graph_is_as_exact(dtype):
    compiled = torch.compile(eager.adjusted_cross_entropy, fullgraph=True)
    assert_as_exact_as_logits(compiled, dtype, classes=100, gamma=5.0)


def assert_as_exact_as_logits(implementation, dtype, classes, gamma):
    # torch's operators have nothing wider than float64, where γ multiplies the margin's rounding.
    by_operators = implementation is not cpu.adjusted_cross_entropy
    factor = (1 + gamma) / 2 if by_operators and dtype == torch.float64 else 1
    generator = torch.Generator().manual_seed(0)
    many = 161 if classes == 2 else 33
    margins = torch.cat([torch.linspace(-80, 80, many), torch.linspace(-4, 4, 65)])
    logits = torch.randn(len(margins), classes, generator=generator) * (classes > 2)
    logits[:, 0] = margins + logits[:, 1:].logsumexp(1)
    logits = logits.to(dtype)
    target = torch.zeros(len(margins), dtype=torch.long)
    value, slopes = outcome(implementation, logits, Arguments(target, gamma=gamma))
    limits = torch.finfo(dtype)
    with mpmath.workdps(50):
        for row, v, s in zip(logits.tolist(), value.tolist(), slopes.tolist(), strict=True):
            margin, *wanted = exact(row, gamma)
            bound = 4 * (1 + abs(margin)) * limits.eps * factor
            for found, w in zip((v, *s[:2]), wanted, strict=True):
                if abs(w) > limits.tiny:
                    assert abs(found / w - 1) <= bound, (float(margin), found, float(w))
                else:
                    assert abs(found) <= 2 * limits.tiny


@every_pair(
    shape=[(7, 5), (700, 100), (6, 5, 64, 50), (2, 100, 7, 9)],
    names=["", "scale offset margin weight gamma poly", "gammas"],
    layout=["contiguous", "transposed", "strided"],
    reduction=["mean", "none"],
)
def test_every_layout_is_the_loss_in_float64(implementation, shape, names, layout, reduction):
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(shape, generator=g)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=g)
    target.view(-1)[::3] = -100
    values = {name: torch.rand(shape[1], generator=g) + 0.5 for name in names.split()}
    values |= {name: 1.5 for name in ("gamma", "poly") if name in values}
    if "gammas" in values:
        values = {"gamma": 2 * values["gammas"]}
    given = {
        "contiguous": logits,
        "transposed": logits.movedim(1, -1).contiguous().movedim(-1, 1),
        "strided": logits.repeat_interleave(2, -1)[..., ::2],
    }[layout]

    arguments = Arguments(target, reduction=reduction, **values)

    wanted = outcome(eager.adjusted_cross_entropy, logits.double(), arguments)
    value, grad = outcome(implementation, given, arguments)
    # A sum of weights in float32 is off by some digits that the mean's many samples share.
    close = {"rtol": 5e-5, "atol": 1e-6}
    assert_same((value.double(), grad.double()), wanted, **close)


@in_turn(
    dtype=[torch.float32, torch.float64, torch.bfloat16],
    shape=[(9000, 10), (700, 100), (2, 21, 40, 50)],
)
def test_threads_change_no_bit(shape, dtype):
    logits = torch.randn(shape).to(dtype)
    target = torch.randint(shape[1], (shape[0], *shape[2:]))
    loss, found = FocalLoss(2.5, alpha=torch.rand(shape[1])), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(outcome(loss, logits, target))
    torch.set_num_threads(1)
    for other in found[1:]:
        assert_same(other, found[0], rtol=0, atol=0)


@every_pair(classes=[1, 3, 100], wild=[NAN, INF, -INF], place=[0, -1])
def test_wild_logits_are_what_torch_makes_of_them(implementation, classes, wild, place):
    logits, target = torch.randn(4, classes), torch.zeros(4, dtype=torch.long)
    logits[1, place] = wild
    found = outcome(implementation, logits, Arguments(target, reduction="mean"))
    assert_same(found, outcome(nn.CrossEntropyLoss(), logits, target))
    logits[1] = wild
    found = outcome(implementation, logits, Arguments(target))
    assert_same(found, outcome(nn.CrossEntropyLoss(reduction="none"), logits, target))


@in_turn(wild=[NAN, INF, -INF, 1e30], size=[4, 40000])
def test_wild_logits_that_are_ignored_do_no_harm(wild, size):
    logits, target = torch.randn(size, 3), torch.zeros(size, dtype=torch.long)
    logits[1, 1], target[1] = wild, -100
    kept = torch.arange(size) != 1
    value, grad = outcome(FocalLoss(), logits, target)
    assert_same((value, grad[kept]), outcome(FocalLoss(), logits[kept], target[kept]))
    assert (grad[1] == 0).all()


def by_func(loss, logits, *arguments, **keywords):
    return torch.func.grad(lambda z: loss(z, *arguments, **keywords))(logits)


def by_create_graph(loss, logits, *arguments, **keywords):
    z = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(z, *arguments, **keywords), z, create_graph=True)[0]


def by_learned_weight(loss, logits, *arguments, **keywords):
    loss = copy.deepcopy(loss)
    loss.weight = torch.ones(3, requires_grad=True)
    value = loss(z := logits.clone().requires_grad_(), *arguments, **keywords)
    grad, of_weight = torch.autograd.grad(value, (z, loss.weight))
    assert of_weight.isfinite().all()
    return grad


def by_backward(loss, logits, *arguments, **keywords):
    return outcome(loss, logits, *arguments, **keywords)[1]


@every_pair(
    wild=[NAN, INF, -INF],
    smoothing=[0.0, 0.1],
    gamma=[0.0, 2.0],
    by=[by_backward, by_func, by_create_graph, by_learned_weight],
)
def test_wild_logits_that_are_ignored_do_no_harm_to_any_derivative(wild, smoothing, gamma, by):
    logits, target = torch.randn(4, 3), torch.arange(4) % 3
    kept, own = torch.arange(4) != 1, torch.tensor([1.0, 0.0, 1.0, 1.0])
    loss = FocalLoss(gamma, label_smoothing=smoothing)
    q = torch.softmax(torch.randn(4, 3), 1)
    spoilt = torch.where(kept[:, None], logits, wild)
    for arguments, keywords in (
        ((target.masked_fill(~kept, -100),), {}),
        ((target,), {"sample_weight": own}),
        ((q,), {"sample_weight": own}),
    ):
        wanted = by(loss, logits, *arguments, **keywords)
        torch.testing.assert_close(by(loss, spoilt, *arguments, **keywords), wanted)


def test_a_weight_of_0_gets_its_own_gradient():
    logits, target = torch.randn(4, 3), torch.arange(4) % 3
    own = torch.zeros(4, requires_grad=True)
    for gamma in (0.0, 2.0):
        grad = gradient(FocalLoss(gamma, reduction="sum")(logits, target, sample_weight=own), own)
        assert_same([grad], [FocalLoss(gamma, reduction="none")(logits, target)])


@in_turn(
    reduction=["mean", "batchmean", "sum", "none"],
    shape=[(6, 5), (900, 50), (2, 5, 3, 4)],
    dtype=[torch.float32, torch.float32, torch.bfloat16],
)
def test_the_loss_may_be_changed_in_place(implementation, shape, reduction, dtype):
    logits, target = torch.randn(shape, dtype=dtype), torch.zeros(shape[0], *shape[2:]).long()

    def halved(*arguments):
        loss = implementation(*arguments)
        loss /= 2
        return loss

    arguments = Arguments(target, reduction=reduction)
    value, grad = outcome(implementation, logits, arguments)
    assert_same(outcome(halved, logits, arguments), (value / 2, grad / 2))


@every_pair(
    size=[6, 9000],
    name=["target", "weight", "sample_weight", "normalizer", "offset"],
    again=["backward", "create_graph"],
)
def test_what_was_changed_in_place_gives_no_wrong_gradient(size, name, again):
    given = {
        "target": torch.arange(size) % 10,
        "weight": torch.ones(10),
        "sample_weight": torch.ones(size),
        "normalizer": torch.tensor(3.0),
        "offset": torch.ones(10),
    }
    logits = torch.randn(size, 10, requires_grad=True)
    value = adjusted_cross_entropy(logits, **given)
    if again == "backward":
        value.backward(retain_graph=True)
    given[name].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(value, logits, create_graph=again == "create_graph")


@pytest.mark.parametrize("size", [6, 9000])
def test_logits_may_be_changed_in_place_after_the_loss_as_with_torchs(size):
    leaf, target = torch.randn(size, 10, requires_grad=True), torch.arange(size) % 10
    found = []
    for loss in (AdjustedCrossEntropyLoss(), nn.CrossEntropyLoss()):
        logits = leaf * 1
        value = loss(logits, target)
        logits.mul_(2)
        found.append(gradient(value, leaf))
    torch.testing.assert_close(*found)


@in_turn(dtype=[torch.int32, torch.int16, torch.int8, torch.uint8], samples=[6, 9000])
def test_class_numbers_of_every_integer_dtype(dtype, samples):
    logits, target = torch.randn(samples, 100), torch.arange(samples) % 100
    for ignored in (-100, 3, 255):
        loss = FocalLoss(alpha=torch.rand(100), ignore_index=ignored)
        assert_same(outcome(loss, logits, target.to(dtype)), outcome(loss, logits, target))


@pytest.mark.parametrize(("dtype", "ignored", "number"), [("uint8", -100, 156), ("int8", 255, -1)])
def test_no_class_number_is_ignored_by_overflow(dtype, ignored, number):
    loss = AdjustedCrossEntropyLoss(ignore_index=ignored)
    target = torch.full((2,), number, dtype=getattr(torch, dtype))
    assert loss.normalizer(torch.full((2,), 156, dtype=torch.uint8)) == 2
    for size in (2, 20000):
        with pytest.raises(ValueError, match=f"holds {number} .. {number}"):
            loss(torch.randn(size, 10), target[:1].expand(size))


def test_expanded_logits_and_targets():
    row = torch.randn(1, 4, 1, 1, requires_grad=True)
    for size in ((2, 4, 3, 5), (2, 4, 99, 101)):
        target = torch.tensor([[[1]]]).expand(size[0], *size[2:])
        found, wanted = (
            gradient(loss(row.expand(size), target), row)
            for loss in (AdjustedCrossEntropyLoss(), nn.CrossEntropyLoss())
        )
        torch.testing.assert_close(found, wanted)


@in_turn(normalizer=[3, 3.0, torch.tensor(3), torch.tensor([3.0]).double()], soft=[False, True])
def test_a_normalizer_is_any_number(normalizer, soft):
    logits, target = torch.randn(6, 4), torch.arange(6) % 4
    target = torch.softmax(torch.randn(6, 4), 1) if soft else target
    found = FocalLoss()(logits, target, normalizer=normalizer)
    wanted = FocalLoss(reduction="sum")(logits, target) / 3
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("normalizer", "error", "says"),
    [
        (torch.ones(2), ValueError, r"one number, but got shape \(2,\)"),
        (NAN, ValueError, ">= 0, but got nan"),
        (-1.0, ValueError, ">= 0, but got -1"),
        ("3", TypeError, "a number or a tensor, but got '3'"),
    ],
)
def test_a_bad_normalizer_is_explained(normalizer, error, says):
    with pytest.raises(error, match=says):
        FocalLoss()(torch.randn(6, 4), torch.arange(6) % 4, normalizer=normalizer)


@in_turn(number=[-1, 100, -200], samples=[6, 9000])
def test_class_numbers_out_of_range_are_explained_everywhere(number, samples):
    logits, target = torch.randn(samples, 100), torch.arange(samples) % 100
    target[5] = number
    for settings in ({}, {"weight": torch.ones(100)}, {"label_smoothing": 0.1}):
        with pytest.raises(ValueError, match=r"within 0 \.\. 99"):
            adjusted_cross_entropy(logits, target, **settings)


def test_where_values_are_only_imitated_or_traced_torchs_operators_are_used():
    logits, target, loss = torch.randn(6, 4), torch.arange(6) % 4, FocalLoss()
    with FakeTensorMode():
        assert loss(torch.randn(6, 4), torch.zeros(6, dtype=torch.long)).shape == ()
    traced = make_fx(lambda z: loss(z, target))(logits)
    torch.testing.assert_close(traced(2 * logits), loss(2 * logits, target))
    meta = loss(logits.to("meta"), target.to("meta"))
    assert meta.device.type == "meta"
    negated = torch.complex(logits, logits).conj().imag  # a view with torch's negative bit
    torch.testing.assert_close(loss(negated, target), loss(-logits, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_compiles_as_few_graphs_as_torchs_cross_entropy(smoothing):
    def graphs(loss):
        torch.compiler.reset()
        counter = CompileCounterWithBackend("aot_eager")
        whole = torch.compile(loss, backend=counter, fullgraph=True)
        for n in (6, 9, 11, 14):
            logits, target = torch.randn(n, 4, requires_grad=True), torch.arange(n) % 4
            torch.testing.assert_close(whole(logits, target), loss(logits, target))
        return counter.frame_count

    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    ours = FocalLoss(alpha=weight, label_smoothing=smoothing)
    assert graphs(ours) <= graphs(nn.CrossEntropyLoss(weight, label_smoothing=smoothing))


def test_what_runs_is_what_is_explained():
    loss, logits, target = FocalLoss(), torch.randn(6, 4), torch.arange(6) % 4
    learned = torch.ones(6, requires_grad=True)
    if cpu.LIBRARY is not None:
        assert explain(loss, logits, target).startswith("cpu: ")
    assert "a parameter of the loss" in explain(loss, logits, target, sample_weight=learned)
    assert "float16" in explain(loss, logits.half(), target)
    with norms.backend("eager"):
        assert explain(loss, logits, target) == "eager: asked for by norms.backend"
        assert choose(logits, Arguments(target))[0] is eager.adjusted_cross_entropy
    with pytest.raises(TypeError, match="CrossEntropyLoss"):
        explain(nn.CrossEntropyLoss(), logits, target)


def test_no_autograd_function_where_no_gradient_is_asked_for():
    logits, target = torch.randn(6, 4, requires_grad=True), torch.arange(6) % 4
    with torch.no_grad():
        assert FocalLoss()(logits, target).grad_fn is None
    assert FocalLoss()(logits.detach(), target).grad_fn is None


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_gamma_per_class_is_the_gamma_of_the_targets_class(reduction, smoothing):
    logits, target = torch.randn(30, 3), torch.arange(30) % 3
    gammas, alpha = [0.0, 1.0, 2.5], [1.0, 2.0, 3.0]
    several = FocalLoss(gammas, alpha, "none", label_smoothing=smoothing)
    assert "gamma of 3 classes" in repr(several)
    assert "gamma" in several.state_dict()
    found = several(logits, target)
    # For soft targets the loss is a sum over classes, each with its own γ.
    q = nn.functional.one_hot(target, 3) * (1 - smoothing) + smoothing / 3
    each = [FocalLoss(g, alpha, "none")(logits, target * 0 + c) for c, g in enumerate(gammas)]
    torch.testing.assert_close(found, (q * torch.stack(each, 1)).sum(1))
    with pytest.raises(ValueError, match="gamma must be one finite number >= 0 per class"):
        FocalLoss([1.0, -1.0])
    with pytest.raises(ValueError, match="gamma must have one entry per class"):
        FocalLoss([1.0, 1.0])(logits, target)


@pytest.mark.parametrize(
    "loss",
    [
        FocalLoss(alpha=[1.0, 2.0, 3.0, 4.0]),
        FocalLoss(alpha=[1.0, 2.0, 3.0, 4.0], label_smoothing=0.1),
        AdjustedCrossEntropyLoss(gamma=[1.0, 2.0, 3.0, 4.0]),
        SeesawLoss([1.0, 2.0, 3.0, 4.0]),
    ],
    ids=repr,
)
def test_a_bare_loss_exports_for_every_batch_size(loss):
    logits, target = torch.randn(6, 4), torch.arange(6) % 4
    n = torch.export.Dim("n")
    program = torch.export.export(loss, (logits, target), dynamic_shapes=({0: n}, {0: n})).module()
    for size in (6, 3):
        wanted = loss(logits[:size], target[:size])
        torch.testing.assert_close(program(logits[:size], target[:size]), wanted)
