"""Compiles the CPU kernels written in C while the project is installed, if there is a compiler.

One library for each set of vector instructions that torch tells apart, none of which knows torch or
Python, so that they fit every version of both. Without a compiler, or where this is not Linux,
nothing is compiled and torch's operators do the work.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("src/counterpoise/kernels")
INSTRUCTIONS = {  # by the names of torch.backends.cpu.get_cpu_capability()
    "x86_64": {
        "AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
        "AVX2": ["-march=x86-64-v3"],
        "DEFAULT": [],
    },
    "aarch64": {"DEFAULT": []},
}
FLAGS = ["-std=gnu11", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]


class Compile(BuildHookInterface):
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the package, and say so in the wheel's name."""
        made = compile_kernels(Path(self.root))
        if made:
            build_data["artifacts"] += [f"/{path.relative_to(self.root)}" for path in made]
            build_data["pure_python"] = False
            where = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{where}"


def compile_kernels(root: Path) -> list[Path]:
    """Compile anew, and return the libraries; none where there is no compiler, or it fails."""
    for old in (root / KERNELS / "_compiled").glob("*.so"):
        old.unlink()  # of other sources, it may be
    compiler = shutil.which(os.environ.get("CC", "cc"))
    variants = INSTRUCTIONS.get(platform.machine(), {}) if sys.platform == "linux" else {}
    if compiler is None or not variants:
        sys.stderr.write("counterpoise: no C compiler, so torch's operators alone\n")
        return []
    sources = sorted((root / KERNELS).glob("*/*.c"))
    made = []
    for name, flags in variants.items():
        library = root / KERNELS / "_compiled" / f"{name}.so"
        try:
            _compile([compiler, *FLAGS, *flags], sources, library)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"counterpoise: no {name} kernels: {error.stderr}\n")
        else:
            made.append(library)
    return made


def _compile(command: list[str], sources: list[Path], library: Path) -> None:
    """Link apart from compiling: OpenMP is to be torch's, already loaded, and not another one."""
    objects = [library.with_name(f"{library.stem}-{s.parent.name}.o") for s in sources]
    try:
        for source, compiled in zip(sources, objects, strict=True):
            _call([*command, "-c", str(source), "-o", str(compiled)])
        _call([command[0], "-shared", *map(str, objects), "-lm", "-o", str(library)])
    finally:
        for compiled in objects:
            compiled.unlink(missing_ok=True)


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
