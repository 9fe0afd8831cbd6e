"""The kernels in C: made where there is a compiler, of every CPU's instructions, and not missed."""

import importlib.util
import os
import platform
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
from counterpoise.kernels import compiled
assert (compiled.LIBRARY is None) == {missing}
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
    with norms.backend("eager" if len(given) > 1 else "reference"):
        wanted = outcome(function, *given)
    for f, w in zip(found, wanted):
        torch.testing.assert_close(f, w, rtol=1e-4, atol=1e-6)
"""


SANITIZED = """
import itertools
import torch
from torch import nn
from counterpoise.kernels import compiled

called, look_up = set(), compiled.prototype
def prototype(name, signature):
    kernel = look_up(name, signature)
    return kernel and (lambda *given: (called.add(name), kernel(*given))[1])
compiled.prototype = prototype
from counterpoise import losses, models, norms

def use(function, x, *more):
    y = function(x.requires_grad_(), *more)
    y.backward(torch.ones_like(y))

torch.manual_seed(0)
floats = torch.float32, torch.bfloat16
shapes = (1, 2), (5, 3), (70, 33), (300, 10), (9, 1000), (4, 5, 3, 7), (2, 19, 65)
for shape, dtype in itertools.product(shapes, (*floats, torch.float64)):
    target = torch.randint(shape[1], (shape[0], *shape[2:]))
    target.view(-1)[::3] = -100
    given = {name: torch.rand(shape[1]) + 0.5 for name in ("scale", "offset", "margin", "weight")}
    for reduction, smoothing in itertools.product(("mean", "none"), (0.0, 0.1)):
        many = {"gamma": 1.5, "reduction": reduction, "label_smoothing": smoothing}
        for vectors in ({}, given if smoothing == 0 else given | {"margin": None}):
            loss = losses.AdjustedCrossEntropyLoss(**many, **vectors)
            for axis in (1, -1):
                logits = torch.randn(shape).movedim(1, axis).contiguous().movedim(axis, 1)
                use(loss, logits.to(dtype), target)
shapes = (2, 4, 5, 9), (3, 6, 1, 1), (1, 16, 7, 3), (21, 8, 9, 9), (2, 320, 3, 3), (1, 16, 80, 80)
for shape, dtype in itertools.product((*shapes, (2, 6, 3, 4, 5)), floats):
    c, layout = shape[1], torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    for norm in norms.GroupNorm(2, c), norms.GroupNorm(c, c), norms.LayerNorm(shape[1:]):
        use(norm.to(dtype), torch.randn(shape).to(dtype, memory_format=layout))
convs = [m for m in models.DeeperCNN().modules() if isinstance(m, nn.Conv2d)]
for conv, size in itertools.product(convs, ((28, 28), (5, 7), (1, 1), (33, 17))):
    x = torch.randn(3, conv.in_channels, *size)
    use(conv, x.to(memory_format=torch.channels_last))
there = {name for name, found in compiled.FOUND.items() if found}
assert called == there != set(), there - called
"""


@pytest.fixture
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


@pytest.fixture
def imitated(package, monkeypatch):
    """A compiler that writes "new", if the old libraries are there and it is not into one."""
    folder = package / KERNELS / "compiled"
    for name in ("AVX2.so", "DEFAULT.so"):
        (folder / name).write_text("old")
    script = package / "imitated compiler"
    script.write_text(
        f'for to; do :; done; cd "{folder}"; [ "$(dirname "$to")" != "$PWD" ] || exit 1\n'
        'grep -q old AVX2.so && grep -q old DEFAULT.so && echo new > "$to"\n'
    )
    monkeypatch.setenv("CC", f"sh '{script}'")
    return folder


def run(code, package, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(package / "src"), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@needs_compiler
def test_every_library_is_right_and_compiles_without_a_warning(hook, package, monkeypatch, capfd):
    monkeypatch.setenv("COUNTERPOISE_ALL_ISA", "1")
    made = hook.compile_kernels(package, hook.instruction_sets(editable=True))
    folder = package / KERNELS / "compiled"
    assert made
    assert capfd.readouterr().err == ""
    assert sorted(folder.glob("*.*o")) == sorted(made)
    capability = torch.backends.cpu.get_cpu_capability()
    for name in ("AVX512", "AVX2", "DEFAULT"):
        path = folder / f"{name}.so"
        if path in made and (name == capability or name != "AVX512"):
            done = run(USE.format(missing=False), package, ATEN_CPU_CAPABILITY=name.lower())
            assert done.returncode == 0, name + done.stderr
            path.unlink()  # so that no other can have been taken in its stead


@needs_compiler
@pytest.mark.slow
def test_no_kernel_leaves_its_memory_or_what_c_defines(hook, package, monkeypatch):
    """Under AddressSanitizer and UBSan, which see the memory of torch's tensors, too."""
    found = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True)
    sanitizer = Path(found.stdout.strip())
    if not sanitizer.is_absolute():
        pytest.skip("cc has no AddressSanitizer")
    monkeypatch.setenv("CC", "cc -fsanitize=address,undefined -fno-sanitize-recover=undefined -g")
    monkeypatch.setattr(hook, "FLAGS", [*hook.FLAGS, "-O0"])
    assert hook.compile_kernels(package, hook.instruction_sets(editable=True))
    done = run(SANITIZED, package, LD_PRELOAD=str(sanitizer), ASAN_OPTIONS="detect_leaks=0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", ["there-is-none", "false"])
