"""Norms on inputs and gradients of every memory layout, beside torch's on contiguous tensors."""

import io
import itertools
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from tests.covering import every_pair, in_turn
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from counterpoise import norms
from counterpoise.kernels.group_norm import group_norm

pytestmark = pytest.mark.usefixtures("with_and_without_c")
once = pytest.mark.parametrize("with_and_without_c", ["cpu"], indirect=True)  # where both are one

LAST = torch.channels_last
SHAPE = (3, 16, 5, 7)
NORMS = {
    "layer": lambda: norms.LayerNorm(SHAPE[1:]),
    "last axis": lambda: norms.LayerNorm(SHAPE[-1]),
    "one group": lambda: norms.GroupNorm(1, 16),
    "wide groups": lambda: norms.GroupNorm(2, 16),
    "narrow groups": lambda: norms.GroupNorm(8, 16),
    "instance": lambda: norms.InstanceNorm(16, affine=True),
    "rms": lambda: norms.RMSNorm(SHAPE[1:], eps=1e-5),
    "layer2d": lambda: norms.LayerNorm2d(16),
}


def random(*shape, seed=0, offset=0.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + offset


def sliced(x):
    n, c, h, w = x.shape
    larger = torch.zeros(n, c + 2, h + 1, w + 3).contiguous(memory_format=LAST)
    larger[:, 1:-1, 1:, 1:-2] = x
    return larger[:, 1:-1, 1:, 1:-2]


LAYOUTS = {
    "contiguous": torch.Tensor.contiguous,
    "channels_last": lambda x: x.contiguous(memory_format=LAST),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
    "sliced": sliced,
    "expanded": lambda x: x[:1].expand_as(x),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "permuted": lambda x: x.permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2),
}


def layer(name):
    torch.manual_seed(1)
    norm = NORMS[name]()
    for p in norm.parameters():
        nn.init.normal_(p)
    return norm


def torchs(norm, x, dtype=torch.float32):
    """The same by torch's functions on a contiguous tensor."""
    own = [None if p is None else p.to(dtype) for p in (norm.weight, getattr(norm, "bias", None))]
    if isinstance(norm, nn.GroupNorm):
        return F.group_norm(x, norm.num_groups, *own, norm.eps)
    if isinstance(norm, norms.LayerNorm2d):
        return F.layer_norm(x.movedim(1, -1), norm.normalized_shape, *own, norm.eps).movedim(-1, 1)
    if isinstance(norm, nn.RMSNorm):
        return F.rms_norm(x, norm.normalized_shape, own[0], norm.eps)
    return F.layer_norm(x, norm.normalized_shape, *own, norm.eps)


@pytest.mark.parametrize("name", NORMS)
def test_seven_layouts_of_inputs_and_seven_of_gradients(name):
    norm = layer(name)
    parameters = list(norm.parameters())
    for of_x, of_grad in itertools.product(LAYOUTS.values(), LAYOUTS.values()):
        x, slope = of_x(random(*SHAPE)), of_grad(random(*SHAPE, seed=2))
        x.requires_grad_()
        y = norm(x)
        found = [y, *torch.autograd.grad(y, [x, *parameters], slope)]
        plain = x.detach().contiguous().requires_grad_()
        wanted = torchs(norm, plain)
        wanted = [wanted, *torch.autograd.grad(wanted, [plain, *parameters], slope.contiguous())]
        for f, w in zip(found, wanted, strict=True):
            torch.testing.assert_close(f, w, rtol=1e-4, atol=2e-5)
        for memory in (torch.contiguous_format, LAST):
            if x.is_contiguous(memory_format=memory):
                assert y.is_contiguous(memory_format=memory)


SLICES = {
    "channels": lambda x: x.chunk(2, 1)[0],
    "pixels": lambda x: x[:, :, ::2, 1:],
    "samples": lambda x: x[::2],
    "one channel": lambda x: x[:, :1],
    "one pixel": lambda x: x[:, 2:4, :1, :1],
    "one row": lambda x: x[:, :4, :1],
    "transposed": lambda x: x.transpose(2, 3),
    "expanded": lambda x: x[:1, 1:].expand(3, -1, -1, -1),
    "one channel again and again": lambda x: x[:, :1].expand(-1, 8, -1, -1),
}


@once
@in_turn(
    given=itertools.product(SLICES, [torch.contiguous_format, LAST]),
    backend=["cpu", "eager", "reference"],
)
def test_slices_get_the_layout_that_torchs_batch_norm_keeps(given, backend):
    name, memory = given
    x = SLICES[name](random(4, 8, 6, 5).contiguous(memory_format=memory))
    wanted = F.batch_norm(x, None, None, training=True)  # by suggest_memory_format
    for norm in (
        norms.GroupNorm(1, x.shape[1]),
        norms.LayerNorm(x.shape[1:]),
        norms.RMSNorm(x.shape[1:], eps=1e-5),
        norms.LayerNorm2d(x.shape[1]),
    ):
        with norms.backend(backend):
            y = norm(x)
        torch.testing.assert_close(y, torchs(norm, x.contiguous()), rtol=1e-4, atol=1e-5)
        for layout in (torch.contiguous_format, LAST):
            if wanted.is_contiguous(memory_format=layout):
                assert y.is_contiguous(memory_format=layout)


