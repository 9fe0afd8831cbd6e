"""What holds for every norm: one suite over the table `norms.ALL`, and torch's own inputs."""

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from tests.covering import every_pair, in_turn
from torch import nn
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import module_db

from counterpoise import norms
from counterpoise.kernels import backend, compiled
from counterpoise.kernels.group_norm import group_norm
from counterpoise.kernels.layer_norm import layer_norm
from counterpoise.kernels.rms_norm import rms_norm
from counterpoise.kernels.rms_norm.reference import rms_norm as rms_reference

pytestmark = pytest.mark.usefixtures("with_and_without_c")
once = pytest.mark.parametrize("with_and_without_c", ["cpu"], indirect=True)  # where both are one

SHAPE = (8, 6, 5)
every_norm = pytest.mark.parametrize("word", norms.ALL)
LAYOUTS = ["contiguous", "channels_last", "transposed", "sliced", "expanded"]
OURS = {
    nn.GroupNorm: norms.GroupNorm,
    nn.LayerNorm: norms.LayerNorm,
    nn.RMSNorm: norms.RMSNorm,
}


def made(layout="contiguous", offset=0.0, dtype=torch.float32, n=4):
    g = torch.Generator().manual_seed(0)
    x = (torch.randn(n, *SHAPE, generator=g, dtype=torch.float64) + offset).to(dtype)
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    if layout == "sliced":
        return torch.stack([x, x], -1)[..., 0]
    return x[:1].expand(n, *SHAPE) if layout == "expanded" else x


def layer(word, dtype=torch.float32):
    torch.manual_seed(1)
    norm = norms.ALL[word](SHAPE).to(dtype)
    for p in norm.parameters():
        nn.init.normal_(p)
    return norm


def torchs(norm, x):
    """The same by torch's functions on a contiguous tensor."""
    x, own = x.contiguous(), dict(norm.named_parameters())
    weight, bias = own.get("weight"), own.get("bias")
    if isinstance(norm, nn.GroupNorm):
        return F.group_norm(x, norm.num_groups, weight, bias, norm.eps)
    if isinstance(norm, norms.LayerNorm2d):
        return F.layer_norm(x.movedim(1, -1), (SHAPE[0],), weight, bias, norm.eps).movedim(-1, 1)
    if isinstance(norm, nn.RMSNorm):
        return F.rms_norm(x, SHAPE, weight, norm.eps)
    return F.layer_norm(x, SHAPE, weight, bias, norm.eps)


def outcome(function, norm, x):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(norm, x)
    slope = torch.linspace(-1, 2, y.numel(), dtype=torch.float64).reshape(y.shape).to(y.dtype)
    return [y, *torch.autograd.grad(y, [x, *norm.parameters()], slope)]


def call(norm, x):
    return norm(x)


@pytest.mark.parametrize("with_and_without_c", ["eager"], indirect=True)
@every_pair(word=norms.ALL, layout=LAYOUTS)
def test_error_is_at_most_twice_that_of_torchs_contiguous_kernel(word, layout):
    norm = layer(word)
    for offset in (0.0, 1e2, 1e3, 1e4):
        x = made(layout, offset)
        exact = outcome(torchs, copy.deepcopy(norm).double(), x.double())
        ours, theirs = outcome(call, norm, x), outcome(torchs, norm, x)
        # torch's own kernel, on a view: what its mean is rounded to depends on the order of terms
        ulp = torch.finfo(x.dtype).eps * offset * 2 if word == "layer" else 0.0
        for found, other, wanted in zip(ours, theirs, exact, strict=True):
            room = 1e-6 * (1 + wanted.abs().max()) + ulp
            assert (found - wanted).abs().max() <= 2 * (other - wanted).abs().max() + room


@pytest.mark.skipif(compiled.LIBRARY is None, reason="no compiler when it was built")
@once
@pytest.mark.parametrize(
    ("word", "layout", "dtype"),
    [
        *itertools.product(norms.ALL, LAYOUTS, [torch.float32]),
        *zip(norms.ALL, LAYOUTS, [torch.bfloat16] * len(norms.ALL), strict=True),
    ],
)
def test_c_is_exact_at_any_mean_in_every_layout(word, layout, dtype):
    norm = layer(word, torch.float32)
    for offset in (0.0, 1e2, 1e4, 1e6):
        x = made(layout, offset, dtype)
        exact = outcome(torchs, copy.deepcopy(norm).double(), x.double())
        found = outcome(call, norm, x)
        if dtype == torch.bfloat16:  # whose gradient of y is another one than float64's
            found, exact, eps = found[:1], exact[:1], 8e-3
        else:
            eps = 2e-6
        for f, w in zip(found, exact, strict=True):
            assert (f - w).abs().max() <= eps * (1 + w.abs().max())


