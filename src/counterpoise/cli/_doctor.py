"""`counterpoise doctor`: will this net learn, and if not, why?"""

import inspect
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from torch import Tensor, nn

_SAMPLES = 512


def doctor(
    model: str,
    data: str,
    *,
    norm: str = "none",
    loss: str = "cross_entropy",
    lr: float = 0.1,
    optimizer: str = "sgd",
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say whether a net will learn, where it breaks if not, why, and what would help.

    Nothing is trained but copies, for a few steps each; seconds for a small net. The exit code is
    1 where the net will not learn or will diverge.

    Parameters
    ----------
    model
        deeper_cnn, resnet8, resnet20, mlp; or package.module:name of a net, of a class or function
        without arguments that makes one, or of a function (norm, input_shape, num_classes).
    data
        As in `compare`.
    norm
        For models that take one: none, batch, layer, group, ...
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
    from counterpoise.data import count_classes, load
    from counterpoise.doctor import diagnose
    from counterpoise.study.record import to_json
    from counterpoise.words import find

    found = load(data)
    counts = torch.tensor(count_classes(found.train.targets, found.num_classes))
    torch.manual_seed(seed)
    net = _make_net(model, norm, tuple(found.train.inputs.shape[1:]), found.num_classes)
    inputs, targets = _samples(found.train)
    criterion = find("loss", loss, losses.ALL)(counts)
    try:
        diagnosis = diagnose(net, criterion, inputs, targets, lr=lr, optimizer=optimizer)
    except (RuntimeError, TypeError, IndexError) as error:
        raise ValueError(
            f"{model} must take inputs of shape {tuple(inputs.shape)} and answer with logits "
            f"({len(inputs)}, {found.num_classes}), but: {error or type(error).__name__}"
        ) from error
    if json:
        sys.stdout.write(to_json(asdict(diagnosis)))
    else:
        sys.stdout.write(f"{diagnosis}\n")
    return 0 if diagnosis.verdict == "will learn" else 1


def _make_net(model: str, norm: str, shape: tuple[int, ...], num_classes: int) -> "nn.Module":
    """The net behind a word, or the one that the user has, or makes."""
    from torch import nn

    from counterpoise.study.one_run import build
    from counterpoise.words import find

    if ":" in model:
        thing = find("model", model, {})
        if isinstance(thing, nn.Module):
            return thing
        required = [
            p for p in inspect.signature(thing).parameters.values() if p.default is inspect._empty
        ]
        if not required:
            return thing()
    return build(model, norm, shape, num_classes)


def _samples(part: Any) -> tuple["Tensor", "Tensor"]:
    """A few batches, spread over the part and scaled as a training scales them."""
    import torch

    from counterpoise.data import standardizer

    spread = torch.arange(0, len(part), max(1, len(part) // _SAMPLES))[:_SAMPLES]
    return standardizer(part.inputs)(part.inputs[spread]), part.targets[spread]
