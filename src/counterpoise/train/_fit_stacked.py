"""Training of nets of one kind, each with data and batches of its own, as one batch of models."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from counterpoise.data import Split
from counterpoise.train._augment import Augment, augmentation_generator
from counterpoise.train._evaluate import device_of, to_net_input
from counterpoise.train._fit import Sampler
from counterpoise.train._fit_heads import Head, HeadTraining, backward_rows
from counterpoise.train._freeze import train_mode
from counterpoise.train._patience import Row
from counterpoise.train._schedule import Schedule
from counterpoise.train._stack import forward_stacked, is_tied, kind_of, stacked, tensors_of
from counterpoise.train._steps import TRAIN_COST, in_batches, in_steps

_OPTIMIZERS = (torch.optim.SGD, torch.optim.AdamW)  # an update of each number by itself
_TRIED = 8  # samples of each net that are looked at before
_CLOSE = 1e-3  # beside 1 or the largest number


class NotStackable(ValueError):
    """Raised for nets that cannot be trained as one batch of models, before anything is trained."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Member(Head):
    """One of the nets that `fit_stacked` trains, with data and batches of its own.

    Args:
        train: the training split.
        sampler: yields the sample indices of an epoch, as many as those of the others.
        watch: the splits to evaluate, by the prefix of their columns.
        seed: of the augmentation.
    """

    train: Split
    sampler: Sampler
    watch: Mapping[str, Split]
    seed: int = 0


def fit_stacked(
    members: Sequence[Member],
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    augment: Augment | None = None,
) -> list[list[Row] | Exception]:
    """Train nets of one kind as one batch of models; each ends as `fit` would train it alone.

    Their parameters are stacked, and a step computes all nets by `torch.func.vmap`: several seeds
    of a small net, which would leave a GPU idle, in one process. On a CPU it is no quicker. The
    results equal those of `fit` up to rounding, whose order depends on how many nets there are.

    One whose loss fails or diverges ends alone; the others go on. Nets may be resumed from
    different epochs: those that are ahead wait.

    Args:
        members: what is trained, all on one device: nets with the same modules, and SGD or AdamW
            with the same settings.
        epochs: the number of passes over the samplers, at least 0.
        batch_size: samples per step of each net, at least 1.
        schedule: from the share of the steps that is done to the factor of the learning rate.
        clip_norm: the norm to which a step's gradient is clipped, of each net; None for none.
        augment: as in `fit`, drawn by each member's seed.

    Returns:
        For each member its rows, as `fit` returns them, but for `seconds`, which are its share of
        the time; or what it failed with: `Diverged`, say.

    Raises:
        ValueError: no members, epochs < 0, batch_size < 1 or an empty split.
        NotStackable: nets of different kinds, with dropout, or that vmap does not compute as they
            do themselves; other optimizers; samplers of different lengths.

    Example:
        >>> import torch
        >>> from counterpoise import data, models, samplers, train
        >>> digits = data.digits()
        >>> members = []
        >>> for seed in (0, 1):
        ...     _ = torch.manual_seed(seed)
        ...     net = models.DeeperCNN(image_size=8)
        ...     sampler = samplers.ShuffleSampler(digits.train.targets, seed=seed)
        ...     members.append(train.Member(net, torch.nn.CrossEntropyLoss(),
        ...                                 train.make_optimizer(net, lr=0.1), train=digits.train,
        ...                                 sampler=sampler, watch={"test": digits.test}))
        >>> found = train.fit_stacked(members, epochs=1, batch_size=64)
        >>> [[row["epoch"] for row in rows] for rows in found]
        [[0, 1], [0, 1]]
    """
    sizes = {len(split) for m in members for split in (m.train, *m.watch.values())}
    if not members or epochs < 0 or batch_size < 1 or not all(sizes):
        raise ValueError(
            "fit_stacked needs members, epochs >= 0, batch_size >= 1 and samples in every split, "
            f"but got {len(members)}, {epochs}, {batch_size} and splits of {sorted(sizes)}"
        )
    _check(members)
    samples = len(members[0].sampler)
    trainings = {}
    for m in members:
        evaluated = sum(map(len, m.watch.values()))
        trainings[m] = HeadTraining(m, (epochs + 1) * evaluated + epochs * TRAIN_COST * samples)
    steps = len(in_steps(torch.empty(samples), batch_size))
    for epoch in range(epochs + 1):
        now = {m: t for m, t in trainings.items() if t.error is None and len(t.rows) == epoch}
        if not now:
            continue
        begin = time.perf_counter()
        if epoch:
            shares = [((epoch - 1) * steps + k + 0.5) / (epochs * steps) for k in range(steps)]
            factors = [1.0 if schedule is None else schedule(share) for share in shares]
            _take(now, epoch, batch_size, factors, clip_norm, augment)
        for m, t in now.items():
            t.finish(epoch, m.watch, "float32", epoch * steps, begin, len(now))
    return [t.error or t.rows for t in trainings.values()]


