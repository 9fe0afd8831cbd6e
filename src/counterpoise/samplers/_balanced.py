"""Class-balanced sampling."""

import torch

from counterpoise.samplers._by_class import ClassSampler, equal_shares


class BalancedSampler(ClassSampler):
    r"""Balanced sampler: draws every class equally often, however many samples it has.

    .. math::
        p_j = \frac{1}{C}

    where p_j is the probability that a draw is of class j, and C the number of classes that have
    samples. Classes are drawn independently; within a class, shuffled copies of its samples follow
    each other, so that they are used evenly. The counts that a loss sees are equal (`seen_counts`).

    Source: class-balanced sampling in Kang et al. 2020, arXiv 1910.09217, eq. 1 with q = 0.

    Args:
        targets: the class of each sample: an integer tensor, array or list, a data set that holds
            them as `.targets`, a `TensorDataset`, or a `Subset` or `ConcatDataset` of such.
        num_samples: how many to draw in an epoch, in all processes together; None for as many as
            there are.
        seed: one order per seed and epoch.
        num_replicas: processes that share the samples; None for those of torch.distributed if it
            is initialised, or else 1. Give 1 where a framework shares them (Accelerate).
        rank: this process's number; None for that of torch.distributed if it is initialised, or
            else 0.
        num_classes: the length of `seen_counts`; None stops at the highest class in targets.

    Raises:
        TypeError: numbers or targets that are not integers.
        ValueError: no targets, negative targets, numbers out of range.

    Example:
        >>> import torch
        >>> from counterpoise.samplers import BalancedSampler
        >>> sampler = BalancedSampler([0] * 90 + [1] * 10)
        >>> sampler.seen_counts()
        tensor([50., 50.], dtype=torch.float64)
        >>> loader = torch.utils.data.DataLoader(range(100), batch_size=32, sampler=sampler)
        >>> for epoch in range(2):
        ...     sampler.set_epoch(epoch)
        ...     print([len(batch) for batch in loader])
        [32, 32, 32, 4]
        [32, 32, 32, 4]
    """

    def _shares(self, epoch: int) -> torch.Tensor:
        return equal_shares(self.counts)
