"""Samplers for imbalanced classes, as `torch.utils.data.Sampler`s.

Each yields the sample indices of an epoch, for a `DataLoader`. Call `sampler.set_epoch(epoch)`
before each epoch, as with torch's `DistributedSampler`; several processes share the samples by
themselves.

**Who shares the samples among the processes?** Some frameworks do it for every sampler they meet,
and these would be shared a second time: each process would see a share of its share. Switch one of
the two off: Lightning, `Trainer(use_distributed_sampler=False)`; or, as for Accelerate's `prepare`
and `counterpoise.train.fit`, the sampler, `num_replicas=1, rank=0`, which draws the whole epoch in
every process.

**Sampler and loss never balance twice.** A sampler changes how often the loss sees each class, so a
loss that is built from the counts of the data set balances a second time what the sampler has
balanced already. One rule prevents it: build the loss from `sampler.seen_counts()`.

    sampler = samplers.BalancedSampler(targets)
    loss = losses.LogitAdjustedLoss(sampler.seen_counts())

With `BalancedSampler` these counts are all equal, and logit adjustment, class weights and the rest
reduce to their form on balanced data: plain cross entropy. With `ShuffleSampler` they are the
data set's. With `ProgressiveSampler` they change with the epoch: build the loss anew from
`seen_counts(epoch)`, or take plain cross entropy.

`ALL` maps the name used everywhere to a function (targets, epochs=None, **settings) -> sampler.
`epochs` is the length of the training, which only "progressive" asks for.
"""

from typing import Any, Protocol

from counterpoise import registry
from counterpoise.labels import Labels
from counterpoise.registry import Member
from counterpoise.samplers._balanced import BalancedSampler
from counterpoise.samplers._by_class import ClassSampler
from counterpoise.samplers._progressive import ProgressiveSampler
from counterpoise.samplers._shuffle import ShuffleSampler
from counterpoise.samplers._square_root import SquareRootSampler

__all__ = ["ALL", "BalancedSampler", "ProgressiveSampler", "ShuffleSampler", "SquareRootSampler"]


class _Make(Protocol):
    def __call__(self, targets: Labels, epochs: Any = None, **settings: Any) -> ClassSampler:
        """Return a sampler."""
        ...


def _for_targets(member: Member) -> _Make:
    make = member.load()
    if "epochs" in member.needs:
        return lambda targets, epochs=None, **settings: make(targets, epochs=epochs, **settings)
    return lambda targets, epochs=None, **settings: make(targets, **settings)


ALL: dict[str, _Make] = {name: _for_targets(row) for name, row in registry.SAMPLERS.items()}
