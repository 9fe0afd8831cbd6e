"""The second stage of a training: the head on balanced samples of frozen features."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise import registry
from counterpoise.data import Rows, Split
from counterpoise.models import NormedLinear
from counterpoise.net import linear_head
from counterpoise.samplers import BalancedSampler
from counterpoise.train._evaluate import device_of, predict_logits, to_net_input
from counterpoise.train._fit import fit
from counterpoise.train._optimizer import make_optimizer
from counterpoise.train._parallel import Loss
from counterpoise.train._patience import Row
from counterpoise.train._schedule import cosine


def renewed(head: nn.Linear) -> nn.Module:
    """Draw new weights for a head, and return it: classifier re-training (cRT)."""
    head.reset_parameters()
    return head.requires_grad_(True)


class Scaled(nn.Module):
    r"""A factor a class on the logits of a frozen head: learnable weight scaling (LWS).

    .. math::
        z_j = s_j (w_j \cdot x + b_j), \qquad s_j = 1 \text{ at first}

    `fold` multiplies weights and biases by the factors.
    """

    def __init__(self, head: nn.Linear) -> None:
        if isinstance(head, NormedLinear):
            raise ValueError("lws scales a head's weights, but those of a cosine head have no size")
        super().__init__()
        self.head = head.requires_grad_(False)
        self.scale = nn.Parameter(head.weight.new_ones(head.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled logits."""
        return self.scale * self.head(x)

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the head's weights and biases by the factors."""
        for p in self.head.parameters():
            p.mul_(self.scale.view(-1, *[1] * (p.dim() - 1)))


def retrain_head(
    net: nn.Module,
    loss: Loss,
    train: Split,
    *,
    how: str = "crt",
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    seed: int = 0,
    precision: str = "float32",
    watch: Mapping[str, Split] | None = None,
    **settings: Any,
) -> list[Row]:
    """Train a net's head once more, on balanced samples of the net's frozen features.

    The features, the head's inputs, are computed once, in eval mode and without augmentation. SGD
    with momentum 0.9 and a cosine schedule trains the head; the rest of the net stays as it is.

    Source: Kang et al. 2020, arXiv 1910.09217, section 4.1; they freeze the net in the same way,
    but compute it anew for images that are augmented.

    Args:
        net: a trained net, whose logits are those of a linear or cosine head on vectors (N, F).
        loss: of the second stage, built from the balanced sampler's `seen_counts`.
        train: the training split.
        how: "crt", which draws a new head, or "lws", which trains a factor a class (`Scaled`), on
            which there is no weight decay.
        lr: learning rate.
        weight_decay: of the head's weight.
        seed: of the new head, and of the order of the samples.
        precision: of the features: as in `fit`.
        watch: the splits to evaluate after each epoch, by the prefix of their columns.
        settings: more of `fit`: epochs, batch_size, state, on_epoch, on_state, ...

    Returns:
        The rows of `fit`; row 0 is that of the head before its first step.

    Raises:
        ValueError: another `how`, a net without such a head, or "lws" for a cosine head; and what
            `fit` raises.

    Example:
        >>> from torch import nn
        >>> from counterpoise import data, models, train
        >>> digits, net = data.digits(), models.MLP(in_features=64, num_classes=10)
        >>> loss = nn.CrossEntropyLoss()
        >>> _ = train.fit(net, loss, digits.train, epochs=1)
        >>> rows = train.retrain_head(net, loss, digits.train, epochs=1)
        >>> rows[-1]["epoch"]
        1
    """
    make = registry.resolve("how", how, RETRAINS)
    head = linear_head(net, to_net_input(train.inputs[:2], device_of(net)))
    sampler = BalancedSampler(train.targets, seed=seed, num_replicas=1, rank=0)
    watch = {"train": train} if watch is None else watch
    vectors = {
        id(split): Split(_features(net, head, split.inputs, precision), split.targets)
        for split in (train, *watch.values())
    }
    torch.manual_seed(seed)
    trained = make(head)
    rows = fit(
        trained,
        loss,
        vectors[id(train)],
        optimizer=make_optimizer(trained, lr=lr, weight_decay=weight_decay),
        schedule=cosine(),
        seed=seed,
        sampler=sampler,
        watch={name: vectors[id(split)] for name, split in watch.items()},
        **settings,
    )
    if isinstance(trained, Scaled):
        trained.fold()
    return rows


def _features(net: nn.Module, head: nn.Module, inputs: Tensor | Rows, precision: str) -> Tensor:
    """Return what the head is given for each sample, (N, F) on the CPU."""
    found: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: found.append(given[0].float().cpu()))
    try:
        predict_logits(net, inputs, precision=precision)
    finally:
        hook.remove()
    return torch.cat(found)


RETRAINS = {name: row.load() for name, row in registry.RETRAINS.items() if row.make}
