"""The loss of guessing: the lowest one of an output that is the same for every sample."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from counterpoise.doctor._setup import TrainingSetup
from counterpoise.probe.nested import map_tensors, sample_dim, tensors

_NEAR = 1e-4  # by which probabilities may miss a sum of 1


def constant_loss(setup: TrainingSetup, output: object) -> float:
    """Return the lowest loss of constant outputs, found by L-BFGS; failing that, of their means.

    Outputs that are probabilities, or their logarithms, stay such. A loss that has no lowest value,
    as one that is linear in the outputs, and one that L-BFGS cannot minimize have that of the means
    of a net's outputs over the samples.

    Args:
        setup: the loss, and the targets of the output.
        output: of a net, for the samples of the setup.
    """
    samples, dim = setup.samples, setup.batch_dim

    def varies(t: Tensor) -> bool:
        by_sample = t.dim() > 0 and t.shape[sample_dim(t, dim, samples)] == samples
        return by_sample and t.is_floating_point()

    given = [t.detach() for t in tensors(output) if varies(t)]
    means = [
        t.nan_to_num(0.0, 0.0, 0.0).mean(sample_dim(t, dim, samples), keepdim=True) for t in given
    ]
    links = [_link(t) for t in given]
    constants = [torch.zeros_like(m, requires_grad=True) for m in means]

    def loss_of(values: list[Tensor]) -> Tensor:
        left = iter(values)
        fill = lambda t: next(left).expand_as(t) if varies(t) else t.detach()  # noqa: E731
        return setup.loss(map_tensors(output, fill), setup.targets)

    def linked() -> Tensor:
        return loss_of([link(c) for link, c in zip(links, constants, strict=True)])

    lowest = _minimum(linked, constants) if constants else None
    return loss_of(means).item() if lowest is None else lowest


def _link(output: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what makes a constant of such outputs out of any numbers."""
    for dim in (1, -1) if output.dim() > 1 else ():
        if output.shape[dim] == 1:
            continue
        if ((output.exp().sum(dim) - 1).abs() < _NEAR).all():
            return lambda c: torch.log_softmax(c, dim)
        if (output >= 0).all() and ((output.sum(dim) - 1).abs() < _NEAR).all():
            return lambda c: torch.softmax(c, dim)
    if ((output > 0) & (output < 1)).all():
        return torch.sigmoid
    return lambda c: c


def _minimum(loss_of: Callable[[], Tensor], constants: list[Tensor]) -> float | None:
    """Return the minimum over the constants; None where none is found."""

    def closure() -> float:
        for c in constants:
            c.grad = None
        value = loss_of()
        if value.requires_grad:
            value.backward()
        return value.item()

    optimizer = torch.optim.LBFGS(constants, max_iter=60, line_search_fn="strong_wolfe")
    try:
        begin = closure()
        optimizer.step(closure)
        value = closure()
    except (RuntimeError, ValueError, IndexError):
        return None
    if not (math.isfinite(begin) and math.isfinite(value)):
        return None
    steepest = max(c.grad.abs().max().item() if c.grad is not None else 0.0 for c in constants)
    return value if steepest < 1e-3 * (1 + abs(begin)) else None
