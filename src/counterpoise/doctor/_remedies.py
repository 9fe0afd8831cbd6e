"""Changes that may help a net that does not learn; each is made to a copy, in place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from counterpoise.doctor._setup import answer
from counterpoise.norms import GroupNorm, LayerNorm
from counterpoise.probe.layer import is_norm

Weighted = nn.Linear | nn.modules.conv._ConvNd
_NORM = "norm_after"
_PROBABILITIES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.Softmax2d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class HiddenLayer:
    """A convolution or linear layer, not the last, as one forward pass called it.

    Attributes:
        name: of the module within the net.
        has_norm: whether a norm is the next module called.
        keeps_shape: whether its output has the shape of its input.
    """

    name: str
    has_norm: bool
    keeps_shape: bool


Change = Callable[[nn.Module, Sequence[HiddenLayer]], str | None]  # None: no layer fits


def hidden_layers(net: nn.Module, inputs: object) -> list[HiddenLayer]:
    """Return every convolution and linear layer that is called, in order, except the last."""
    calls: list[tuple[str, nn.Module, bool]] = []

    def record(name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, args: tuple[object, ...], output: object) -> None:
            x = args[0] if args else None
            both = isinstance(x, Tensor) and isinstance(output, Tensor)
            calls.append((name, module, both and x.shape == output.shape))

        return hook

    handles = [
        module.register_forward_hook(record(name))
        for name, module in net.named_modules()
        if _is_operation(module)
    ]
    try:
        with torch.no_grad():
            answer(net, inputs)
    finally:
        for handle in handles:
            handle.remove()
    following = [*(module for _, module, _ in calls[1:]), nn.Identity()]
    found = {
        name: HiddenLayer(name, is_norm(successor), keeps_shape)
        for (name, module, keeps_shape), successor in zip(calls, following, strict=True)
        if isinstance(module, Weighted)
    }
    return list(found.values())[:-1]


def _is_operation(module: nn.Module) -> bool:
    """Return whether a module is a layer, norm or activation; containers and dropout are not."""
    passes_on = isinstance(module, nn.Identity | nn.modules.dropout._DropoutNd)
    return isinstance(module, Weighted) or (next(module.children(), None) is None and not passes_on)


def add_norms(net: nn.Module, hidden: Sequence[HiddenLayer]) -> str | None:
    """Normalize the output of each hidden layer: GroupNorm for convolutions, LayerNorm for linear.

    Layers that a norm follows already are left alone.
    """
    count = 0
    for found in hidden:
        layer = net.get_submodule(found.name)
        if found.has_norm or not isinstance(layer, Weighted):
            continue
        layer.add_module(_NORM, _norm_for(layer))
        layer.register_forward_hook(_normalize)
        count += 1
    return f"a norm after each of {count} layers" if count else None


def _norm_for(layer: Weighted) -> nn.Module:
    if isinstance(layer, nn.Linear):
        norm: nn.Module = LayerNorm(layer.out_features)
    else:
        channels = layer.out_channels
        fits = [g for g in range(1, 33) if channels % g == 0 and channels // g >= 2]
        norm = GroupNorm(max(fits, default=1), channels)
    weight = next(layer.parameters())
    return norm.to(weight.device, weight.dtype)


def _normalize(layer: nn.Module, _: object, output: Tensor) -> Tensor:
    return layer.get_submodule(_NORM)(output)


def add_shortcuts(net: nn.Module, hidden: Sequence[HiddenLayer]) -> str | None:
    """Add a hidden layer's input to its output wherever the shapes agree."""
    fitting = [layer for layer in hidden if layer.keeps_shape]
    for layer in fitting:
        net.get_submodule(layer.name).register_forward_hook(_add_input)
    return f"a shortcut around each of {len(fitting)} layers" if fitting else None


def _add_input(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + args[0]


@torch.no_grad()
def kaiming(net: nn.Module, hidden: Sequence[HiddenLayer]) -> str | None:
    """Initialize hidden layers with variance 2 / fan_in, the last with 1 / fan_in, biases with 0.

    Source: He et al. 2015, arXiv 1502.01852.
    """
    names = {layer.name for layer in hidden}
    count = 0
    for name, layer in net.named_modules():
        if not isinstance(layer, Weighted) or not layer.weight.requires_grad:
            continue
        nonlinearity = "relu" if name in names else "linear"
        nn.init.kaiming_normal_(layer.weight, nonlinearity=nonlinearity)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        count += 1
    return f"Kaiming initialization of {count} layers" if count else None


def norms_and_kaiming(net: nn.Module, hidden: Sequence[HiddenLayer]) -> str | None:
    """Apply `add_norms` and `kaiming`; None unless both change a layer."""
    initialized, normed = kaiming(net, hidden), add_norms(net, hidden)
    return f"{normed} and {initialized}" if initialized and normed else None


@torch.no_grad()
def no_dropout(net: nn.Module, _: Sequence[HiddenLayer]) -> str | None:
    """Set all dropout to 0."""
    layers = [m for m in net.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p]
    for layer in layers:
        layer.p = 0.0
    return f"no dropout in {len(layers)} layers" if layers else None


def without_last_softmax(net: nn.Module, _: Sequence[HiddenLayer]) -> str | None:
    """Take away the softmax or sigmoid that a net ends in, where that is a module."""
    return _without_last(net, _PROBABILITIES)


def without_last_activation(net: nn.Module, _: Sequence[HiddenLayer]) -> str | None:
    """Take away the last activation of a net, where that is a module."""
    return _without_last(net, (*_PROBABILITIES, nn.Tanh, nn.ReLU, nn.ReLU6))


def _without_last(net: nn.Module, kinds: tuple[type[nn.Module], ...]) -> str | None:
    ends = [(n, m) for n, m in net.named_modules() if isinstance(m, kinds)]
    if not ends:
        return None
    name, module = ends[-1]
    if not name:
        return None
    parent, own = name.rpartition(".")[::2]
    setattr(net.get_submodule(parent), own, nn.Identity())
    return f"no {type(module).__name__.lower()} at {name}"


def batch_norm_in_training(net: nn.Module, hidden: Sequence[HiddenLayer]) -> str | None:
    """Replace batch norms that stay in evaluation mode by those of the samples at hand."""
    count = 0
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.training and name:
            kind = next(k for k in _BATCH_NORMS if isinstance(module, k))
            fresh = kind(module.num_features, affine=module.affine)
            if module.affine:
                fresh.weight, fresh.bias = module.weight, module.bias
            weight = next(module.buffers())
            parent, own = name.rpartition(".")[::2]
            setattr(net.get_submodule(parent), own, fresh.to(weight.device, weight.dtype).train())
            count += 1
    return f"{count} batch norms in training mode" if count else None


def unfrozen(net: nn.Module, _: Sequence[HiddenLayer]) -> str | None:
    """Let all parameters need a gradient."""
    frozen = [p for p in net.parameters() if not p.requires_grad and p.is_floating_point()]
    for p in frozen:
        p.requires_grad_(True)
    return f"a gradient for {len(frozen)} frozen parameters" if frozen else None
