"""The net of a run, made by the plan's names of model and norm."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise import models, norms, registry
from counterpoise.registry import resolve

_NORMS = {name: m.load() for name, m in registry.PLAIN_NORMS.items()} | norms.ALL


_HEADS = (nn.Linear, models.NormedLinear)

Word = str | Callable[..., Any]  # or the function that makes it


def build(
    model: Word,
    norm: Word,
    shape: tuple[int, ...],
    num_classes: int,
    *,
    norm_settings: Mapping[str, Any] | None = None,
    **settings: Any,
) -> nn.Module:
    """Return the net that a plan's words mean, for samples of a shape.

    Args:
        model: a key of `models.ALL`, "auto", `timm:NAME`, `torchvision:NAME`, `module:name`.
        norm: a key of `norms.ALL`, "none", "batch" or `module:name`; of timm's and torchvision's
            nets "keep", or a word of `norms.swap_norm`.
        shape: of a sample.
        num_classes: of the data.
        norm_settings: of the function that makes the norm, such as {"num_groups": 4}.
        settings: of `models.open_backbone`.
    """
    if models.is_backbone(model):
        if norm_settings:
            raise ValueError(f"{model} takes no settings of norms, but got {dict(norm_settings)}")
        return _backbone(str(model), norm, shape, num_classes, settings)
    if model == "auto":
        model = "resnet8" if len(shape) == 3 else "mlp"
    make_norm = resolve("norm", norm, _NORMS)
    if norm_settings:
        if make_norm is None:
            raise ValueError(f"norm {norm!r} takes no settings, but got {dict(norm_settings)}")
        make_norm = partial(make_norm, **norm_settings)
    net = resolve("model", model, models.ALL)(make_norm, shape, num_classes)
    if not isinstance(net, nn.Module):
        raise ValueError(f"{model} must make a torch.nn.Module, but made a {type(net).__name__}")
    return net


def _backbone(
    model: str, norm: Word, shape: tuple[int, ...], num_classes: int, settings: dict[str, Any]
) -> nn.Module:
    """Return a net of timm or torchvision, with other normalization layers if it is asked for."""
    if len(shape) != 3:
        raise ValueError(
            f"{model} takes images (channels, height, width), but the samples have the shape "
            f"{shape}; take linear, cosine or mlp for vectors"
        )
    net = models.open_backbone(model, num_classes, channels=shape[0], **settings)
    if norm == "keep":
        return net
    if norm not in norms.SWAP_WORDS:
        raise ValueError(
            f"norm of {model} must be keep, or one of {', '.join(norms.SWAP_WORDS)} in place of "
            f"its own, but got {norm!r}"
        )
    net.body, table = norms.swap_norm(net.body, str(norm), return_table=True)
    if all(change.note.startswith("left") for change in table.changes):
        first = table.changes[0].note.removeprefix("left: ") if table.changes else ""
        why = f": {first}" if first else ", as it has none"
        raise ValueError(
            f"norm {norm!r} must take the place of layers of {model}, but of none{why}; take keep"
        )
    net.notes = (*net.notes, *str(table).splitlines())
    return net


def head_path(net: nn.Module) -> str:
    """Return the name of a net's head among its modules: its last linear layer, or a backbone's.

    Raises:
        ValueError: there is none.

    Example:
        >>> head_path(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
        '2'
    """
    if isinstance(net, models.Backbone):
        return net.head_path
    found = [path for path, m in net.named_modules() if isinstance(m, _HEADS)]
    if not found:
        raise ValueError("the net must end in a torch.nn.Linear, but has none")
    return found[-1]


def linear_head(net: nn.Module, inputs: Tensor) -> nn.Linear:
    """Return a net's head, once two samples have shown that the net's logits are the head's.

    Raises:
        ValueError: the net has no linear or cosine head, it takes no vectors (N, F), or the net
            answers otherwise.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> linear_head(net, torch.randn(2, 4))
        Linear(in_features=8, out_features=3, bias=True)
    """
    head: Any = net.get_submodule(head_path(net))
    seen: list[tuple[Tensor, Tensor]] = []
    hook = head.register_forward_hook(lambda _, given, found: seen.append((given[0], found)))
    training = net.training
    try:
        with torch.no_grad():
            logits = net.eval()(inputs)
    finally:
        hook.remove()
        net.train(training)
    linear = isinstance(head, _HEADS) and len(seen) == 1 and seen[0][0].dim() == 2
    if not linear or not torch.equal(seen[0][1], logits):
        raise ValueError(
            "the net must end in a torch.nn.Linear, which takes vectors (N, F) and whose answer is "
            f"that of the net, but {type(head).__name__} is not such a head"
        )
    return head


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
    """Put a `NormedLinear` in the place of the last linear layer: LDAM's margins need cosines.

    One that is there already gives plain cosines from now on.
    """
    last_module = list(net.modules())[-1]
    if isinstance(last_module, models.NormedLinear):
        last_module.scale = 1.0
        return net
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
