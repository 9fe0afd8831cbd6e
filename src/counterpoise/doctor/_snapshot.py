"""Snapshots of a net: measurements of each layer, and the effect of one optimizer step."""

import contextlib
import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from counterpoise.doctor._setup import TrainingSetup, answer
from counterpoise.probe import Flow, LayerRow, Loss
from counterpoise.probe.inspection import Inspected, run_in_float64
from counterpoise.probe.nested import sample_dim, tensors

Gradients = Sequence[Tensor | None]


@dataclass(frozen=True)
class Snapshot:
    """The measurements of a net at one moment, over at most SNAPSHOT_SAMPLES samples.

    Attributes:
        rows: one dict a layer, as `counterpoise.probe.watch` has them, with the update of one step.
        visible_share: of the net's output: its variance over the inputs divided by its second
            moment.
        loss: of the net.
        first_order_decrease: as in `Numbers`, times the constant loss.
    """

    rows: tuple[LayerRow, ...]
    visible_share: float
    loss: float
    first_order_decrease: float


def take_snapshot(
    inspected: Inspected, setup: TrainingSetup, *, in_float64: bool
) -> tuple[Snapshot, list[str]]:
    """Measure a net, which stays as it is; return the snapshot and notes on it.

    In float64 no product underflows. Otherwise single precision is good enough: a visible share is
    right down to about 1e-12 and a first-order decrease to 1e-13, far below all thresholds.
    """
    setup = setup.subset()

    def measure(net: nn.Module, loss: Loss, inputs: object, targets: object) -> Snapshot:
        here = replace(setup, loss=loss, inputs=inputs, targets=targets)
        weights = [p for p in net.parameters() if p.requires_grad]
        with _weights_restored(weights):
            gradients = [_centered_gradients(net, weights, half) for half in here.halves()]
            decrease = _first_order_decrease(net, weights, gradients, here)
            with Flow(net, setup.batch_dim) as flow:
                value = loss(answer(net, inputs), targets)
                if value.requires_grad:
                    value.backward()
                for optimizer in here.optimizers(net):
                    optimizer.step(value.item)
        share = flow.output["visible_share"] if flow.output else 0.0
        return Snapshot(tuple(flow.rows), share, value.item(), decrease)

    is_half = any(p.dtype in (torch.float16, torch.bfloat16) for p in inspected.net.parameters())
    if in_float64 or is_half:
        return run_in_float64(inspected, measure, setup.loss, setup.inputs, setup.targets)
    net = copy.deepcopy(inspected.net) if inspected.is_copy else inspected.net
    return measure(net, setup.loss, setup.inputs, setup.targets), []


@contextlib.contextmanager
def _weights_restored(weights: list[nn.Parameter]) -> Iterator[None]:
    """Clear the gradients; restore values and gradients at the end."""
    values, gradients = [w.detach().clone() for w in weights], [w.grad for w in weights]
    _set_gradients(weights, [None] * len(weights))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, values, strict=True):
                weight.copy_(value)
        _set_gradients(weights, gradients)


def _centered_gradients(
    net: nn.Module, weights: list[nn.Parameter], setup: TrainingSetup
) -> Gradients:
    """Backpropagate the loss gradient of the output less its mean over the samples.

    The mean shifts the outputs of all samples alike, as a bias would; the rest distinguishes them.
    """
    output = answer(net, setup.inputs)
    value = setup.loss(output, setup.targets)
    none = [None] * len(weights)
    outputs = [t for t in tensors(output) if t.requires_grad and t.dim()]
    if not value.requires_grad or not outputs or not weights:
        return none
    grads = torch.autograd.grad(value, outputs, retain_graph=True, allow_unused=True)
    pairs = [(t, g) for t, g in zip(outputs, grads, strict=True) if g is not None]
    if not pairs:
        return none
    outputs = [t for t, _ in pairs]
    centered = [
        g - g.mean(sample_dim(g, setup.batch_dim, setup.samples), keepdim=True) for _, g in pairs
    ]
    return torch.autograd.grad(outputs, weights, centered, allow_unused=True)


def _first_order_decrease(
    net: nn.Module,
    weights: list[nn.Parameter],
    gradients: Sequence[Gradients],
    setup: TrainingSetup,
) -> float:
    """Return ⟨g, w - w'⟩ for one step from w to w' along the gradients of other samples."""
    taken, judged = gradients
    if all(g is None for g in taken):
        return 0.0
    before = [w.detach().clone() for w in weights]
    _set_gradients(weights, taken)
    for optimizer in setup.optimizers(net):
        optimizer.step(lambda: 0.0)
    moved = zip(weights, before, judged, strict=True)
    decrease = sum((g * (b - w.detach())).sum().item() for w, b, g in moved if g is not None)
    with torch.no_grad():
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)
    _set_gradients(weights, [None] * len(weights))
    return decrease if math.isfinite(decrease) else math.nan


def _set_gradients(weights: list[nn.Parameter], gradients: Gradients) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
