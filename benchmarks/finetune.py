"""A fine-tuning step of `fit` beside a plain PyTorch loop and the step of timm's training script.

    python benchmarks/finetune.py                               resnet18, 2 threads
    python benchmarks/finetune.py --net tf_efficientnet_lite0
    python benchmarks/finetune.py --precision bfloat16

The nets are timm's, with random weights; batches of 32 images of 224 pixels, uint8 in memory. All
loops take the same steps in turns, round after round in one process; a step is timed from one call
of the loss to the next, so it holds a forward and a backward pass, the optimizer, and the reading
of a batch. Plain and timm's loop index a tensor, as `fit` does, which a DataLoader would be slower
than. timm's step is that of its train.py with --channels-last: its optimizer, its loss, its meters.
--cpu-time, for one thread, leaves out what other programs took meanwhile. A ratio is (its time /
our time) of one round: above 1, ours is quicker.
"""

import argparse
import statistics
import time

import timm
import torch
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter
from torch import nn

from counterpoise import data, losses, train

BATCH, SIDE, CLASSES = 32, 224, 10
LR = 1e-3


class Stamped(nn.Module):
    """A loss that remembers when it was called."""

    clock = time.perf_counter

    def __init__(self, loss):
        super().__init__()
        self.loss, self.stamps = loss, []

    def forward(self, logits, targets):
        self.stamps.append(Stamped.clock())
        return self.loss(logits, targets)

    def seconds(self):
        """Of a step, the first one left out."""
        return (self.stamps[-1] - self.stamps[1]) / (len(self.stamps) - 2)


def autocast(precision):
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")


def ours(net, split, precision):
    loss = Stamped(losses.AdjustedCrossEntropyLoss())
    train.fit(
        net,
        loss,
        split,
        epochs=1,
        batch_size=BATCH,
        optimizer=train.make_optimizer(net, lr=LR, weight_decay=1e-4),
        schedule=train.cosine(0.05),
        precision=precision,
        watch={"few": data.Split(split.inputs[:2], split.targets[:2])},
    )
    return loss.seconds()


def batches(split):
    for index in torch.randperm(len(split)).split(BATCH):
        yield split.inputs[index].float().div_(255), split.targets[index]


def plain(net, split, precision):
    loss = Stamped(nn.CrossEntropyLoss())
    optimizer = torch.optim.SGD(net.parameters(), LR, momentum=0.9, weight_decay=1e-4)
    net.train()
    for x, y in batches(split):
        with autocast(precision):
            logits = net(x)
        value = loss(logits.float(), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return loss.seconds()


def timms(net, split, precision):
    loss = Stamped(LabelSmoothingCrossEntropy(0.1))
    net.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(net, opt="sgd", lr=LR, weight_decay=1e-4, momentum=0.9)
    losses_seen = AverageMeter()
    net.train()
    optimizer.zero_grad()
    for x, y in batches(split):
        x = x.contiguous(memory_format=torch.channels_last)
        with autocast(precision):
            value = loss(net(x), y)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses_seen.update(value.item(), len(x))
    return loss.seconds()


LOOPS = {"fit": ours, "plain PyTorch": plain, "timm's step": timms}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--net", default="resnet18")
    parser.add_argument("--precision", default="float32", choices=train.PRECISIONS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    if arguments.cpu_time:
        Stamped.clock = time.process_time
    torch.set_num_threads(arguments.threads)
    n = BATCH * (arguments.steps + 2)
    images = torch.randint(256, (n, 3, SIDE, SIDE), dtype=torch.uint8)
    split = data.Split(images, torch.arange(n) % CLASSES)
    times = {name: [] for name in LOOPS}
    names = list(LOOPS)
    for round_ in range(arguments.rounds):
        for name in names[round_ % 3 :] + names[: round_ % 3]:  # no loop always comes first
            torch.manual_seed(0)
            net = timm.create_model(arguments.net, num_classes=CLASSES)
            times[name].append(LOOPS[name](net, split, arguments.precision))
    print(
        "| loop | ms a step: min, median, max | times ours: min, median, max |\n| --- | --- | --- |"
    )
    for name, found in times.items():
        ratios = [t / own for t, own in zip(found, times["fit"], strict=True)]
        ms = ", ".join(f"{1e3 * f(found):.0f}" for f in (min, statistics.median, max))
        ratio = ", ".join(f"{f(ratios):.2f}" for f in (min, statistics.median, max))
        print(f"| {name} | {ms} | {ratio if name != 'fit' else '1'} |")


if __name__ == "__main__":
    main()
