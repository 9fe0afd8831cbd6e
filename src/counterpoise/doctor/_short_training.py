"""A few real steps on a copy of the net, with a snapshot before and after each round of them."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from counterpoise.doctor._diagnosis import Numbers
from counterpoise.doctor._snapshot import Snapshot, TrainingSetup, take_snapshot
from counterpoise.doctor._verdict import is_undecided
from counterpoise.probe.inspection import Inspected
from counterpoise.probe.nested import call


@dataclass(frozen=True)
class ShortTraining:
    """The course of a short training.

    Attributes:
        snapshots: before the first step, and after each round of steps that could be finished.
        losses: of each step's batch; the last is the first that is not finite, if any.
        notes: on how the first snapshot was taken.
    """

    snapshots: tuple[Snapshot, ...]
    losses: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def before(self) -> Snapshot:
        """The first snapshot."""
        return self.snapshots[0]

    @property
    def after(self) -> Snapshot | None:
        """The last snapshot; None when a loss was not finite."""
        return self.snapshots[-1] if all(map(math.isfinite, self.losses)) else None

    @property
    def numbers(self) -> Numbers:
        """The numbers that a verdict rests on."""
        before, after = self.before, self.after
        losses = [*self.losses, *(snapshot.loss for snapshot in self.snapshots)]
        return Numbers(
            constant_loss=before.constant_loss,
            loss=before.loss,
            loss_after=after.loss if after else None,
            highest_loss=max(losses) if all(map(math.isfinite, losses)) else math.inf,
            visible_share=before.visible_share,
            visible_share_after=after.visible_share if after else None,
            first_order_decrease=before.first_order_decrease,
            first_order_decrease_after=after.first_order_decrease if after else None,
            learning_signal=after.learning_signal if after else None,
            growth=_growth([snapshot.learning_signal for snapshot in self.snapshots[1:]]),
        )


def train_briefly(
    inspected: Inspected, setup: TrainingSetup, *, max_rounds: int, in_float64: bool
) -> ShortTraining:
    """Train for rounds of `setup.steps` steps, as long as the verdict is undecided.

    Args:
        inspected: the net to train, in place.
        setup: its training.
        max_rounds: the most rounds to train.
        in_float64: whether the first snapshot is in float64; later ones are in the net's own dtype.
    """
    inspected.net.train()
    before, notes = take_snapshot(inspected, setup, in_float64=in_float64)
    training = ShortTraining((before,), notes=tuple(notes))
    weights = [p for p in inspected.net.parameters() if p.requires_grad]
    if not weights:
        return training
    steps = _steps(inspected.net, weights, setup)
    for _ in range(max_rounds):
        if not is_undecided(training.numbers):
            break
        training = replace(
            training, losses=(*training.losses, *itertools.islice(steps, setup.steps))
        )
        if math.isfinite(training.losses[-1]):
            after, _ = take_snapshot(inspected, setup, in_float64=False)
            training = replace(training, snapshots=(*training.snapshots, after))
    return training


def _steps(net: nn.Module, weights: list[nn.Parameter], setup: TrainingSetup) -> Iterator[float]:
    """Take a step and yield the loss before it; end with a loss that is not finite."""
    optimizer = setup.optimizer(weights)
    generator = torch.Generator().manual_seed(0)
    while True:
        index = torch.randperm(setup.samples, generator=generator)[: setup.batch_size]
        inputs, targets = setup.select(index)
        value = setup.loss(call(net, inputs), targets)
        if value.requires_grad and math.isfinite(value.item()):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        yield value.item()
        if not math.isfinite(value.item()):
            return


def _growth(signals: list[float]) -> float:
    """Return the smallest factor between one signal and the next; 1 of less than three."""
    factors = [b / a if a else 1.0 for a, b in itertools.pairwise(signals)]
    return max(1.0, min(factors)) if len(factors) > 1 else 1.0
