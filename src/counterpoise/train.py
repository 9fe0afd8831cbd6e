"""One training loop and one evaluation loop."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.data import Part

Loss = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[float], None]

# An image trained on costs about three times an image looked at; progress counts in the latter.
_TRAIN_COST = 3


def fit(
    net: nn.Module,
    loss: Loss,
    train: Part,
    test: Part,
    *,
    epochs: int,
    lr: float = 0.1,
    batch_size: int = 32,
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train a classifier and evaluate it on both parts, before training and after each epoch.

    Batches are drawn without replacement in an order that depends on `seed` alone. The data stay
    where and as they are (uint8 images are scaled to 0 .. 1 a batch at a time); batches go to the
    net's device, images in `channels_last`.

    Args:
        net: (N, ...) to logits (N, C); trained in place, on the device where it is.
        loss: called as loss(logits, targets), returns a number.
        train: what to learn from.
        test: what to evaluate on besides; it has no influence on the training.
        epochs: passes over `train`, at least 0.
        lr: learning rate of plain SGD, if no optimizer is given.
        batch_size: samples a step; the last batch of an epoch may be smaller.
        seed: of the order of the samples.
        optimizer: any torch optimizer over the net's parameters.
        on_epoch: called with each row as soon as it is known.
        on_progress: called with the share of the work that is done, 0 .. 1.

    Returns:
        One row an epoch, row 0 being the untrained net: epoch, loss (mean over the epoch's batches,
        None in row 0), train_accuracy, test_accuracy, seconds (since the start).

    Raises:
        ValueError: epochs < 0 or batch_size < 1 or an empty part.

    Example:
        >>> import torch
        >>> from counterpoise import data, models, train
        >>> digits = data.digits()
        >>> net = models.DeeperCNN(image_size=8)
        >>> rows = train.fit(net, torch.nn.CrossEntropyLoss(), digits.train, digits.test, epochs=1)
        >>> [row["epoch"] for row in rows]
        [0, 1]
    """
    if epochs < 0 or batch_size < 1 or not len(train) or not len(test):
        raise ValueError(
            f"fit needs epochs >= 0, batch_size >= 1 and samples in both parts, but got {epochs}, "
            f"{batch_size}, {len(train)} and {len(test)}"
        )
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=lr, fused=True)
    order = torch.Generator().manual_seed(seed)
    meter = _Meter(
        (epochs + 1) * (len(train) + len(test)) + epochs * _TRAIN_COST * len(train), on_progress
    )
    start, rows = time.perf_counter(), []
    for epoch in range(epochs + 1):
        mean_loss = None
        if epoch:
            index = torch.randperm(len(train), generator=order)
            mean_loss = _one_epoch(net, loss, train, index.split(batch_size), optimizer, meter)
        row = {
            "epoch": epoch,
            "loss": mean_loss,
            "train_accuracy": accuracy(net, train, meter.add),
            "test_accuracy": accuracy(net, test, meter.add),
            "seconds": time.perf_counter() - start,
        }
        rows.append(row)
        if on_epoch is not None:
            on_epoch(row)
    return rows


def predict(
    net: nn.Module, inputs: Tensor, batch_size: int = 128, on_batch: Progress | None = None
) -> Tensor:
    """The most probable class of each sample, int64 (N,), in evaluation mode and without gradients.

    The net's training mode is put back afterwards. Ties go to the lower class number.
    """
    was_training, device = net.training, _device(net)
    net.eval()
    try:
        with torch.no_grad():
            found = []
            for batch in inputs.split(batch_size):
                found.append(net(_prepared(batch, device)).argmax(1).cpu())
                if on_batch is not None:
                    on_batch(len(batch))
            return torch.cat(found)
    finally:
        net.train(was_training)


def accuracy(net: nn.Module, part: Part, on_batch: Progress | None = None) -> float:
    """The share of the samples whose most probable class is the right one."""
    predicted = predict(net, part.inputs, on_batch=on_batch)
    return (predicted == part.targets.cpu()).double().mean().item()


def _one_epoch(
    net: nn.Module,
    loss: Loss,
    train: Part,
    batches: tuple[Tensor, ...],
    optimizer: torch.optim.Optimizer,
    meter: "_Meter",
) -> float:
    net.train()
    device = _device(net)
    total = torch.zeros((), device=device)  # detached: no graph outlives its step
    for index in batches:
        x = _prepared(train.inputs[index], device)
        value = loss(net(x), train.targets[index].to(device))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.detach() * len(index)
        meter.add(_TRAIN_COST * len(index))
    return total.item() / len(train)


def _prepared(batch: Tensor, device: torch.device) -> Tensor:
    batch = batch.to(device)
    if batch.dtype == torch.uint8:
        batch = batch.float().div_(255)
    return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch


def _device(net: nn.Module) -> torch.device:
    return next((p.device for p in net.parameters()), torch.device("cpu"))


class _Meter:
    """Adds up work and reports the share that is done, at most 200 times."""

    def __init__(self, total: float, report: Progress | None) -> None:
        self.total, self.report, self.done, self.told = total, report, 0.0, 0.0

    def add(self, amount: float) -> None:
        """Count `amount` of work as done."""
        self.done += amount
        if self.report is not None and self.done - self.told >= self.total / 200:
            self.told = self.done
            self.report(self.done / self.total)
