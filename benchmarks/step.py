"""A training step and an evaluated image of the sheet's four nets, in four ways.

    python benchmarks/step.py              one to two minutes
    python benchmarks/step.py --rounds 3   fewer repeats

"sheet" is the sheet's own nets and loop with textbook layers, on all cores, as it runs; "torch" the
same nets of torch.nn's layers and "torch cl" those in channels_last; "ours" is `models.DeeperCNN`
with `counterpoise.norms`. The latter three are trained by `train.fit` on one thread, as in
`counterpoise demo`. All in one process and in turns; medians, in milliseconds a step of 32 images
and in microseconds an image evaluated. The last line weighs the nets by the steps and evaluations
that the sheet makes, with one of our runs on each core: what `benchmarks/sheet.py` measures whole.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from counterpoise import models, norms, train
from counterpoise.data import Split
from counterpoise.study.engines.worker import tune_process

SHEET = Path(__file__).parent / "sheet"
CORES = os.cpu_count() or 1
STEPS, BATCH, LOOKED_AT = 10, 32, 1280  # in a turn
WAYS = ("sheet", "torch", "torch cl", "ours")
# the sheet's class, torch's norm, ours, convs a block; training steps and evaluations of the sheet
NETS = {
    "plain, 8 convs": ("DeeperCNN", None, None, 8, 5_625, 280_000),
    "LayerNorm, 8 convs": ("DeeperCNNLayerNorm", nn.LayerNorm, "layer", 8, 5_625, 280_000),
    "GroupNorm, 8 convs": (
        "DeeperCNNGroupNorm",
        lambda shape: nn.GroupNorm(2, shape[0]),
        "group",
        8,
        5_625,
        280_000,
    ),
    "plain, 2 convs": ("DeeperCNN", None, None, 2, 20_640, 847_000),
}


def sheets_names() -> dict:
    """The sheet's nets, `train` and `validate`, with textbook answers in its blanks."""
    sys.path.insert(0, str(SHEET))
    import textbook

    scope = {"device": torch.device("cpu"), **vars(textbook)}
    for cell in (SHEET / "cells.py").read_text().split("# %%\n"):
        if cell.startswith(("class DeeperCNN", "def validate", "def train")):
            exec(cell, scope)
    return scope


def torchs_net(norm, convs: int) -> nn.Sequential:
    """`models.DeeperCNN` of torch's layers."""
    layers: list[nn.Module] = []
    before = 1
    for shape in ((4, 28, 28), (8, 14, 14)):
        for _ in range(convs):
            layers += [nn.Conv2d(before, shape[0], 3, padding=1)]
            layers += [norm(shape)] if norm else []
            layers += [nn.ReLU()]
            before = shape[0]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 7 * 7, 10))


def calls(name: str, part: Split) -> dict:
    """For each way, (threads, a function that takes STEPS steps, one that evaluates the part)."""
    sheets_class, torchs_norm, word, convs, *_ = NETS[name]
    sheet = sheets_names()
    theirs = sheet[sheets_class](nr_convs_per_block=convs)
    x, y = part.inputs / 255, part.targets
    few = Split(part.inputs[: STEPS * BATCH], y[: STEPS * BATCH])

    def sheets_steps():
        with contextlib.redirect_stdout(io.StringIO()), patch.dict(sheet, validate=lambda *_: 0):
            sheet["train"](theirs, x[: len(few)], few.targets, x, y, num_epochs=1)

    found = {"sheet": (CORES, sheets_steps, partial(sheet["validate"], theirs, x, y))}
    nets = {
        "torch": torchs_net(torchs_norm, convs),
        "torch cl": torchs_net(torchs_norm, convs).to(memory_format=torch.channels_last),
        "ours": models.DeeperCNN(norms.ALL[word] if word else None, convs_per_block=convs),
    }
    for way, net in nets.items():
        steps = partial(train.fit, net, nn.CrossEntropyLoss(), few, epochs=1, watch={})
        found[way] = (1, steps, partial(train.predict, net, part.inputs))
    return found


def medians(ways: dict, rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds a step and microseconds an image evaluated, of each way."""
    times = {way: ([], []) for way in ways}
    for _ in range(rounds + 1):
        for way, (threads, *both) in ways.items():
            torch.set_num_threads(threads)
            for call, kept in zip(both, times[way], strict=True):
                begun = time.perf_counter()
                call()
                kept.append(time.perf_counter() - begun)
    step, image = 1e3 / STEPS, 1e6 / LOOKED_AT
    return {
        way: (step * statistics.median(a[1:]), image * statistics.median(b[1:]))
        for way, (a, b) in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    tune_process(1)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (LOOKED_AT, 1, 28, 28), dtype=torch.uint8)
    part = Split(images, torch.randint(0, 10, (LOOKED_AT,)))
    seconds = {"sheet": 0.0, "ours": 0.0}
    print(f"{'':20}" + "".join(f"{way:>10}" for way in WAYS) + f"{'sheet/ours':>13}")
    for name, (*_, steps, looks) in NETS.items():
        found = medians(calls(name, part), rounds)
        for place, unit in enumerate(("ms a step", "us an image")):
            row = [found[way][place] for way in WAYS]
            title = name if place == 0 else ""
            figures = "".join(f"{t:10.2f}" for t in row)
            print(f"{title:20}{figures}{row[0] / row[-1]:13.2f}  {unit}", flush=True)
        for way in seconds:
            seconds[way] += steps * found[way][0] / 1e3 + looks * found[way][1] / 1e6
    seconds["ours"] /= CORES
    ratio = seconds["sheet"] / seconds["ours"]
    print(
        f"the whole sheet, one of our runs on each of {CORES} cores: "
        f"{seconds['sheet']:.0f} s / {seconds['ours']:.0f} s = {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
