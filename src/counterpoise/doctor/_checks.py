"""Checks for bugs, on one batch."""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from counterpoise.doctor._constant_loss import constant_loss
from counterpoise.doctor._diagnosis import Check
from counterpoise.doctor._setup import TrainingSetup, answer
from counterpoise.doctor._short_training import backward, take_step
from counterpoise.doctor._symptoms import MIXED, Symptom
from counterpoise.probe.inspection import inspect
from counterpoise.probe.nested import first_floating, sample_dim

STEPS = 15  # on the repeated batch
LEAST = 8  # samples in it
NEAR = 2.0  # times the loss of guessing, up to which the loss at the start is near it
_UNLIKE = nn.modules.dropout._DropoutNd | nn.modules.batchnorm._NormBase


def check_batch(net: nn.Module, setup: TrainingSetup, symptoms: list[Symptom]) -> list[Check]:
    """Check a net and its training on one batch, on copies."""
    batch = setup.subset(max(setup.batch_size, LEAST))
    with inspect(net, seed=0) as inspected:
        copy_ = inspected.net
        before = {name: p.detach().clone() for name, p in copy_.named_parameters()}
        with torch.no_grad():
            first = answer(copy_, batch.inputs)
        guessing = constant_loss(batch, first)
        losses = _repeat(copy_, batch)
        still = [
            name
            for name, p in copy_.named_parameters()
            if p.requires_grad and torch.equal(p.detach(), before[name])
        ]
    start = losses[0]
    near = math.isfinite(start) and start <= guessing + (NEAR - 1) * max(abs(guessing), 0.1)
    mixed = next((s.why for s in symptoms if s.cause == MIXED), "")
    checks = [
        Check(
            "each parameter moves, or is frozen",
            not still,
            f"In {STEPS} steps {len(still)} stay as they are: {', '.join(still[:3])}.",
        ),
        Check("each sample has an output of its own", not mixed, mixed),
        Check(
            "the loss falls on one batch that is repeated",
            min(losses[1:], default=math.inf) < start,
            f"It goes from {start:.3g} to {losses[-1]:.3g} in {len(losses) - 1} steps.",
        ),
        *_outputs(net, batch),
        Check(
            "the loss at the start is near that of guessing",
            near,
            f"It is {start:.3g}, and guessing has {guessing:.3g}.",
        ),
    ]
    return [replace(check, why="") if check.passed else check for check in checks]


def _repeat(net: nn.Module, batch: TrainingSetup) -> list[float]:
    """Take steps on one batch; return the losses, up to one that is not finite."""
    optimizers, losses = batch.optimizers(net), []
    closure = partial(backward, net, batch, batch.inputs, batch.targets)
    for _ in range(STEPS):
        losses.append(closure())
        if not math.isfinite(losses[-1]):
            return losses
        for optimizer in optimizers:
            take_step(optimizer, closure)
    return [*losses, closure()]


def _outputs(net: nn.Module, batch: TrainingSetup) -> list[Check]:
    """Whether outputs depend on inputs, and on the mode of a net without dropout and batch norm."""
    found = {}
    with inspect(net, seed=0) as inspected, torch.no_grad():
        for mode in (True, False):
            torch.manual_seed(0)
            found[mode] = first_floating(answer(inspected.net.train(mode), batch.inputs))
    train, evaluated = found[True], found[False]
    if train is None or evaluated is None or not train.dim():
        return []
    dim = sample_dim(evaluated, batch.batch_dim, batch.samples)
    varies = bool((evaluated != evaluated.narrow(dim, 0, 1)).any())
    checks = [Check("outputs depend on inputs", varies, "They are the same for all samples.")]
    if not any(isinstance(module, _UNLIKE) for module in net.modules()):
        same = torch.allclose(train, evaluated, rtol=1e-3, atol=1e-5, equal_nan=True)
        why = "They differ, and no layer is dropout or batch norm."
        checks.append(Check("training and evaluation mode agree", same, why))
    return checks
