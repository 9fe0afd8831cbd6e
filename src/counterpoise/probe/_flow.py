"""Watch a net while it is trained."""

from functools import partial
from typing import Self

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from counterpoise.probe.layer import (
    Layer,
    LayerRow,
    format_rows,
    l2_norm,
    moments,
    own_weights,
    visible_share,
)
from counterpoise.probe.nested import count_samples, first_floating, sample_dim


def watch(net: nn.Module, *, batch_dim: int = 0) -> "Flow":
    r"""Measure, per layer, activations, gradients and updates within a `with` block.

    A layer is a module that itself owns a weight of two dimensions or more and is no norm. For the
    output a of a layer in the latest forward pass,

    .. math::
        \text{activation rms} = \sqrt{\overline{a^2}}, \qquad
        \text{visible share} = \overline{\operatorname{Var}_\text{samples}(a)} \,/\, \overline{a^2}

    A visible share (variance over the inputs divided by the second moment) of 0 means that the
    output no longer depends on the input. The dead share is the share of units (channels of a
    convolution) that are 0 for every sample when the next layer is reached, or already behind an
    activation module. `grad_norm` is the L2 norm of the loss gradient with respect to the layer's
    weights in the latest backward pass, `update_ratio` the L2 norm of the latest update divided by
    that of the weights. All sums are in float64.

    Only hooks are added, and they are removed at the end of the block, also after an exception.
    Each forward pass costs a pass over each activation and each weight, and the weights are stored
    once more.

    Args:
        net: any module; layers may share weights, be called often or never, take and return several
            tensors, and be frozen.
        batch_dim: the dimension of the net's inputs that counts the samples; 1 for recurrent nets
            without `batch_first`. Where a layer's output has another length there, the first
            dimension of that length is taken, and failing that the first of all.

    Returns:
        A `Flow`: `rows` is the table as a list of dicts, `print(flow)` shows it.

    Raises:
        ValueError: a lazy module whose weights are not initialized yet.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from counterpoise.probe import watch
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> with watch(net) as flow:
        ...     net(torch.randn(16, 4)).logsumexp(1).mean().backward()
        ...     optimizer.step()
        >>> [row["name"] for row in flow.rows]
        ['0', '2']
        >>> 0 < flow.rows[0]["visible_share"] <= 1 and flow.rows[0]["update_ratio"] > 0
        True
    """
    return Flow(net, batch_dim)


class Flow:
    """The measurements of `watch`.

    Attributes:
        rows: one dict a layer, called ones in the order of the forward pass: name, kind, calls,
            activation_rms, visible_share (variance over the inputs divided by the second moment),
            dead_share, grad_norm, update_ratio; None where nothing could be measured (never called,
            frozen, no step yet).
        output: activation_rms and visible_share of the net's output (its first floating-point
            tensor), or None.
    """

    def __init__(self, net: nn.Module, batch_dim: int = 0) -> None:
        self.net, self.batch_dim = net, batch_dim
        self.output: dict[str, float] | None = None
        self._samples = 0
        self._layers: dict[nn.Module, Layer] = {}
        self._order: list[Layer] = []
        self._latest: Layer | None = None
        self._grad_norms: dict[Tensor, float] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        if self._handles:
            raise RuntimeError("this Flow is watching already; use one `with watch(net)` at a time")
        for name, module in self.net.named_modules():
            weights = own_weights(module)
            if any(is_lazy(w) for w in weights):
                raise ValueError(
                    f"watch needs weights with a shape, but {name or 'the net'} is lazy and has "
                    "none yet; call the net on one batch first"
                )
            if weights:
                self._layers[module] = Layer(name, module, weights)
        try:
            self._add_hooks()
        except BaseException:
            self._remove_hooks()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._measure_updates()
        self._remove_hooks()

    @property
    def rows(self) -> list[LayerRow]:
        """The table, one dict a layer."""
        if self._handles:
            self._measure_updates()
        not_called = [layer for layer in self._layers.values() if layer not in self._order]
        return [layer.row(self._grad_norms) for layer in [*self._order, *not_called]]

    def __str__(self) -> str:
        return format_rows(self.rows)

    def _add_hooks(self) -> None:
        keep = self._handles.append
        keep(self.net.register_forward_pre_hook(self._before_net, with_kwargs=True))
        for module in self.net.modules():
            if module in self._layers:
                keep(module.register_forward_pre_hook(self._before_layer, with_kwargs=True))
                keep(module.register_forward_hook(self._after_layer))
            elif next(module.children(), None) is None and next(module.parameters(), None) is None:
                keep(module.register_forward_hook(self._after_activation))
        keep(self.net.register_forward_hook(self._after_net))
        for weight in {w: None for layer in self._layers.values() for w in layer.weights}:
            if weight.requires_grad:
                keep(weight.register_hook(partial(self._on_gradient, weight)))

    def _remove_hooks(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _before_net(self, _: nn.Module, args: object, kwargs: object) -> None:
        self._measure_updates()
        self._order, self._latest = [], None
        for layer in self._layers.values():
            layer.reset()
        self._samples = count_samples((args, kwargs), self.batch_dim)

    def _before_layer(self, _: nn.Module, args: object, kwargs: object) -> None:
        x = first_floating((args, kwargs))
        if self._latest is not None and x is not None:
            self._latest.count_dead_units(x)

    def _after_layer(self, module: nn.Module, _: object, output: object) -> None:
        layer, x = self._layers[module], first_floating(output)
        if x is None or not x.dim():
            return
        layer.add_output(x, self.batch_dim, self._samples)
        self._latest = layer
        if layer not in self._order:
            self._order.append(layer)

    def _after_activation(self, _: nn.Module, __: object, output: object) -> None:
        x = first_floating(output)
        if self._latest is not None and x is not None and x.dim() == self._latest.dims:
            self._latest.count_dead_units(x)

    def _after_net(self, _: nn.Module, __: object, output: object) -> None:
        x = first_floating(output)
        if x is not None and x.dim():
            rms, std = moments(x, sample_dim(x, self.batch_dim, self._samples))
            self.output = {"activation_rms": rms, "visible_share": visible_share(rms, std)}

    def _on_gradient(self, weight: Tensor, gradient: Tensor) -> None:
        self._grad_norms[weight] = l2_norm([gradient])

    def _measure_updates(self) -> None:
        for layer in self._layers.values():
            layer.measure_update()
