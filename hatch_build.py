"""Compiles the CPU kernels written in C while the project is installed, if there is a compiler.

One library for each set of vector instructions that torch tells apart, none of which knows torch or
Python, so that they fit every version of both: all of them for a wheel, this machine's for an
editable install, or all with COUNTERPOISE_ALL_ISA=1. CC may be of several words ("ccache gcc").
Without a compiler, or where this is not Linux, torch's operators do the work.

Why not scikit-build-core: its editable install imports by a hook that goes before PYTHONPATH, so
that a second checkout runs the first one's code, or else configures CMake in the root of the
sources. And CMake, 30 MB where the system has none, is fetched even where there is no compiler.
"""

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("src/counterpoise/kernels")
INSTRUCTIONS = {  # by the names of torch.backends.cpu.get_cpu_capability(), the best first
    "x86_64": {
        "AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
        "AVX2": ["-march=x86-64-v3"],
        "DEFAULT": [],
    },
    "aarch64": {"DEFAULT": []},
}
NEEDS = {  # flags of /proc/cpuinfo: those that torch asks for
    "AVX512": {"avx512vl", "avx512bw", "avx512dq", "fma"},
    "AVX2": {"avx2", "fma"},
}
FLAGS = ["-std=gnu11", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra"]


class Compile(BuildHookInterface):
    """The hook that hatchling calls."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the package, and say so in the wheel's name."""
        made = compile_kernels(Path(self.root), instruction_sets(version == "editable"))
        if made:
            build_data["artifacts"] += [f"/{path.relative_to(self.root)}" for path in made]
            build_data["pure_python"] = False
            where = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{where}"


def instruction_sets(editable: bool) -> dict[str, list[str]]:
    """Return the flags of each library by its name; for an editable install those of one alone."""
    if sys.platform != "linux":
        return {}
    every = INSTRUCTIONS.get(platform.machine(), {})
    if not every or not editable or os.environ.get("COUNTERPOISE_ALL_ISA", "0") not in ("", "0"):
        return every
    cpuinfo = Path("/proc/cpuinfo")
    flags = re.search(r"(?m)^flags\s*:(.*)$", cpuinfo.read_text() if cpuinfo.is_file() else "")
    has = set(flags[1].split()) if flags else set()
    best = next(name for name in every if NEEDS.get(name, set()) <= has)
    return {best: every[best]}


def compile_kernels(root: Path, variants: dict[str, list[str]]) -> list[Path]:
    """Compile the libraries, put each in its place whole, and return those that could be made.

    A library that was there before is replaced, or removed: it may be of other sources.
    """
    folder, made = root / KERNELS / "compiled", []
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if variants and shutil.which(compiler[0]):
        sources = sorted((root / KERNELS).glob("*/*.c"))
        with tempfile.TemporaryDirectory(prefix=".compiling-", dir=folder) as scratch:
            for library in _libraries(compiler, sources, variants, Path(scratch)):
                made.append(library.replace(folder / library.name))
    else:
        sys.stderr.write("counterpoise: no C compiler, so torch's operators alone\n")
    for old in set(folder.glob("*.so")) - set(made):
        old.unlink(missing_ok=True)
    return made


def _libraries(
    compiler: list[str], sources: list[Path], variants: dict[str, list[str]], scratch: Path
) -> list[Path]:
    """Compile all sources of all libraries at once, and link those of which every source compiles.

    Linking is apart from compiling: OpenMP is to be torch's, already loaded, and not another one.
    """

    def compiled(name: str, source: Path) -> str:
        target = str(scratch / f"{name}-{source.parent.name}-{source.stem}.o")
        _call([*compiler, *FLAGS, *variants[name], "-c", str(source), "-o", target])
        return target

    made = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = {name: [pool.submit(compiled, name, s) for s in sources] for name in variants}
        for name, compiling in objects.items():
            library = scratch / f"{name}.so"
            try:
                linked = [object_file.result() for object_file in compiling]
                _call([*compiler, "-shared", *linked, "-lm", "-o", str(library)])
            except subprocess.CalledProcessError as error:
                sys.stderr.write(f"counterpoise: no {name} kernels: {error.stderr}\n")
            else:
                made.append(library)
    return made


def _call(command: list[str]) -> None:
    done = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
    sys.stderr.write(done.stderr)  # warnings, which `pip install -v` shows
