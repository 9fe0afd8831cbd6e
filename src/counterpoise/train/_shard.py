"""Nets and optimizers that are sharded over processes (FSDP2), and their whole states."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_LEAST = 2**20  # parameters of a block that is gathered by itself


def shard(net: nn.Module, least: int = _LEAST) -> nn.Module:
    """Shard a net's parameters over all processes (`fully_shard`, FSDP2), and return it.

    Each process keeps a share of every parameter, its gradient and its optimizer state; a block is
    put together while it is computed. The blocks are what stands in a `Sequential` or `ModuleList`
    and has `least` parameters or more; the rest is one more. Make the optimizer afterwards.

    Args:
        net: the same in each process, on the device where it will train; changed in place.
        least: parameters of a block.

    Raises:
        RuntimeError: torch.distributed is not initialised.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if not dist.is_initialized():
        raise RuntimeError(
            "a net is sharded over the processes of torch.distributed, which is not initialised; "
            "call init_process_group first, and start the script by torchrun"
        )
    device = next(net.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    taken: set[int] = set()
    for block in reversed(list(net.modules())):  # the inner ones first
        if not isinstance(block, nn.Sequential | nn.ModuleList):
            continue
        for item in block:
            own = [p for p in item.parameters() if id(p) not in taken]
            container = isinstance(item, nn.ModuleList | nn.ModuleDict)  # has no forward
            if not container and sum(p.numel() for p in own) >= least:
                taken.update(map(id, own))
                fully_shard(item, mesh=mesh)
                taken.update(map(id, item.parameters()))
    fully_shard(net, mesh=mesh)
    return net


def is_sharded(net: nn.Module) -> bool:
    """Return whether a net, or a part of it, is sharded."""
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(module, FSDPModule) for module in net.modules())


def full_state(net: nn.Module) -> dict[str, Tensor]:
    """Return a net's state_dict, put together where it is sharded; all processes call it.

    Example:
        >>> from torch import nn
        >>> from counterpoise.train import full_state
        >>> sorted(full_state(nn.Linear(4, 3)))
        ['bias', 'weight']
    """
    return whole(net.state_dict())


def whole(value: Any, keep: bool = True) -> Any:
    """Return a state with its sharded tensors put together, on the CPU; all processes call it.

    Args:
        value: mappings, lists, tensors and plain values.
        keep: False in a process that has no use for it: the tensors are empty there.
    """
    if isinstance(value, Mapping):
        return {key: whole(inner, keep) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner, keep) for inner in value]
    if not _is_sharded(value):
        return value
    full = value.full_tensor()
    return full.cpu() if keep else full.new_empty(0)


def load_net(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a whole state into a net that may be sharded."""
    own = net.state_dict()
    net.load_state_dict({k: _like(v, own[k]) if k in own else v for k, v in state.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Load a whole state into an optimizer whose parameters may be sharded.

    It stays fused or not: torch has no fused SGD of sharded parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    held = {
        k: {
            name: _like(v, parameters[k]) if isinstance(v, Tensor) and v.dim() else v
            for name, v in of_one.items()
        }
        for k, of_one in state["state"].items()
    }
    groups = [
        {**group, **{k: own[k] for k in ("fused",) if k in own}}
        for group, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "state": held, "param_groups": groups})


def _is_sharded(value: object) -> bool:
    return hasattr(value, "full_tensor")


def _like(value: Tensor, own: Tensor) -> Tensor:
    """Return a whole tensor sharded as another one, if that one is and has its shape."""
    if not _is_sharded(own) or value.shape != own.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    shards: Any = own
    return distribute_tensor(value.to(shards.device), shards.device_mesh, shards.placements)
