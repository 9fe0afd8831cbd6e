"""One look at a net: what reaches each layer, and what a step promises."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from counterpoise.probe import Flow, Loss
from counterpoise.probe._bench import Bench, call, convert, in_double
from counterpoise.probe._numbers import sample_dim, tensors

LOOKED_AT = 64  # samples; a visible share needs no more, and float64 is slow

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Case:
    """What the doctor was given, apart from the net."""

    loss: Loss
    inputs: Any
    targets: Any
    make_optimizer: MakeOptimizer
    batch_dim: int
    samples: int

    def some(self, index: Tensor) -> tuple[Any, Any]:
        """The inputs and targets of the chosen samples."""

        def take(t: Tensor) -> Tensor:
            for dim in dict.fromkeys((self.batch_dim, 0)):
                if t.dim() > dim and t.shape[dim] == self.samples:
                    return t.index_select(dim, index.to(t.device))
            return t

        return convert(self.inputs, take), convert(self.targets, take)

    def spread(self) -> Self:
        """The same of as many samples as are looked at, evenly spread: they may lie by class."""
        samples = min(self.samples, LOOKED_AT)
        inputs, targets = self.some(torch.arange(samples) * self.samples // samples)
        return replace(self, inputs=inputs, targets=targets, samples=samples)


@dataclass(frozen=True)
class Look:
    """What one look saw.

    Attributes:
        rows: a dict a layer, as `counterpoise.probe.watch` has them, one step included.
        visible_share: of what the net returns.
        loss: over LOOKED_AT of the samples.
        guess: the lowest loss of an output that is the same for every sample.
        promise: by what share of `guess` one step lowers the loss, to first order, by making the
            output depend on the input.
    """

    rows: tuple[dict[str, Any], ...]
    visible_share: float
    loss: float
    guess: float
    promise: float

    @property
    def signal(self) -> float:
        """promise * sqrt(visible_share): what the next step has to go by."""
        return self.promise * self.visible_share**0.5


def look(place: Bench, case: Case, *, exact: bool) -> tuple[Look, list[str]]:
    """Look at a net, which stays as it is: what was seen, and what to know of it.

    Exact is in float64, where no product underflows. Otherwise single precision is good enough: a
    visible share is right down to about 1e-12 and a promise to 1e-13, below all thresholds.
    """
    case = case.spread()

    def see(net: nn.Module, loss: Loss, inputs: Any, targets: Any) -> Look:
        weights = [p for p in net.parameters() if p.requires_grad]
        with _kept(weights), Flow(net, case.batch_dim) as flow:
            output = call(net, inputs)
            value = loss(output, targets)
            apart = _gradients_apart(value, output, weights, case)
            if value.requires_grad:
                value.backward()
            promise = _fall_of_a_step(weights, apart, case)
            if weights:
                case.make_optimizer(weights).step()
        guess = _guess(loss, output, targets, case)
        size = abs(guess) or 1.0
        share = flow.output["visible_share"] if flow.output else 0.0
        return Look(tuple(flow.rows), share, value.item(), guess, promise / size)

    coarse = any(p.dtype in (torch.float16, torch.bfloat16) for p in place.net.parameters())
    if exact or coarse:
        return in_double(place, see, case.loss, case.inputs, case.targets)
    net = copy.deepcopy(place.net) if place.copied else place.net
    return see(net, case.loss, case.inputs, case.targets), []


@contextlib.contextmanager
def _kept(weights: list[nn.Parameter]) -> Iterator[None]:
    """Give the weights back the values and the gradients that they had."""
    values, gradients = [w.detach().clone() for w in weights], [w.grad for w in weights]
    _set_gradients(weights, [None] * len(weights))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, values, strict=True):
                weight.copy_(value)
        _set_gradients(weights, gradients)


def _gradients_apart(
    value: Tensor, output: Any, weights: list[nn.Parameter], case: Case
) -> list[Tensor | None]:
    """Return the part of the gradient that tells samples apart.

    The loss pulls at each sample's output; what it pulls at all samples alike only shifts the
    output, as a bias would, and is left out.
    """
    none: list[Tensor | None] = [None] * len(weights)
    given = [t for t in tensors(output) if t.requires_grad and t.dim()]
    if not value.requires_grad or not given or not weights:
        return none
    pulls = torch.autograd.grad(value, given, retain_graph=True, allow_unused=True)
    pairs = [(t, p) for t, p in zip(given, pulls, strict=True) if p is not None]
    if not pairs:
        return none
    apart = [p - p.mean(_samples(p, case), keepdim=True) for _, p in pairs]
    outputs = [t for t, _ in pairs]
    return [*torch.autograd.grad(outputs, weights, apart, retain_graph=True, allow_unused=True)]


def _fall_of_a_step(
    weights: list[nn.Parameter], gradients: Sequence[Tensor | None], case: Case
) -> float:
    """To first order; the weights and their gradients stay."""
    if all(g is None for g in gradients):
        return 0.0
    with _kept(weights):
        before = [w.detach().clone() for w in weights]
        _set_gradients(weights, gradients)
        case.make_optimizer(weights).step()
        return sum(
            (g * (b - w.detach())).sum().item()
            for w, b, g in zip(weights, before, gradients, strict=True)
            if g is not None
        )


def _guess(loss: Loss, output: Any, targets: Any, case: Case) -> float:
    """Return the lowest loss of constant outputs, found by L-BFGS; failing that, of their means."""

    def varies(t: Tensor) -> bool:
        along = t.dim() and t.shape[_samples(t, case)] == case.samples
        return bool(along) and t.is_floating_point()

    given = [t.detach() for t in tensors(output) if varies(t)]
    means = [t.mean(_samples(t, case), keepdim=True) for t in given]
    constants = [torch.zeros_like(m, requires_grad=True) for m in means]

    def loss_of(values: list[Tensor]) -> Tensor:
        left = iter(values)
        fill = lambda t: next(left).expand_as(t) if varies(t) else t.detach()  # noqa: E731
        return loss(convert(output, fill), targets)

    lowest = _minimum(lambda: loss_of(constants), constants) if constants else None
    return loss_of(means).item() if lowest is None else lowest


def _minimum(loss_of: Callable[[], Tensor], constants: list[Tensor]) -> float | None:
    """Return the minimum over the constants; None where there is none to be found."""

    def again() -> Tensor:
        for c in constants:
            c.grad = None
        value = loss_of()
        value.backward()
        return value

    search = torch.optim.LBFGS(constants, max_iter=60, line_search_fn="strong_wolfe")
    try:
        search.step(again)  # pyrefly: ignore
        value = again().item()
    except (RuntimeError, ValueError, IndexError):
        return None
    slope = max(c.grad.abs().max().item() if c.grad is not None else 0.0 for c in constants)
    return value if slope < 1e-3 * (1 + abs(value)) else None


def _samples(t: Tensor, case: Case) -> int:
    return sample_dim(t, case.batch_dim, case.samples)


def _set_gradients(weights: list[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
