"""Training of many heads on the same vectors, in one loop."""

import contextlib
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.data import Split
from counterpoise.train._evaluate import Progress, device_of, evaluate_split, to_net_input
from counterpoise.train._fit import Diverged, HasEpoch, Sampler, State
from counterpoise.train._freeze import train_mode
from counterpoise.train._parallel import Loss
from counterpoise.train._patience import Row
from counterpoise.train._precision import forward
from counterpoise.train._schedule import Schedule
from counterpoise.train._shard import load_net, load_optimizer
from counterpoise.train._stack import forward_stacked, kind_of, stacked
from counterpoise.train._steps import TRAIN_COST, Meter, in_batches, in_steps


@dataclass(frozen=True, eq=False)
class Head:
    """One of the heads that `fit_heads` trains; what it does not name is as in `fit`.

    Args:
        net: (N, D) to logits (N, C); trained in place. Usually one linear layer
            (`models.make_head`).
        loss: called as loss(logits, targets), returns a number.
        optimizer: over the net's parameters; of one class for all heads.
        each_epoch: `set_epoch` of each is called before an epoch.
        state: of `on_state` of `fit` or `fit_heads`, to resume from.
        on_epoch: called with each row as soon as it is known.
        on_progress: called with the share of the work that is done, from 0 to 1.
        on_state: called after each epoch with the state to resume from.
    """

    net: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    each_epoch: Iterable[HasEpoch] = ()
    state: State | None = None
    on_epoch: Callable[[Row], None] | None = None
    on_progress: Progress | None = None
    on_state: Callable[[State], None] | None = None


def fit_heads(
    heads: Sequence[Head],
    train: Split,
    *,
    epochs: int,
    batch_size: int,
    sampler: Sampler,
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    precision: str = "float32",
    watch: Mapping[str, Split],
) -> list[list[Row] | Exception]:
    """Train heads on the same batches; each ends as `fit` would train it alone.

    The heads share the reading of the batches, one backward pass, and the steps of one optimizer.
    On a CPU they are equal to the last bit, as what is multiplied is not stacked: the sums of a
    head are taken in the same order whatever else is trained beside it. On a GPU heads of one kind
    are multiplied as one, and equal up to rounding. One whose loss fails or diverges ends alone;
    the others go on. Heads may be resumed from different epochs: those that are ahead wait.

    Args:
        heads: what is trained; all on one device, without dropout.
        train: the training split, of vectors (N, D).
        epochs: the number of passes over the sampler, at least 0.
        batch_size: samples per step, at least 1.
        sampler: yields the sample indices of an epoch.
        schedule: from the share of the steps that is done to the factor of each learning rate.
        clip_norm: the norm to which a step's gradient is clipped, of each head; None for none.
        precision: as in `fit`.
        watch: the splits to evaluate, by the prefix of their columns.

    Returns:
        For each head its rows, as `fit` returns them, but for `seconds`, which are its share of the
        time; or what it failed with: `Diverged`, say.

    Raises:
        ValueError: no heads, epochs < 0, batch_size < 1, an empty split, or optimizers of different
            classes.

    Example:
        >>> import torch
        >>> from counterpoise import data, models, samplers, train
        >>> digits = data.digits()
        >>> split = data.Split(digits.train.inputs.flatten(1).float() / 16, digits.train.targets)
        >>> heads = []
        >>> for lr in (0.1, 0.01):
        ...     net = models.make_head("linear", 64, 10)
        ...     optimizer = train.make_optimizer(net, lr=lr)
        ...     heads.append(train.Head(net, torch.nn.functional.cross_entropy, optimizer))
        >>> found = train.fit_heads(heads, split, epochs=1, batch_size=64,
        ...                         sampler=samplers.ShuffleSampler(split.targets),
        ...                         watch={"train": split})
        >>> [[row["epoch"] for row in rows] for rows in found]
        [[0, 1], [0, 1]]
    """
    sizes = {"train": len(train), **{name: len(split) for name, split in watch.items()}}
    if not heads or epochs < 0 or batch_size < 1 or not all(sizes.values()):
        raise ValueError(
            "fit_heads needs heads, epochs >= 0, batch_size >= 1 and samples in every split, but "
            f"got {len(heads)}, {epochs}, {batch_size} and {sizes}"
        )
    if len({type(head.optimizer) for head in heads}) > 1:
        raise ValueError(
            "fit_heads needs optimizers of one class, but got "
            f"{', '.join(sorted({type(head.optimizer).__name__ for head in heads}))}"
        )
    evaluated = sum(len(split) for split in watch.values())
    work = (epochs + 1) * evaluated + epochs * TRAIN_COST * len(sampler)
    trainings = [HeadTraining(head, work) for head in heads]
    steps = len(in_steps(torch.empty(len(sampler)), batch_size))
    for epoch in range(epochs + 1):
        now = [t for t in trainings if t.error is None and len(t.rows) == epoch]
        if not now:
            continue
        begin = time.perf_counter()
        if epoch:
            sampler.set_epoch(epoch - 1)
            for t in now:
                for listener in t.head.each_epoch:
                    listener.set_epoch(epoch - 1)
            order = torch.tensor(list(sampler), device=train.inputs.device)
            batches, done = in_steps(order, batch_size), (epoch - 1) * steps
            factors = [
                1.0 if schedule is None else schedule((done + k + 0.5) / (epochs * steps))
                for k in range(steps)
            ]
            _take(now, train, batches, factors, clip_norm, precision)
        for t in now:
            t.finish(epoch, watch, precision, epoch * steps, begin, len(now))
    return [t.error or t.rows for t in trainings]


