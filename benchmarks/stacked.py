"""What is trained as one batch of models, against the same trained apart, as ratios of time.

    python benchmarks/stacked.py
    python benchmarks/stacked.py --device cpu      a trial without a GPU, of a few samples

Ten seeds of the exercise's nets, as a study with `stack_seeds` and as one of ten processes side by
side, as the local engine starts them; both with the start of the processes and without it, from the
first epoch that is reported to the end. And 55 linear heads on 1,280 numbers: `train.fit_heads`
against `train.fit` for one after the other, of which five are timed.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from counterpoise import train
from counterpoise.data import Split, Splits
from counterpoise.samplers import ShuffleSampler
from counterpoise.study import Plan, Training, stream
from counterpoise.study.events import Epoch, Failed, Unstacked

NORMS, CLASSES, FEATURES, TIMED = ("none", "layer", "group"), 10, 1280, 5
SIZES = {"cuda": (6_000, 10, 10, 55), "cpu": (600, 2, 3, 10)}  # samples, epochs, seeds, heads


def split(shape: tuple[int, ...], samples: int) -> Split:
    g = torch.Generator().manual_seed(0)
    targets = torch.arange(samples) % CLASSES
    centers = torch.randn(CLASSES, *shape, generator=g)
    return Split(centers[targets] + torch.randn(samples, *shape, generator=g), targets)


def study(norm: str, data: Splits, seeds: int, training: Training) -> tuple[float, float]:
    """Return the seconds of a study, and those from the first epoch on."""
    plan = Plan(
        "made",
        norms=(norm,),
        losses=("focal",),
        seeds=range(seeds),
        training=training,
        references=False,
    )
    begin, first = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        for event in stream({folder: plan}, data={folder: data}, workers=seeds):
            if isinstance(event, Epoch):
                first = first or time.perf_counter()
            if isinstance(event, Failed | Unstacked):
                raise RuntimeError(str(event))
    end = time.perf_counter()
    return end - begin, end - first


def seeds(device: str) -> dict[str, tuple[float, float]]:
    """Return the seconds apart and stacked of each net, with and without the start."""
    samples, epochs, number, _ = SIZES[device]
    part = split((1, 28, 28), samples)
    names = tuple(map(str, range(CLASSES)))
    data = Splits("made", part, split((1, 28, 28), 500), names, "made at random")
    found = {}
    study("none", data, 1, Training("mlp", epochs=1, lr=0.05))  # the first process starts others
    for norm in NORMS:
        times = [
            study(
                norm,
                data,
                number,
                Training("deeper_cnn", epochs=epochs, lr=0.05, batch_size=64, stack_seeds=stacked),
            )
            for stacked in (False, True)
        ]
        for k, words in enumerate(("", ", without the start")):
            found[f"{number} seeds of deeper_cnn, {norm}{words}"] = times[0][k], times[1][k]
    return found


def heads(device: str) -> dict[str, tuple[float, float]]:
    """Return the seconds of heads one after the other, and together."""
    samples, epochs, _, number = SIZES[device]
    part = split((FEATURES,), samples)
    part = Split(part.inputs.to(device), part.targets)
    usual = {"epochs": epochs, "batch_size": 256, "watch": {"train": part}}

    def made(count: int) -> list[train.Head]:
        nets = [nn.Linear(FEATURES, CLASSES).to(device) for _ in range(count)]
        return [
            train.Head(net, nn.CrossEntropyLoss(), train.make_optimizer(net, lr=0.01))
            for net in nets
        ]

    def one_by_one() -> None:
        for head in made(TIMED):
            train.fit(head.net, head.loss, part, optimizer=head.optimizer, sampler=sampler, **usual)

    sampler = ShuffleSampler(part.targets, num_replicas=1, rank=0)
    train.fit_heads(made(2), part, sampler=sampler, **usual)  # a GPU's first calls take long
    apart = _seconds(one_by_one) / TIMED * number
    together = _seconds(lambda: train.fit_heads(made(number), part, sampler=sampler, **usual))
    return {f"{number} linear heads": (apart, together)}


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", choices=list(SIZES))
    parser.add_argument("--save", type=Path)
    asked = parser.parse_args()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # also for the processes of a study
    elif not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; --device cpu is for a trial")
    rows = seeds(asked.device) | heads(asked.device)
    where = "CPU" if asked.device == "cpu" else torch.cuda.get_device_name()
    lines = [f"# Trained as one batch of models: {where}", ""]
    lines += ["| what | apart, s | as one, s | times as fast |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {k} | {a:.1f} | {b:.1f} | {a / b:.1f} |" for k, (a, b) in rows.items()]
    print("\n".join(lines), flush=True)
    if asked.save:
        content = {"where": where, "torch": torch.__version__, "seconds": rows}
        asked.save.write_text(json.dumps(content, indent=1) + "\n")
        asked.save.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
