"""Losses, norms, training and studies on a CUDA device: right, and without waiting for it."""

import contextlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.covering import every_pair, in_turn
from torch import nn

from counterpoise import doctor, losses, models, norms, samplers, study, train
from counterpoise.data import Split
from counterpoise.net import build

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # of another torch, say

COUNTS = torch.tensor([500.0, 100.0, 20.0, 4.0, 1.0])
C = len(COUNTS)
SHAPE = (8, 6, 5)
HALF_AND_FLOAT = [torch.float32, torch.bfloat16, torch.float16]
DTYPES = [*HALF_AND_FLOAT, torch.float64]
every_loss = pytest.mark.parametrize("word", losses.ALL)
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def gradient(loss, logits, *arguments):
    z = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(z, *arguments)
    return value.detach(), torch.autograd.grad(value.sum(), z)[0]


@in_turn(
    given=itertools.product(DTYPES, [(300, C), (4, C, 7, 9)], ["mean", "batchmean", "sum", "none"]),
    word=losses.ALL,
)
def test_a_loss_is_that_of_the_cpu_in_float64(given, word):
    dtype, shape, reduction = given
    g = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(shape, generator=g)).to(dtype)
    target = torch.randint(C, (shape[0], *shape[2:]), generator=g)
    target.view(-1)[::5] = -100
    loss = losses.ALL[word](COUNTS)
    loss.reduction = reduction
    wanted = gradient(loss.double(), logits.double(), target)
    found = gradient(loss.float().cuda(), logits.cuda(), target.cuda())
    eps = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.cpu().double(), w, rtol=400 * eps, atol=4 * eps)  # d to 100


@every_pair(
    dtype=HALF_AND_FLOAT,
    gamma=[0.0, 0.5, 1.0, 2.0, 5.0],
    shape=[(225, 2), (225, 10), (225, 100), (225, 3000), (1, 100, 225)],
)
def test_error_is_what_rounding_the_logits_costs(shape, gamma, dtype):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=g) * (shape[1] > 2)
    logits[:, 0] = torch.cat([torch.linspace(-80, 80, 160), torch.linspace(-4, 4, 65)])
    logits, target = logits.to(dtype), torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    loss = losses.FocalLoss(gamma, reduction="none")
    margins = logits.double()[:, 1:].logsumexp(1) - logits.double()[:, 0]
    wanted = gradient(loss, logits.double(), target)
    found = gradient(loss, logits.cuda(), target.cuda())
    limits = torch.finfo(dtype)
    for f, w in zip(found, wanted, strict=True):
        d = margins if w.dim() == margins.dim() else margins.unsqueeze(1)
        bound = 4 * (1 + d.abs()) * limits.eps
        error = (f.cpu().double() - w).abs()
        assert (error <= bound * w.abs() + 2 * limits.tiny).all()


@every_pair(
    layout=["contiguous", "class last", "strided"],
    shape=[(5, 4, 33, 9), (3, 70, 5, 5), (2, 5000, 3), (4097, 21), (70, 1)],
    implementation=["gpu", "eager"],
)
def test_every_parameter_in_every_layout(shape, layout, implementation):
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(shape, generator=g)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=g)
    target.view(-1)[::3] = -100
    own = torch.rand(target.shape, generator=g)
    names = ("scale", "offset", "margin", "weight")
    vectors = {name: torch.rand(shape[1], generator=g) + 0.5 for name in names}
    loss = losses.AdjustedCrossEntropyLoss(**vectors, gamma=1.5, poly=0.5)
    wanted = gradient(lambda z, t: loss(z, t, sample_weight=own.double()), logits.double(), target)
    given = {
        "contiguous": logits,
        "class last": logits.movedim(1, -1).contiguous().movedim(-1, 1),
        "strided": logits.repeat_interleave(2, -1)[..., ::2],
    }[layout].cuda()
    loss, own = loss.cuda(), own.cuda()
    with contextlib.ExitStack() as stack:
        if implementation == "eager":
            stack.enter_context(norms.backend("eager"))
        found = gradient(lambda z, t: loss(z, t, sample_weight=own), given, target.cuda())
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.cpu().double(), w, rtol=5e-5, atol=1e-6)


