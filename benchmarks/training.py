"""Our training loop beside those of the frameworks: the same net, batches, data and threads.

    python benchmarks/training.py                      steps per second, 1 thread (about 4 minutes)
    python benchmarks/training.py --study              a study against the plain loop, run by run
    python benchmarks/training.py --side-by-side       one run at a time against two, and the memory

Steps: every loop trains a net for the same number of steps, in turns, round after round in one
process; a step is timed between two calls of the loss, the first ten left out. The last column is
the median over the rounds of (its time / our time): above 1, ours is quicker. "plain, DataLoader"
is torch's own tutorial loop; the sheet's is that of the exercise, with its copy of the data and its
kept graph. Frameworks run with logging, checkpoints and bars off, the way they are quickest.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import psutil
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from counterpoise import data, models, norms, train
from counterpoise.study import Plan, Training, stream
from counterpoise.study.engines.worker import tune_process
from counterpoise.study.events import Epoch, Failed, Progress

WARM = 10
NETS = {
    "DeeperCNN, 4 convs": lambda: models.DeeperCNN(),
    "DeeperCNN, 16 convs": lambda: models.DeeperCNN(convs_per_block=8),
    "DeeperCNN, 16 convs, LayerNorm": lambda: models.DeeperCNN(
        norms.ALL["layer"], convs_per_block=8
    ),
    "DeeperCNN, 16 convs, GroupNorm": lambda: models.DeeperCNN(
        norms.ALL["group"], convs_per_block=8
    ),
    "ResNet-20": lambda: models.ALL["resnet20"](
        lambda shape: nn.BatchNorm2d(shape[0]), (1, 28, 28), 10
    ),
}


class Stamped(nn.CrossEntropyLoss):
    """Cross entropy that remembers when it was called."""

    def __init__(self):
        super().__init__()
        self.stamps = []

    def forward(self, input, target):
        self.stamps.append(time.perf_counter())
        return super().forward(input, target)

    def seconds(self):
        """Of a step, the warm-up left out."""
        stamps = self.stamps[WARM:]
        return (stamps[-1] - stamps[0]) / (len(stamps) - 1)


def ours(net, loss, part, batch, lr):
    train.fit(net, loss, part, epochs=1, batch_size=batch, lr=lr, watch={"watched": part_of(part)})


def part_of(part):
    return data.Split(part.inputs[:8], part.targets[:8])


def loader(part, batch):
    inputs = part.inputs.float() / 255
    return DataLoader(TensorDataset(inputs, part.targets), batch, shuffle=True)


def plain(net, loss, part, batch, lr):
    optimizer = torch.optim.SGD(net.parameters(), lr)
    net.train()
    for x, y in loader(part, batch):
        value = loss(net(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def sheet(net, loss, part, batch, lr):
    """The sheet's `train`, out of its cells; it evaluates before and after, which is not timed."""
    cells = (Path(__file__).parent / "sheet" / "cells.py").read_text().split("# %%\n")
    scope = {"torch": torch, "nn": nn, "F": nn.functional, "device": "cpu"}
    scope["np"] = __import__("numpy")
    for cell in cells:
        if cell.startswith(("def validate(", "def train(")):
            exec(cell, scope)
    few = 32
    scope["validate"] = lambda *_: few
    x, y = part.inputs[:, 0].numpy() / 255, part.targets.numpy()
    with open(os.devnull, "w") as nowhere:
        kept, sys.stdout = sys.stdout, nowhere
        try:
            scope["train"](net, x, y, x[:few], y[:few], 1, lr, lambda p, t: loss(p, t.long()))
        finally:
            sys.stdout = kept


def fabric(net, loss, part, batch, lr):
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    net, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr))
    net.train()
    for x, y in fabric.setup_dataloaders(loader(part, batch)):
        value = loss(net(x), y)
        optimizer.zero_grad()
        fabric.backward(value)
        optimizer.step()


def lightning(net, loss, part, batch, lr):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net

        def training_step(self, pair, _):
            return loss(self.net(pair[0]), pair[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr)

    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, barebones=False, **dict.fromkeys(off, False)
    )
    trainer.fit(Module(), loader(part, batch))


def accelerated(net, loss, part, batch, lr):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    net, optimizer, batches = accelerator.prepare(
        net, torch.optim.SGD(net.parameters(), lr), loader(part, batch)
    )
    net.train()
    for x, y in batches:
        value = loss(net(x), y)
        optimizer.zero_grad()
        accelerator.backward(value)
        optimizer.step()


def skorched(net, loss, part, batch, lr):
    import skorch

    wrapped = skorch.NeuralNetClassifier(
        net,
        criterion=lambda: loss,
        optimizer=torch.optim.SGD,
        lr=lr,
        batch_size=batch,
        max_epochs=1,
        train_split=None,
        verbose=0,
        iterator_train__shuffle=True,
        callbacks="disable",
    )
    wrapped.fit(part.inputs.float() / 255, part.targets)


LOOPS = {
    "ours": ours,
    "plain, DataLoader": plain,
    "the sheet's": sheet,
    "Fabric": fabric,
    "accelerate": accelerated,
    "skorch": skorched,
    "Lightning": lightning,
}


