"""A few real steps on a bench, with a look before and after."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from counterpoise.doctor._look import Case, Look, look
from counterpoise.probe._bench import Bench, call


@dataclass(frozen=True)
class Trial:
    """What a few steps did.

    Attributes:
        before: the net as it is.
        losses: of each step's batch; the last is the first that is not finite, if any.
        after: the net after the steps; None when a loss was not finite.
        notes: what the reader should know.
    """

    before: Look
    losses: tuple[float, ...]
    after: Look | None
    notes: tuple[str, ...] = ()

    @property
    def highest_loss(self) -> float:
        """Of all steps and looks; infinite when one was not finite."""
        seen = [*self.losses, self.before.loss, math.nan if self.after is None else self.after.loss]
        return max(seen) if all(map(math.isfinite, seen)) else math.inf


def run_trial(
    place: Bench, case: Case, steps: int, batch_size: int, hopeless: float = 0.0
) -> Trial:
    """Look, train `steps` steps on batches drawn from the case, and look again.

    No step is taken when the first look's promise is below `hopeless`.
    """
    place.net.train()
    before, notes = look(place, case)
    if before.promise < hopeless:
        return Trial(before, (), before, tuple(notes))
    losses = _train(place.net, case, steps, batch_size)
    intact = all(math.isfinite(x) for x in losses)
    after = look(place, case)[0] if intact else None
    return Trial(before, tuple(losses), after, tuple(notes))


def _train(net: nn.Module, case: Case, steps: int, batch_size: int) -> list[float]:
    weights = [p for p in net.parameters() if p.requires_grad]
    if not weights:
        return []
    optimizer, losses = case.make_optimizer(weights), []
    draw = torch.Generator().manual_seed(0)
    for _ in range(steps):
        index = torch.randperm(case.samples, generator=draw)[:batch_size]
        inputs, targets = case.some(index)
        value = case.loss(call(net, inputs), targets)
        losses.append(value.item())
        if not math.isfinite(losses[-1]) or not value.requires_grad:
            break
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return losses