@every_pair(logit=[0.0, 80.0, 1e4, -1e4, float("inf")], gamma=[0.0, 0.5, 2.0])
def test_extreme_logits_are_those_of_the_cpu(logit, gamma):
    logits, target = torch.zeros(3, C), torch.zeros(3, dtype=torch.long)
    logits[1, 0], logits[2, 1] = logit, logit
    loss = losses.FocalLoss(gamma, reduction="none")
    found = gradient(loss.cuda(), logits.cuda(), target.cuda())
    wanted = gradient(loss.cpu(), logits, target)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f.cpu(), w, equal_nan=True, rtol=1e-5, atol=0)


@every_loss
def test_no_loss_waits_for_the_device(word):
    loss = losses.ALL[word](COUNTS).cuda()
    logits = torch.randn(64, C, device="cuda", requires_grad=True)
    target = torch.randint(C, (64,), device="cuda")
    loss(logits, target).backward()  # what is allocated at first
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(logits, target, sample_weight=torch.ones(64, device="cuda")).backward()
        loss(logits, target).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every_loss
def test_a_loss_is_captured_in_a_graph(word):
    loss = losses.ALL[word](COUNTS).cuda()
    logits = torch.randn(64, C, device="cuda", requires_grad=True)
    target = torch.randint(C, (64,), device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            torch.autograd.grad(loss(logits, target), logits)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = loss(logits, target)
        (grad,) = torch.autograd.grad(value, logits)
    with torch.no_grad():
        logits.copy_(torch.randn(64, C))
    graph.replay()
    for f, w in zip((value.detach(), grad), gradient(loss, logits, target), strict=True):
        torch.testing.assert_close(f, w)


def test_a_class_number_out_of_range_stops_the_device_as_torchs_loss_does():
    program = """if True:
        import torch
        from counterpoise.losses import FocalLoss
        FocalLoss()(torch.randn(4, 3, device="cuda"), torch.tensor([0, 1, 7, 2], device="cuda"))
        torch.cuda.synchronize()
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode
    assert "device-side assert" in run.stderr


@every_loss
def test_a_compiled_loss_is_the_loss(word):
    torch.compiler.reset()
    loss = losses.ALL[word](COUNTS).cuda()
    logits, target = torch.randn(64, C).cuda(), torch.randint(C, (64,)).cuda()
    whole = torch.compile(loss, fullgraph=True)
    for f, w in zip(gradient(whole, logits, target), gradient(loss, logits, target), strict=True):
        torch.testing.assert_close(f, w, rtol=1e-5, atol=1e-7)


def passes(norm, x):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = norm(x)
    slope = torch.linspace(-1, 2, y.numel(), dtype=torch.float64, device=y.device)
    slope = slope.reshape(y.shape).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, [x, *norm.parameters()], slope)]


def layer(word):
    torch.manual_seed(1)
    norm = norms.ALL[word](SHAPE)
    for p in norm.parameters():
        nn.init.normal_(p)
    return norm


@every_pair(word=norms.ALL, memory=LAYOUTS, dtype=HALF_AND_FLOAT, offset=[0.0, 1e3])
def test_a_norms_error_is_at_most_twice_that_of_a_contiguous_tensor(word, memory, dtype, offset):
    norm = layer(word).cuda()
    x = (torch.randn(16, *SHAPE, dtype=torch.float64) + offset).cuda().to(dtype)
    exact = passes(layer(word).double().cuda(), x.double())
    norm = norm.to(dtype)
    own = passes(norm, x.contiguous())
    found = passes(norm, x.contiguous(memory_format=memory))
    assert found[0].is_contiguous(memory_format=memory)
    for f, o, e in zip(found, own, exact, strict=True):
        error, allowed = (f.double() - e).abs().max(), (o.double() - e).abs().max()
        scale = torch.finfo(dtype).eps * e.abs().max()
        assert error <= 2 * allowed + scale


@every_pair(word=norms.ALL, memory=LAYOUTS)
def test_a_compiled_norm_is_the_norm(word, memory):
    torch.compiler.reset()
    norm = layer(word).cuda()
    x = torch.randn(4, *SHAPE).cuda().contiguous(memory_format=memory)
    whole = torch.compile(norm, fullgraph=True)
    found, wanted = passes(whole, x), passes(norm, x)
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-5)


def patterns(n=256):
    g = torch.Generator().manual_seed(0)
    targets = torch.randint(4, (n,), generator=g)
    images = torch.randn(n, 1, 12, 12, generator=g) * 0.3
    for i, t in enumerate(targets.tolist()):
        images[i, 0, 3 * t : 3 * t + 3] += 1.0
    return Split(images, targets)


@pytest.mark.parametrize("norm", ["none", "group", "layer"])
def test_a_net_learns_on_the_device(norm):
    torch.manual_seed(0)
    net = models.DeeperCNN(norms.ALL.get(norm), image_size=12, num_classes=4).cuda()
    part = patterns()
    history = train.fit(net, losses.FocalLoss(1.0).cuda(), part, part, epochs=20, lr=0.1)
    assert history[-1]["test_accuracy"] > 0.9


def test_swap_norm_keeps_the_device():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).cuda()
    norms.swap_norm(net, to="group", inplace=True)
    assert isinstance(net[1], norms.GroupNorm)
    net(torch.randn(2, 3, 8, 8).cuda()).sum().backward()
    assert net[1].weight.grad.device.type == "cuda"


def test_the_doctor_looks_at_a_net_on_the_device():
    part = patterns()
    net = models.DeeperCNN(None, convs_per_block=8, image_size=12, num_classes=4).cuda()
    found = doctor.diagnose(
        net, nn.CrossEntropyLoss(), part.inputs.cuda(), part.targets.cuda(), lr=0.1, remedies=False
    )
    assert found.verdict == "will not learn"


@pytest.mark.parametrize("norm", ["none", "group", "layer", "batch"])
def test_seeds_that_are_stacked_end_as_those_trained_alone(norm):
    part, nets = patterns(), []

    def made(seed):
        torch.manual_seed(seed)
        net = build("deeper_cnn", norm, (1, 12, 12), 4).cuda().double()
        loss = losses.FocalLoss(1.0, torch.tensor([4.0, 3, 2, 1])).cuda().double()
        sampler = samplers.ShuffleSampler(part.targets, seed=seed)
        return net, loss, train.make_optimizer(net, "adamw", lr=0.003), sampler

    double = Split(part.inputs.double(), part.targets)
    settings = {"epochs": 3, "batch_size": 32, "augment": train.AUGMENTS["flip+crop"]}
    members = []
    for seed in range(3):
        *usual, sampler = made(seed)
        nets.append(usual[0])
        watch = {"test": double}
        members.append(train.Member(*usual, train=double, sampler=sampler, watch=watch, seed=seed))
    found = train.fit_stacked(members, **settings)
    for seed, (rows, net) in enumerate(zip(found, nets, strict=True)):
        other, loss, optimizer, sampler = made(seed)
        expected = train.fit(
            other,
            loss,
            double,
            seed=seed,
            optimizer=optimizer,
            sampler=sampler,
            watch={"test": double},
            **settings,
        )
        assert rows[-1]["test_nll"] == pytest.approx(expected[-1]["test_nll"], rel=1e-8)
        for name, value in other.state_dict().items():
            torch.testing.assert_close(net.state_dict()[name], value, rtol=1e-8, atol=1e-8)


def test_heads_multiplied_as_one_end_as_those_trained_alone():
    part = patterns()
    part = Split(part.inputs.flatten(1), part.targets)
    settings = {"epochs": 3, "batch_size": 32, "watch": {"test": part}}
    sampler = samplers.ShuffleSampler(part.targets)

    def made(k):
        torch.manual_seed(k)
        net = models.make_head(["linear", "cosine"][k % 2], 144, 4).cuda()
        return net, losses.FocalLoss(k).cuda(), train.make_optimizer(net, lr=0.03 / (k + 1))

    heads = [train.Head(*made(k)) for k in range(4)]
    found = train.fit_heads(heads, part, sampler=sampler, **settings)
    for k, rows in enumerate(found):
        net, loss, optimizer = made(k)
        expected = train.fit(net, loss, part, optimizer=optimizer, sampler=sampler, **settings)
        assert rows[-1]["test_nll"] == pytest.approx(expected[-1]["test_nll"], rel=1e-4)
        for name, value in net.state_dict().items():
            close = {"rtol": 1e-4, "atol": 1e-4}
            torch.testing.assert_close(heads[k].net.state_dict()[name], value, **close)


def test_a_study_of_runs_beside_each_other_is_that_of_one_at_a_time(tmp_path):
    training = study.Training(model="mlp", epochs=2, lr=0.1)
    found = [
        study.compare(
            "digits",
            losses=["cross_entropy", "focal"],
            seeds=2,
            training=training,
            workers=workers,
            out=tmp_path / str(workers),
        )
        for workers in (1, 4)
    ]
    one, four = ([r.predictions["test_logits"] for r in each.records] for each in found)
    assert len(one) == 4
    for a, b in zip(one, four, strict=True):
        np.testing.assert_array_equal(a, b)
