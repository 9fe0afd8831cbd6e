"""The steps of a training."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from counterpoise.data import Rows, Split
from counterpoise.train._augment import Augment
from counterpoise.train._ema import Average
from counterpoise.train._evaluate import Progress, device_of, to_net_input
from counterpoise.train._freeze import train_mode
from counterpoise.train._mix import Mixer
from counterpoise.train._parallel import Loss, Processes
from counterpoise.train._precision import forward
from counterpoise.train._sam import climbed
from counterpoise.train._schedule import Schedule

# A sample costs about three times as much in training as in evaluation, the unit of progress.
TRAIN_COST = 3


def in_steps(order: Tensor, size: int) -> tuple[Tensor, ...]:
    """Return the samples of each step; a single one left over joins the step before."""
    whole = len(order) - (len(order) > size and len(order) % size == 1)
    *most, last = order[:whole].split(size)
    return *most, torch.cat((last, order[whole:]))


def in_batches(inputs: Tensor | Rows, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Yield the samples at each index; those that come from elsewhere are read ahead."""
    if isinstance(inputs, Rows):
        return inputs.in_batches(batches)
    return (inputs.index_select(0, index) for index in batches)


class Steps:
    """Optimizer steps, an epoch at a time, with their number so far."""

    def __init__(
        self,
        net: nn.Module,
        processes: Processes,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None,
        clip_norm: float | None,
        augment: Augment | None,
        mix: Mixer | None,
        sample_weight: Tensor | None,
        precision: str,
        accumulate: int,
        average: Average | None,
        sam: float,
        compiled: bool,
        total: int,
    ) -> None:
        self.call = torch.compile(processes.net) if compiled else processes.net
        self.precision, self.accumulate = precision, accumulate
        self.weights, self.average, self.sam = sample_weight, average, sam
        self.net, self.processes, self.loss, self.optimizer = net, processes, loss, optimizer
        self.schedule, self.clip_norm = schedule, clip_norm
        self.augment, self.mix = augment, mix
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.total, self.done = total, 0

    def take(
        self,
        train: Split,
        batches: tuple[Tensor, ...],
        draws: torch.Generator,
        mixing: torch.Generator,
        meter: "Meter",
    ) -> float:
        """Take a step for each batch; return the mean loss of the samples."""
        train_mode(self.net)
        device, together = device_of(self.net), self.processes
        total, seen = torch.zeros((), device=device), 0  # detached: no graph outlives its step
        owns = tuple(map(together.share, batches))
        read = in_batches(train.inputs, owns)
        for index, own, x in zip(batches, owns, read, strict=True):
            self._set_rates()
            if self.augment is not None:
                x = self.augment(x, draws)
            y = train.targets.index_select(0, own).to(device)
            if self.mix is not None:
                x, y = self.mix(to_net_input(x, device), y, mixing)
            together.begin_batch(index)
            for p in self.parameters:  # as zero_grad, which takes ten times as long
                p.grad = None
            value = self._backward(x, y, own, index, train.targets, device)
            if self.sam:
                modules = [m for m in (self.net, self.loss) if isinstance(m, nn.Module)]
                buffers = [b for module in modules for b in module.buffers()]
                with climbed(self.parameters, self.sam, buffers):
                    self._backward(x, y, own, index, train.targets, device)
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.net)
            total += value * len(index)
            seen += len(index)
            self.done += 1
            meter.add(TRAIN_COST * len(index))
        together.end(self.net, *([] if self.average is None else [self.average.module]))
        return together.add_up(total).item() / seen

    def _backward(
        self,
        x: Tensor,
        y: Tensor,
        own: Tensor,
        index: Tensor,
        every: Tensor,
        device: torch.device,
    ) -> Tensor:
        """Add up the gradients of a batch's parts; return its loss."""
        together, values = self.processes, []
        mixed = None if self.mix is None else y
        parts = together.count_parts(index, self.accumulate)
        cut = (whole.tensor_split(parts) for whole in (x, y, own))
        for inputs, targets, samples in zip(*cut, strict=True):
            is_last = len(values) == parts - 1
            with nullcontext() if is_last else together.no_sync():
                logits = forward(self.call, to_net_input(inputs, device), self.precision)
                value = together.part(
                    self.loss, logits, targets, every, index, samples, self.weights, mixed
                )
                (value * together.number if together.number > 1 else value).backward()
            values.append(value.detach())
        return sum(values[1:], values[0])

    def _set_rates(self) -> None:
        if self.schedule is not None:
            # The first step is not at 0, where a warm-up would waste it.
            factor = self.schedule((self.done + 0.5) / self.total)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor


class Meter:
    """Progress meter: sums work and reports the share that is done, at most 200 times."""

    def __init__(self, total: float, report: Progress | None) -> None:
        self.total, self.report, self.done, self.reported = total, report, 0.0, 0.0

    def add(self, amount: float) -> None:
        """Count `amount` of work as done."""
        self.done += amount
        if self.report is not None and self.done - self.reported >= self.total / 200:
            self.reported = self.done
            self.report(self.done / self.total)
