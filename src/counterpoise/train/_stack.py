"""Nets of one kind as a batch of models: each parameter and buffer of all of them as one tensor."""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap


def tensors_of(net: nn.Module) -> dict[str, Tensor]:
    """Return a net's parameters and buffers by their names."""
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def kind_of(net: nn.Module) -> Hashable:
    """Return what nets of one batch of models have in common."""
    named = tensors_of(net).items()
    return str(net), *((name, v.shape, v.dtype, v.device, v.requires_grad) for name, v in named)


def is_tied(net: nn.Module) -> bool:
    """Return whether a net has a parameter or buffer under two names."""
    every = (
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    )
    return len(every) > len(tensors_of(net))


def stacked(nets: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Return each parameter and buffer of all nets as one tensor (S, ...), in autograd's graph."""
    every = [tensors_of(net) for net in nets]
    return {name: torch.stack([own[name] for own in every]) for name in every[0]}


def forward_stacked(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    x: Tensor,
    shared: bool = False,
    tied: bool = True,
) -> Tensor:
    """Return the logits (S, N, C) of nets of the kind of `net`; buffers are updated in place.

    Args:
        net: gives its forward function, in its mode.
        tensors: of `stacked`.
        x: (S, N, ...), a batch a net; with `shared` (N, ...), one for all.
        shared: whether all nets see the same samples.
        tied: whether a net may be tied (`is_tied`); False takes less time.

    Raises:
        Exception: what torch.func.vmap refuses, dropout among it.
    """

    def call(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(net, dict(tensors), (x,), tie_weights=tied)

    return vmap(call, in_dims=(0, None if shared else 0))(tensors, x)
