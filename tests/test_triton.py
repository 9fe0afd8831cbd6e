"""The kernel in Triton, compiled without a GPU: no thread's numbers may spill into memory."""

import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip("triton")
from tests.covering import every_pair  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from counterpoise.kernels.adjusted_cross_entropy import gpu  # noqa: E402

POINTERS = {
    "z": "*fp32",
    "target": "*i64",
    "weight": "*fp32",
    "losses": "*fp32",
    "sums": "*fp64",
    "grad_z": "*fp32",
    "grad_loss": "*fp32",
    "denominator": "*fp64",
}
NONE = ("sample_weight", "scale", "offset", "margin", "gammas")
FLOATS = ("gamma", "poly")


@every_pair(
    architecture=[80, 90],
    gradient=[False, True],
    shape=[
        (32, 16, True, "class_stride"),
        (1, 1024, True, "class_stride"),
        (1, 2048, False, "class_stride"),
        (32, 32, True, "sample_stride"),
        (32, 16, False, "sample_stride"),
    ],
)
def test_nothing_spills(shape, gradient, architecture, tmp_path):
    rows, columns, once, neighbours = shape
    kernel = gpu._losses_or_gradient
    constants = dict.fromkeys(NONE) | {neighbours: 1, "POWER": 3, "GRADIENT": gradient}
    constants |= {"EACH": False, "ONCE": once, "ROWS": rows, "COLUMNS": columns}
    signature = dict.fromkeys(kernel.arg_names, "i32") | {"ignore_index": "i64"}
    signature |= POINTERS | dict.fromkeys(FLOATS, "fp32") | dict.fromkeys(constants, "constexpr")
    place = {name: (k,) for k, name in enumerate(kernel.arg_names)}
    source = ASTSource(
        fn=kernel,
        signature={name: signature[name] for name in kernel.arg_names},
        constexprs={place[name]: value for name, value in constants.items()},
        attrs={place[name]: [["tt.divisibility", 16]] for name in POINTERS},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([tool, "-res-usage", binary], capture_output=True, text=True).stdout
    assert re.findall(r"STACK:(\d+)", usage)[-1] == "0", usage
