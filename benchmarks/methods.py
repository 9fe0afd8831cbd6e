"""What each method of training costs, as ratios of the time of the same training without it.

    PYTHONPATH=tests/site python benchmarks/methods.py

`resnet8` on images of bytes, one thread, `train.fit` for two epochs, and for a second stage those
two and ten epochs of the head. Rounds go over all methods, the plain training first; the median of
the rounds' ratios is written, and the range of them.
"""

import statistics
import time
from collections.abc import Callable

import torch

from counterpoise import losses, train
from counterpoise.data import Split
from counterpoise.net import build

ROUNDS, EPOCHS, BATCH, CLASSES = 5, 2, 64, 10
DATA = {"1 x 28 x 28": ((1, 28, 28), 1_024), "3 x 64 x 64": ((3, 64, 64), 256)}


def methods(counts: torch.Tensor) -> dict[str, dict[str, object]]:
    """Return the settings of `fit` by method; of a second stage its word."""
    mixes: dict[str, dict[str, object]] = {
        name: {"mix": train.Mix(name, counts)} for name in ("mixup", "cutmix", "remix")
    }
    augments: dict[str, dict[str, object]] = {
        name: {"augment": train.augmentation(name)} for name in ("trivial_augment", "rand_augment")
    }
    stages: dict[str, dict[str, object]] = {name: {"how": name} for name in ("crt", "lws")}
    return {"plain": {}, **mixes, **augments, "ema": {"ema": 0.999}, "sam": {"sam": 0.05}, **stages}


def run(part: Split, shape: tuple[int, ...], settings: dict[str, object]) -> Callable[[], None]:
    """Return a training of a new net."""
    how = settings.pop("how", "")

    def once() -> None:
        torch.manual_seed(0)
        net, loss = build("resnet8", "batch", shape, CLASSES), losses.AdjustedCrossEntropyLoss()
        watch = {"validation": Split(part.inputs[:BATCH], part.targets[:BATCH])}
        usual = {"batch_size": BATCH, "watch": watch}
        train.fit(net, loss, part, epochs=EPOCHS, lr=0.05, **usual, **settings)  # type: ignore
        if how:
            train.retrain_head(net, loss, part, how=str(how), epochs=10, **usual)  # type: ignore

    return once


def seconds(once: Callable[[], None]) -> float:
    """Return the processor time of a training in this thread."""
    begin = time.thread_time()
    once()
    return time.thread_time() - begin


def main() -> None:
    torch.set_num_threads(1)
    print(f"| method | {' | '.join(DATA)} |\n| --- |{' --- |' * len(DATA)}")
    found: dict[str, list[str]] = {}
    for shape, samples in DATA.values():
        inputs = torch.randint(0, 256, (samples, *shape), dtype=torch.uint8)
        part = Split(inputs, torch.arange(samples) % CLASSES)
        made = methods(torch.full((CLASSES,), samples / CLASSES))
        trainings = {name: run(part, shape, dict(own)) for name, own in made.items()}
        trainings["plain"]()
        rounds = [{k: seconds(once) for k, once in trainings.items()} for _ in range(ROUNDS)]
        for name in trainings:
            ratios = sorted(times[name] / times["plain"] for times in rounds)
            text = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            found.setdefault(name, []).append(text)
    for name, cells in found.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
