"""One training in several processes, or of batches in parts: shares of a batch, means over it.

Every process knows the order of all samples and takes its share of each batch. Its part of the loss
is such that the parts add up to the loss of the whole batch; DistributedDataParallel and FSDP2
average gradients, so each part is multiplied by the number of processes.
"""

import copy
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from counterpoise.train._shard import is_sharded
from counterpoise.train._sync_batch_norm import is_synchronised, summed

Loss = Callable[[Tensor, Tensor], Tensor]


def count_processes() -> tuple[int, int]:
    """Return the number of processes of torch.distributed, and this one's rank; (1, 0) without."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1, 0
    return dist.get_world_size(), dist.get_rank()


class Processes:
    """The processes that train one net together; a single one, where torch.distributed is not used.

    Attributes:
        number: of processes.
        rank: of this one.
        net: what a training step calls: the net, wrapped where gradients are to be averaged.
        sharded: whether the net is.
    """

    def __init__(self, net: nn.Module, sampler: object) -> None:
        self.number, self.rank = count_processes()
        self.net, self._plain, self.sharded = net, net, False
        if self.number == 1:
            return
        if isinstance(net, DistributedDataParallel):
            raise ValueError(
                "fit wraps the net in DistributedDataParallel itself, but got one that is wrapped; "
                "give net.module"
            )
        if getattr(sampler, "num_replicas", 1) != 1:
            raise ValueError(
                "fit shares each batch among the processes itself, so the sampler must draw the "
                f"whole epoch in each, but this one shares it among {sampler.num_replicas}; "  # type: ignore[attr-defined]
                "make it with num_replicas=1, rank=0"
            )
        norms: list[Any] = [m for m in net.modules() if is_synchronised(m)]
        self._norms = [(m, m.process_group) for m in norms]
        self._alone = dist.new_subgroups(1)[0] if norms else None
        self.sharded = is_sharded(net)
        if not self.sharded:
            device = next((p.device for p in net.parameters()), torch.device("cpu"))
            on_gpu = [device] if device.type == "cuda" else None
            self.net = DistributedDataParallel(net, device_ids=on_gpu)

    @property
    def first(self) -> bool:
        """True in the process that reports and writes."""
        return self.rank == 0

    def begin(self, seed: int, epoch: int) -> None:
        """Seed dropout in the other processes: each draws for samples of its own."""
        if self.rank:
            words = np.random.SeedSequence([seed, epoch, 2, self.rank]).generate_state(1)
            torch.manual_seed(int(words[0]))

    def agreed(self, order: Tensor) -> Tensor:
        """Return the first process's order of samples: a sampler may be random."""
        if self.number == 1:
            return order
        device = self._device()
        length = torch.tensor(len(order), device=device)
        dist.broadcast(length, 0)
        agreed = order.to(device) if self.first else torch.empty(int(length), dtype=order.dtype)
        agreed = agreed.to(device).contiguous()
        dist.broadcast(agreed, 0)
        return agreed.to(order.device)

    def share(self, index: Tensor) -> Tensor:
        """Return this process's samples of a batch.

        A batch with fewer than two samples a process is computed whole by each of them, without
        synchronising batch norms: no process is without samples, nor a batch norm with one alone.
        """
        if self.number == 1 or self._is_whole(index):
            return index
        return index[self.rank :: self.number]

    def begin_batch(self, index: Tensor) -> None:
        """Let batch norms synchronise if the batch that comes now is shared."""
        for norm, group in self._norms if self.number > 1 else ():
            norm.process_group = self._alone if self._is_whole(index) else group

    def part(
        self,
        loss: Loss,
        logits: Tensor,
        targets: Tensor,
        every: Tensor,
        index: Tensor,
        own: Tensor,
        weights: Tensor | None = None,
        mixed: Tensor | None = None,
    ) -> Tensor:
        """Return a part of a batch's loss; over parts and processes they add up to it.

        Args:
            loss: with a `normalizer`, as this package's losses have, or torch's cross entropy, it
                is that of the whole batch; of any other, parts count by their samples.
            logits: of the part's samples.
            targets: theirs.
            every: the targets of all training samples.
            index: the samples of the whole batch.
            own: those of the part.
            weights: of all training samples, where the loss takes them.
            mixed: class probabilities of all samples of the batch in this process, where those of
                the part are its targets.

        Raises:
            ValueError: weights for a loss of whose mean over a batch they make no known parts.
        """
        weigh: Any = loss  # of the part's samples
        if weights is not None:
            weigh = functools.partial(weigh, sample_weight=weights[own].to(logits))
        if len(own) == len(index):
            value = weigh(logits, targets)
            return value if self.number == 1 else value / self.number
        batch = every[index].to(logits.device)
        reduction, normalizer = (getattr(loss, k, None) for k in ("reduction", "normalizer"))
        if reduction == "sum":
            return weigh(logits, targets)
        if callable(normalizer) and mixed is not None:
            return weigh(logits, targets, normalizer=self.add_up(normalizer(mixed)))
        if callable(normalizer):
            of_batch = [batch] if weights is None else [batch, weights[index].to(logits)]
            return weigh(logits, targets, normalizer=normalizer(*of_batch))
        if weights is not None:
            raise ValueError(
                "sample_weight in several processes or parts needs a loss with a normalizer, as "
                f"those of counterpoise.losses have, but {type(loss).__name__} has none"
            )
        if type(loss) in (nn.CrossEntropyLoss, nn.NLLLoss) and mixed is None:
            return _mean_of_torch(loss, logits, targets, batch)
        return loss(logits, targets) * (len(targets) / len(batch))

    def count_parts(self, index: Tensor, most: int) -> int:
        """Return in how many parts a batch is computed, `most` at most: the same in each process.

        Each has two samples at least, as batch norms need; a batch that is computed whole by all
        processes has one.
        """
        return max(1, min(most, len(index) // (2 * self.number)))

    def no_sync(self) -> AbstractContextManager[None]:
        """Leave gradients as they are until the last part of a batch; sharded ones are averaged."""
        if isinstance(self.net, DistributedDataParallel):
            return self.net.no_sync()
        return nullcontext()

    def add_up(self, x: Tensor) -> Tensor:
        """Return the sum over the processes."""
        return x if self.number == 1 else summed(x)

    def end(self, *nets: nn.Module) -> None:
        """Give nets the first process's buffers, such as running statistics, in all processes."""
        for net in nets if self.number > 1 else ():
            for buffer in net.buffers():
                dist.broadcast(buffer, 0)

    def _is_whole(self, batch: Tensor) -> bool:
        return len(batch) < 2 * self.number

    def _device(self) -> torch.device:
        return next((p.device for p in self._plain.parameters()), torch.device("cpu"))


def _mean_of_torch(loss: Any, logits: Tensor, targets: Tensor, batch: Tensor) -> Tensor:
    """Return the part of the mean of torch's weighted cross entropy over a whole batch."""
    valid = batch != loss.ignore_index
    known = batch[valid]
    total = valid.sum() if loss.weight is None else loss.weight[known].sum()
    added = copy.copy(loss)
    added.reduction = "sum"
    return added(logits, targets) / total
