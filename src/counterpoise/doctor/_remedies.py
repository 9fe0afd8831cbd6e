"""What can be changed about a net that does not learn; each change is made on a copy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.norms import GroupNorm, LayerNorm
from counterpoise.probe._bench import call
from counterpoise.probe._layer import is_norm

Weighted = nn.Linear | nn.modules.conv._ConvNd
_NORM = "norm_after"


@dataclass(frozen=True)
class Place:
    """A convolution or linear layer within the net, as one forward pass met it."""

    name: str
    normed: bool
    keeps_shape: bool


def places(net: nn.Module, inputs: Any) -> list[Place]:
    """Every convolution and linear layer that is called, in order, but for the last of them."""
    calls: list[tuple[str, nn.Module, bool]] = []

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            first = args[0] if args else None
            same = isinstance(first, Tensor) and isinstance(output, Tensor)
            calls.append((name, module, same and first.shape == output.shape))

        return hook

    handles = [
        module.register_forward_hook(note(name))
        for name, module in net.named_modules()
        if _is_step(module)
    ]
    try:
        with torch.no_grad():
            call(net, inputs)
    finally:
        for handle in handles:
            handle.remove()
    found = {
        name: Place(name, is_norm(_successor(calls, i)), same)
        for i, (name, module, same) in enumerate(calls)
        if isinstance(module, Weighted)
    }
    return list(found.values())[:-1]


def _is_step(module: nn.Module) -> bool:
    """Whether a module is one step of the way: a layer or a norm, and nothing that passes on."""
    idle = isinstance(module, nn.Identity | nn.modules.dropout._DropoutNd)
    return isinstance(module, Weighted) or (next(module.children(), None) is None and not idle)


def _successor(calls: list[tuple[str, nn.Module, bool]], i: int) -> nn.Module:
    return calls[i + 1][1] if i + 1 < len(calls) else nn.Identity()


def add_norms(net: nn.Module, found: list[Place]) -> str | None:
    """Normalize what each hidden layer gives: GroupNorm for convolutions, LayerNorm for linear."""
    count = 0
    for place in found:
        layer = net.get_submodule(place.name)
        if place.normed or not isinstance(layer, Weighted):
            continue
        layer.add_module(_NORM, _norm_for(layer))
        layer.register_forward_hook(_normalize)
        count += 1
    return f"a norm after each of {count} layers" if count else None


def _norm_for(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        norm: nn.Module = LayerNorm(layer.out_features)
    else:
        channels = int(layer.out_channels)  # pyrefly: ignore
        fits = [g for g in range(1, 33) if channels % g == 0 and channels // g >= 2]
        norm = GroupNorm(max(fits, default=1), channels)
    weight = next(layer.parameters())
    return norm.to(weight.device, weight.dtype)


def _normalize(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
    return layer.get_submodule(_NORM)(output)


def add_shortcuts(net: nn.Module, found: list[Place]) -> str | None:
    """Add a layer's input to its output wherever the shapes agree."""
    fitting = [place for place in found if place.keeps_shape]
    for place in fitting:
        net.get_submodule(place.name).register_forward_hook(_add_input)
    return f"a shortcut around each of {len(fitting)} layers" if fitting else None


def _add_input(_: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output + args[0]


@torch.no_grad()
def kaiming(net: nn.Module, found: list[Place]) -> str | None:
    """Draw hidden layers anew with variance 2 / fan_in, the last with 1 / fan_in; biases 0."""
    hidden = {place.name for place in found}
    count = 0
    for name, layer in net.named_modules():
        if not isinstance(layer, Weighted) or not layer.weight.requires_grad:
            continue
        nonlinearity = "relu" if name in hidden else "linear"
        nn.init.kaiming_normal_(layer.weight, nonlinearity=nonlinearity)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        count += 1
    return f"Kaiming initialization of {count} layers" if count else None
