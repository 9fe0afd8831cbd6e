"""Batch norms folded into convolutions, for nets that are only asked for answers."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_OFF = 1e-4  # of the largest answer


def folded(net: nn.Module, example: Tensor) -> nn.Module:
    r"""Return a copy in eval mode whose batch norms are part of the convolutions before them.

    .. math::
        W' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} W, \qquad
        b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}} (b - \mu) + \beta

    It answers the same but for rounding, a third quicker where layers are small. Which belong
    together is found out by the example; where folding changes its answers, nothing is folded.

    Args:
        net: the net, on the device of the example.
        example: a batch, (N, C, H, W).

    Example:
        >>> conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        >>> folded(nn.Sequential(conv, norm), torch.rand(2, 3, 8, 8))
        Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
        )
    """
    try:
        quick, off = _folded(net, example)
        if off <= _OFF:
            return quick
    except Exception:  # weights that are computed, calls by name, and whatever else nets do
        pass
    return copy.deepcopy(net).eval()


def _folded(net: nn.Module, example: Tensor) -> tuple[nn.Module, float]:
    """Return the folded copy, and how far off its answers are, as a share of the largest."""
    quick = copy.deepcopy(net).eval()
    with torch.no_grad():
        pairs, wanted = _pairs(quick, example)
        for before, after in pairs:
            conv, norm = quick.get_submodule(before), quick.get_submodule(after)
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            rest = [m for m in norm.children() if not isinstance(m, nn.Identity)]
            quick.set_submodule(after, nn.Sequential(*rest) if rest else nn.Identity())
        return quick, float((quick(example) - wanted).abs().max() / wanted.abs().max())


def _pairs(net: nn.Module, example: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Return the names of convolutions and of the batch norms right behind them, and the answer.

    The latter may hold an activation: timm's do, as children. What is used twice is left out.
    """
    names = {module: name for name, module in net.named_modules()}
    made: dict[int, tuple[nn.Module, Tensor, int]] = {}  # by id, of tensors that are kept
    found = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module, output, output._version
        elif (
            isinstance(module, nn.BatchNorm2d)
            and module.running_mean is not None
            and id(inputs[0]) in made
            and made[id(inputs[0])][2] == inputs[0]._version  # not changed in place since
        ):
            found.append((names[made[id(inputs[0])][0]], names[module]))

    hooks = [module.register_forward_hook(watch) for module in names]
    answer = net(example)
    for hook in hooks:
        hook.remove()
    uses = Counter(chain.from_iterable(found))
    return [(conv, norm) for conv, norm in found if uses[conv] == uses[norm] == 1], answer
