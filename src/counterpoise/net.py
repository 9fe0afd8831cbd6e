"""The net of a run, made by the plan's names of model and norm."""

import torch
from torch import Tensor, nn

from counterpoise import models, norms, registry
from counterpoise.registry import resolve

_NORMS = {name: m.load() for name, m in registry.PLAIN_NORMS.items()} | norms.ALL


def build(model: str, norm: str, shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return the net that a plan's words mean, for samples of a shape."""
    if model == "auto":
        model = "resnet8" if len(shape) == 3 else "mlp"
    net = resolve("model", model, models.ALL)(resolve("norm", norm, _NORMS), shape, num_classes)
    if not isinstance(net, nn.Module):
        raise ValueError(f"{model} must make a torch.nn.Module, but made a {type(net).__name__}")
    return net


def check_logits(net: nn.Module, inputs: Tensor, num_classes: int) -> None:
    """Let a user's net answer two samples, and refuse outputs that are no logits of the classes.

    Nothing of the net or of the random numbers to come is changed.

    Raises:
        ValueError: the answer is no tensor, or not of shape (2, num_classes).
    """
    training = net.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        found = net.eval()(inputs[:2])
    net.train(training)
    wanted = (min(2, len(inputs)), num_classes)
    if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
        came = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(
            f"a net must return a tensor of logits, one for each class, here {wanted} for "
            f"{wanted[0]} samples, but this one returns {came}; the data have {num_classes} classes"
            + ("; give its last layer two outputs" if came in (wanted[:1], (wanted[0], 1)) else "")
        )


def with_cosine_head(net: nn.Module) -> nn.Module:
    """Put a `NormedLinear` in the place of the last linear layer: LDAM's margins need cosines."""
    found = [(path, m) for path, m in net.named_modules() if type(m) is nn.Linear]
    if not found:
        raise ValueError("loss 'ldam' needs a net whose last layer is a torch.nn.Linear")
    path, last = found[-1]
    head = models.NormedLinear(last.in_features, last.out_features)
    if not path:
        return head
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, head)
    return net
