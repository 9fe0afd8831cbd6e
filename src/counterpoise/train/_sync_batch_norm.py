"""Batch norms that take their statistics over the batches of all processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def sync_batch_norm(net: nn.Module) -> nn.Module:
    """Replace each batch norm by one that is synchronised over the processes, and return the net.

    On GPUs it is `torch.nn.SyncBatchNorm`, which refuses tensors on the CPU; there, the same
    statistics are taken in two passes, with an all-reduce each. Parameters, buffers and the names
    of the state_dict stay.

    Args:
        net: changed in place, unless it is a batch norm itself; on the device where it will train.

    Example:
        >>> from torch import nn
        >>> from counterpoise.train import sync_batch_norm
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        >>> sorted(sync_batch_norm(net).state_dict()) == sorted(net.state_dict())
        True
    """
    if any(p.is_cuda for p in net.parameters()):
        return nn.SyncBatchNorm.convert_sync_batchnorm(net)
    found = net
    if isinstance(net, nn.modules.batchnorm._BatchNorm) and not is_synchronised(net):
        found = _SyncBatchNorm(net.num_features, net.eps, net.momentum, affine=False)
        found.__dict__ |= {k: v for k, v in net.__dict__.items() if k != "process_group"}
    for name, child in net.named_children():
        setattr(found, name, sync_batch_norm(child))
    return found


def is_synchronised(module: nn.Module) -> bool:
    """Return whether a module is a batch norm that is synchronised."""
    return isinstance(module, nn.SyncBatchNorm | _SyncBatchNorm)


class _SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm on CPUs; `process_group` is as of `torch.nn.SyncBatchNorm`."""

    process_group: Any = None

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # the norm that this one replaced has its own; torch's synchronised one takes all

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised batch."""
        alone = not dist.is_initialized() or dist.get_world_size(self.process_group) == 1
        if alone or not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        n = x.new_full((1,), x.numel() / x.shape[1])
        sums = _Summed.apply(torch.cat((x.sum(axes), n)), self.process_group)
        n, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        centred = x - mean.view(shape)
        var = _Summed.apply(centred.square().sum(axes), self.process_group) / n
        self._track(mean.detach(), var.detach(), n)
        y = centred * (var + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape)
        if self.bias is not None:
            y = y + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, n: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((var * n / (n - 1)).to(self.running_var), share)


class _Summed(torch.autograd.Function):
    """Sum over the processes; each of them depends on it, so the gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return summed(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return summed(grads[0], ctx.group), None


def summed(x: Tensor, group: Any = None) -> Tensor:
    """Return the sum of a tensor over the processes; `x` stays as it is."""
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x, group=group)
    return x