def steps_table(rounds, steps, threads):
    tune_process(threads)
    whole = data.fashion_mnist(download=False).train
    found = {}
    for name, make in NETS.items():
        batch = 128 if name == "ResNet-20" else 32
        number = max(25, steps // 8) if name == "ResNet-20" else steps
        part = data.Split(whole.inputs[: batch * number], whole.targets[: batch * number])
        loops = {k: v for k, v in LOOPS.items() if batch == 32 or v is not sheet}  # its own is 32
        times = {loop: [] for loop in loops}
        for _ in range(rounds):
            for loop, call in loops.items():
                torch.manual_seed(0)
                loss = Stamped()
                call(make(), loss, part, batch, 0.01)
                times[loop].append(loss.seconds())
        print(f"\n{name}, batch {batch}, {threads} thread(s)")
        found[name] = {}
        for loop, seconds in times.items():
            ratio = statistics.median(t / o for t, o in zip(seconds, times["ours"], strict=True))
            rate = 1 / statistics.median(seconds)
            found[name][loop] = {"steps_per_second": rate, "times_ours": ratio}
            print(f"  {loop:20} {rate:8.1f} steps/s   {ratio:5.2f}x our time")
    return found


PLAIN_RUN = """
import sys, torch
sys.path.insert(0, {here!r})
import training
from counterpoise import data, losses, models
whole = data.fashion_mnist(download=False)
n = {n}
part = data.Split(whole.train.inputs[:n], whole.train.targets[:n])
torch.manual_seed({seed})
net = models.DeeperCNN()
loss = losses.ALL[{loss!r}](torch.bincount(part.targets))
for _ in range({epochs}):
    training.plain(net, loss, part, 32, 0.1)
    with torch.no_grad():
        for x, y in training.loader(
            data.Split(whole.test.inputs[:1000], whole.test.targets[:1000]), 128
        ):
            net(x).argmax(1)
"""


def study_data():
    """What the study trains on: named, so that the runs find it."""
    whole = data.fashion_mnist(download=False)
    n = 6000
    return data.Splits(
        "first of FashionMNIST",
        data.Split(whole.train.inputs[:n], whole.train.targets[:n]),
        data.Split(whole.test.inputs[:1000], whole.test.targets[:1000]),
        whole.class_names,
        whole.source,
    )


WORDS = ("cross_entropy", "focal", "logit_adjusted")


def study_plan(seeds=4, epochs=3):
    return Plan(
        "given",
        losses=WORDS,
        seeds=tuple(range(seeds)),
        training=Training(
            "deeper_cnn",
            epochs=epochs,
            batch_size=32,
            lr=0.1,
            momentum=0.0,
            schedule="constant",
            warmup=0.0,
            validation=0.0,
            watch=("test",),
        ),
    )


def run_study(folder, workers, weigh=False, **settings):
    """Return the seconds it took and, if asked, the most MB that a worker had for itself."""
    begin, most = time.perf_counter(), 0
    plans, given = {folder: study_plan(**settings)}, {folder: study_data()}
    for event in stream(plans, data=given, workers=workers):
        if isinstance(event, Failed):
            raise SystemExit(event.reason)
        if weigh and isinstance(event, Epoch | Progress):
            below = psutil.Process().children(recursive=True)
            most = max([most, *map(unshared, below)])
    return time.perf_counter() - begin, most / 1e6


def unshared(process):
    """Of a worker: the server that they are forked from has but one thread."""
    try:
        return process.memory_full_info().uss if process.num_threads() > 1 else 0
    except psutil.Error:  # it has ended
        return 0


def study_table():
    """Three losses and four seeds: as a study, and as twelve scripts with the plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        as_study, _ = run_study(Path(folder), None)
    begin = time.perf_counter()
    for seed in range(4):
        for loss in WORDS:
            text = PLAIN_RUN.format(
                here=str(Path(__file__).parent), n=6000, seed=seed, loss=loss, epochs=3
            )
            subprocess.run([sys.executable, "-c", text], check=True)
    as_scripts = time.perf_counter() - begin
    ratio = as_scripts / as_study
    print(f"study {as_study:.1f} s, twelve scripts {as_scripts:.1f} s: {ratio:.2f}x")
    return {"study_seconds": as_study, "scripts_seconds": as_scripts, "ratio": ratio}


def side_by_side():
    """Two workers against one, and what a further worker costs in memory."""
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            # The server is started; and memory is asked for here, which takes more time than it.
            memory = run_study(Path(folder), workers, weigh=True, seeds=1, epochs=1)[1]
            seconds[workers], _ = run_study(Path(folder), workers, seeds=2, epochs=6)
    ratio = seconds[1] / seconds[2]
    print(f"1 at a time {seconds[1]:.1f} s, 2 at a time {seconds[2]:.1f} s: {ratio:.2f}x")
    print(f"memory of a worker, beyond what it shares: {memory:.0f} MB")
    return {"one": seconds[1], "two": seconds[2], "ratio": ratio, "memory_mb": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--side-by-side", action="store_true")
    parser.add_argument("--save", type=Path, help="add the table to a JSON file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if arguments.study:
        key, found = "study", study_table()
    elif arguments.side_by_side:
        key, found = "side_by_side", side_by_side()
    else:
        key = f"steps_{arguments.threads}_thread"
        found = steps_table(arguments.rounds, arguments.steps, arguments.threads)
    if arguments.save:
        kept = json.loads(arguments.save.read_text()) if arguments.save.exists() else {}
        kept |= {"torch": torch.__version__, "cores": os.cpu_count(), key: found}
        arguments.save.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
