"""The training that a diagnosis is about: its samples, its loss, and its optimizers."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from counterpoise.probe import Loss
from counterpoise.probe.nested import call, count_samples, map_tensors

SNAPSHOT_SAMPLES = 64  # a visible share needs no more, and float64 is slow
LEAST_HELD_OUT = 48  # samples; fewer say little

MakeOptimizer = Callable[..., torch.optim.Optimizer]  # of the weights, and lr by keyword
Given = tuple[torch.optim.Optimizer, list[list[str]]]  # an optimizer, and names by group


def answer(net: nn.Module, inputs: object) -> object:
    """Call a net on a copy of the inputs, which it may change in place."""
    return call(net, map_tensors(inputs, Tensor.clone))


@dataclass(frozen=True)
class TrainingSetup:
    """The training that a diagnosis is about, apart from the net; arguments as in `diagnose`.

    Attributes:
        given: optimizers that exist already, with the names of the parameters of each group; empty
            where `make_optimizer` makes one.
        rate: factor on all learning rates.
        whole: whether each step is on all samples, which cannot be taken apart.
        decay: whether weight decay stays as it is; False takes it away.
    """

    loss: Loss
    inputs: object
    targets: object
    make_optimizer: MakeOptimizer
    lr: float
    steps: int
    batch_size: int
    batch_dim: int
    given: tuple[Given, ...] = ()
    rate: float = 1.0
    whole: bool = False
    decay: bool = True

    @property
    def samples(self) -> int:
        """The number of samples."""
        return count_samples(self.inputs, self.batch_dim)

    def optimizers(self, net: nn.Module) -> list[torch.optim.Optimizer]:
        """Make new optimizers of a net's parameters, or copies of the given ones."""
        weights = [p for p in net.parameters() if p.requires_grad]
        if not self.given:
            made = [self.make_optimizer(weights, lr=self.lr * self.rate)] if weights else []
        else:
            named = dict(net.named_parameters(remove_duplicate=False))
            made = [_of_net(one, groups, named, self.rate) for one, groups in self.given]
        if not self.decay:
            for group in (g for one in made for g in one.param_groups if "weight_decay" in g):
                group["weight_decay"] = 0.0
        return made

    def select(self, index: Tensor) -> tuple[object, object]:
        """Return the inputs and targets of the samples at `index`."""
        samples = self.samples

        def take(t: Tensor) -> Tensor:
            for dim in dict.fromkeys((self.batch_dim, 0)):
                if t.dim() > dim and t.shape[dim] == samples:
                    return t.index_select(dim, index.to(t.device))
            return t

        def take_target(t: Tensor) -> Tensor:
            more = t.shape[0] // samples if t.dim() and samples else 0
            if more > 1 and t.shape[0] == more * samples and samples not in t.shape:
                parts = t.unflatten(0, (samples, more))  # one entry a sample and a position
                return parts.index_select(0, index.to(t.device)).flatten(0, 1)
            return take(t)

        return map_tensors(self.inputs, take), map_tensors(self.targets, take_target)

    def subset(self, samples: int = SNAPSHOT_SAMPLES) -> Self:
        """Return the setup of a snapshot: at most so many samples, drawn with a seed."""
        if self.whole or self.samples <= samples:
            return self
        generator = torch.Generator().manual_seed(1)
        inputs, targets = self.select(torch.randperm(self.samples, generator=generator)[:samples])
        return replace(self, inputs=inputs, targets=targets)

    def halves(self) -> list[Self]:
        """Return the setup of each half of the samples; of few ones, or a whole, twice the same."""
        if self.whole or self.samples < 8:
            return [self, self]
        parts = (self.select(torch.arange(k, self.samples, 2)) for k in (0, 1))
        return [replace(self, inputs=x, targets=y) for x, y in parts]

    def divided(self) -> tuple[Self, Self | None]:
        """Return the setup that is trained on, and that of held-out samples; None of few ones."""
        held = min(self.samples // 5, 256)
        if self.whole or held < LEAST_HELD_OUT or self.samples - held < self.batch_size:
            return self, None
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(2))
        parts = (self.select(order[held:].sort().values), self.select(order[:held]))
        trained, other = (replace(self, inputs=x, targets=y) for x, y in parts)
        return trained, other


def given_optimizers(
    net: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[Given, ...]:
    """Return optimizers with the names that a net has for their parameters.

    Raises:
        ValueError: none of them holds a parameter of the net.
    """
    names = {id(p): name for name, p in net.named_parameters()}
    found = [
        [[names[id(p)] for p in group["params"] if id(p) in names] for group in one.param_groups]
        for one in optimizers
    ]
    if not any(group for groups in found for group in groups):
        raise ValueError(
            "optimizer must hold parameters of the net, but holds none of them; make it of "
            "net.parameters() after the net was moved or replaced"
        )
    return tuple(zip(optimizers, found, strict=True))


def _of_net(
    one: torch.optim.Optimizer,
    groups: list[list[str]],
    named: dict[str, nn.Parameter],
    rate: float,
) -> torch.optim.Optimizer:
    """Return a new optimizer like one, of the parameters that a net has by the same names."""
    made = copy.copy(one)
    made.state = type(one.state)(dict)
    made.param_groups = [
        {**group, "params": [named[name] for name in names], "lr": group["lr"] * rate}
        for group, names in zip(one.param_groups, groups, strict=True)
        if names
    ]
    if isinstance(made, torch.optim.LBFGS):
        made._params, made._numel_cache = made.param_groups[0]["params"], None
    return made


def parameters_held(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    """Return the ids of the parameters that optimizers hold."""
    return {id(p) for one in optimizers for group in one.param_groups for p in group["params"]}
