"""Sampling by class: draw a class by its probability, then the samples of the class in turn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from counterpoise.arguments import as_integer
from counterpoise.labels import Labels, count_classes, read_labels


class ClassSampler(Sampler[int]):
    """Sampler that draws the class of each sample with the probabilities of `_shares`.

    Here the probability of a class is its share of the samples. Every rank computes the same order
    of all `num_samples` and takes every `num_replicas`-th, beginning with its own rank; if they do
    not divide, the order starts again. The order depends on seed and epoch alone.
    """

    def __init__(
        self,
        targets: Labels,
        num_samples: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        *,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        labels = read_labels(targets).cpu()
        self.counts = _count(labels, num_classes)
        self.num_samples = as_integer(
            "num_samples", len(labels) if num_samples is None else num_samples, 1
        )
        self.seed = as_integer("seed", seed, 0)
        self.num_replicas, self.rank = _find_rank(num_replicas, rank)
        self.epoch = 0
        # The samples' indices, class after class: a view for each class.
        self._indices = labels.argsort(stable=True).split(self.counts.tolist())

    def __repr__(self) -> str:
        shard = f", rank={self.rank} of {self.num_replicas}" if self.num_replicas > 1 else ""
        return (
            f"{type(self).__name__}({len(self.counts)} classes, {self.num_samples} samples, "
            f"seed={self.seed}, epoch={self.epoch}{shard})"
        )

    def __len__(self) -> int:
        """Return the number of samples that a rank draws in an epoch, the same for all ranks."""
        return -(-self.num_samples // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this rank's samples, for the epoch that is set."""
        order = self._order(self._generator())
        mine = torch.arange(self.rank, len(self) * self.num_replicas, self.num_replicas)
        return iter(order[mine % self.num_samples].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0; without it, every epoch has the same order."""
        self.epoch = as_integer("epoch", epoch, 0)

    def seen_counts(self, epoch: int | None = None) -> torch.Tensor:
        """Return the expected number of samples of each class in an epoch, of all ranks together.

        These, and not the counts of the data set, are the prior that the loss sees: build the loss
        from them.

        Args:
            epoch: which one, counted from 0; None for the epoch that is set.

        Returns:
            Float64 (C).
        """
        epoch = self.epoch if epoch is None else as_integer("epoch", epoch, 0)
        return self._shares(epoch) * self.num_samples

    def _shares(self, epoch: int) -> torch.Tensor:
        """Return the probability of each class, float64 (C)."""
        return self.counts.double() / self.counts.sum()

    def _order(self, generator: torch.Generator) -> torch.Tensor:
        """Return the indices of all ranks' samples, int64 (num_samples)."""
        classes = self._draw_classes(generator)
        drawn = classes.bincount(minlength=len(self.counts)).tolist()
        pairs = zip(self._indices, drawn, strict=True)
        picked = torch.cat([in_turn(indices, n, generator) for indices, n in pairs])
        order = torch.empty_like(picked)
        order[classes.argsort(stable=True)] = picked
        return order

    def _draw_classes(self, generator: torch.Generator) -> torch.Tensor:
        """Draw classes independently, int64 (num_samples); torch.multinomial takes at most 2^24."""
        upper = self._shares(self.epoch).cumsum(0)
        upper = upper / upper[-1]  # the last is 1, above every draw
        drawn = torch.rand(self.num_samples, generator=generator, dtype=torch.float64)
        return torch.searchsorted(upper, drawn, right=True)

    def _generator(self) -> torch.Generator:
        """Return the random generator of a seed and an epoch."""
        words = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)
        return torch.Generator().manual_seed(int(words[0]))


def equal_shares(counts: torch.Tensor) -> torch.Tensor:
    """Return the same probability for every class that has samples, float64 (C)."""
    occurs = (counts > 0).double()
    return occurs / occurs.sum()


def in_turn(indices: torch.Tensor, number: int, generator: torch.Generator) -> torch.Tensor:
    """Return `number` indices, as consecutive shuffled copies of `indices`."""
    copies = [
        indices[torch.randperm(len(indices), generator=generator)]
        for _ in range(0, number, max(1, len(indices)))
    ]
    return torch.cat([indices[:0], *copies])[:number]


def _count(labels: torch.Tensor, num_classes: int | None) -> torch.Tensor:
    """Return the number of samples of each class, int64 (C), or raise ValueError."""
    if labels.dim() != 1 or not len(labels):
        raise ValueError(
            "targets must be one class number per sample, and at least one, but have shape "
            f"{tuple(labels.shape)}"
        )
    return count_classes(labels, num_classes)


def _find_rank(num_replicas: int | None, rank: int | None) -> tuple[int, int]:
    """Return the number of processes and this one's rank; None stands for torch.distributed's."""
    running = dist.is_available() and dist.is_initialized()
    if num_replicas is None:
        num_replicas = dist.get_world_size() if running else 1
    if rank is None:
        if not running and num_replicas != 1:
            raise ValueError(
                f"num_replicas={num_replicas} needs a rank as long as torch.distributed is not "
                "initialised; give both, or initialise it first"
            )
        rank = dist.get_rank() if running else 0
    num_replicas, rank = as_integer("num_replicas", num_replicas, 1), as_integer("rank", rank, 0)
    if rank >= num_replicas:
        raise ValueError(f"rank must be below num_replicas={num_replicas}, but got {rank}")
    return num_replicas, rank
