"""Progressively balanced sampling."""

import torch

from counterpoise.arguments import as_integer
from counterpoise.labels import Labels
from counterpoise.samplers._by_class import ClassSampler, equal_shares


class ProgressiveSampler(ClassSampler):
    r"""Progressively balanced sampler: from the data's class frequencies to equal ones.

    .. math::
        p_j(t) = \left(1 - \frac{t}{T}\right) \frac{n_j}{N} + \frac{t}{T} \cdot \frac{1}{C}

    where p_j(t) is the probability that a draw of epoch t is of class j, n_j the samples of class
    j, N their sum, C the number of classes that have samples, and T = `epochs`. From epoch T on all
    classes are equally probable. The counts that a loss sees change with the epoch:
    `seen_counts(epoch)`.

    Source: Kang et al. 2020, arXiv 1910.09217, eq. 2.

    Args:
        targets, num_samples, seed, num_replicas, rank, num_classes: as in `BalancedSampler`.
        epochs: T, the number of epochs of the training.

    Raises:
        TypeError: numbers or targets that are not integers.
        ValueError: no targets, negative targets, numbers out of range.

    Example:
        >>> from counterpoise.samplers import ProgressiveSampler
        >>> sampler = ProgressiveSampler([0] * 90 + [1] * 10, epochs=4)
        >>> for epoch in range(4):
        ...     print(sampler.seen_counts(epoch).tolist())
        [90.0, 10.0]
        [80.0, 20.0]
        [70.0, 30.0]
        [60.0, 40.0]
    """

    def __init__(
        self,
        targets: Labels,
        num_samples: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        *,
        epochs: int,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(targets, num_samples, seed, num_replicas, rank, num_classes=num_classes)
        self.epochs = as_integer("epochs", epochs, 1)

    def _shares(self, epoch: int) -> torch.Tensor:
        return super()._shares(epoch).lerp(equal_shares(self.counts), min(1, epoch / self.epochs))
