"""One forward and backward pass, measured and undone."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from counterpoise.probe._bench import Bench, as_floats, bench, call, detached, floats_in_double
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
    with bench(net) as place:
        flow, _, notes = measured(place, loss, inputs, targets, batch_dim)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    rows = flow.rows
    for row in rows:
        del row["update_ratio"]  # no step was taken
    return rows


def measured(
    place: Bench, loss: Loss, inputs: Any, targets: Any, batch_dim: int = 0
) -> tuple[Flow, Any, list[str]]:
    """Watch one pass: (what was seen, the net's output, what the reader should know).

    Raises:
        Exception: whatever the net or the loss raises in its own dtype.
    """
    inputs, notes = detached(as_floats(inputs)), []
    if place.copied:
        try:
            doubled = copy.deepcopy(place.net).double()
            double_loss = copy.deepcopy(loss).double() if isinstance(loss, nn.Module) else loss
            flow, output = _one_pass(
                doubled, double_loss, floats_in_double(inputs), floats_in_double(targets), batch_dim
            )
            return flow, output, notes
        except Exception as error:  # a net with a fixed dtype; a real fault shows again below
            reason = str(error).splitlines() or [type(error).__name__]
            notes.append(
                f"the net does not work in float64 ({reason[0]}); measured in its own dtype"
            )
    else:
        notes.append("the net cannot be copied; measured in place, in its own dtype, and put back")
    return *_one_pass(place.net, loss, inputs, targets, batch_dim), notes


def _one_pass(
    net: nn.Module, loss: Loss, inputs: Any, targets: Any, batch_dim: int
) -> tuple[Flow, Any]:
    net.zero_grad()
    with Flow(net, batch_dim) as flow:
        output = call(net, inputs)
        value = loss(output, targets)
        if value.requires_grad:
            value.backward()
    net.zero_grad()
    return flow, detached(output)
