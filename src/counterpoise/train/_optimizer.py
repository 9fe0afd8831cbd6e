"""Optimizers without weight decay on norms and biases."""

from collections.abc import Iterator

import torch
from torch import nn

from counterpoise import registry

NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,  # all batch and instance norms
)
OPTIMIZERS = tuple(registry.OPTIMIZERS)


def make_optimizer(
    net: nn.Module,
    name: str = "sgd",
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Return SGD or AdamW over a net's trainable parameters, without decay of norms and biases.

    Decay of a norm's scale changes the function of the net without making it simpler. Such a scale
    is recognized by its module (torch's norms, and subclasses of them) or by having one axis; the
    module counts because the scale of a LayerNorm over (C, H, W) has three.

    Args:
        net: the net to train; frozen parameters are left out.
        name: "sgd" (with momentum) or "adamw".
        lr: learning rate.
        momentum: of SGD.
        weight_decay: SGD's L2 term or AdamW's decoupled decay, on all other parameters.

    Raises:
        ValueError: an unknown name, or a net without trainable parameters.

    Example:
        >>> from torch import nn
        >>> from counterpoise.train import make_optimizer
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
        >>> optimizer = make_optimizer(net, lr=0.1, weight_decay=1e-4)
        >>> [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups]
        [(1, 0.0001), (3, 0.0)]
    """
    decayed, undecayed = _sort(net)
    groups: list[dict[str, object]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("the net must have trainable parameters, but has none: nothing to train")
    if name == "sgd":  # torch has no fused one for the parameters of a sharded net
        fused = not any(hasattr(p, "full_tensor") for p in net.parameters())
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=fused)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, fused=True)
    raise ValueError(f"optimizer must be one of {OPTIMIZERS}, but got {name!r}")


def _sort(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters with and without weight decay, each once."""
    undecayed = {id(p): p for p in _undecayed(net)}
    rest = [p for p in net.parameters() if p.requires_grad and id(p) not in undecayed]
    return rest, list(undecayed.values())


def _undecayed(net: nn.Module) -> Iterator[nn.Parameter]:
    for module in net.modules():
        for p in module.parameters(recurse=False):
            if p.requires_grad and (p.dim() <= 1 or isinstance(module, NORMS)):
                yield p
