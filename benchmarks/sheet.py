"""How long the sheet takes: as it is written, and by `counterpoise demo`.

    python benchmarks/sheet.py            the full sheet (some 15 minutes on 2 cores)
    python benchmarks/sheet.py --quick    the demo's quick setting

Both sides train the same nets on the same images for the same number of steps and make the same
evaluations (both parts of the data before training and after every epoch), on the same machine, one
after the other. The sheet's own loop runs as it stands, with torch's default of all cores; the demo
runs one thread a run and the runs side by side. The total is wall time of the whole process,
start-up included; a part is the time that its runs took, divided by the runs at a time.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

from counterpoise.exercise import demo
from counterpoise.study import open_study, stream
from counterpoise.study.events import Failed

HERE = Path(__file__).parent
CELLS = HERE / "sheet" / "cells.py"
SHORT = {
    "none": "plain",
    "layer": "layernorm",
    "group": "groupnorm",
    "cross_entropy": "ce",
    "focal_sum_1": "focal",
}
SHEET_RUNS = ("part1-plain", "part1-layernorm", "part1-groupnorm", "part2-focal", "part2-ce")


def cells(quick: bool) -> list[str]:
    """The sheet's cells; with `quick`, the demo's smaller numbers in place of the sheet's."""
    text = CELLS.read_text()
    if quick:
        s, (n, m) = demo.SETTINGS["fashion_mnist", True], demo.QUICK
        whole = "X_train, y_train, X_test, y_test, num_epochs=num_epochs, lr=lr)"
        part = (
            f"X_train[:{n}], y_train[:{n}], X_test[:{m}], y_test[:{m}], "
            "num_epochs=num_epochs, lr=lr)"
        )
        text = text.replace(whole, part)
        text = text.replace("(k+1)*600", f"(k+1)*{s.per_class}")
        text = text.replace("(k+1)*100", f"(k+1)*{s.per_class_test}")
    return text.split("# %%\n")[1:]


def fake_torchvision(train: object, test: object) -> None:
    """`from torchvision import datasets` for the sheet, serving the data from our own loader."""
    datasets = types.ModuleType("torchvision.datasets")
    datasets.FashionMNIST = lambda root, train, download: parts[train]  # type: ignore[attr-defined]
    parts = {True: train, False: test}
    package = types.ModuleType("torchvision")
    package.datasets = datasets  # type: ignore[attr-defined]
    sys.modules.update({"torchvision": package, "torchvision.datasets": datasets})


def as_written(quick: bool) -> None:
    """Execute the cells with textbook answers; print the times of the training cells as JSON."""
    import matplotlib

    matplotlib.use("Agg")
    sys.path.insert(0, str(HERE / "sheet"))
    import textbook

    from counterpoise import data

    start, found = time.perf_counter(), data.fashion_mnist()
    fake_torchvision(
        *(
            types.SimpleNamespace(data=p.inputs[:, 0], targets=p.targets, classes=found.class_names)
            for p in (found.train, found.test)
        )
    )
    scope: dict[str, object] = {}
    times = {"part1": 0.0, "part2": 0.0}
    finals = []
    for cell in cells(quick):
        begun = time.perf_counter()
        exec(compile(cell, str(CELLS), "exec"), scope)
        for name in dir(textbook):
            if f" {name}(" in cell and "your code here" in cell:
                scope[name] = getattr(textbook, name)
        if cell.startswith("def train("):
            scope["train"] = _keeping(scope["train"], finals)
        if "\ntrain(" in "\n" + cell:
            times["part1" if "cnn_plain" in cell else "part2"] += time.perf_counter() - begun
    names = ["part1-plain", "part1-layernorm", "part1-groupnorm", "part2-focal", "part2-ce"]
    times["accuracy"] = dict(zip(names, finals, strict=True))
    times["total"] = time.perf_counter() - start
    print("RESULT" + json.dumps(times))


def _keeping(train, finals):
    def kept(*args, **kwargs):
        result = train(*args, **kwargs)
        finals.append(float(result[1][-1]))
        return result

    return kept


def by_demo(quick: bool, folder: Path) -> dict:
    """Run the five runs of the sheet as the demo does."""
    start = time.perf_counter()
    plans = demo.plans("fashion_mnist", quick)
    part2 = plans[demo.PART_2]
    plans[demo.PART_2] = dataclasses.replace(part2, losses=part2.losses[:2])
    for event in stream({folder / name: plan for name, plan in plans.items()}):
        if isinstance(event, Failed):
            raise SystemExit(f"{event.run} failed: {event.reason}")
    total = time.perf_counter() - start
    records = {
        f"{part}-{SHORT[r.label]}": r for part in plans for r in open_study(folder / part).records
    }
    at_a_time = min(os.cpu_count() or 1, len(records))
    parts = {
        part: sum(r.timing["seconds"] for n, r in records.items() if n.startswith(part)) / at_a_time
        for part in plans
    }
    accuracy = {name: r.history[-1]["test_accuracy"] for name, r in records.items()}
    return {**parts, "total": total, "accuracy": accuracy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--as-written", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help="write the table as JSON")
    arguments = parser.parse_args()
    if arguments.as_written:
        as_written(arguments.quick)
        return
    with tempfile.TemporaryDirectory() as folder:
        ours = by_demo(arguments.quick, Path(folder))
    print("demo:", json.dumps(ours), flush=True)
    command = [sys.executable, __file__, "--as-written", *(["--quick"] * arguments.quick)]
    begun = time.perf_counter()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    theirs = json.loads(printed.split("RESULT")[1])
    theirs["total"] = time.perf_counter() - begun
    for part in ("part1", "part2", "total"):
        ratio = theirs[part] / ours[part]
        print(
            f"{part:6} as written {theirs[part]:7.1f} s   demo {ours[part]:7.1f} s   {ratio:.2f}x"
        )
    for name in SHEET_RUNS:
        print(
            f"{name:16} accuracy as written {theirs['accuracy'][name]:.4f}   "
            f"demo {ours['accuracy'][name]:.4f}"
        )
    if arguments.save:
        machine = {"cores": os.cpu_count(), "machine": platform.machine(), "quick": arguments.quick}
        result = {"as_written": theirs, "demo": ours, **machine}
        arguments.save.parent.mkdir(parents=True, exist_ok=True)
        arguments.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
