"""The training loop."""

import inspect
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from counterpoise.data import Samples, as_split
from counterpoise.samplers import ShuffleSampler
from counterpoise.train._augment import Augment, augmentation_generator
from counterpoise.train._ema import Average
from counterpoise.train._evaluate import SCORES, Progress, device_of, evaluate_split
from counterpoise.train._mix import Mixer
from counterpoise.train._parallel import Loss, Processes
from counterpoise.train._patience import Patience, Row
from counterpoise.train._precision import check_precision
from counterpoise.train._schedule import Schedule
from counterpoise.train._shard import load_net, load_optimizer, whole
from counterpoise.train._steps import TRAIN_COST, Meter, Steps, in_steps

State = dict[str, Any]


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
    mix: Mixer | None = None,
    each_epoch: Iterable[HasEpoch] = (),
    sample_weight: Tensor | None = None,
    precision: str = "float32",
    accumulate: int = 1,
    patience: int = 0,
    monitor: str = "",
    ema: float = 0.0,
    sam: float = 0.0,
    compile: bool = False,
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

    What does not require gradients is not trained (`train.freeze`), and batch norms of which that
    holds for all parameters stay in evaluation mode.

    Where torch.distributed is initialised, its processes train one net together: call it in each
    with the same arguments. Each takes its share of every batch, which has `batch_size` samples
    over all of them; loss and gradients are those of the whole batch, for losses with a
    `normalizer` (all of `counterpoise.losses`), torch's cross entropy and plain means; evaluation
    is shared and gathered. So any number of processes trains the same net, up to rounding, unless
    it has dropout, augmentation, mixing (all drawn in each process) or batch norms that are not
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
        mix: function of a batch after augmentation (uint8 scaled to 0 .. 1), its class numbers (N)
            and a random generator of its own to a batch and class probabilities (N, C), which the
            loss must take, such as `train.Mix("mixup", counts)`, where formula and sources stand.
            In several processes each mixes its own samples. The mean of a loss over probabilities
            is one over samples, whatever weights the classes have, as of torch's cross entropy.
        each_epoch: `set_epoch` of each is called before an epoch, such as
            `losses.DeferredReweighting`.
        sample_weight: of each training sample, (N), given to the loss with each batch as
            `sample_weight`, which all losses of this package take; None for a call without it. In
            several processes the loss must have a `normalizer`. Not with `mix`.
        precision: "float32", or "bfloat16" for autocast: the net computes in bfloat16 where that is
            safe, in training and evaluation; the weights, the logits and the loss are float32.
        accumulate: in how many parts a batch is computed, to save memory. Loss and gradient are
            those of the whole batch, for the losses of which that holds in several processes;
            batch norms see each part by itself, and dropout is drawn for each.
        patience: training ends when so many epochs have brought no better `monitor`, and the net is
            left with the weights of the best epoch (the state holds a copy of them); 0 for all
            epochs, and the last weights.
        monitor: the column of the rows that says which epoch is better, such as
            "validation_balanced_accuracy"; the lower if it ends in "_nll".
        ema: decay a step of a moving average of the weights, such as 0.999, 0 for none: it is
            evaluated as well, and in the end the net has the averaged weights; `Average` has the
            formula.
        sam: radius of sharpness-aware steps (Foret et al. 2021, arXiv 2010.01412), such as 0.05, 0
            for none: each step takes the gradient of its batch at w + sam * g / ||g||, where g is
            that at w, and so twice the time. The loss of the rows is that at w.
        compile: True to train by `torch.compile(net)`; the names of its state stay.
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
        test_accuracy, test_balanced_accuracy, test_nll (mean cross entropy in nats). With patience
        also best_epoch, the best one so far; that of the last row has given the net its weights.
        With ema also ema_test_accuracy and so on, of the averaged weights.

    Raises:
        TypeError: samples of another kind; the message says how to make them, of a DataLoader say.
        ValueError: epochs < 0, batch_size < 1, accumulate < 1, patience < 0 or without a monitor,
            ema outside of [0, 1) or with patience, sam < 0, ema or sam of a sharded net, another
            precision, or an empty split; a net that answers with other than one logit a class, two
            classes at least; a sampler that shares its samples among processes, or a net in
            DistributedDataParallel; a loss that takes no sample_weight, or a mix beside
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
    if accumulate < 1 or patience < 0:
        raise ValueError(
            f"fit needs accumulate >= 1 and patience >= 0, but got {accumulate} and {patience}"
        )
    if not 0 <= ema < 1 or (ema and patience) or not 0 <= sam < math.inf:
        raise ValueError(
            "fit needs sam >= 0 and 0 <= ema < 1, and ema = 0 with patience, which takes the "
            f"weights of one epoch, but got {sam}, {ema} and {patience}"
        )
    check_precision(precision)
    columns = [f"{name}_{score}" for name in watched for score in SCORES]
    best = Patience(patience, monitor, columns) if patience else None
    if sample_weight is not None and mix is not None:
        raise ValueError(
            "sample_weight and mix exclude each other, as a mixed sample has no weight of its own; "
            "leave one of them out"
        )
    if sample_weight is not None:
        _check_weights(sample_weight, loss, len(train))
    if sampler is None:
        sampler = ShuffleSampler(train.targets, seed=seed, num_replicas=1, rank=0)
    processes = Processes(net, sampler)
    if (ema or sam) and processes.sharded:
        raise ValueError(
            "ema and sam need a net that is whole in each process, but this one is sharded"
        )
    average = Average(net, ema) if ema else None
    steps = Steps(
        net,
        processes,
        loss,
        optimizer or torch.optim.SGD(net.parameters(), lr=lr, fused=not processes.sharded),
        schedule,
        clip_norm,
        augment,
        mix,
        sample_weight,
        precision,
        accumulate,
        average,
        sam,
        compile,
        total=epochs * len(in_steps(torch.empty(len(sampler)), batch_size)),
    )
    nets = {"": net, **({"ema_": average} if average is not None else {})}
    evaluated = len(nets) * sum(len(split) for split in watched.values())
    if not processes.first:
        on_epoch = on_progress = on_state = None
    meter = Meter((epochs + 1) * evaluated + epochs * TRAIN_COST * len(sampler), on_progress)
    rows, before = _resume(state, net, steps, meter, best)
    start = time.perf_counter() - before
    for epoch in range(len(rows), epochs + 1):
        if best is not None and best.is_over(rows):
            meter.add(meter.total - meter.done)
            break
        row: Row = {"epoch": epoch, "loss": None}
        if epoch:
            for listener in (sampler, *each_epoch):
                listener.set_epoch(epoch - 1)
            order = processes.agreed(torch.tensor(list(sampler), device=train.inputs.device))
            processes.begin(seed, epoch)
            draws, mixing = (
                augmentation_generator(seed, epoch, processes.rank, stream) for stream in (1, 3)
            )
            row["loss"] = steps.take(train, in_steps(order, batch_size), draws, mixing, meter)
            if not math.isfinite(row["loss"]):
                raise Diverged(
                    f"the loss is {row['loss']} in epoch {epoch}; lower the learning rate"
                )
        for (of, one), (name, split) in itertools.product(nets.items(), watched.items()):
            found = evaluate_split(one, split, meter.add, shared=True, precision=precision)
            row |= {f"{of}{name}_{k}": v for k, v in found.items()}
        row["seconds"] = time.perf_counter() - start
        rows.append(row)
        if best is not None:
            best.see(rows, net)
        if on_epoch is not None:
            on_epoch(row)
        if on_state is not None or processes.number > 1:
            made = _state(rows, net, steps, meter, best)  # by all, where the net is sharded
            if on_state is not None:
                on_state(made)
    if best is not None:
        best.restore(net)
    if average is not None:
        average.restore(net)
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


