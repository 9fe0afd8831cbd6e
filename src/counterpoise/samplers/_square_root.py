"""Square-root sampling."""

import torch

from counterpoise.samplers._by_class import ClassSampler


class SquareRootSampler(ClassSampler):
    r"""Square-root sampler: draws the classes in proportion to the square root of their sizes.

    .. math::
        p_j = \frac{\sqrt{n_j}}{\sum_k \sqrt{n_k}}

    where p_j is the probability that a draw is of class j, and n_j the samples of class j. Rare
    classes come more often than in the data, and are repeated less than by `BalancedSampler`.

    Source: Kang et al. 2020, arXiv 1910.09217, eq. 1 with q = 1/2.

    Args:
        targets, num_samples, seed, num_replicas, rank, num_classes: as in `BalancedSampler`.

    Raises:
        TypeError: numbers or targets that are not integers.
        ValueError: no targets, negative targets, numbers out of range.

    Example:
        >>> from counterpoise.samplers import SquareRootSampler
        >>> SquareRootSampler([0] * 90 + [1] * 10).seen_counts()
        tensor([75., 25.], dtype=torch.float64)
    """

    def _shares(self, epoch: int) -> torch.Tensor:
        root = self.counts.double().sqrt()
        return root / root.sum()