def test_without_a_compiler_torchs_operators_do_the_work(hook, package, compiler, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    (package / KERNELS / "compiled" / "DEFAULT.so").write_bytes(b"of other sources")
    assert hook.compile_kernels(package, hook.instruction_sets(editable=False)) == []
    done = run(USE.format(missing=True), package)
    assert done.returncode == 0, done.stderr


def test_the_libraries_are_replaced_when_the_new_ones_are_whole(hook, package, imitated):
    before = {path.name for path in imitated.iterdir()}
    assert hook.compile_kernels(package, {"DEFAULT": []}) == [imitated / "DEFAULT.so"]
    assert (imitated / "DEFAULT.so").read_text() == "new\n"
    assert {path.name for path in imitated.iterdir()} == before - {"AVX2.so"}


@pytest.mark.skipif("ATEN_CPU_CAPABILITY" in os.environ, reason="torch is told what to use")
@pytest.mark.skipif(sys.platform != "linux", reason="compiled for Linux alone")
def test_an_editable_install_is_for_this_machine_and_a_wheel_for_all(hook, package, imitated):
    def artifacts(version):
        data = {"artifacts": []}
        hook.Compile(str(package), {}, None, None, "", "wheel").initialize(version, data)
        assert (data["pure_python"], data["tag"][:14]) == (False, "py3-none-linux")
        for name in ("AVX2.so", "DEFAULT.so"):
            (imitated / name).write_text("old")
        return {Path(path).stem for path in data["artifacts"]}

    capability = torch.backends.cpu.get_cpu_capability()
    assert artifacts("editable") == {capability if "AVX" in capability else "DEFAULT"}
    assert artifacts("standard") == set(hook.INSTRUCTIONS[platform.machine()])


@needs_compiler
@pytest.mark.slow
def test_the_next_library_is_tried_where_one_does_not_load(package):
    capability, folder = torch.backends.cpu.get_cpu_capability(), package / KERNELS / "compiled"
    name = capability if "AVX" in capability else "DEFAULT"
    code = "from counterpoise.kernels.compiled import *; print(INSTRUCTIONS, REASON, sep='\\n')"
    assert run(code, package).stdout == f"\nnone was compiled for {capability}\n"
    (folder / f"{name}.so").write_bytes(b"no library")
    assert run(code, package).stdout.startswith(f"\n{name}.so does not load: ")
    if name != "DEFAULT":
        empty = ["cc", "-shared", "-x", "c", "/dev/null", "-o", str(folder / "DEFAULT.so")]
        subprocess.run(empty, check=True)
        taken, reason = run(code, package).stdout.splitlines()
        assert taken == "DEFAULT"
        assert reason.startswith(f"{name}.so does not load: ")
        assert reason.endswith(f"{folder}/DEFAULT.so is the best for {capability}")


def test_a_library_that_does_not_load_is_as_none(package):
    (package / KERNELS / "compiled" / "DEFAULT.so").write_bytes(b"no library")
    done = run(USE.format(missing=True), package, ATEN_CPU_CAPABILITY="default")
    assert done.returncode == 0, done.stderr


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
