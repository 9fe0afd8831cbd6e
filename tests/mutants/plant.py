"""Plant known mistakes in the code, one at a time, and see whether the tests notice.

    make mutants ARGS="--only 'holm-*' 'swap-*'"

`mutants.toml` lists them. Each is planted in a copy of this checkout, whose tests then run up to
the first that fails; before that, all of these tests must pass with nothing planted. Prints a
table. Exit code: 0 if all mutants died, 1 if one lives, 2 if the list does not fit the code or a
test fails by itself.
"""

import argparse
import os
import platform
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT, LIST = HERE.parents[1], HERE / "mutants.toml"
LEFT_OUT = (".*", "__pycache__", "*.so", "build", "dist", "runs", "studies")  # of a copy


@dataclass(frozen=True)
class Mutant:
    """A text to be replaced in a file, the promise that this breaks, and the tests to notice it."""

    name: str
    breaks: str
    file: str
    old: str
    new: str
    tests: Sequence[str]

    def plant(self, root: Path) -> None:
        """Replace the text in a copy of the checkout."""
        path = root / self.file
        path.write_text(path.read_text(encoding="utf-8").replace(self.old, self.new), "utf-8")


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """Return the rows of the list."""
    with path.open("rb") as file:
        return [Mutant(**row) for row in tomllib.load(file)["mutant"]]


def misfits(mutants: Sequence[Mutant], root: Path = ROOT) -> list[str]:
    """Say which rows do not fit the code, and why."""
    names = Counter(m.name for m in mutants)
    found = [f"{name}: {n} mutants have this name" for name, n in names.items() if n > 1]
    for m in mutants:
        path = root / m.file
        times = path.read_text(encoding="utf-8").count(m.old) if path.is_file() else 0
        if times != 1:
            found.append(f"{m.name}: its text occurs {times} times in {m.file}, and must once")
        if m.old == m.new:
            found.append(f"{m.name}: changes nothing")
        missing = [test for test in m.tests if not (root / test.partition("::")[0]).is_file()]
        found += [f"{m.name}: there is no {test}" for test in missing]
    return found


def compile_kernels(root: Path, changed: Path | None = None) -> None:
    """Compile the kernels in C for this CPU alone; after a change, what includes the file."""
    import torch

    cpu = torch.backends.cpu.get_cpu_capability()
    build = runpy.run_path(str(root / "hatch_build.py"))
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *build["FLAGS"], *build["INSTRUCTIONS"][platform.machine()][cpu]]
    kernels, objects = root / build["KERNELS"], []
    for source in sorted(kernels.glob("*/*.c")):
        objects.append(source.with_suffix(".o"))
        if changed is None or changed.resolve() in _included(source, command):
            subprocess.run([*command, "-w", "-c", source, "-o", objects[-1]], check=True)
    library = kernels / "compiled" / f"{cpu}.so"
    subprocess.run([*compiler, "-shared", *objects, "-lm", "-o", library], check=True)


def _included(source: Path, command: Sequence[str]) -> set[Path]:
    """The source itself, and every file that it includes."""
    rule = subprocess.run([*command, "-MM", source], check=True, capture_output=True, text=True)
    return {Path(name).resolve() for name in rule.stdout.replace("\\\n", " ").split()[1:]}


def copy_checkout(source: Path, to: Path) -> None:
    """Copy what the tests need."""
    shutil.copytree(source, to, ignore=shutil.ignore_patterns(*LEFT_OUT))


def run_tests(root: Path, tests: Sequence[str], timeout: float) -> str:
    """Return the first test that fails, or why there is none to name; "" if all pass.

    Raises:
        RuntimeError: there are no such tests.
    """
    words = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # with all that it starts it is killed
    )
    try:
        told, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"none ended within {timeout:g} s"
    if process.returncode in (4, 5):  # wrong words, nothing collected
        raise RuntimeError(told)
    if process.returncode == 0:
        return ""
    failed = re.search(r"(?m)^(?:FAILED|ERROR) (.*?)(?: - |$)", told)
    return failed[1] if failed else f"pytest ended with {process.returncode}"


def kill(mutant: Mutant, clean: Path, timeout: float) -> tuple[str, float]:
    """Plant a mutant in a copy of a copy; return the test that notices it, and the seconds."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder) / "checkout"
        shutil.copytree(clean, root)
        mutant.plant(root)
        if mutant.file.endswith((".c", ".h")):
            compile_kernels(root, changed=root / mutant.file)
        return run_tests(root, mutant.tests, timeout), time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=["*"], help="patterns of names")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds of a mutant's tests")
    asked = parser.parse_args()

    mutants = read_mutants()
    if wrong := misfits(mutants):
        print("\n".join(wrong), file=sys.stderr)
        return 2
    mutants = [m for m in mutants if any(fnmatchcase(m.name, word) for word in asked.only)]
    pool = ThreadPoolExecutor(asked.jobs)
    with pool, tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        clean = Path(folder) / "checkout"
        copy_checkout(ROOT, clean)
        compile_kernels(clean)
        tests = sorted({test for m in mutants for test in m.tests})
        found = pool.map(lambda test: run_tests(clean, [test], asked.timeout), tests)
        if failed := [test for test in found if test]:
            print(f"with nothing planted there fail {', '.join(failed)}", file=sys.stderr)
            return 2
        for cache in clean.rglob("__pycache__"):
            shutil.rmtree(cache)  # one of the code before could be taken for that of a mutant
        print("| mutant | what it breaks | noticed by | seconds |\n| --- | --- | --- | --- |")
        living = 0
        found = pool.map(lambda m: kill(m, clean, asked.timeout), mutants)
        for m, (noticed, seconds) in zip(mutants, found, strict=True):
            living += not noticed
            by = f"`{noticed}`" if noticed else "**nothing**"
            print(f"| {m.name} | {m.breaks} | {by} | {seconds:.0f} |", flush=True)
    print(f"\n{len(mutants) - living} of {len(mutants)} mutants died", file=sys.stderr)
    return 1 if living else 0


if __name__ == "__main__":
    raise SystemExit(main())
