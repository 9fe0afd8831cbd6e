"""Examine a loss: its values at outputs that are right, wrong, and those of a net."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from counterpoise.doctor._setup import TrainingSetup
from counterpoise.doctor._symptoms import BROADCAST, CONSTANT, TWICE, WRONG_SIGN, Symptom
from counterpoise.probe.nested import map_tensors


def examine_loss(setup: TrainingSetup, output: object) -> Iterator[Symptom]:
    """Its values at outputs that are right and wrong, and its gradient at those of the net."""
    if not isinstance(output, Tensor) or not isinstance(setup.targets, Tensor):
        return
    yield from _broadcast(setup, output)
    if output.is_floating_point():
        yield from _flat(setup, output)
    right = _right(output, setup.targets)
    if right is None:
        return

    def loss(values: Tensor) -> float:
        return setup.loss(values, setup.targets).item()

    unsure = (
        right.mean(1, keepdim=True).expand_as(right)
        if right.dim() > 1 and right.shape[1] > 1
        else torch.zeros_like(right)
    )
    try:
        with torch.no_grad():
            good, even, bad = loss(4 * right), loss(unsure), loss(-4 * right)
            probabilities = _probabilities(output)
            best = loss((right + 1) / 2) if probabilities else 0.0
    except (RuntimeError, ValueError, IndexError):
        return
    values = (good, even, bad)
    if not all(map(math.isfinite, values)):
        return
    if good > even + 1e-6 > bad + 2e-6:
        why = (
            f"Outputs that are right have a loss of {good:.3g}, and those that are wrong {bad:.3g}."
        )
        yield Symptom(WRONG_SIGN, why, fatal=True)
    elif max(values) - min(values) < 1e-9 * (1 + abs(even)):
        yield Symptom(CONSTANT, f"It is {even:.3g} for right and for wrong outputs.")
    elif probabilities and best > 0.2 * even and best > good + 0.1:
        why = (
            "The outputs are probabilities, and the loss takes logits: probabilities that are "
            f"right still have {best:.3g}, logits {good:.3g}."
        )
        yield Symptom(TWICE, why)


def _flat(setup: TrainingSetup, output: Tensor) -> Iterator[Symptom]:
    """A loss whose gradient at the net's outputs is 0."""
    z = output.detach().clone().requires_grad_()
    value = setup.loss(z, setup.targets)
    if not value.requires_grad:
        return
    (grad,) = torch.autograd.grad(value, [z], allow_unused=True)
    if grad is None or not grad.any():
        why = f"Its gradient is 0 at the outputs of all {setup.samples} samples."
        yield Symptom(CONSTANT, why)


def ignores_targets(setup: TrainingSetup, output: object) -> bool:
    """Return whether a loss is the same for other targets, as for those that nobody looks at."""

    def other(t: Tensor) -> Tensor:
        return t + 1 if t.is_floating_point() else torch.where(t > 0, t - 1, t + 1)

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            given = setup.loss(output, setup.targets)
            changed = setup.loss(output, map_tensors(setup.targets, other))
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    return bool(torch.equal(given, changed))


def _broadcast(setup: TrainingSetup, output: Tensor) -> Iterator[Symptom]:
    """Outputs (N, 1) and targets (N): their difference is (N, N)."""
    targets = setup.targets
    if not isinstance(targets, Tensor) or targets.shape == output.shape:
        return
    if targets.numel() != output.numel() or not targets.is_floating_point():
        return
    try:
        with torch.no_grad():
            alike = setup.loss(targets.reshape(output.shape), targets).item()
            exact = setup.loss(targets, targets).item()
    except (RuntimeError, ValueError, IndexError):
        return
    if alike > exact + 1e-6:
        why = (
            f"Outputs {tuple(output.shape)} and targets {tuple(targets.shape)} are: outputs that "
            f"equal the targets have a loss of {alike:.3g}, where it should be {exact:.3g}."
        )
        yield Symptom(BROADCAST, why)


def _right(output: Tensor, targets: Tensor) -> Tensor | None:
    """Return outputs of -1 and 1 that are right, for class numbers and for zeros and ones."""
    if (
        not targets.is_floating_point()
        and targets.dim() == 1
        and output.dim() == 2
        and output.shape[1] > 1
    ):
        if (
            targets.numel() == 0
            or not 0 <= int(targets.min()) <= int(targets.max()) < output.shape[1]
        ):
            return None
        return 2 * nn.functional.one_hot(targets.long(), output.shape[1]).to(output.dtype) - 1
    binary = targets.numel() == output.numel() and bool(((targets == 0) | (targets == 1)).all())
    if binary and targets.unique().numel() == 2:
        return (2 * targets.to(output.dtype) - 1).reshape(output.shape)
    return None


def _probabilities(output: Tensor) -> bool:
    if not ((output >= 0) & (output <= 1)).all() or output.std() == 0:
        return False
    return (
        output.dim() < 2
        or output.shape[1] == 1
        or bool(((output.sum(1) - 1).abs() < 1e-4).all() or (output.sum(0) - 1).abs().max() < 1e-4)
    )
