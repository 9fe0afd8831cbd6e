"""The data as they are."""

import torch

from counterpoise.samplers._by_class import ClassSampler, in_turn


class ShuffleSampler(ClassSampler):
    r"""Draws every sample once in an epoch, in a new order.

        p_j = counts_j / N

    If `num_samples` is more than there are, shuffled copies follow each other; if it is less, an
    epoch is a random part.

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
        places = torch.arange(int(self.counts.sum()))
        return in_turn(places, self.num_samples, generator)
