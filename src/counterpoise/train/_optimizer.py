"""Optimizers without weight decay on norms and biases, and learning rates by layer."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from counterpoise import registry

_HEAD = "head_in_its_place"  # of a name that no net of timm knows
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
    head: str = "",
    head_lr: float = 1.0,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """Return SGD or AdamW over a net's trainable parameters, without decay of norms and biases.

    Decay of a norm's scale changes the function of the net without making it simpler. Such a scale
    is recognized by its module (torch's norms, and subclasses of them) or by having one axis; the
    module counts because the scale of a LayerNorm over (C, H, W) has three.

    With `layer_decay` d the learning rate is lr * d**k, where k counts the layers from the top (0:
    the head), as in BEiT (Bao et al. 2021, arXiv:2106.08254). Layers are what timm says they are
    (`group_matcher`), where the net or its `body` has that. In other nets a layer is what has the
    same path up to its first number ("features.3", "layer1.0"), or else the same first name
    ("conv1"), in the net's order; norms that stand alone belong to the layer before.

    Args:
        net: the net to train; frozen parameters are left out.
        name: "sgd" (with momentum) or "adamw".
        lr: learning rate.
        momentum: of SGD.
        weight_decay: SGD's L2 term or AdamW's decoupled decay, on all other parameters.
        head: the module path of the head, such as "body.fc"; its parameters are the top layer.
        head_lr: factor of the head's learning rate.
        layer_decay: factor of the learning rate from each layer to the one below it.

    Raises:
        ValueError: an unknown name, a net without trainable parameters, a factor that is not
            positive, or a head that is not there.

    Example:
        >>> from torch import nn
        >>> from counterpoise.train import make_optimizer
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
        >>> optimizer = make_optimizer(net, lr=0.1, weight_decay=1e-4)
        >>> [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups]
        [(1, 0.0001), (3, 0.0)]
    """
    factors = _factors(net, head, head_lr, layer_decay)
    groups: list[dict[str, object]] = []
    for decay, parameters in zip((weight_decay, 0.0), _sort(net), strict=True):
        for factor in dict.fromkeys(factors[id(p)] for p in parameters):
            own = [p for p in parameters if factors[id(p)] == factor]
            groups.append({"params": own, "weight_decay": decay, "lr": lr * factor})
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
    rest = [p for p in net.parameters() if id(p) not in undecayed]
    return _trainable(rest), _trainable(undecayed.values())


def _trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad]


def _undecayed(net: nn.Module) -> Iterator[nn.Parameter]:
    for module in net.modules():
        for p in module.parameters(recurse=False):
            if p.dim() <= 1 or isinstance(module, NORMS):
                yield p


def _factors(net: nn.Module, head: str, head_lr: float, layer_decay: float) -> dict[int, float]:
    """Return the factor of the learning rate of each parameter, by its id."""
    for name, value in (("head_lr", head_lr), ("layer_decay", layer_decay)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a positive number, but got {value}")
    of_head = names_of_head(net, head) if head or head_lr != 1 else set()
    named = dict(net.named_parameters())
    factors = {id(p): head_lr if name in of_head else 1 for name, p in named.items()}
    if layer_decay != 1:
        layers = _layers(net, of_head)
        for name, layer in layers.items():
            factors[id(named[name])] *= layer_decay ** (max(layers.values()) - layer)
    return factors


def _layers(net: nn.Module, of_head: set[str]) -> dict[str, int]:
    """Return the layer of each parameter, counted from the bottom."""
    body: Any = dict(net.named_children()).get("body", net)
    names = [name for name, _ in net.named_parameters() if name not in of_head]
    inner = {name: name.removeprefix("body.") for name in names}
    if hasattr(body, "group_matcher"):
        from timm.models import group_parameters

        if of_head.isdisjoint(dict(body.named_parameters())):  # a head of ours, beside the body
            body.add_module(_HEAD, nn.Linear(1, 1, device="meta"))
        try:
            of_timm: Any = group_parameters(body, body.group_matcher(coarse=False), reverse=True)
        finally:
            vars(body)["_modules"].pop(_HEAD, None)
        top = max(of_timm.values())
        layers = {name: of_timm.get(inner[name], top) for name in names}
        return layers | dict.fromkeys(of_head, top)
    blocks: dict[str, list[str]] = defaultdict(list)
    for name in names:
        numbered = re.match(r"(?:[^.]+\.)*?\d+(?=\.|$)", inner[name])
        blocks[numbered[0] if numbered else inner[name].split(".")[0]].append(name)
    named, undecayed = dict(net.named_parameters()), {id(p) for p in _undecayed(net)}
    layers, top = {}, -1
    for block in blocks.values():
        norms_alone = all(id(named[name]) in undecayed for name in block)
        top += not norms_alone or top < 0
        layers |= dict.fromkeys(block, top)
    return layers | dict.fromkeys(of_head, top + 1)


def names_of_head(net: nn.Module, head: str) -> set[str]:
    """Return the names of a head's parameters.

    Raises:
        ValueError: no parameter is there.
    """
    found = {name for name, _ in net.named_parameters() if name.startswith(f"{head}.")}
    if not found:
        raise ValueError(
            "head must be the path of a module with parameters, the first part of their names, but "
            f"got {head!r}, and the net has {some_names(net)}"
        )
    return found


def some_names(net: nn.Module) -> str:
    """Return the first names of a net's parameters and the last one."""
    names = [name for name, _ in net.named_parameters()]
    return ", ".join(names if len(names) < 6 else [*names[:4], "...", names[-1]])