def _take(
    now: Mapping[Member, HeadTraining],
    epoch: int,
    batch_size: int,
    factors: Sequence[float],
    clip_norm: float | None,
    augment: Augment | None,
) -> None:
    """Take an epoch's steps, and note the mean loss of each net's samples."""
    members, trainings = list(now), list(now.values())
    batches = []
    for m in members:
        train_mode(m.net)
        for listener in (m.sampler, *m.each_epoch):
            listener.set_epoch(epoch - 1)
        order = torch.tensor(list(m.sampler), device=m.train.inputs.device)
        batches.append(in_steps(order, batch_size))
    draws = [augmentation_generator(m.seed, epoch) for m in members]
    read = [in_batches(m.train.inputs, own) for m, own in zip(members, batches, strict=True)]
    device, stack = device_of(members[0].net), _Stack(members)
    totals, seen = torch.zeros(len(members), device=device), 0
    for factor, at, inputs in zip(
        factors, zip(*batches, strict=True), zip(*read, strict=True), strict=True
    ):
        if augment is not None:
            inputs = [augment(x, own) for x, own in zip(inputs, draws, strict=True)]
        x = to_net_input(torch.cat(list(inputs)), device).unflatten(0, (len(members), -1))
        rows = [m.train.targets.index_select(0, own) for m, own in zip(members, at, strict=True)]
        losses = stack.step(trainings, x, torch.stack(rows).to(device), factor, clip_norm)
        number, none = len(at[0]), totals.new_zeros(())
        totals += torch.stack([losses.get(t, none) for t in trainings]) * number
        seen += number
        for t in losses:
            t.meter.add(TRAIN_COST * number)
    stack.put_back()
    for t, total in zip(trainings, totals.tolist(), strict=True):
        t.loss = total / seen


