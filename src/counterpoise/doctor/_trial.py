"""A few real steps on a bench, with a look before and after."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from counterpoise.doctor._look import Case, Look, look
from counterpoise.probe._bench import Bench, call


@dataclass(frozen=True)
class Rounds:
    """How long a trial may take: `most` rounds of `steps` steps, as long as `is_open` says so.

    `exact` is about the first look.
    """

    steps: int
    most: int
    is_open: Callable[["Trial"], bool]
    exact: bool


@dataclass(frozen=True)
class Trial:
    """What a few steps did.

    Attributes:
        looks: at the net as it is, and after each round of steps that could be finished.
        losses: of each step's batch; the last is the first that is not finite, if any.
        notes: what the reader should know.
    """

    looks: tuple[Look, ...]
    losses: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def before(self) -> Look:
        """The first look."""
        return self.looks[0]

    @property
    def after(self) -> Look | None:
        """The last look; None when a loss was not finite."""
        return self.looks[-1] if all(map(math.isfinite, self.losses)) else None

    @property
    def highest_loss(self) -> float:
        """Of all steps and looks; infinite when one was not finite."""
        seen = [*self.losses, *(look.loss for look in self.looks)]
        return max(seen) if all(map(math.isfinite, seen)) else math.inf


def run_trial(place: Bench, case: Case, batch_size: int, rounds: Rounds) -> Trial:
    """Look, train a round of steps, look again, and go on for as long as it is open."""
    place.net.train()
    before, notes = look(place, case, exact=rounds.exact)
    trial = Trial((before,), notes=tuple(notes))
    weights = [p for p in place.net.parameters() if p.requires_grad]
    if not weights:
        return trial
    steps = _steps(place.net, weights, case, batch_size)
    for _ in range(rounds.most):
        if not rounds.is_open(trial):
            break
        losses = (*trial.losses, *itertools.islice(steps, rounds.steps))
        seen = (look(place, case, exact=False)[0],) if math.isfinite(losses[-1]) else ()
        trial = replace(trial, losses=losses, looks=(*trial.looks, *seen))
    return trial


def _steps(
    net: nn.Module, weights: list[nn.Parameter], case: Case, batch_size: int
) -> Iterator[float]:
    """Take a step and yield the loss before it, and end with one that is not finite."""
    optimizer = case.make_optimizer(weights)
    draw = torch.Generator().manual_seed(0)
    while True:
        index = torch.randperm(case.samples, generator=draw)[:batch_size]
        inputs, targets = case.some(index)
        value = case.loss(call(net, inputs), targets)
        if value.requires_grad and math.isfinite(value.item()):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        yield value.item()
        if not math.isfinite(value.item()):
            return
