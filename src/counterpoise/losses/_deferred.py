"""Deferred re-weighting: class weights from some epoch on."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from counterpoise.arguments import as_integer
from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import as_vector

Weight = torch.Tensor | Sequence[float]
Stages = Sequence[tuple[int, Weight]]


class DeferredReweighting:
    r"""Give a loss its class weights only from some epoch on: deferred re-weighting (DRW).

    .. math::
        w(\text{epoch}) = \begin{cases} 1 & \text{epoch} < \text{start} \\
        w & \text{epoch} \ge \text{start} \end{cases}

    The net first learns its features from the data as they are, then the classifier is balanced.
    The weight depends on the epoch alone, so that a training resumed at epoch 170 of 200 has the
    weights of one that was never stopped, and an epoch after the last is like the last.

    The loss has a weight for every class from the start on (1 where it was built without, so that
    its state_dict has the same keys throughout); a weight that it was built with is replaced. The
    schedule sets new tensors and never writes into those it or the loss was given.

    Source: Cao et al. 2019, arXiv 1906.07413, algorithm 1 (there 160 of 200 epochs, then
    `effective_number_weights`).

    Args:
        loss: a module with a buffer `weight` of (C) or None, such as every softmax loss of this
            package and `torch.nn.CrossEntropyLoss`.
        weight: the class weights, (C), at least 0; or several stages, as a list of
            (start, weight) with rising starts.
        start: the epoch, counted from 0, from which on `weight` holds; leave it out for stages.

    Attributes:
        epoch: the epoch that the loss's weight is for.
        loss: the loss.

    Raises:
        TypeError: a loss without a buffer `weight`, an epoch that is not an integer, a start
            missing or given twice.
        ValueError: weights that are negative, not finite or of another number of classes than the
            loss's; starts that do not rise; a negative epoch.

    Example:
        >>> import torch
        >>> from counterpoise.losses import DeferredReweighting
        >>> loss = torch.nn.CrossEntropyLoss()
        >>> schedule = DeferredReweighting(loss, [0.5, 1.5], start=2)
        >>> for epoch in range(4):
        ...     schedule.set_epoch(epoch)
        ...     print(epoch, loss.weight.tolist())
        0 [1.0, 1.0]
        1 [1.0, 1.0]
        2 [0.5, 1.5]
        3 [0.5, 1.5]
    """

    def __init__(self, loss: nn.Module, weight: Weight | Stages, start: int | None = None) -> None:
        if not isinstance(loss, nn.Module) or "weight" not in loss._buffers:
            raise TypeError(
                "DeferredReweighting needs a loss with a buffer `weight`, such as "
                f"torch.nn.CrossEntropyLoss, but got {type(loss).__name__}; of a compiled or "
                "wrapped loss, give the one inside"
            )
        self.loss = loss
        self._stages = _as_stages(weight, start)
        self._check_classes()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the loss's weight to that of the epoch, counted from 0; call it before each."""
        self.epoch = as_integer("epoch", epoch, 0)
        weight = torch.ones_like(self._stages[0][1])
        for start, later in self._stages:
            weight = later if start <= self.epoch else weight
        # A copy: the loss may be moved or written to without harm to the stages.
        self.loss.weight = weight.to(self._like(), copy=True)

    def state_dict(self) -> dict[str, int]:
        """Return the state to resume from: the epoch."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume from a saved state: set the weight of its epoch."""
        if "epoch" not in state:
            raise ValueError(
                f"the state must hold an `epoch`, but holds {sorted(state)}; give what "
                "state_dict() returned"
            )
        self.set_epoch(state["epoch"])

    def _check_classes(self) -> None:
        """Refuse weights of different lengths."""
        has = self.loss._buffers["weight"]
        lengths = {len(weight) for _, weight in self._stages}
        lengths |= set() if has is None else {len(has)}
        if isinstance(self.loss, AdjustedCrossEntropyLoss):  # all its vectors are class-wise
            lengths |= {len(vector) for vector in self.loss.buffers(recurse=False)}
        if len(lengths) > 1:
            raise ValueError(
                "every weight must have one entry per class, as many as the loss's own, but the "
                f"lengths are {sorted(lengths)}"
            )

    def _like(self) -> torch.Tensor:
        """Return a tensor of the dtype and on the device that the loss's weight must have."""
        weight = self.loss._buffers["weight"]
        if weight is not None:
            return weight
        beside = next((b for b in self.loss.buffers() if b.is_floating_point()), None)
        return self._stages[0][1] if beside is None else beside


def _as_stages(weight: Weight | Stages, start: int | None) -> list[tuple[int, torch.Tensor]]:
    """Return stages in the order of their starts, whichever way they were given."""
    staged = not isinstance(weight, torch.Tensor) and any(
        isinstance(entry, tuple | list) for entry in weight
    )
    if staged == (start is not None):
        raise TypeError(
            "DeferredReweighting needs the epoch from which on the weight holds: either a weight "
            "and `start`, or a list of (start, weight) and no `start`"
        )
    pairs: Any = weight if staged else [(start, weight)]
    stages = [(as_integer("start", first, 0), _as_weight(values)) for first, values in pairs]
    starts = [first for first, _ in stages]
    if any(a >= b for a, b in itertools.pairwise(starts)):
        raise ValueError(f"the stages must have rising starts, but got {starts}; sort them")
    return stages


def _as_weight(values: Weight) -> torch.Tensor:
    weight = as_vector("weight", values, least=0)
    if weight is None:
        raise TypeError("weight must be one number per class, but got None; give numbers")
    return weight