def _state(
    rows: list[Row], net: nn.Module, steps: Steps, meter: Meter, best: Patience | None
) -> State:
    device = device_of(net)
    return {
        "rows": rows,
        "net": whole(net.state_dict(), keep=steps.processes.first),
        "optimizer": whole(steps.optimizer.state_dict(), keep=steps.processes.first),
        "steps": steps.done,
        "work": meter.done,
        "rng": torch.get_rng_state(),
        **({} if steps.average is None else {"ema": steps.average.state_dict()}),
        **({} if best is None else {"best": whole(best.weights, keep=steps.processes.first)}),
        **({"cuda_rng": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
    }


def _resume(
    state: State | None, net: nn.Module, steps: Steps, meter: Meter, best: Patience | None
) -> tuple[list[Row], float]:
    """Restore `state`, if there is one; return its rows and the seconds so far."""
    if state is None:
        return [], 0.0
    load_net(net, state["net"])
    load_optimizer(steps.optimizer, state["optimizer"])
    steps.done = state["steps"]
    if steps.average is not None:
        steps.average.load_state_dict(state["ema"])
    if best is not None:
        best.weights = state["best"]
    meter.add(state["work"])
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state:
        torch.cuda.set_rng_state(state["cuda_rng"], device_of(net))
    return list(state["rows"]), state["rows"][-1]["seconds"]
