"""Examine samples, net, loss and optimizer before any training."""

import torch
from torch import nn

from counterpoise.doctor import _examine_net
from counterpoise.doctor._examine_loss import examine_loss, ignores_targets
from counterpoise.doctor._examine_samples import beyond_outputs, examine_samples
from counterpoise.doctor._setup import TrainingSetup, answer
from counterpoise.doctor._symptoms import ONE_TARGET, Symptom
from counterpoise.probe.nested import tensors

MANY = 512  # samples that are searched for values that are not finite


def examine(net: nn.Module, setup: TrainingSetup) -> list[Symptom]:
    """Return the symptoms that a net and its training show.

    Args:
        net: a copy, in the modes that it is trained in.
        setup: all samples.
    """
    found = [*examine_samples(setup)]
    some = setup.subset()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        output = answer(net, some.inputs)
    found += _examine_net.not_a_number(net, setup.subset(MANY))
    for look in (*_examine_net.LOOKS, beyond_outputs):
        found += look(net, some)
    if ignores_targets(some, output):
        found = [symptom for symptom in found if symptom.cause != ONE_TARGET]
    return [*found, *examine_loss(some, output), *_examine_net.pulled_by_decay(net, some)]


def check_inputs(net: nn.Module, setup: TrainingSetup) -> None:
    """Raise unless a net takes the inputs.

    Raises:
        ValueError: it raises; the message has its error.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            answer(net, setup.inputs)
    except (RuntimeError, TypeError, IndexError) as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors(setup.inputs))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"the net must take inputs of shape {shapes}, but raised {type(error).__name__}: "
            f"{reason}; give inputs as the training gives them"
        ) from error