class _Stack:
    """Nets and their optimizers as one of each, for an epoch."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members, self.net = members, members[0].net
        self.tied = is_tied(self.net)
        self.tensors = {
            name: v.detach().requires_grad_(v.requires_grad)
            for name, v in stacked([m.net for m in members]).items()
        }
        first = members[0].optimizer
        names = {id(p): name for name, p in self.net.named_parameters()}
        groups = [
            {**group, "params": [self.tensors[names[id(p)]] for p in group["params"]]}
            for group in first.param_groups
        ]
        kind: Any = type(first)
        self.optimizer: torch.optim.Optimizer = kind(groups)
        self.rates = [group["lr"] for group in first.param_groups]
        for name, v in self.tensors.items():
            states = [m.optimizer.state.get(tensors_of(m.net)[name], {}) for m in members]
            if states[0]:
                self.optimizer.state[v] = {
                    key: value.clone() if key == "step" else torch.stack([s[key] for s in states])
                    for key, value in states[0].items()
                }

    def step(
        self,
        trainings: Sequence[HeadTraining],
        x: Tensor,
        y: Tensor,
        factor: float,
        clip_norm: float | None,
    ) -> dict[HeadTraining, Tensor]:
        """Take a step of all nets; return the losses of those without error."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        for v in self.tensors.values():
            v.grad = None
        logits = forward_stacked(self.net, self.tensors, x, tied=self.tied)
        losses = backward_rows(trainings, logits, y)
        if clip_norm is not None:
            _clip([v.grad for v in self.tensors.values() if v.grad is not None], clip_norm)
        self.optimizer.step()
        return losses

    @torch.no_grad()
    def put_back(self) -> None:
        """Give each net its numbers, and each optimizer its state."""
        for k, m in enumerate(self.members):
            own = tensors_of(m.net)
            for name, v in self.tensors.items():
                own[name].copy_(v[k])
                if v in self.optimizer.state:
                    m.optimizer.state[own[name]] = {
                        key: (value if key == "step" else value[k]).clone()
                        for key, value in self.optimizer.state[v].items()
                    }


def _clip(gradients: Sequence[Tensor], clip_norm: float) -> None:
    """Clip the gradients (S, ...) of each net, as `nn.utils.clip_grad_norm_` does."""
    norms = torch.stack([g.reshape(len(g), -1).norm(dim=1) for g in gradients]).norm(dim=0)
    factors = (clip_norm / (norms + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factors.view(-1, *[1] * (g.dim() - 1)))


def _check(members: Sequence[Member]) -> None:
    """Refuse what would not be trained as it is alone."""
    for what, each in (
        ("nets of one kind", [kind_of(m.net) for m in members]),
        ("SGD or AdamW of its parameters with the same settings", list(map(_settings, members))),
        ("samplers of one length", [len(m.sampler) for m in members]),
    ):
        other = next((k for k, found in enumerate(each) if found != each[0]), 0)
        if other or each[0] is None:
            raise NotStackable(f"a batch of models needs {what}, but member {other} has others")
    try:
        same = _same_as_alone(members)
    except Exception as error:  # of vmap, or of a net that cannot be copied
        said = str(error).strip().splitlines()
        raise NotStackable(
            "a batch of models needs nets that torch.func.vmap computes, but: "
            f"{said[0] if said else type(error).__name__}"
        ) from error
    if not same:
        raise NotStackable(
            "a batch of models needs nets that differ in parameters and buffers alone, and change "
            "buffers in place, but vmap computes others than these do"
        )


def _settings(member: Member) -> list[object] | None:
    """Return what an optimizer does to which parameters, or None for another optimizer."""
    names = {id(p): name for name, p in member.net.named_parameters()}
    groups = member.optimizer.param_groups
    if type(member.optimizer) not in _OPTIMIZERS or not names.keys() >= {
        id(p) for group in groups for p in group["params"]
    }:
        return None
    named = [{**group, "params": [names[id(p)] for p in group["params"]]} for group in groups]
    return [type(member.optimizer), *named]


def _same_as_alone(members: Sequence[Member]) -> bool:
    """Return whether the batch of models answers some samples as copies of the nets do."""
    nets = [copy.deepcopy(m.net) for m in members]
    number = min(_TRIED, *(len(m.train) for m in members))
    some = [m.train.inputs[:number] for m in members]
    x = to_net_input(torch.cat(some), device_of(nets[0])).unflatten(0, (len(nets), -1))
    for net in nets:
        train_mode(net)
    with torch.no_grad():
        tensors = stacked(nets)
        found = [forward_stacked(nets[0], tensors, x), *tensors.values()]
        logits = torch.stack([net(one) for net, one in zip(nets, x, strict=True)])
        alone = [logits, *stacked(nets).values()]
    return all(
        bool(((f - w).abs() <= _CLOSE * (1 + w.abs().max())).all())
        for f, w in zip(found, alone, strict=True)
    )
