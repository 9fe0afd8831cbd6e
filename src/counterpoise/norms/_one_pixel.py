"""The layers of a net that get images of one pixel, as behind a global pooling."""

import re

import torch
from torch import nn

_POOLING = re.compile("(Adaptive|Global).*Pool")  # torch's, timm's, and most people's own
_GATES = (nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softmax)
_SPREADING = (nn.Upsample, nn.PixelShuffle, nn.Unflatten, nn.Fold)


def one_pixel(net: nn.Module, example: torch.Tensor | None) -> set[nn.Module]:
    """All modules that get one pixel a channel: of an example, or as the modules' order tells."""
    return _behind_pooling(net) if example is None else _seen(net, example)


def _seen(net: nn.Module, example: torch.Tensor) -> set[nn.Module]:
    """By running the net in eval mode, so that nothing in it changes."""
    seen: set[nn.Module] = set()

    def look(module: nn.Module, args: tuple[object, ...]) -> None:
        for x in args[:1]:
            if isinstance(x, torch.Tensor) and x.dim() > 2 and x.shape[2:].numel() == 1:
                seen.add(module)

    modes = {module: module.training for module in net.modules()}
    handles = [module.register_forward_pre_hook(look) for module in modes]
    try:
        with torch.no_grad():
            net.eval()(example)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return seen


def _behind_pooling(net: nn.Module) -> set[nn.Module]:
    """All modules that follow a global pooling, as far as the order of the modules tells.

    In an `nn.Sequential` that is sure. Elsewhere modules are taken to be used in the order in which
    they were made, unless one that looks at several pixels comes later: then the pooling was made
    first, or what follows it is a branch by itself. A gate (squeeze and excitation) ends it, too.
    """
    behind: set[nn.Module] = set()
    _scan(net, behind)
    return behind


def _scan(module: nn.Module, behind: set[nn.Module]) -> bool:
    """Add those within a module; return True when the module's output has one pixel."""
    sequence = _is_sequence(module)
    pooled, following = False, set[nn.Module]()
    for child in module.children():
        if _pools(child):
            pooled = True
        elif isinstance(module, nn.ModuleList | nn.ModuleDict) or not pooled:
            pooled = _scan(child, behind)
        elif any(map(_looks_around, child.modules())):
            pooled = _scan(child, behind)
            following = following if sequence else set()
        elif any(isinstance(m, _GATES) for m in child.modules()):
            pooled = False
        else:
            following.update(child.modules())
    behind |= following
    return pooled and sequence


def _is_sequence(module: nn.Module) -> bool:
    return type(module).forward is nn.Sequential.forward


def _pools(module: nn.Module) -> bool:
    """To one pixel; timm's own have no output_size, and pool_type "" where they do nothing."""
    if not _POOLING.search(type(module).__name__) or getattr(module, "pool_type", "avg") == "":
        return False
    size = getattr(module, "output_size", 1)
    return all(s == 1 for s in (size if isinstance(size, tuple | list) else (size,)))


def _looks_around(module: nn.Module) -> bool:
    """Return True for a layer that is no use on one pixel, or makes more of it."""
    size = getattr(module, "kernel_size", 1)
    wide = any(s != 1 for s in (size if isinstance(size, tuple | list) else (size,)))
    return wide or isinstance(module, _SPREADING)
