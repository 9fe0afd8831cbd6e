"""The training loop."""

import inspect
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from counterpoise.data import Rows, Samples, Split, as_split
from counterpoise.samplers import ShuffleSampler
from counterpoise.train._augment import Augment, augmentation_generator
from counterpoise.train._evaluate import Progress, device_of, evaluate_split, to_net_input
from counterpoise.train._parallel import Loss, Processes
from counterpoise.train._schedule import Schedule
from counterpoise.train._shard import load_net, load_optimizer, whole

State = dict[str, Any]
Row = dict[str, Any]  # of an epoch: the loss, and each score of each watched split

# A sample costs about three times as much in training as in evaluation, the unit of progress.
_TRAIN_COST = 3


class Diverged(ArithmeticError):
    """Raised when the loss of an epoch is NaN or infinite."""


class HasEpoch(Protocol):
    """Object that depends on the epoch: a sampler, `losses.DeferredReweighting`."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins, counted from 0."""


class Sampler(HasEpoch, Protocol):
    """Sampler of an epoch's sample indices, as torch's `DistributedSampler`."""

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of the epoch's samples."""

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        ...


def fit(
    net: nn.Module,
    loss: Loss,
    train: Samples,
    test: Samples | None = None,
    *,
    epochs: int,
    lr: float = 0.1,
    batch_size: int = 32,
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    sampler: Sampler | None = None,
    augment: Augment | None = None,
    each_epoch: Iterable[HasEpoch] = (),
    sample_weight: Tensor | None = None,
    watch: Mapping[str, Samples] | None = None,
    state: State | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    on_progress: Progress | None = None,
    on_state: Callable[[State], None] | None = None,
) -> list[Row]:
    """Train a classifier, and evaluate it before training and after each epoch.

    The data stay as they are (uint8 images are scaled to 0 .. 1 a batch at a time); batches go to
    the net's device, images in `channels_last`. The same arguments give the same net, whether the
    training was interrupted and resumed or not.

    Where torch.distributed is initialised, its processes train one net together: call it in each
    with the same arguments. Each takes its share of every batch, which has `batch_size` samples
    over all of them; loss and gradients are those of the whole batch, for losses with a
    `normalizer` (all of `counterpoise.losses`), torch's cross entropy and plain means; evaluation
    is shared and gathered. So any number of processes trains the same net, up to rounding, unless
    it has dropout, augmentation (both drawn in each process) or batch norms that are not
    synchronised (`train.sync_batch_norm`). A net is wrapped in DistributedDataParallel, or may be
    sharded (`train.shard`). The first process alone calls `on_epoch`, `on_progress` and `on_state`,
    and any number of processes can resume from its state.

    Args:
        net: (N, ...) to logits (N, C); trained in place, on the device where it is.
        loss: called as loss(logits, targets), returns a number.
        train: the training split: a `data.Split`, a pair (inputs, targets) of tensors or arrays, or
            a torch Dataset of such pairs, which is read into memory (`data.as_split`).
        test: the test split, the same; it is evaluated, and has no influence on the training.
        epochs: the number of passes over the sampler, at least 0.
        lr: learning rate of plain SGD, if no optimizer is given.
        batch_size: samples per step, of all processes together; the last batch of an epoch may be
            smaller. One sample left over joins the batch before: batch norms cannot train on one
            alone.
        seed: of the order of the samples, if no sampler is given, and of the augmentation.
        optimizer: any torch optimizer over the net's parameters.
        schedule: function from the share of the steps that is done to the factor of the learning
            rate, such as `train.cosine(warmup=0.05)`; None leaves the learning rate alone.
        clip_norm: the norm to which a step's gradient is clipped; None for no clipping.
        sampler: yields the sample indices of an epoch, such as one of `counterpoise.samplers` over
            `train.targets`; None for each of them once, in a new order. In several processes it
            draws the whole epoch in each: `num_replicas=1, rank=0`.
        augment: function of a batch and a random generator, applied to each training batch, such as
            `train.AUGMENTS["flip"]`; the generator is seeded anew in each epoch.
        each_epoch: `set_epoch` of each is called before an epoch, such as
            `losses.DeferredReweighting`.
        sample_weight: of each training sample, (N), given to the loss with each batch as
            `sample_weight`, which all losses of this package take; None for a call without it. In
            several processes the loss must have a `normalizer`.
        watch: the splits to evaluate, by the prefix of their columns; None for
            {"train": train, "test": test}.
        state: the state that `on_state` was called with, to resume from it; None to begin.
        on_epoch: called with each row as soon as it is known.
        on_progress: called with the share of the work that is done, from 0 to 1.
        on_state: called after each epoch with the state that a later call can resume from: tensors,
            plain numbers, lists and dicts. Valid until it returns; copy or write what is to be
            kept.

    Returns:
        One row per epoch, row 0 being the untrained net: epoch, loss (mean over the epoch's
            samples,
        None in row 0), seconds (since the start), and for each split that is watched, say "test":
        test_accuracy, test_balanced_accuracy, test_nll (mean cross entropy in nats).

    Raises:
        TypeError: samples of another kind; the message says how to make them, of a DataLoader say.
        ValueError: epochs < 0 or batch_size < 1 or an empty split, or a net that answers with
            other than one logit a class, two classes at least; a sampler that shares its samples
            among processes, or a net in DistributedDataParallel; a loss that takes no
            sample_weight.
        Diverged: the loss of an epoch is NaN or infinite.

    Example:
        >>> import torch
        >>> from counterpoise import data, models, train
        >>> digits = data.digits()
        >>> net = models.DeeperCNN(image_size=8)
        >>> rows = train.fit(net, torch.nn.CrossEntropyLoss(), digits.train, digits.test, epochs=1)
        >>> [row["epoch"] for row in rows]
        [0, 1]
    """
    train = as_split(train, "train")
    watched = {"train": train} if test is None else {"train": train, "test": as_split(test, "test")}
    if watch is not None:
        watched = {name: as_split(split, name) for name, split in watch.items()}
    sizes = {"train": len(train), **{name: len(split) for name, split in watched.items()}}
    if epochs < 0 or batch_size < 1 or not all(sizes.values()):
        raise ValueError(
            f"fit needs epochs >= 0, batch_size >= 1 and samples in every split, but got {epochs}, "
            f"{batch_size} and {sizes}"
        )
    if sample_weight is not None:
        _check_weights(sample_weight, loss, len(train))
    if sampler is None:
        sampler = ShuffleSampler(train.targets, seed=seed, num_replicas=1, rank=0)
    processes = Processes(net, sampler)
    steps = _Steps(
        net,
        processes,
        loss,
        optimizer or torch.optim.SGD(net.parameters(), lr=lr, fused=not processes.sharded),
        schedule,
        clip_norm,
        augment,
        sample_weight,
        total=epochs * len(_batches(torch.empty(len(sampler)), batch_size)),
    )
    evaluated = sum(len(split) for split in watched.values())
    if not processes.first:
        on_epoch = on_progress = on_state = None
    meter = _Meter((epochs + 1) * evaluated + epochs * _TRAIN_COST * len(sampler), on_progress)
    rows, before = _resume(state, net, steps, meter)
    start = time.perf_counter() - before
    for epoch in range(len(rows), epochs + 1):
        row: Row = {"epoch": epoch, "loss": None}
        if epoch:
            for listener in (sampler, *each_epoch):
                listener.set_epoch(epoch - 1)
            order = processes.agreed(torch.tensor(list(sampler), device=train.inputs.device))
            processes.begin(seed, epoch)
            draws = augmentation_generator(seed, epoch, processes.rank)
            row["loss"] = steps.take(train, _batches(order, batch_size), draws, meter)
            if not math.isfinite(row["loss"]):
                raise Diverged(
                    f"the loss is {row['loss']} in epoch {epoch}; lower the learning rate"
                )
        for name, split in watched.items():
            found = evaluate_split(net, split, meter.add, shared=True)
            row |= {f"{name}_{k}": v for k, v in found.items()}
        row["seconds"] = time.perf_counter() - start
        rows.append(row)
        if on_epoch is not None:
            on_epoch(row)
        if on_state is not None or processes.number > 1:
            made = _state(rows, net, steps, meter)  # by all, where the net is sharded
            if on_state is not None:
                on_state(made)
    return rows