class HeadTraining:
    """The training of one head."""

    def __init__(self, head: Head, work: float) -> None:
        self.head = head
        self.error: Exception | None = None
        self.meter = Meter(work, head.on_progress)
        self.parameters = [p for group in head.optimizer.param_groups for p in group["params"]]
        self.rows: list[Row] = []
        self.loss: float | None = None  # of the epoch
        if (state := head.state) is not None:
            rates = [group["lr"] for group in head.optimizer.param_groups]
            load_net(head.net, state["net"])
            load_optimizer(head.optimizer, state["optimizer"])
            for group, rate in zip(head.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            self.rows = list(state["rows"])
            self.meter.add(state["work"])

    @contextlib.contextmanager
    def failing_alone(self) -> Iterator[None]:
        """Keep what is raised as this head's own end."""
        try:
            yield
        except Exception as error:  # of a user's loss, or of the disk
            self.error = error

    def finish(
        self,
        epoch: int,
        watch: Mapping[str, Split],
        precision: str,
        steps: int,
        begin: float,
        sharing: int,
    ) -> None:
        """Evaluate the head after an epoch, and report it."""
        with self.failing_alone():
            if self.error is not None:
                return
            if self.loss is not None and not math.isfinite(self.loss):
                raise Diverged(f"the loss is {self.loss} in epoch {epoch}; lower the learning rate")
            row: Row = {"epoch": epoch, "loss": self.loss}
            for name, split in watch.items():
                found = evaluate_split(self.head.net, split, self.meter.add, precision=precision)
                row |= {f"{name}_{k}": v for k, v in found.items()}
            before = self.rows[-1]["seconds"] if self.rows else 0.0
            row["seconds"] = before + (time.perf_counter() - begin) / sharing
            self.rows.append(row)
            if self.head.on_epoch is not None:
                self.head.on_epoch(row)
            if self.head.on_state is not None:
                self.head.on_state(
                    {
                        "rows": self.rows,
                        "net": self.head.net.state_dict(),
                        "optimizer": self.head.optimizer.state_dict(),
                        "steps": steps,
                        "work": self.meter.done,
                        "rng": torch.get_rng_state(),
                    }
                )


def _take(
    trainings: Sequence[HeadTraining],
    train: Split,
    batches: tuple[Tensor, ...],
    factors: Sequence[float],
    clip_norm: float | None,
    precision: str,
) -> None:
    """Take an epoch's steps, and note the mean loss of each head's samples."""
    device = device_of(trainings[0].head.net)
    for t in trainings:
        train_mode(t.head.net)
    totals = [torch.zeros((), device=device) for _ in trainings]
    optimizer = _joined([t.head.optimizer for t in trainings])
    rates = [group["lr"] for group in optimizer.param_groups]
    kinds, backward = [trainings], _backward_each
    if _as_one(device):
        kinds, backward = _by_kind(trainings), _backward_as_one
    read = in_batches(train.inputs, batches)
    for index, x, factor in zip(batches, read, factors, strict=True):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        y = train.targets.index_select(0, index).to(device)
        losses: dict[HeadTraining, Tensor] = {}
        for some in kinds:
            losses |= backward(some, to_net_input(x, device), y, precision)
        for t, total in zip(trainings, totals, strict=True):
            if t in losses:
                total += losses[t] * len(index)
                t.meter.add(TRAIN_COST * len(index))
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(t.head.net.parameters(), clip_norm)
        optimizer.step()
    for t, total in zip(trainings, totals, strict=True):
        t.loss = total.item() / sum(map(len, batches))


def _as_one(device: torch.device) -> bool:
    """Return whether heads are multiplied as one: many small products leave a GPU idle."""
    return device.type == "cuda"


def _by_kind(trainings: Sequence[HeadTraining]) -> list[list[HeadTraining]]:
    """Return heads in groups that can be stacked."""
    kinds: dict[Hashable, list[HeadTraining]] = {}
    for t in trainings:
        kinds.setdefault(kind_of(t.head.net), []).append(t)
    return list(kinds.values())


def _backward_each(
    trainings: Sequence[HeadTraining], x: Tensor, y: Tensor, precision: str
) -> dict[HeadTraining, Tensor]:
    """Compute the gradients of heads; return the losses of those without error."""
    working = [t for t in trainings if t.error is None]
    return _backward(working, lambda t: forward(t.head.net, x, precision), lambda t: y)


def _backward_as_one(
    trainings: Sequence[HeadTraining], x: Tensor, y: Tensor, precision: str
) -> dict[HeadTraining, Tensor]:
    """Do as `_backward_each` with heads of one kind, by one product."""
    nets = [t.head.net for t in trainings]

    def stack(x: Tensor) -> Tensor:
        return forward_stacked(nets[0], stacked(nets), x, shared=True)

    return backward_rows(trainings, forward(stack, x, precision), y.expand(len(nets), -1))


def backward_rows(
    trainings: Sequence[HeadTraining], logits: Tensor, y: Tensor
) -> dict[HeadTraining, Tensor]:
    """Compute the gradients of nets whose logits (S, N, C) were computed as one.

    Args:
        trainings: S of them; those with an error have gradients of 0.
        logits: in autograd's graph.
        y: targets (S, N).

    Returns:
        The losses of those without error.
    """
    rows = dict(zip(trainings, logits.detach().unbind(), strict=True))
    targets = dict(zip(trainings, y.unbind(), strict=True))

    def leaf(t: HeadTraining) -> Tensor:
        rows[t] = rows[t].detach().requires_grad_()
        return rows[t]

    losses = _backward([t for t in trainings if t.error is None], leaf, targets.__getitem__)
    logits.backward(
        torch.stack([z.new_zeros(z.shape) if z.grad is None else z.grad for z in rows.values()])
    )
    return losses


def _backward(
    trainings: Sequence[HeadTraining],
    logits: Callable[[HeadTraining], Tensor],
    targets: Callable[[HeadTraining], Tensor],
) -> dict[HeadTraining, Tensor]:
    """Compute the gradients of the losses, in one pass; return the losses of those without error.

    If the pass fails, it is made once more for each, with logits computed anew.
    """
    losses: dict[HeadTraining, Tensor] = {}
    for t in trainings:
        for p in t.parameters:  # one that fails stays where it is
            p.grad = None
        with t.failing_alone():
            losses[t] = t.head.loss(logits(t), targets(t))
    try:
        torch.autograd.backward(list(losses.values()))
    except Exception as error:
        if len(losses) > 1:  # of one of them
            each = [_backward([one], logits, targets) for one in losses]
            return {t: value for one in each for t, value in one.items()}
        for t in losses:
            t.error = error
        return {}
    return {t: value.detach() for t, value in losses.items()}


def _joined(optimizers: Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Return one optimizer with the parameters and the state of several: one call for a step."""
    groups: dict[tuple[object, ...], dict[str, list[Tensor]]] = {}
    for one in optimizers:
        for group in one.param_groups:
            settings = {key: value for key, value in group.items() if key != "params"}
            made = groups.setdefault(tuple(settings.items()), {**settings, "params": []})
            made["params"] += group["params"]
    kind: Any = type(optimizers[0])
    joined: torch.optim.Optimizer = kind(list(groups.values()))
    for one in optimizers:
        for group in one.param_groups:
            for p in group["params"]:
                joined.state[p] = one.state[p]  # the same dict: its optimizer knows it, too
    return joined
