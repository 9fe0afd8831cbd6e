"""What reaches each layer: activations forward, gradients backward."""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


def first_step(net: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """Measure every convolution and linear layer in one forward and backward pass.

    The pass runs on a copy in float64, where products of many small factors do not underflow; the
    net itself, its gradients and its mode are left alone.

    Args:
        net: the net, as it is.
        loss: called as loss(logits, targets).
        inputs: a batch, float; at least two samples.
        targets: its classes.

    Returns:
        One dict a layer, in the order of the forward pass: name, kind, activation_rms (root mean
        square of its output), visible_share (the output's variance over the samples divided by its
        mean square: 0 means that the output no longer depends on the input), grad_norm (L2 norm of
        the loss gradient with respect to its weight).

    Example:
        >>> import torch
        >>> from counterpoise import models, probe
        >>> net, x = models.DeeperCNN(), torch.rand(8, 1, 28, 28)
        >>> rows = probe.first_step(net, torch.nn.CrossEntropyLoss(), x, torch.arange(8))
        >>> [row["kind"] for row in rows]
        ['Conv3x3', 'Conv3x3', 'Conv3x3', 'Conv3x3', 'Linear']
    """
    double = copy.deepcopy(net).double()
    rows: list[dict[str, Any]] = []
    for name, layer in double.named_modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            layer.register_forward_hook(_recorder(name, rows))
    double.zero_grad()
    loss(double(inputs.double()), targets).backward()
    for row in rows:
        grad = row.pop("layer").weight.grad
        row["grad_norm"] = 0.0 if grad is None else grad.norm().item()
    return rows


def _recorder(name: str, rows: list[dict[str, Any]]) -> Callable[[nn.Module, Any, Tensor], None]:
    def record(layer: nn.Module, _: Any, output: Tensor) -> None:
        output = output.detach()
        mean_square = output.square().mean().item()
        variance = output.var(0, unbiased=False).mean().item()
        rows.append(
            {
                "name": name,
                "kind": type(layer).__name__,
                "activation_rms": mean_square**0.5,
                "visible_share": variance / mean_square if mean_square else 0.0,
                "layer": layer,
            }
        )

    return record
