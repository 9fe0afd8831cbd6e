"""One forward and backward pass, measured and undone."""

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from counterpoise.probe._bench import as_floats, bench, call, detached, in_double
from counterpoise.probe._flow import Flow

Loss = Callable[[Any, Any], Tensor]


def first_step(
    net: nn.Module, loss: Loss, inputs: Any, targets: Any, *, batch_dim: int = 0
) -> list[dict[str, Any]]:
    """Measure every layer in one forward and backward pass.

    The pass runs on a copy in float64, where products of many small factors do not underflow; the
    net itself, its gradients, its mode and the state of the random numbers are left alone. A net
    that cannot be copied is put back afterwards, and one that does not work in float64 is measured
    in its own dtype; a warning says so.

    Args:
        net: the net, as it is.
        loss: called as loss(what the net returns, targets).
        inputs: a batch of at least two samples: one tensor, a tuple of arguments or a dict of named
            ones. uint8 images are scaled to 0 .. 1.
        targets: what the loss takes.
        batch_dim: the dimension of the inputs that counts the samples.

    Returns:
        One dict a layer, in the order of the forward pass, as `watch` has them: name, kind, calls,
        activation_rms (root mean square of its output), visible_share (the output's variance over
        the samples divided by its mean square: 0 means that the output no longer depends on the
        input), dead_share, grad_norm (L2 norm of the loss gradient with respect to its weights).

    Example:
        >>> import torch
        >>> from counterpoise import models, probe
        >>> net, x = models.DeeperCNN(), torch.rand(8, 1, 28, 28)
        >>> rows = probe.first_step(net, torch.nn.CrossEntropyLoss(), x, torch.arange(8))
        >>> [row["kind"] for row in rows]
        ['Conv3x3', 'Conv3x3', 'Conv3x3', 'Conv3x3', 'Linear']
    """

    def one_pass(net: nn.Module, loss: Loss, inputs: Any, targets: Any) -> Flow:
        net.zero_grad()
        with Flow(net, batch_dim) as flow:
            value = loss(call(net, inputs), targets)
            if value.requires_grad:
                value.backward()
        return flow

    with bench(net) as place:
        given = detached(as_floats(inputs))
        flow, notes = in_double(place, one_pass, loss, given, targets)
        rows = flow.rows
    for note in notes:
        warnings.warn(note, stacklevel=2)
    for row in rows:
        del row["update_ratio"]  # no step was taken
    return rows
