"""One forward and backward pass, measured and undone."""

import warnings

from torch import nn

from counterpoise.probe._flow import Flow
from counterpoise.probe.inspection import Loss, inspect, run_in_float64
from counterpoise.probe.layer import LayerRow
from counterpoise.probe.nested import call, detach, scale_images


def first_step(
    net: nn.Module, loss: Loss, inputs: object, targets: object, *, batch_dim: int = 0
) -> list[LayerRow]:
    """Measure every layer in one forward and backward pass.

    The pass runs on a copy in float64, where products of many small factors do not underflow; the
    net itself, its gradients, its mode and the state of the random numbers are left alone. A net
    that cannot be copied is restored afterwards, and one that does not work in float64 is measured
    in its own dtype; a warning says so.

    Args:
        net: any module, in the mode and on the device to measure it in.
        loss: called as loss(output of the net, targets); returns a scalar tensor.
        inputs: a batch of at least two samples: one tensor, a tuple of arguments or a dict of named
            ones. uint8 images are scaled to 0 .. 1.
        targets: passed to the loss.
        batch_dim: the dimension of the inputs that counts the samples.

    Returns:
        One dict a layer, in the order of the forward pass, as `watch` has them: name, kind, calls,
        activation_rms (root mean square of its output), visible_share (variance of its output over
        the inputs, divided by the second moment: at 0 the output no longer depends on the input),
        dead_share and grad_norm (L2 norm of the loss gradient with respect to its weights).

    Raises:
        Exception: whatever the net or the loss raises.

    Example:
        >>> import torch
        >>> from counterpoise import models, probe
        >>> net, x = models.DeeperCNN(), torch.rand(8, 1, 28, 28)
        >>> rows = probe.first_step(net, torch.nn.CrossEntropyLoss(), x, torch.arange(8))
        >>> [row["kind"] for row in rows]
        ['Conv3x3', 'Conv3x3', 'Conv3x3', 'Conv3x3', 'Linear']
    """

    def one_pass(net: nn.Module, loss: Loss, inputs: object, targets: object) -> Flow:
        net.zero_grad()
        with Flow(net, batch_dim) as flow:
            value = loss(call(net, inputs), targets)
            if value.requires_grad:
                value.backward()
        return flow

    with inspect(net) as inspected:
        given = detach(scale_images(inputs))
        flow, notes = run_in_float64(inspected, one_pass, loss, given, targets)
        rows = flow.rows
    for note in notes:
        warnings.warn(note, stacklevel=2)
    for row in rows:
        del row["update_ratio"]  # no step was taken
    return rows
