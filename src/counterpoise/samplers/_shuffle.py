"""Shuffling: the class frequencies of the data."""

import torch

from counterpoise.samplers._by_class import ClassSampler, in_turn


class ShuffleSampler(ClassSampler):
    r"""Shuffling sampler: draws every sample once in an epoch, in a new order.

    .. math::
        p_j = \frac{n_j}{N}

    where p_j is the share of class j among the draws, n_j its samples, and N those of all classes.
    If `num_samples` is more than N, shuffled copies follow each other; if it is less, an epoch is a
    random subset.

    Args:
        targets, num_samples, seed, num_replicas, rank, num_classes: as in `BalancedSampler`.

    Raises:
        TypeError: numbers or targets that are not integers.
        ValueError: no targets, negative targets, numbers out of range.

    Example:
        >>> from counterpoise.samplers import ShuffleSampler
        >>> sampler = ShuffleSampler([0, 0, 0, 1])
        >>> sorted(sampler), sampler.seen_counts().tolist()
        ([0, 1, 2, 3], [3.0, 1.0])
    """

    def _order(self, generator: torch.Generator) -> torch.Tensor:
        indices = torch.arange(int(self.counts.sum()))
        return in_turn(indices, self.num_samples, generator)
