"""`counterpoise doctor`: will this net learn, and if not, why?"""

import inspect
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from counterpoise.cli._arguments import Flag, Whole, check_name
from counterpoise.cli._errors import is_out_of_memory
from counterpoise.cli._shown import waiting, write, write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from counterpoise.data import Rows

Made = TypeVar("Made")
_SAMPLES = 512
_SEEDS = 2**63  # from here on torch knows none


def doctor(
    model: str,
    data: str,
    *,
    norm: str | None = None,
    weights: str = "pretrained",
    loss: str = "cross_entropy",
    lr: float = 0.1,
    optimizer: str = "sgd",
    seed: Whole = 0,
    json: Flag = False,
) -> int:
    """Diagnose whether a net will learn; if not, in which layer it breaks, why, and what helps.

    Only copies are trained, for a few steps each: seconds for a small net. The exit code is 1 where
    the net will not learn or will diverge.

    Parameters
    ----------
    model
        As in `compare`; or package.module:name of a net, of a class or function
        without arguments that makes one, or of a function (norm, input_shape, num_classes).
    data
        As in `compare`.
    norm
        For models that take one: as in `compare` [default: none; of a pretrained net its own].
    weights
        Of timm: and torchvision: nets: pretrained, none, or a file.
    loss
        As in `compare`.
    lr
        The learning rate to train with.
    optimizer
        sgd (plain), adam or adamw.
    seed
        Of the initial weights.
    json
        Print the diagnosis as JSON.
    """
    import torch

    from counterpoise import losses
    from counterpoise.data import count_classes, encoded, load
    from counterpoise.doctor import diagnose
    from counterpoise.models import is_backbone
    from counterpoise.net import build, check_logits
    from counterpoise.probe.nested import scale_images
    from counterpoise.registry import resolve
    from counterpoise.study.record import to_json
    from counterpoise.user_code import raised

    if not 0 <= seed < _SEEDS:
        raise ValueError(f"--seed must be within 0 .. {_SEEDS - 1}, but got {seed}")
    check_name(data)
    pretrained = is_backbone(model)
    found = encoded(load(data, **(_as_trained_on(model) if pretrained else {})))
    counts = count_classes(found.train.targets, found.num_classes)
    torch.manual_seed(seed)
    shape = tuple(found.train.inputs.shape[1:])
    if pretrained:
        net = build(model, norm or "keep", shape, found.num_classes, weights=weights)
    else:
        net = _make_net(model, norm or "none", shape, found.num_classes)
    inputs, targets = _samples(found.train.inputs, found.train.targets)
    criterion = _make("loss", loss, resolve("loss", loss, losses.ALL), counts)
    if not callable(criterion):
        raise ValueError(f"{loss} must make a loss, but made a {type(criterion).__name__}")
    try:
        if ":" in model:
            check_logits(net, scale_images(inputs[:2]), found.num_classes)
        with waiting("training copies of the net for a few steps, at most a minute"):
            diagnosis = diagnose(net, criterion, inputs, targets, lr=lr, optimizer=optimizer)
    except (RuntimeError, TypeError, LookupError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"{model} must take inputs of shape {tuple(inputs.shape)} and answer with logits "
            f"({len(inputs)}, {found.num_classes}), but {raised(error)}"
        ) from error
    if json:
        write_json(to_json(asdict(diagnosis)))
    else:
        write(f"{diagnosis}\n")
    return 0 if diagnosis.verdict == "will learn" else 1


def _as_trained_on(model: str) -> dict[str, Any]:
    """Return how images are to be read for a pretrained net."""
    from counterpoise.models import input_config

    config = input_config(model)
    return {"image_size": config.size, "interpolation": config.interpolation}


def _make_net(model: str, norm: str, shape: tuple[int, ...], num_classes: int) -> "nn.Module":
    """Return the net of a registered name, or the user's own, made where it is not one yet."""
    from torch import nn

    from counterpoise.net import build
    from counterpoise.registry import resolve

    if ":" not in model:
        return build(model, norm, shape, num_classes)
    net = resolve("model", model, {})
    if callable(net) and not isinstance(net, nn.Module):
        if _needs_arguments(net):
            net = _make("model", model, build, model, norm, shape, num_classes)
        else:
            net = _make("model", model, net)
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"{model} must be a torch.nn.Module, or a class or function that makes one, but is or "
            f"makes a {type(net).__name__}"
        )
    return net


def _needs_arguments(make: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of a function written in C
        return True
    named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return any(p.default is p.empty for p in named)


def _make(kind: str, name: str, factory: Callable[..., Made], *arguments: object) -> Made:
    """Call the factory that a name stands for.

    Raises:
        ValueError: a factory of the user's raised; the message has its error and where it was.
    """
    from counterpoise.user_code import raised

    if ":" not in name:
        return factory(*arguments)
    try:
        return factory(*arguments)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise ValueError(f"{kind} {name!r} must make a {kind}, but {raised(error)}") from error


def _samples(inputs: "Tensor | Rows", targets: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return a few batches, drawn with a seed and scaled as a training scales them."""
    import torch

    from counterpoise.data import Standardizer

    drawn = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    index = drawn[:_SAMPLES].sort().values
    return Standardizer.fit(inputs)(inputs[index])[:], targets[index]
