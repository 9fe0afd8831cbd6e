"""Snapshots of a net: measurements of each layer, and the effect of one optimizer step."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from counterpoise.probe import Flow, LayerRow, Loss
from counterpoise.probe.inspection import Inspected, run_in_float64
from counterpoise.probe.nested import call, count_samples, map_tensors, sample_dim, tensors

SNAPSHOT_SAMPLES = 64  # a visible share needs no more, and float64 is slow

MakeOptimizer = Callable[..., torch.optim.Optimizer]  # of the weights, and lr by keyword
Gradients = Sequence[Tensor | None]


@dataclass(frozen=True)
class TrainingSetup:
    """The training that a diagnosis is about, apart from the net; arguments as in `diagnose`."""

    loss: Loss
    inputs: object
    targets: object
    make_optimizer: MakeOptimizer
    lr: float
    steps: int
    batch_size: int
    batch_dim: int

    @property
    def samples(self) -> int:
        """The number of samples."""
        return count_samples(self.inputs, self.batch_dim)

    def optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Make a new optimizer of the weights."""
        return self.make_optimizer(weights, lr=self.lr)

    def select(self, index: Tensor) -> tuple[object, object]:
        """Return the inputs and targets of the samples at `index`."""
        samples = self.samples

        def take(t: Tensor) -> Tensor:
            for dim in dict.fromkeys((self.batch_dim, 0)):
                if t.dim() > dim and t.shape[dim] == samples:
                    return t.index_select(dim, index.to(t.device))
            return t

        return map_tensors(self.inputs, take), map_tensors(self.targets, take)

    def subset(self) -> Self:
        """Return the setup of a snapshot: evenly spaced samples, as they may be sorted by class."""
        samples = min(self.samples, SNAPSHOT_SAMPLES)
        inputs, targets = self.select(torch.arange(samples) * self.samples // samples)
        return replace(self, inputs=inputs, targets=targets)


@dataclass(frozen=True)
class Snapshot:
    """The measurements of a net at one moment, over at most SNAPSHOT_SAMPLES samples.

    Attributes:
        rows: one dict a layer, as `counterpoise.probe.watch` has them, with the update of one step.
        visible_share: of the net's output: its variance over the inputs divided by its second
            moment.
        loss: of the net.
        constant_loss: the lowest loss of an output that is the same for every sample.
        first_order_decrease: as in `Numbers`.
    """

    rows: tuple[LayerRow, ...]
    visible_share: float
    loss: float
    constant_loss: float
    first_order_decrease: float

    @property
    def learning_signal(self) -> float:
        """Return first_order_decrease * sqrt(visible_share)."""
        return self.first_order_decrease * self.visible_share**0.5


def take_snapshot(
    inspected: Inspected, setup: TrainingSetup, *, in_float64: bool
) -> tuple[Snapshot, list[str]]:
    """Measure a net, which stays as it is; return the snapshot and notes on it.

    In float64 no product underflows. Otherwise single precision is good enough: a visible share is
    right down to about 1e-12 and a first-order decrease to 1e-13, far below all thresholds.
    """
    setup = setup.subset()

    def measure(net: nn.Module, loss: Loss, inputs: object, targets: object) -> Snapshot:
        weights = [p for p in net.parameters() if p.requires_grad]
        with _weights_restored(weights), Flow(net, setup.batch_dim) as flow:
            output = call(net, inputs)
            value = loss(output, targets)
            gradients = _centered_gradients(value, output, weights, setup)
            if value.requires_grad:
                value.backward()
            decrease = _first_order_decrease(weights, gradients, setup)
            if weights:
                setup.optimizer(weights).step()
        constant_loss = _constant_loss(loss, output, targets, setup)
        size = abs(constant_loss) or 1.0
        share = flow.output["visible_share"] if flow.output else 0.0
        return Snapshot(tuple(flow.rows), share, value.item(), constant_loss, decrease / size)

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
    value: Tensor, output: object, weights: list[nn.Parameter], setup: TrainingSetup
) -> Gradients:
    """Backpropagate the loss gradient of the output less its mean over the samples.

    The mean shifts the outputs of all samples alike, as a bias would; the rest distinguishes them.
    """
    none = [None] * len(weights)
    outputs = [t for t in tensors(output) if t.requires_grad and t.dim()]
    if not value.requires_grad or not outputs or not weights:
        return none
    grads = torch.autograd.grad(value, outputs, retain_graph=True, allow_unused=True)
    pairs = [(t, g) for t, g in zip(outputs, grads, strict=True) if g is not None]
    if not pairs:
        return none
    outputs = [t for t, _ in pairs]
    centered = [g - g.mean(_sample_dim(g, setup), keepdim=True) for _, g in pairs]
    return torch.autograd.grad(outputs, weights, centered, retain_graph=True, allow_unused=True)


def _first_order_decrease(
    weights: list[nn.Parameter], gradients: Gradients, setup: TrainingSetup
) -> float:
    """Return ⟨g, w - w'⟩ for one optimizer step from w to w' along g; the weights are restored."""
    if all(g is None for g in gradients):
        return 0.0
    with _weights_restored(weights):
        before = [w.detach().clone() for w in weights]
        _set_gradients(weights, gradients)
        setup.optimizer(weights).step()
        return sum(
            (g * (b - w.detach())).sum().item()
            for w, b, g in zip(weights, before, gradients, strict=True)
            if g is not None
        )


def _constant_loss(loss: Loss, output: object, targets: object, setup: TrainingSetup) -> float:
    """Return the lowest loss of constant outputs, found by L-BFGS; failing that, of their means."""

    def varies(t: Tensor) -> bool:
        by_sample = t.dim() > 0 and t.shape[_sample_dim(t, setup)] == setup.samples
        return by_sample and t.is_floating_point()

    given = [t.detach() for t in tensors(output) if varies(t)]
    means = [t.mean(_sample_dim(t, setup), keepdim=True) for t in given]
    constants = [torch.zeros_like(m, requires_grad=True) for m in means]

    def loss_of(values: list[Tensor]) -> Tensor:
        left = iter(values)
        fill = lambda t: next(left).expand_as(t) if varies(t) else t.detach()  # noqa: E731
        return loss(map_tensors(output, fill), targets)

    lowest = _minimum(lambda: loss_of(constants), constants) if constants else None
    return loss_of(means).item() if lowest is None else lowest


def _minimum(loss_of: Callable[[], Tensor], constants: list[Tensor]) -> float | None:
    """Return the minimum over the constants; None where none is found."""

    def closure() -> float:
        for c in constants:
            c.grad = None
        value = loss_of()
        value.backward()
        return value.item()

    optimizer = torch.optim.LBFGS(constants, max_iter=60, line_search_fn="strong_wolfe")
    try:
        optimizer.step(closure)
        value = closure()
    except (RuntimeError, ValueError, IndexError):
        return None
    steepest = max(c.grad.abs().max().item() if c.grad is not None else 0.0 for c in constants)
    return value if steepest < 1e-3 * (1 + abs(value)) else None


def _sample_dim(t: Tensor, setup: TrainingSetup) -> int:
    return sample_dim(t, setup.batch_dim, setup.samples)


def _set_gradients(weights: list[nn.Parameter], gradients: Gradients) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
