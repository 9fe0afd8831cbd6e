"""The loss of a training, made by a plan's names of loss and sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise import losses
from counterpoise.registry import resolve


class Following(nn.Module):
    """Loss that is built anew in each epoch from the sampler's class counts.

    Args:
        make: from class counts to the loss.
        counts: from the epoch to the samples of each class that the loss sees.
        device: where the loss is computed.
    """

    def __init__(
        self,
        make: Callable[[Tensor], nn.Module],
        counts: Callable[[int], Tensor],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.make, self.counts, self.device = make, counts, device
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Build the loss of an epoch."""
        self.inner = self.make(self.counts(epoch)).to(self.device)

    def forward(self, logits: Tensor, target: Tensor, **settings: Any) -> Tensor:
        """Return the loss."""
        return self.inner(logits, target, **settings)

    @property
    def normalizer(self) -> Any:
        """That of the epoch's loss, as `train.fit` asks for it, if it has one."""
        return self.inner.normalizer

    @property
    def reduction(self) -> Any:
        """The same."""
        return self.inner.reduction


@dataclass
class Criterion:
    """A loss, and what the logits of a net that was trained with it stand for.

    Attributes:
        loss: called as loss(logits, targets).
        seen_counts: samples of each class that it sees in the last epoch, (C).
        each_epoch: `set_epoch` of each is to be called before an epoch.
        changing: why no one formula holds for all epochs; empty where one does.
    """

    loss: Any
    seen_counts: Tensor
    each_epoch: tuple[losses.DeferredReweighting | Following, ...] = ()
    changing: str = ""

    @property
    def inner(self) -> Any:
        """The loss of the present epoch."""
        return self.loss.inner if isinstance(self.loss, Following) else self.loss

    @property
    def needs_cosine_head(self) -> bool:
        """Whether the net's last layer must give cosines (`net.with_cosine_head`)."""
        return isinstance(self.inner, losses.LDAMLoss)

    @property
    def cosine_scale(self) -> float:
        """The factor that makes log-probabilities of a cosine head's logits; 1 for other heads."""
        if self.needs_cosine_head and self.inner.scale is not None:
            return float(self.inner.scale[0])
        return 1.0

    def link(self) -> dict[str, Any]:
        """Return the parameters of `probabilities.Link` for logits times `cosine_scale`."""
        found = losses.link_parameters(self.inner)
        if self.needs_cosine_head:
            found.pop("scale", None)
        if self.changing:
            found.setdefault("approximate", self.changing)
        return found


def build(
    name: str | Callable[..., Any],
    settings: Mapping[str, Any],
    counts: Callable[[int], Tensor],
    *,
    epochs: int,
    device: torch.device,
    deferred: float | None = None,
    changing: bool = False,
    mixed: bool = False,
) -> Criterion:
    """Build a loss from the class counts that it will see.

    Args:
        name: a key of `losses.ALL`, `package.module:name`, or a function from class counts and
            settings to a loss.
        settings: of the loss.
        counts: from the epoch to the samples of each class that the loss sees, such as
            `seen_counts` of a sampler.
        epochs: of the training.
        device: where the loss is computed.
        deferred: the share of the epochs after which class weights set in; None for never.
        changing: whether the counts change from epoch to epoch.
        mixed: whether it is given class probabilities of mixed samples.

    Example:
        >>> import torch
        >>> counts = torch.tensor([90.0, 10.0])
        >>> made = build("focal", {"gamma": 2}, lambda epoch: counts, epochs=1,
        ...              device=torch.device("cpu"))
        >>> made.loss, made.link()
        (FocalLoss(gamma=2), {'gamma': [2.0]})
    """
    make = resolve("loss", name, losses.ALL)
    seen = counts(epochs - 1)
    loss, each_epoch = make(seen, **settings), ()
    why = "samples were mixed" if mixed else ""
    if changing:
        why = "the sampler changed the shares"
    if deferred is not None:
        weight = losses.effective_number_weights(seen)
        start = int(deferred * epochs)
        each_epoch = (losses.DeferredReweighting(loss, weight, start),)
        why = "the class weights set in late"
    elif changing:
        loss = Following(lambda n: make(n, **settings), counts, device)
        each_epoch = (loss,)
    loss = loss.to(device) if isinstance(loss, nn.Module) else loss
    return Criterion(loss, seen, each_epoch, why)
