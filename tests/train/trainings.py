"""Trainings that must be the same in any number of processes, and processes that do them."""

import os
import socket

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import multiprocessing, nn

from counterpoise import losses, samplers, train
from counterpoise.data import Split

WEIGHT = torch.tensor([0.3, 1.0, 4.0])
EPOCHS = 3


def split(n=70, seed=0):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (n, 1, 8, 8), generator=g, dtype=torch.uint8)
    return Split(images, torch.randint(3, (n,), generator=g))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.GroupNorm(4, 16), nn.Tanh(), nn.Linear(16, 3)
    )


def with_batch_norms():
    """Of images and of vectors, one with a cumulative mean; torch's `view`, which people use."""

    class Rows(nn.Module):
        def forward(self, x):
            return x.view(x.size(0), -1)

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        Rows(),
        nn.Linear(36, 8),
        nn.BatchNorm1d(8, momentum=None),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


def with_dropout():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 3))


def sgd(net):
    return train.make_optimizer(net, lr=0.05, weight_decay=1e-3)


def adamw(net):
    return train.make_optimizer(net, "adamw", lr=0.01, weight_decay=0.1)


def fast(net):
    return train.make_optimizer(net, lr=3.0)


def plain_mean(logits, targets):
    return F.cross_entropy(logits, targets)


class ByShare(nn.Module):
    """A mean over class weights, by the shares of the classes: it depends on all of a batch."""

    def normalizer(self, targets):
        return (targets @ WEIGHT.to(targets)).sum()

    def forward(self, logits, targets, normalizer=None):
        total = self.normalizer(targets) if normalizer is None else normalizer
        return -(targets * WEIGHT.to(targets) * logits.log_softmax(1)).sum() / total


def spread(inputs, targets, draws):
    """Probabilities that depend on the sample alone, and not on those that it comes with."""
    return inputs, 0.5 * F.one_hot(targets, 3) + 0.5 * inputs.flatten(1)[:, :3].softmax(1)


def drw(loss):
    return losses.DeferredReweighting(loss, WEIGHT, start=1)


# 70 samples in batches of 17 end with one of 2; of 16, with one of 6.
TRAININGS = {
    "focal": {"loss": losses.FocalLoss(2.0, alpha=WEIGHT), "size": 17, "clip_norm": 0.1},
    "weighted samples": {
        "loss": losses.FocalLoss(2.0, alpha=WEIGHT),
        "size": 17,
        "sample_weight": torch.linspace(0.1, 3, 70),
    },
    "ignored": {
        "loss": losses.AdjustedCrossEntropyLoss(weight=WEIGHT, ignore_index=1),
        "size": 5,
        "optimizer": adamw,
    },
    "torch's": {"loss": nn.CrossEntropyLoss(WEIGHT, ignore_index=0, label_smoothing=0.1)},
    "plain": {"loss": plain_mean, "size": 17, "schedule": train.cosine(0.1), "optimizer": adamw},
    "sum": {"loss": losses.FocalLoss(reduction="sum"), "size": 17, "clip_norm": 0.3},
    "deferred": {"loss": losses.FocalLoss(1.0, reduction="batchmean"), "drw": True},
    "batch norm": {"loss": nn.CrossEntropyLoss(WEIGHT), "net": with_batch_norms, "size": 17},
    "averaged": {"loss": plain_mean, "net": with_batch_norms, "size": 17, "ema": 0.6},
    "sharpness-aware": {
        "loss": losses.FocalLoss(2.0, alpha=WEIGHT),
        "net": with_batch_norms,
        "size": 17,
        "clip_norm": 0.3,
        "sam": 0.2,
    },
    "sharded": {"loss": losses.FocalLoss(2.0, alpha=WEIGHT), "size": 17, "clip_norm": 0.1},
    "sharded adamw": {"loss": nn.CrossEntropyLoss(WEIGHT), "optimizer": adamw},
    "accumulated": {"loss": nn.CrossEntropyLoss(WEIGHT), "size": 17, "accumulate": 3},
    "sharded, in parts": {
        "loss": losses.FocalLoss(2.0, alpha=WEIGHT),
        "size": 17,
        "accumulate": 3,
        "patience": 1,
        "monitor": "train_nll",
        "optimizer": fast,
    },
    "random": {
        "loss": losses.FocalLoss(),
        "net": with_dropout,
        "size": 17,
        "augment": train.AUGMENTS["flip"],
    },
    "mixed": {"loss": ByShare(), "mix": spread, "size": 17},
    "mixed, in parts": {
        "loss": losses.FocalLoss(2.0, alpha=WEIGHT),
        "mix": spread,
        "size": 17,
        "accumulate": 3,
    },
    "sampled": {"loss": losses.FocalLoss(), "sampler": True, "size": 9},
}


def run(name, state=None):
    """Train; return the rows, the net's weights, and the state after each epoch."""
    words = dict(TRAININGS[name])
    net, loss, size = words.pop("net", mlp)(), words.pop("loss"), words.pop("size", 16)
    each_epoch = [drw(loss)] if words.pop("drw", False) else []
    every = {"train": split(), "test": split(300, 1)}
    if words.pop("sampler", False):
        words["sampler"] = samplers.BalancedSampler(
            every["train"].targets, num_replicas=1, rank=0, seed=3
        )
    if dist.is_initialized():
        net = train.sync_batch_norm(net)
        if name.startswith("sharded"):
            net = train.shard(net, least=50)
    optimizer = words.pop("optimizer", sgd)(net)
    states = []
    rows = train.fit(
        net,
        loss,
        **every,
        epochs=EPOCHS,
        batch_size=size,
        seed=5,
        optimizer=optimizer,
        each_epoch=each_epoch,
        state=state,
        on_state=lambda state: states.append(copied(state)),
        **words,
    )
    logits = train.predict_logits(net, every["test"].inputs, shared=True)
    return {"rows": rows, "net": copied(train.full_state(net)), "states": states, "logits": logits}


def refusals():
    """What `fit` says to a sampler that shares its samples, and to a net that is wrapped."""
    found, net = [], mlp()
    for given, sampler in (
        (net, samplers.BalancedSampler(split().targets)),
        (nn.parallel.DistributedDataParallel(net), None),
    ):
        try:
            train.fit(given, plain_mean, split(), epochs=1, sampler=sampler)
        except ValueError as error:
            found.append(str(error))
    return found


def copied(value):
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [copied(v) for v in value]
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _work(rank, number, port, names, states, file):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=number)
    try:
        states = copied(states)  # they come in memory that the processes share
        found = {name: run(name, states.get(name)) for name in names}
        found["refusals"] = refusals()
        torch.save(found, f"{file}.{rank}")
    finally:
        dist.destroy_process_group()


def in_processes(number, names, folder, states=None):
    """What `run` returns of each training, by process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / f"{number}-processes"
    work = (number, port, list(names), states or {}, str(file))
    multiprocessing.spawn(_work, work, nprocs=number)
    return [torch.load(f"{file}.{rank}", weights_only=True) for rank in range(number)]