def _check_weights(weights: Tensor, loss: Loss, samples: int) -> None:
    """Refuse weights that are not one a sample, or that the loss does not take."""
    if weights.shape != (samples,):
        raise ValueError(
            f"sample_weight must be one number a training sample, ({samples},), but got "
            f"{tuple(weights.shape)}"
        )
    kinds = {p.name: p.kind for p in inspect.signature(_forward(loss)).parameters.values()}
    if "sample_weight" not in kinds and inspect.Parameter.VAR_KEYWORD not in kinds.values():
        raise ValueError(
            "sample_weight needs a loss that is called as loss(logits, targets, sample_weight=...),"
            f" as all of counterpoise.losses are, but {type(loss).__name__} takes none"
        )


def _forward(loss: Loss) -> Callable[..., Tensor]:
    return loss.forward if isinstance(loss, nn.Module) else loss


def _batches(order: Tensor, size: int) -> tuple[Tensor, ...]:
    whole = len(order) - (len(order) > size and len(order) % size == 1)
    *most, last = order[:whole].split(size)
    return *most, torch.cat((last, order[whole:]))


def _in_batches(inputs: Tensor | Rows, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Yield the samples at each index; those that come from elsewhere are read ahead."""
    if isinstance(inputs, Rows):
        return inputs.in_batches(batches)
    return (inputs.index_select(0, index) for index in batches)


def _state(rows: list[Row], net: nn.Module, steps: "_Steps", meter: "_Meter") -> State:
    device = device_of(net)
    return {
        "rows": rows,
        "net": whole(net.state_dict(), keep=steps.processes.first),
        "optimizer": whole(steps.optimizer.state_dict(), keep=steps.processes.first),
        "steps": steps.done,
        "work": meter.done,
        "rng": torch.get_rng_state(),
        **({"cuda_rng": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
    }


def _resume(
    state: State | None, net: nn.Module, steps: "_Steps", meter: "_Meter"
) -> tuple[list[Row], float]:
    """Restore `state`, if there is one; return its rows and the seconds so far."""
    if state is None:
        return [], 0.0
    load_net(net, state["net"])
    load_optimizer(steps.optimizer, state["optimizer"])
    steps.done = state["steps"]
    meter.add(state["work"])
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state:
        torch.cuda.set_rng_state(state["cuda_rng"], device_of(net))
    return list(state["rows"]), state["rows"][-1]["seconds"]


class _Steps:
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
        sample_weight: Tensor | None,
        total: int,
    ) -> None:
        self.weights = sample_weight
        self.net, self.processes, self.loss, self.optimizer = net, processes, loss, optimizer
        self.schedule, self.clip_norm, self.augment = schedule, clip_norm, augment
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.total, self.done = total, 0

    def take(
        self, train: Split, batches: tuple[Tensor, ...], draws: torch.Generator, meter: "_Meter"
    ) -> float:
        """Take a step for each batch; return the mean loss of the samples."""
        self.net.train()
        device, together = device_of(self.net), self.processes
        total, seen = torch.zeros((), device=device), 0  # detached: no graph outlives its step
        owns = tuple(map(together.share, batches))
        read = _in_batches(train.inputs, owns)
        for index, own, x in zip(batches, owns, read, strict=True):
            self._set_rates()
            y = train.targets.index_select(0, own)
            if self.augment is not None:
                x = self.augment(x, draws)
            together.begin_batch(index)
            logits = together.net(to_net_input(x, device))
            value = together.part(
                self.loss, logits, y.to(device), train.targets, index, self.weights
            )
            for p in self.parameters:  # as zero_grad, which takes ten times as long
                p.grad = None
            (value * together.number if together.number > 1 else value).backward()
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
            self.optimizer.step()
            total += value.detach() * len(index)
            seen += len(index)
            self.done += 1
            meter.add(_TRAIN_COST * len(index))
        together.end()
        return together.add_up(total).item() / seen

    def _set_rates(self) -> None:
        if self.schedule is not None:
            # The first step is not at 0, where a warm-up would waste it.
            factor = self.schedule((self.done + 0.5) / self.total)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor


class _Meter:
    """Progress meter: sums work and reports the share that is done, at most 200 times."""

    def __init__(self, total: float, report: Progress | None) -> None:
        self.total, self.report, self.done, self.reported = total, report, 0.0, 0.0

    def add(self, amount: float) -> None:
        """Count `amount` of work as done."""
        self.done += amount
        if self.report is not None and self.done - self.reported >= self.total / 200:
            self.reported = self.done
            self.report(self.done / self.total)