@every_pair(
    word=norms.ALL,
    layout=["contiguous", "channels_last"],
    dtype=[torch.bfloat16, torch.float16, torch.float64],
    with_and_without_c=["cpu", "eager"],
    indirect=["with_and_without_c"],
)
def test_other_dtypes_are_torchs(word, layout, dtype):
    norm, x = layer(word, dtype), made(layout, 3.0, dtype)
    exact = outcome(torchs, copy.deepcopy(norm).double(), x.double())
    ours, theirs = outcome(call, norm, x), outcome(torchs, norm, x)
    for found, other, wanted in zip(ours, theirs, exact, strict=True):
        assert found.dtype == dtype
        room = (
            (256 if dtype == torch.float64 else 4)
            * torch.finfo(dtype).eps
            * (1 + wanted.abs().max())
        )
        assert (found - wanted).abs().max() <= 2 * (other - wanted).abs().max() + room


@once
@in_turn(word=norms.ALL, layout=["contiguous", "channels_last"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_derivatives_of_every_kind(word, layout):
    norm = norms.ALL[word]((4, 2, 3)).double()
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    g = torch.Generator().manual_seed(1)
    own = {k: torch.randn(p.shape, generator=g).double() for k, p in norm.named_parameters()}
    given = [t.requires_grad_() for t in (x, *own.values())]

    def of(x, *parameters):
        return torch.func.functional_call(norm, dict(zip(own, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(of, given, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(of, given, check_batched_grad=True)
    x = x.detach()
    _, wanted = torch.func.jvp(norm, (x,), (x.square(),))
    norm, x = norm.float(), x.float()  # which C would take outside of torch.func
    _, found = torch.func.jvp(norm, (x,), (x.square(),))
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-4)
    many = torch.stack([x, 2 * x])
    torch.testing.assert_close(torch.vmap(norm)(many), torch.stack([norm(m) for m in many]))


@once
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's own
@in_turn(word=norms.ALL, layout=["channels_last", "contiguous"])
def test_compile_export_autocast_and_copies(word, layout):
    torch.compiler.reset()
    norm, x = layer(word), made(layout)
    y = norm(x)
    whole = torch.compile(norm, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x), y, rtol=1e-4, atol=1e-5)
    exported = torch.export.export(norm, (x,)).module()
    torch.testing.assert_close(exported(x), y, rtol=1e-4, atol=1e-5)
    for again in (copy.deepcopy(norm), pickle.loads(pickle.dumps(norm))):
        torch.testing.assert_close(again(x), y, rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (x, x.bfloat16()):
            assert norm(given).dtype == torchs(norm, given).dtype


@once
@in_turn(word=norms.ALL, layout=["channels_last", "contiguous"])
def test_a_symbolic_trace_computes_the_same(word, layout):
    norm, x = layer(word), made(layout)
    traced = torch.fx.symbolic_trace(nn.Sequential(norm, nn.ReLU()))
    for again in (traced, copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        torch.testing.assert_close(again(x), norm(x).relu(), rtol=0, atol=0)
    again(x).sum().backward()
    assert all(p.grad is not None for p in again.parameters())
    with pytest.raises(ValueError, match="but got"):
        traced(torch.zeros(2, 3, 6, 5))


@once
@in_turn(word=norms.ALL, shape=[(0, *SHAPE), (1, 8, 0, 0)])
def test_empty_batches_and_pixels(word, shape):
    norm, x = norms.ALL[word](shape[1:]), torch.empty(shape)
    x.requires_grad_()
    y = norm(x)
    assert y.shape == x.shape
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in norm.parameters())


@once
@every_norm
def test_wrong_channels_are_explained(word):
    with pytest.raises(ValueError, match="but got"):
        norms.ALL[word](SHAPE)(torch.zeros(2, 3, 6, 5))


@once
def test_wrong_shapes_are_explained():
    with pytest.raises(ValueError, match=r"6 channels and 4 groups"):
        norms.GroupNorm(4, 6)
    with pytest.raises(ValueError, match=r"4 channels, but got \(2, 6, 5, 5\)"):
        norms.GroupNorm(2, 4)(torch.zeros(2, 6, 5, 5))
    with pytest.raises(ValueError, match=r"last 2 axes are \(4, 5\), but got \(2, 5, 4\)"):
        norms.LayerNorm((4, 5))(torch.zeros(2, 5, 4))


@once
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_onnx_computes_the_same(layout):
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    net = nn.Sequential(*(layer(word) for word in norms.ALL)).eval()
    x = made(layout)
    program = torch.onnx.export(net, (x,), dynamo=True, verbose=False)
    evaluator = ReferenceEvaluator(program.model_proto)
    (found,) = evaluator.run(None, {evaluator.input_names[0]: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(x).detach(), rtol=1e-3, atol=1e-4)


@every_pair(
    offset=[0.0, 1e3, 1e4],
    given=[  # groups, affine and the seed, of which two were too far off with one group
        (1, True, 66), (1, True, 264), (1, False, 0), (2, True, 0), (8, False, 66), (8, True, 264)
    ],
    with_and_without_c=["cpu", "eager"],
    indirect=["with_and_without_c"],
)  # fmt: skip
def test_every_number_of_groups_in_channels_last(offset, given):
    groups, affine, seed = given
    torch.manual_seed(seed)
    norm = norms.GroupNorm(groups, 8, affine=affine)
    for p in norm.parameters():
        nn.init.normal_(p)
    x = made("channels_last", offset)
    exact = outcome(torchs, copy.deepcopy(norm).double(), x.double())
    ours, theirs = outcome(call, norm, x), outcome(torchs, norm, x)
    for found, other, wanted in zip(ours, theirs, exact, strict=True):
        room = 1e-6 * (1 + wanted.abs().max()) + torch.finfo(x.dtype).eps * offset * 2
        assert (found - wanted).abs().max() <= 2 * (other - wanted).abs().max() + room
    assert ours[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(4, 8), (4, 8, 7), (4, 8, 7, 5), (4, 8, 2, 3, 5)])
def test_group_norm_from_2_to_5_axes_with_mixed_dtypes(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight = torch.linspace(1, 2, 8)
    torch.testing.assert_close(group_norm(x, 2, weight), F.group_norm(x, 2, weight))
    low = x.bfloat16()
    torch.testing.assert_close(
        group_norm(low, 2, weight, weight), F.group_norm(low, 2, weight, weight)
    )


PAIRS = [
    (norms.LayerNorm((4, 6, 6)), nn.LayerNorm((4, 6, 6))),
    (norms.LayerNorm(6, bias=False), nn.LayerNorm(6, bias=False)),
    (norms.GroupNorm(2, 4), nn.GroupNorm(2, 4)),
    (norms.GroupNorm(2, 4, affine=False), nn.GroupNorm(2, 4, affine=False)),
]


@once
@pytest.mark.parametrize(("ours", "torchs"), PAIRS)
def test_module_is_a_drop_in(ours, torchs):
    assert isinstance(ours, type(torchs))
    assert repr(ours) == repr(torchs)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), torchs(x), rtol=1e-5, atol=1e-6)
    again = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    torch.testing.assert_close(again(x), ours(x), rtol=0, atol=0)


def test_instance_norm_is_torchs():
    for kind, extra in ((nn.InstanceNorm1d, 1), (nn.InstanceNorm2d, 2), (nn.InstanceNorm3d, 3)):
        x = torch.randn(2, 6, *[4] * extra)
        theirs, ours = kind(6, affine=True), norms.InstanceNorm(6, affine=True)
        nn.init.normal_(theirs.weight)
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    assert repr(norms.InstanceNorm(6)) == "InstanceNorm(6, eps=1e-05, affine=False)"
    with pytest.raises(ValueError, match="track_running_stats must be False"):
        norms.InstanceNorm(6, 1e-5, 0.1, True, True)
    with pytest.raises(ValueError, match="more than one pixel"):
        norms.InstanceNorm(6)(torch.zeros(2, 6, 1, 1))
    with pytest.raises(ValueError, match=r"InstanceNorm needs .* of 6 channels"):
        norms.InstanceNorm(6)(torch.zeros(2, 3, 1, 1))
    unbiased = norms.InstanceNorm(6, affine=True, bias=False)
    assert unbiased.bias is None
    assert unbiased.weight is not None
    assert unbiased.num_features == 6


@once
@in_turn(word=["group", "layer2d", "instance"], layout=["contiguous", "channels_last"])
def test_export_with_images_of_any_size(word, layout):
    norm, x = layer(word), made(layout)
    sizes = {2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    exported = torch.export.export(norm, (x,), dynamic_shapes=(sizes,)).module()
    other = torch.randn(4, SHAPE[0], 9, 7)
    torch.testing.assert_close(exported(other), norm(other), rtol=1e-4, atol=1e-5)


@once
@pytest.mark.parametrize(
    ("built", "error", "says"),
    [
        (lambda: norms.GroupNorm(2.0, 4), TypeError, "GroupNorm counts in whole numbers"),
        (lambda: norms.GroupNorm(2, -4), ValueError, "one channel and group at least, but got -4"),
        (lambda: norms.GroupNorm(0, 4), ValueError, "at least, but got 0"),
        (lambda: norms.InstanceNorm(0), ValueError, "InstanceNorm needs one channel"),
        (lambda: norms.LayerNorm2d((4, 5, 5)), ValueError, "takes a number of channels"),
    ],
)
def test_numbers_that_make_no_norm_are_explained(built, error, says):
    with pytest.raises(error, match=says):
        built()


def test_rms_norm_equals_its_formula():
    x, weight = made(dtype=torch.float64), torch.randn(SHAPE, dtype=torch.float64)
    torch.testing.assert_close(rms_norm(x, SHAPE, weight), rms_reference(x, SHAPE, weight))
    torch.testing.assert_close(
        rms_norm(x, SHAPE, weight, 0.1), rms_reference(x, SHAPE, weight, 0.1)
    )
    low = (1e-4 * x).bfloat16()  # where eps is most of the denominator
    torch.testing.assert_close(rms_norm(low, SHAPE), rms_reference(low, SHAPE), rtol=0.02, atol=0)


@every_pair(
    ours=[group_norm, layer_norm, rms_norm],
    dtype=[torch.float32, torch.float64, torch.bfloat16],
    with_and_without_c=["cpu", "eager"],
    indirect=["with_and_without_c"],
)
def test_torchs_operator_samples(ours, dtype):
    op = next(o for o in op_db if o.name == f"nn.functional.{ours.__name__}")
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=True))
    assert len(samples) >= 6
    for sample in samples:
        found = ours(sample.input, *sample.args, **sample.kwargs)
        wanted = op.op(sample.input, *sample.args, **sample.kwargs)
        torch.testing.assert_close(found, wanted, equal_nan=True)
        if wanted.numel():
            ours_grad = torch.autograd.grad(found.sum(), sample.input)[0]
            wide = sample.transform(widened)  # torch's own in bfloat16 is up to 13% off here
            y = op.op(wide.input, *wide.args, **wide.kwargs)
            right = torch.autograd.grad(y.sum(), wide.input)[0]
            room = {"rtol": 0.016, "atol": 2e-3} if dtype == torch.bfloat16 else {}
            if dtype == torch.float32:  # a row of one number: 316 times what rounding left
                room = {"rtol": 1e-5, "atol": 3e-4}
            torch.testing.assert_close(ours_grad, right.to(dtype), equal_nan=True, **room)


def widened(given):
    if not isinstance(given, torch.Tensor) or given.dtype != torch.bfloat16:
        return given
    return given.detach().float().requires_grad_()


def test_torchs_operator_samples_of_instance_norm():
    op = next(o for o in op_db if o.name == "nn.functional.instance_norm")
    checked = 0
    for sample in op.sample_inputs("cpu", torch.float64, requires_grad=True):
        settings = dict(sample.kwargs)
        if settings.pop("running_mean", None) is not None or sample.args:
            continue
        if settings.get("running_var") is not None or not settings.get("use_input_stats", True):
            continue
        x, channels = sample.input, sample.input.shape[1]
        eps = settings.get("eps", 1e-5)
        found = group_norm(x, channels, settings.get("weight"), settings.get("bias"), eps)
        torch.testing.assert_close(found, op.op(x, *sample.args, **sample.kwargs))
        checked += 1
    assert checked >= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torchs_module_inputs(dtype):
    checked = dict.fromkeys(OURS, 0)
    for info in module_db:
        if info.module_cls not in OURS:
            continue
        given = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=True, training=True
        )
        for inputs in given:
            args, kwargs = inputs.constructor_input.args, inputs.constructor_input.kwargs
            ours, theirs = OURS[info.module_cls](*args, **kwargs), info.module_cls(*args, **kwargs)
            ours, theirs = ours.to(dtype), theirs.to(dtype)
            assert ours.state_dict().keys() == theirs.state_dict().keys()
            assert repr(ours) == repr(theirs)
            (x,) = inputs.forward_input.args
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
            checked[info.module_cls] += 1
    assert min(checked.values()) >= 6


@once
@in_turn(word=norms.ALL, layout=["channels_last", "contiguous"])
def test_the_reference_backend_gives_the_same(word, layout):
    norm, x = layer(word), made(layout)
    usual = outcome(call, norm, x)
    with norms.backend("reference"):
        assert norms.explain(norm, x) == "reference: asked for by norms.backend"
        found = outcome(call, norm, x)
    for f, w in zip(found, usual, strict=True):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-5)
    assert not norms.explain(norm, x).startswith("reference")


@once
@every_pair(
    word=norms.ALL,
    layout=["contiguous", "channels_last"],
    dtype=[torch.bfloat16, torch.float16],
    of_weight=[torch.float32, None],
)
def test_the_reference_backend_keeps_half_precision_and_layout(word, layout, dtype, of_weight):
    norm, x = layer(word, of_weight or dtype), 1000 * made(layout, dtype=dtype)
    with norms.backend("reference"):
        y = norm(x)
    assert y.dtype == dtype
    assert y.stride() == x.stride()
    wanted = torchs(copy.deepcopy(norm).double(), x.double())
    torch.testing.assert_close(y.double(), wanted, rtol=0.03, atol=0.03)


@once
def test_explain_names_what_is_called_and_why(monkeypatch):
    x = made("channels_last")
    names = []

    def said(layer, x):
        names.append(norms.explain(layer, x))
        return names[-1].split(": ")[0]

    with norms.backend("cpu"):
        fast = "cpu" if compiled.LIBRARY else "eager"
        for layer, given in (
            (norms.GroupNorm(2, 8), x),
            (norms.GroupNorm(2, 8), x.contiguous()),
            (norms.GroupNorm(2, 8), made("transposed").bfloat16()),
            (norms.LayerNorm(SHAPE), x),
            (norms.LayerNorm(5), x),
            (norms.LayerNorm2d(8), x),
            (norms.RMSNorm(5, eps=1e-6), x),
            (norms.InstanceNorm(8), x),
        ):
            assert said(layer, given) == fast
            assert said(layer, given.double()) == said(layer, given.half()) == "eager"
            assert said(layer, given.to("meta")) == said(layer, given[:0]) == "eager"
        gaps = norms.GroupNorm(2, 8)
        gaps.weight = nn.Parameter(torch.ones(16)[::2])
        assert said(gaps, x) == fast
        assert said(gaps.double(), x) == "eager"
    with norms.backend("eager"):
        assert norms.explain(norms.LayerNorm2d(8), x) == "eager: asked for by norms.backend"
    monkeypatch.setattr(compiled, "LIBRARY", None)
    with norms.backend("cpu"):
        assert "no kernel in C was compiled" in norms.explain(norms.GroupNorm(2, 8), x)
    assert len(set(names)) >= 3
    for other in (nn.Linear(2, 2), nn.GroupNorm(2, 8), nn.LayerNorm(5), nn.RMSNorm(5)):
        with pytest.raises(TypeError, match=f"got torch.nn.*{type(other).__name__}"):
            norms.explain(other, x)
    with pytest.raises(ValueError, match="backend must be one of"), norms.backend("fast"):
        pass


@once
@pytest.mark.skipif(compiled.LIBRARY is None, reason="no compiler when it was built")
@pytest.mark.parametrize("word", ["layer", "group", "instance"])
def test_small_contiguous_tensors_are_torchs_and_large_ones_exact(word):
    """The decision is at 2**20 numbers of float32, and explain tells."""
    shape = (4, 64, 64)
    norm = norms.ALL[word](shape)
    with norms.backend("cpu"):
        small = torch.full((2, *shape), 1e6)
        assert norms.explain(norm, small).startswith("cpu: ")
        assert not norm(small).any()
    for n, name in ((63, "eager: torch's kernel is quicker"), (64, "cpu: ")):
        x = torch.zeros(n, *shape)
        token = backend._FORCED.set(None)
        try:
            assert norms.explain(norm, x).startswith(name)
            last = x.contiguous(memory_format=torch.channels_last)
            assert norms.explain(norm, last).startswith("cpu: ")
            assert norms.explain(norm, x.bfloat16()).startswith("cpu: ")
        finally:
            backend._FORCED.reset(token)
