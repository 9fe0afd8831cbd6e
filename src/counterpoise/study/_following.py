"""A loss that follows the class counts of a sampler, which change from epoch to epoch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise import samplers


class Following(nn.Module):
    """A loss built anew in each epoch from the sampler's class counts."""

    def __init__(
        self,
        make: Callable[[Tensor], nn.Module],
        sampler: samplers.ProgressiveSampler,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.make, self.sampler, self.device = make, sampler, device
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Build the loss of an epoch."""
        self.inner = self.make(self.sampler.seen_counts(epoch)).to(self.device)

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
