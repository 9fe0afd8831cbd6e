"""Watch a net while it is trained."""

from functools import partial
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from counterpoise.probe._layer import Layer, own_weights, visible_share
from counterpoise.probe._numbers import first_floats, length, moments, sample_dim, tensors
from counterpoise.probe._table import table


def watch(net: nn.Module, *, batch_dim: int = 0) -> "Flow":
    r"""Record per layer what reaches it, forward and backward, within a `with` block.

    A layer is a module that itself owns a weight of two dimensions or more and is no norm. Of the
    latest forward pass, with a the layer's output:

        activation_rms = sqrt(mean a²)
        visible_share  = mean (variance of a over the samples) / mean a²

    A share of 0 means that the output no longer depends on the input. `dead_share` is the share of
    units (channels of a convolution) that are 0 for every sample when the next layer is reached,
    or already behind an activation module. Of the latest backward pass `grad_norm`, the L2 norm of
    the gradient of the layer's weights, and of the latest step `update_ratio`, the L2 norm of what
    it changed over that of the weights. All sums are in float64.

    Only hooks are added, and they are removed at the end of the block, also after an exception.
    Each forward pass costs a look at each activation and at each weight; the weights are kept once.

    Args:
        net: any module; layers may share weights, be called often or never, take and give several
            tensors, and be frozen.
        batch_dim: the dimension of the net's inputs that counts the samples; 1 for recurrent nets
            without `batch_first`. Where a layer's output has another length there, the first
            dimension of that length is taken, and failing that the first of all.

    Returns:
        A `Flow`: `rows` is the table as a list of dicts, `print(flow)` shows it.

    Raises:
        ValueError: a lazy module that has not seen an input yet.

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
    """What `watch` saw.

    Attributes:
        rows: one dict a layer, called ones in the order of the forward pass: name, kind, calls,
            activation_rms, visible_share, dead_share, grad_norm, update_ratio; None where there is
            nothing to tell (never called, frozen, no step yet).
        output: activation_rms and visible_share of what the net returned (its first floating
            tensor), or None.
    """

    def __init__(self, net: nn.Module, batch_dim: int = 0) -> None:
        self.net, self.batch_dim = net, batch_dim
        self.output: dict[str, float] | None = None
        self._samples: int | None = None
        self._layers: dict[nn.Module, Layer] = {}
        self._order: list[Layer] = []
        self._latest: Layer | None = None
        self._gradients: dict[Tensor, float] = {}
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
            self._attach()
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._note_updates()
        self._detach()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table, one dict a layer."""
        if self._handles:
            self._note_updates()
        silent = [layer for layer in self._layers.values() if layer not in self._order]
        return [layer.row(self._gradients) for layer in [*self._order, *silent]]

    def __str__(self) -> str:
        return table(self.rows)

    def _attach(self) -> None:
        keep = self._handles.append
        keep(self.net.register_forward_pre_hook(self._begin, with_kwargs=True))
        for module in self.net.modules():
            if module in self._layers:
                keep(module.register_forward_pre_hook(self._reach, with_kwargs=True))
                keep(module.register_forward_hook(self._leave))
            elif next(module.children(), None) is None and next(module.parameters(), None) is None:
                keep(module.register_forward_hook(self._pass))
        keep(self.net.register_forward_hook(self._end))
        for weight in {w: None for layer in self._layers.values() for w in layer.weights}:
            if weight.requires_grad:
                keep(weight.register_hook(partial(self._note_gradient, weight)))

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _begin(self, _: nn.Module, args: Any, kwargs: Any) -> None:
        self._note_updates()
        self._order, self._latest = [], None
        for layer in self._layers.values():
            layer.forget()
        given = next(iter(tensors((args, kwargs))), None)
        known = given is not None and given.dim() > self.batch_dim
        self._samples = given.shape[self.batch_dim] if known else None

    def _reach(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        x = first_floats((args, kwargs))
        if self._latest is not None and x is not None:
            self._latest.note_successor(x)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        layer, x = self._layers[module], first_floats(output)
        if x is None or not x.dim():
            return
        layer.note_output(x, self.batch_dim, self._samples)
        self._latest = layer
        if layer not in self._order:
            self._order.append(layer)

    def _pass(self, module: nn.Module, args: Any, output: Any) -> None:
        x = first_floats(output)
        if self._latest is not None and x is not None and x.dim() == self._latest.dims:
            self._latest.note_successor(x)

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:
        x = first_floats(output)
        if x is not None and x.dim():
            size, spread = moments(x, sample_dim(x, self.batch_dim, self._samples))
            share = visible_share(size, spread)
            self.output = {"activation_rms": size, "visible_share": share}

    def _note_gradient(self, weight: Tensor, gradient: Tensor) -> None:
        self._gradients[weight] = length([gradient])

    def _note_updates(self) -> None:
        for layer in self._layers.values():
            layer.note_update()