@every_pair(
    name=NORMS,
    of_x=[torch.float32, torch.float64, torch.bfloat16, torch.float16],
    with_and_without_c=["cpu", "eager"],
    indirect=["with_and_without_c"],
)
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's own
def test_parameters_of_any_dtype_beside_an_input_of_any(name, of_x):
    room = 4 * max(torch.finfo(t).eps for t in (of_x, torch.float32))
    for of_weight, memory in itertools.product(
        (torch.float32, torch.float64, torch.bfloat16), (torch.contiguous_format, LAST)
    ):
        norm = layer(name).to(of_weight)
        x = random(*SHAPE).to(of_x).contiguous(memory_format=memory).requires_grad_()
        y = norm(x)
        assert y.dtype == of_x
        wanted = torchs(norm, x.double().contiguous(), torch.float64)
        torch.testing.assert_close(y.double(), wanted, rtol=room, atol=room)
        y.sum().backward()
        assert all(p.grad.dtype == of_weight for p in norm.parameters())


@every_pair(
    offset=[0.0, 1e4],
    groups=[1, 4, 8],
    with_and_without_c=["cpu", "eager"],
    indirect=["with_and_without_c"],
)
def test_channels_last_3d_is_kept_and_right(groups, offset):
    x = random(2, 8, 3, 4, 5, offset=offset)
    y = group_norm(x.contiguous(memory_format=torch.channels_last_3d), groups)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    exact = F.group_norm(x.double(), groups)
    theirs = (F.group_norm(x, groups) - exact).abs().max()
    assert (y - exact).abs().max() <= 2 * theirs + 1e-6


@pytest.mark.parametrize("norm", [norms.LayerNorm((8, 2, 3, 5)), norms.RMSNorm((8, 2, 3, 5))])
def test_channels_last_3d_is_kept_uncopied_over_all_axes(norm):
    x = random(2, 8, 2, 3, 5)
    y = norm(x.contiguous(memory_format=torch.channels_last_3d))
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y, norm(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", [norms.LayerNorm((4, 2, 3, 5)), norms.GroupNorm(2, 4)])
def test_a_slice_in_channels_last_3d_keeps_it(norm):
    x = random(2, 8, 2, 3, 5).contiguous(memory_format=torch.channels_last_3d)[:, :4]
    y = norm(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y, norm(x.contiguous()), rtol=1e-5, atol=1e-5)


@once
@in_turn(name=NORMS, memory=[torch.contiguous_format, LAST])
def test_fake_tensors_and_traces(name, memory):
    norm, x = layer(name), random(*SHAPE).contiguous(memory_format=memory)
    traced = make_fx(norm)(torch.randn_like(x))
    torch.testing.assert_close(traced(x), norm(x), rtol=1e-4, atol=1e-5)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y = norm(mode.from_tensor(x))
    assert y.shape == x.shape
    assert y.is_contiguous(memory_format=memory)


@once
@in_turn(name=NORMS, memory=[LAST, torch.contiguous_format])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # the shape of x is looked at
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own
def test_jit_traces_are_right_for_other_inputs(name, memory):
    norm = layer(name)
    traced = torch.jit.trace(norm, (random(*SHAPE).contiguous(memory_format=memory),))
    for of_x, offset in itertools.product(LAYOUTS.values(), (0.0, 1e3)):
        x = of_x(random(2, *SHAPE[1:], seed=4, offset=offset))
        wanted = torchs(norm, x.double(), torch.float64)
        torch.testing.assert_close(traced(x).double(), wanted, rtol=1e-3, atol=2e-3)


@once
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("name", ["one group", "wide groups", "narrow groups"])
def test_the_old_onnx_export_takes_channels_last(name):
    pytest.importorskip("onnx")
    x, file = random(*SHAPE).contiguous(memory_format=LAST), io.BytesIO()
    torch.onnx.export(layer(name), (x,), file, dynamo=False)
    assert file.getvalue()


def test_a_group_of_one_element_is_the_bias():
    norm = norms.GroupNorm(4, 4)
    nn.init.normal_(norm.bias)
    torch.testing.assert_close(norm(random(3, 4)), norm.bias.expand(3, 4), rtol=0, atol=1e-4)


@once
@in_turn(
    shape=[(0, 4), (2, 4, 0), (0, 4, 3, 3), (2, 4, 0, 3), (2, 4, 0, 0, 0)],
    backend=["cpu", "reference"],
)
def test_nothing_to_normalize(backend, shape):
    for norm in (norms.GroupNorm(2, 4), norms.LayerNorm(shape[1:]), norms.RMSNorm(shape[1:])):
        x = torch.empty(shape, requires_grad=True)
        with norms.backend(backend):
            y = norm(x)
        y.sum().backward()
        assert y.shape == shape
        assert all(p.grad.isfinite().all() for p in norm.parameters())


ONLY_WEIGHT = """
import torch
from counterpoise import norms

shapes = [((64, 8, 1, 1), (8, 1, 8, 8)), ((6, 1, 5, 5), (25, 1, 5, 1))]
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for shape, strides in shapes:
        x = torch.randn(shape).as_strided(shape, strides).to(dtype)
        norm = norms.GroupNorm(1, shape[1]).to(dtype)
        for name in ("cpu", "eager"):
            with norms.backend(name):
                y = norm(x)
                torch.autograd.grad(y, norm.weight, torch.ones_like(y))
"""


@once
def test_one_pixel_or_one_channel_in_channels_last_ends_no_process():
    """Contiguous, and channels_last as well: torch's kernel crashes without a gradient of x."""
    done = subprocess.run([sys.executable, "-c", ONLY_WEIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
