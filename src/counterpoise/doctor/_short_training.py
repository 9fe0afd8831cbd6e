"""Real steps on a copy of the net, in rounds, with measurements in between."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from counterpoise.doctor._constant_loss import constant_loss
from counterpoise.doctor._diagnosis import Numbers
from counterpoise.doctor._setup import TrainingSetup, answer
from counterpoise.doctor._snapshot import Snapshot, take_snapshot
from counterpoise.doctor._verdict import is_undecided
from counterpoise.probe.inspection import Inspected

JUDGED = 256  # samples at most on which losses are measured
SNAPSHOTS = 3  # rounds after which a snapshot is taken; further ones only when the training ends


@dataclass(frozen=True)
class ShortTraining:
    """The course of a short training.

    Attributes:
        snapshots: before the first step, after some rounds of steps, and after the last round.
        guessing: the lowest loss of constant outputs, on the samples that losses are measured on.
        rounds: the loss on samples that were trained on, before the first step and after each
            round: the lower one of training and evaluation mode.
        held_out: the same on held-out samples, with the lowest loss of constant outputs there; both
            empty or None without them.
        losses: of each step's batch; the last is the first that is not finite, if any.
        notes: on how the first snapshot was taken.
        planned: steps that were planned; more than were taken where that was decided earlier.
        stopped: whether time was up.
    """

    snapshots: tuple[Snapshot, ...]
    guessing: float
    rounds: tuple[float, ...]
    held_out: tuple[float, ...] = ()
    guessing_held_out: float | None = None
    losses: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    planned: int = 0
    stopped: bool = False

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
        finite = after is not None and math.isfinite(self.rounds[-1])
        size = scale(self.guessing)
        signals = [_signal(snapshot, size) for snapshot in self.snapshots[1:]]
        held = self.held_out[-1] if self.held_out and finite else None
        return Numbers(
            constant_loss=self.guessing,
            loss=self.rounds[0],
            loss_after=self.rounds[-1] if finite else None,
            highest_loss=max(losses) if all(map(math.isfinite, losses)) else math.inf,
            visible_share=before.visible_share,
            visible_share_after=after.visible_share if after else None,
            first_order_decrease=before.first_order_decrease / size,
            first_order_decrease_after=after.first_order_decrease / size if after else None,
            learning_signal=_signal(after, size) if after else None,
            growth=_growth(signals),
            held_out_improvement=None
            if held is None or self.guessing_held_out is None
            else (self.guessing_held_out - held) / scale(self.guessing_held_out),
        )


def scale(guessing: float) -> float:
    """Return the size of a loss of guessing, or 1 where that is nothing."""
    return abs(guessing) if abs(guessing) > 1e-6 else 1.0


def as_trained(net: nn.Module, modes: dict[str, bool]) -> None:
    """Set a net to training mode, but for modules of it that are in evaluation mode on purpose."""
    net.train()
    if not modes.get("", True):
        return
    for name, module in net.named_modules():
        module.training = module.training and modes.get(name, True)


def train_briefly(
    inspected: Inspected,
    setup: TrainingSetup,
    *,
    max_rounds: int,
    in_float64: bool,
    seconds: float,
) -> ShortTraining:
    """Train for rounds of `setup.steps` steps, as long as the verdict is undecided.

    Args:
        inspected: the net to train, in place.
        setup: its training; a fifth of many samples is held out.
        max_rounds: the most rounds to train.
        in_float64: whether the first snapshot is in float64; later ones are in the net's own dtype.
        seconds: time after which no further round begins.
    """
    net, end = inspected.net, time.monotonic() + seconds
    trained, held = setup.divided()
    judged = trained.subset(JUDGED)
    before, notes = take_snapshot(inspected, trained, in_float64=in_float64)
    with torch.no_grad():
        outputs = [answer(net, one.inputs) if one else None for one in (judged, held)]
    training = ShortTraining(
        (before,),
        constant_loss(judged, outputs[0]),
        (_loss(net, judged),),
        (_loss(net, held),) if held else (),
        constant_loss(held, outputs[1]) if held else None,
        notes=tuple(notes),
        planned=max_rounds * setup.steps,
    )
    steps, stopped = _steps(net, trained), False
    for k in range(max_rounds):
        stopped = is_undecided(training.numbers) and time.monotonic() > end
        if stopped or not is_undecided(training.numbers):
            break
        losses = tuple(itertools.islice(steps, setup.steps))
        if not losses:
            break
        training = replace(
            training,
            losses=(*training.losses, *losses),
            rounds=(*training.rounds, _loss(net, judged)),
            held_out=(*training.held_out, _loss(net, held)) if held else (),
        )
        if not math.isfinite(losses[-1]):
            break
        if k < SNAPSHOTS:
            training = _with_snapshot(training, inspected, trained)
    if len(training.rounds) > SNAPSHOTS + 1 and math.isfinite(training.losses[-1]):
        training = _with_snapshot(training, inspected, trained)
    return replace(training, stopped=stopped)


def _with_snapshot(
    training: ShortTraining, inspected: Inspected, setup: TrainingSetup
) -> ShortTraining:
    after, _ = take_snapshot(inspected, setup, in_float64=False)
    return replace(training, snapshots=(*training.snapshots, after))


@torch.no_grad()
def _loss(net: nn.Module, setup: TrainingSetup) -> float:
    """Return the lower of the losses in training and in evaluation mode; the net stays as it is."""
    found = []
    modes = [(module, module.training) for module in net.modules()]
    buffers = [(b, b.clone()) for b in net.buffers()]
    with torch.random.fork_rng(devices=[]):
        for evaluation in (False, True):
            if evaluation:
                net.eval()
            found.append(setup.loss(answer(net, setup.inputs), setup.targets).item())
    for module, mode in modes:
        module.training = mode
    for buffer, value in buffers:
        buffer.copy_(value)
    return min((x for x in found if not math.isnan(x)), default=math.nan)


def _steps(net: nn.Module, setup: TrainingSetup) -> Iterator[float]:
    """Take a step and yield the loss before it; end with a loss that is not finite."""
    optimizers = setup.optimizers(net)
    generator = torch.Generator().manual_seed(0)
    everything = torch.arange(setup.samples)
    while True:
        index = torch.randperm(setup.samples, generator=generator)[: setup.batch_size]
        inputs, targets = setup.select(everything if setup.whole else index)
        closure = partial(backward, net, setup, inputs, targets)
        loss = closure()
        finite = math.isfinite(loss)
        for optimizer in optimizers if finite else ():
            take_step(optimizer, closure)
        yield loss
        if not finite:
            return


def take_step(optimizer: torch.optim.Optimizer, closure: Callable[[], float]) -> None:
    """Take a step; LBFGS evaluates the loss itself."""
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer.step(closure)
    else:
        optimizer.step()


def backward(net: nn.Module, setup: TrainingSetup, inputs: object, targets: object) -> float:
    """Replace the gradients by those of the loss on some samples, and return the loss."""
    for p in net.parameters():
        p.grad = None
    value = setup.loss(answer(net, inputs), targets)
    if value.requires_grad and math.isfinite(value.item()):
        value.backward()
    return value.item()


def _signal(snapshot: Snapshot, size: float) -> float:
    """Return the learning signal; 0 where a step seems to remove more than all of the loss."""
    decrease = snapshot.first_order_decrease / size
    return max(decrease, 0.0) * snapshot.visible_share**0.5 if decrease <= 1 else 0.0  # also of NaN


def _growth(signals: list[float]) -> float:
    """Return the smallest factor between one signal and the next; 1 of less than three."""
    factors = [b / a if a else 1.0 for a, b in itertools.pairwise(signals)]
    return max(1.0, min(factors)) if len(factors) > 1 else 1.0
