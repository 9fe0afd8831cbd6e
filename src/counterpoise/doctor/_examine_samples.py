"""Examine inputs and targets."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from counterpoise.doctor._setup import TrainingSetup, answer
from counterpoise.doctor._symptoms import (
    ALL_EQUAL,
    NOT_FINITE,
    ONE_TARGET,
    OUTSIDE,
    SCALE,
    TARGET_NOT_FINITE,
    TARGET_SCALE,
    Symptom,
)
from counterpoise.probe.nested import sample_dim, tensors

LARGE, SMALL = 10.0, 0.05  # root mean square of inputs, beyond which their scale may be a cause
FAR = 30.0  # times 1, or less than 1 by it: that of targets
SPREAD = 1e3  # between columns of a table


def floats(values: object) -> list[Tensor]:
    return [t for t in tensors(values) if t.is_floating_point() and t.dim()]


def examine_samples(setup: TrainingSetup) -> Iterator[Symptom]:
    samples, dim = setup.samples, setup.batch_dim
    given = [t for t in tensors(setup.inputs) if t.dim() and samples in t.shape]
    for values, cause in ((setup.inputs, NOT_FINITE), (setup.targets, TARGET_NOT_FINITE)):
        for t in floats(values):
            rows = t.movedim(sample_dim(t, dim, samples), 0).reshape(
                t.shape[sample_dim(t, dim, samples)], -1
            )
            bad = (~rows.isfinite()).sum(1)
            if bad.any():
                first = int(bad.nonzero()[0])
                yield Symptom(
                    cause,
                    f"{int((bad > 0).sum())} of {len(rows)} samples have such values, the first is "
                    f"sample {first}, with {int(bad[first])} of {rows.shape[1]}.",
                )
                return
    same = [_is_same(t, sample_dim(t, dim, samples)) for t in given]
    if given and samples > 1 and all(same):
        yield Symptom(ALL_EQUAL, f"All {samples} samples are equal to the first.")
    targets = [t for t in tensors(setup.targets) if t.dim()]
    if samples > 1 and targets and all(_is_same(t, 0) for t in targets):
        value = targets[0].flatten()[0].item()
        yield Symptom(ONE_TARGET, f"All {samples} targets are {value:g}.")
    yield from _scale(setup)
    yield from _target_scale(setup)


def _target_scale(setup: TrainingSetup) -> Iterator[Symptom]:
    for t in floats(setup.targets):
        try:  # of a squared or absolute error, which is 0 where outputs are the targets
            if abs(float(setup.loss(t, t))) > 1e-6:
                return
        except (RuntimeError, ValueError, IndexError, TypeError, AttributeError):
            return
        size = t.double().square().mean().sqrt().item()
        if size > FAR or 0 < size < 1 / FAR:
            yield Symptom(TARGET_SCALE, f"Their root mean square is {size:.3g}.")
            return


def _is_same(t: Tensor, dim: int) -> bool:
    return bool((t == t.narrow(dim, 0, 1)).all())


def _scale(setup: TrainingSetup) -> Iterator[Symptom]:
    for t in floats(setup.inputs):
        size = t.double().square().mean().sqrt().item()
        if t.dim() == 2 and t.shape[1] > 1:
            columns = t.double().square().mean(0).sqrt()
            high = columns.max().item()
            low = columns[columns > 0].min().item() if high else 0.0
            if high > SPREAD * low and high > LARGE:
                where = f"column {int(columns.argmax())} has {high:.3g}, another one {low:.3g}"
                yield Symptom(SCALE, f"The root mean square of {where}.")
                return
        if size > LARGE or 0 < size < SMALL:
            yield Symptom(SCALE, f"Their root mean square is {size:.3g}.")
            return


def targets_outside(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    """Class numbers that have no output, for a loss that has raised."""
    targets = setup.targets
    with torch.no_grad():
        output = answer(net, setup.subset(2).inputs)
    if not isinstance(output, Tensor) or not isinstance(targets, Tensor) or output.dim() < 2:
        return
    if (
        targets.is_floating_point()
        or targets.dtype == torch.bool
        or targets.dim() != output.dim() - 1
    ):
        return
    ignored = getattr(setup.loss, "ignore_index", -100)
    counted = targets[targets != ignored]
    classes = output.shape[1]
    if (
        classes > 1
        and counted.numel()
        and not 0 <= int(counted.min()) <= int(counted.max()) < classes
    ):
        low, high = int(counted.min()), int(counted.max())
        why = f"Targets go from {low} to {high}, and the {classes} outputs from 0 to {classes - 1}."
        yield Symptom(OUTSIDE, why)


def beyond_outputs(net: nn.Module, setup: TrainingSetup) -> Iterator[Symptom]:
    """Targets that the last activation of a net cannot give."""
    last: list[nn.Module] = []
    leaves = [m for m in net.modules() if next(m.children(), None) is None]
    handles = [m.register_forward_hook(lambda m, *_: last.append(m)) for m in leaves]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = answer(net, setup.inputs)
    finally:
        for handle in handles:
            handle.remove()
    limits = next((r for kind, r in _RANGES.items() if last and isinstance(last[-1], kind)), None)
    targets = floats(setup.targets)
    if limits is None or not targets or not isinstance(output, Tensor):
        return
    low, high = targets[0].min().item(), targets[0].max().item()
    if targets[0].numel() == output.numel() and (low < limits[0] or high > limits[1]):
        why = (
            f"They go from {low:.3g} to {high:.3g}, and {type(last[-1]).__name__} gives "
            f"{limits[0]:g} to {limits[1]:g}."
        )
        yield Symptom(OUTSIDE, why)


_RANGES: dict[type[nn.Module], tuple[float, float]] = {
    nn.Sigmoid: (0.0, 1.0),
    nn.Softmax: (0.0, 1.0),
    nn.Tanh: (-1.0, 1.0),
    nn.ReLU: (0.0, math.inf),
    nn.ReLU6: (0.0, 6.0),
}
