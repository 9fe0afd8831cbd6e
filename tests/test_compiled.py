"""The kernels in C: made where there is a compiler, of every CPU's instructions, and not missed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from counterpoise import models, norms

ROOT = Path(__file__).resolve().parents[1]
KERNELS = Path("src/counterpoise/kernels")
needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")

USE = """
import torch
from counterpoise import losses, norms
from counterpoise.kernels import _compiled
assert (_compiled.LIBRARY is None) == {missing}
g = torch.Generator().manual_seed(0)
z, y = 3 * torch.randn(300, 7, generator=g), torch.randint(7, (300,), generator=g)
many = 3 * torch.randn(300, 100, generator=g)
x = torch.randn(4, 6, 5, 9, generator=g).contiguous(memory_format=torch.channels_last)
narrow = torch.randn(21, 8, 9, 9, generator=g).contiguous(memory_format=torch.channels_last)
def outcome(function, x, *more):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = function(x, *more)
    return value, *torch.autograd.grad(value.sin().sum(), x)
for function, given in (
    (losses.FocalLoss(1.5), (z, y)),
    (losses.FocalLoss(1.5), (many, y)),
    (losses.FocalLoss(1.5, label_smoothing=0.1), (z, y)),
    (losses.FocalLoss(1.5, label_smoothing=0.1), (many, y)),
    (norms.GroupNorm(2, 6), (x,)),
    (norms.GroupNorm(2, 8), (narrow,)),
    (norms.LayerNorm([6, 5, 9]), (x,)),
    (norms.LayerNorm([8, 9, 9]), (narrow,)),
):
    found = outcome(function, *given)
    with norms.backend("native" if len(given) > 1 else "reference"):
        wanted = outcome(function, *given)
    for f, w in zip(found, wanted):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-6)
"""


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path):
    """A copy of the sources, in which nothing is compiled."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.so"))
    return tmp_path


def use(package, missing=False, **environment):
    return subprocess.run(
        [sys.executable, "-c", USE.format(missing=missing)],
        env={**os.environ, "PYTHONPATH": str(package / "src"), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@needs_compiler
def test_every_library_is_right(hook, package):
    made = hook.compile_kernels(package)
    folder = package / KERNELS / "_compiled"
    assert made
    assert sorted(folder.glob("*.*o")) == sorted(made)
    capability = torch.backends.cpu.get_cpu_capability()
    for name in ("AVX512", "AVX2", "DEFAULT"):
        path = folder / f"{name}.so"
        if path in made and (name == capability or name != "AVX512"):
            run = use(package, ATEN_CPU_CAPABILITY=name.lower())
            assert run.returncode == 0, name + run.stderr
            path.unlink()  # so that no other can have been taken in its stead


@pytest.mark.parametrize("compiler", ["there-is-none", "false"])
def test_without_a_compiler_torchs_operators_do_the_work(hook, package, compiler, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    (package / KERNELS / "_compiled" / "DEFAULT.so").write_bytes(b"of other sources")
    assert hook.compile_kernels(package) == []
    run = use(package, missing=True)
    assert run.returncode == 0, run.stderr


def test_a_library_that_does_not_load_is_as_none(package):
    (package / KERNELS / "_compiled" / "DEFAULT.so").write_bytes(b"no library")
    run = use(package, missing=True, ATEN_CPU_CAPABILITY="default")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "layer",
    [norms.GroupNorm(2, 4), norms.LayerNorm([4, 6, 5]), models.DeeperCNN().conv_block_1[2]],
    ids=["group", "layer", "conv"],
)
def test_gradients_where_memory_is_not_the_numbers(layer):
    x = torch.randn(3, 4, 6, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    inputs = [x, *layer.parameters()]
    pair = torch.randn(2, 3, 4, 6, 5)
    slope = torch.complex(*pair).conj().imag  # with torch's negative bit
    wanted = torch.autograd.grad(layer(x), inputs, -pair[1])
    torch.testing.assert_close(torch.autograd.grad(layer(x), inputs, slope), wanted)
    nothing = torch._efficientzerotensor(x.shape)  # of no memory
    for grad in torch.autograd.grad(layer(x), inputs, nothing):
        assert not grad.any()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.contiguous(), lambda t: t):
        y = layer(x)
    torch.testing.assert_close(torch.autograd.grad(y, inputs, -pair[1]), wanted)
