"""What a study of many classes weighs, and what its report takes.

    python benchmarks/many_classes.py
    python benchmarks/many_classes.py --classes 1000 --runs 10

For each number of classes a study of noise, by a small net that is hardly trained, so that the
answers spread over all classes and the confusion matrices have nearly as many cells as there are
test samples. Half of the runs are the baseline's. Then `counterpoise show` and
`counterpoise report`, each in a process of its own, start-up included: wall time, the time of the
processor, which depends less on what else the machine does, and peak memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from counterpoise.data import Split, Splits
from counterpoise.study import Training, compare

TEST = 10_000  # samples
FEATURES = 64
REPEATS = 3
HEAD = (
    *("classes", "cells", "run.json", "predictions"),
    *("show, s", "CPU, s", "MB", "report, s", "CPU, s", "MB", "page"),
)
# The peak is read within: what wait4 tells of a child counts the parent's memory at its start, too.
COMMAND = """
import sys
from counterpoise.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        (peak,) = [line.split()[1] for line in status if line.startswith("VmHWM")]
    print(peak, file=sys.stderr)
"""


def noise(classes: int, samples: int, seed: int) -> Split:
    """Normal features; as many samples of each class as can be."""
    inputs = torch.randn(samples, FEATURES, generator=torch.Generator().manual_seed(seed))
    return Split(inputs, torch.arange(samples) % classes)


def make(folder: Path, classes: int, runs: int) -> None:
    """Run the study."""
    names = tuple(f"class {k}" for k in range(classes))
    train, test = noise(classes, max(2_000, 4 * classes), 0), noise(classes, TEST, 1)
    data = Splits("noise", train, test, names, "made by benchmarks/many_classes.py")
    compare(
        data,
        losses=("cross_entropy", "focal"),
        seeds=runs // 2,
        out=folder,
        training=Training("mlp", epochs=1, lr=1e-6),
    )


def measure(*arguments: str) -> list[str]:
    """Return a command's seconds, CPU seconds and peak memory in MB, the quickest of some."""
    found = []
    for _ in range(REPEATS):
        begin, before = time.perf_counter(), os.times()
        command = [sys.executable, "-c", COMMAND, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, after = time.perf_counter() - begin, os.times()
        cpu = sum(after[2:4]) - sum(before[2:4])  # user and system, of children
        found.append((seconds, cpu, int(done.stderr.split()[-1]) / 1024))
    seconds, cpu, memory = min(found)
    return [f"{seconds:.1f}", f"{cpu:.1f}", f"{memory:.0f}"]


def size(path: Path) -> str:
    """Write a file's size in kB."""
    return f"{path.stat().st_size / 1000:,.0f} kB"


def row(folder: Path) -> list[str]:
    """Return what is shown of a study."""
    run = max(folder.glob("runs/*/run.json"), key=lambda path: path.stat().st_size)
    test = json.loads(run.read_text(encoding="utf-8"))["test"]
    cells = len(test["confusion_cells"]) if "confusion_cells" in test else "dense"
    report, show = measure("report", str(folder)), measure("show", str(folder))
    sizes = [size(run), size(run.with_name("predictions.npz"))]
    return [
        str(len(test["recall"])),
        str(cells),
        *sizes,
        *show,
        *report,
        size(folder / "report.html"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="a folder for the studies; else they are removed")
    options = parser.parse_args()
    print(f"{options.runs} runs, {TEST:,} test samples; the quickest of {REPEATS}\n")
    print("| " + " | ".join(HEAD) + " |")
    print("| " + " | ".join("---" for _ in HEAD) + " |")
    with tempfile.TemporaryDirectory() as scratch:
        for classes in options.classes:
            folder = (options.keep or Path(scratch)) / f"{classes}_classes"
            make(folder, classes, options.runs)
            print("| " + " | ".join(row(folder)) + " |", flush=True)


if __name__ == "__main__":
    main()
