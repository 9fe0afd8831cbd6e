"""The time that a study of heads on frozen features takes.

    python benchmarks/heads.py
    python benchmarks/heads.py --samples 1000
    python benchmarks/heads.py --alone 6

Eleven losses (all but seesaw) times five seeds, each a linear head for 100 classes, imbalanced
100:1, on 1,280 numbers that say something of the class; 20 epochs at a fixed learning rate. Printed
are the seconds of the whole study, those until the first epoch is reported, and those that the
matrix products alone take: the same shapes, in as many processes side by side, with one thread
each, in the same minutes. With --alone so many of the runs are done in a process each instead, and
the time of all is extrapolated.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import torch

from counterpoise import registry
from counterpoise.data import Split, Splits, imbalance_counts
from counterpoise.study import Plan, Training, _heads, stream
from counterpoise.study.events import Epoch, Failed
from counterpoise.study.process import tune_process

LOSSES = tuple(name for name in registry.LOSSES if name != "seesaw")
SEEDS, EPOCHS, FEATURES, CLASSES, FACTOR = 5, 20, 1280, 100, 100.0
TEST = 2_000


def embeddings(samples: int) -> Splits:
    """Two thirds of the classes can be told apart, more or less."""
    g = torch.Generator().manual_seed(0)
    raw = imbalance_counts("exponential", CLASSES, samples, FACTOR)
    counts = [max(3, round(n * samples / sum(raw))) for n in raw]
    centers = torch.randn(CLASSES, FEATURES, generator=g) / 12

    def split(targets: torch.Tensor) -> Split:
        noise = torch.randn(len(targets), FEATURES, generator=g)
        return Split(centers[targets] + noise, targets)

    train = torch.repeat_interleave(torch.arange(CLASSES), torch.tensor(counts))
    names = tuple(f"class {k}" for k in range(CLASSES))
    return Splits(
        "embeddings", split(train), split(torch.arange(TEST) % CLASSES), names, "made at random"
    )


def study(data: Splits, losses: tuple[str, ...], seeds: int, workers: int) -> tuple[float, float]:
    """Return the seconds of a study, and those until the first epoch."""
    training = Training("linear", epochs=EPOCHS, lr=0.03)
    plan = Plan("made", losses=losses, seeds=range(seeds), training=training, references=False)
    begin, first = time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        for event in stream({folder: plan}, data={folder: data}, workers=workers):
            if isinstance(event, Epoch) and not first:
                first = time.perf_counter() - begin
            if isinstance(event, Failed):
                raise RuntimeError(event.reason)
    return time.perf_counter() - begin, first


def multiply(steps: int, batch: int, samples: int, heads: int) -> None:
    """Multiply as so many heads do in training, and as often as they are evaluated."""
    tune_process(1)
    x = torch.randn(batch, FEATURES)
    held = torch.randn(samples, FEATURES)
    every = [torch.randn(CLASSES, FEATURES) for _ in range(heads)]
    grad = torch.randn(batch, CLASSES)
    for _ in range(steps):
        for weight in every:
            torch.mm(x, weight.t())
            torch.mm(grad.t(), x)
    for weight in every:
        torch.mm(held, weight.t())


def products(data: Splits, heads: int, workers: int) -> float:
    """Return the seconds of the matrix products of a study."""
    samples = round(len(data.train) * 0.9)
    batch = 128 if len(data.train) > 2_000 else 32
    held = (EPOCHS + 1) * (len(data.train) - samples)
    work = (EPOCHS * samples // batch, batch, held, -(-heads // workers))
    begin = time.perf_counter()
    started = [
        multiprocessing.get_context("fork").Process(target=multiply, args=work)
        for _ in range(workers)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--alone", type=int, default=0, help="runs in a process each")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = embeddings(asked.samples)
    heads = len(LOSSES) * SEEDS
    alone = products(data, heads, asked.workers)
    print(f"{asked.samples} samples, {heads} heads, {asked.workers} processes")
    print(f"products      {alone:6.1f} s")
    if asked.alone:
        _heads.MOST = 1
        whole, first = study(data, LOSSES[: asked.alone], 1, asked.workers)
        print(f"{asked.alone} runs alone  {whole:6.1f} s, {first:.1f} s until the first epoch")
        print(f"{heads} would take {heads / asked.alone * whole:6.1f} s")
        return
    whole, first = study(data, LOSSES, SEEDS, asked.workers)
    beyond = whole - first
    print(f"study         {whole:6.1f} s, {first:.1f} s until the first epoch")
    print(f"beyond it     {beyond:6.1f} s, {beyond / alone:.2f} times the products")


if __name__ == "__main__":
    main()
