"""A place to try things on a net of somebody else's, and leave no trace."""

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.probe._numbers import tensors

Result = TypeVar("Result")


@dataclass(frozen=True)
class Bench:
    """A net to work on: a copy, or the user's own that is put back afterwards (`copied` False)."""

    net: nn.Module
    copied: bool


@contextlib.contextmanager
def bench(net: nn.Module, seed: int | None = None) -> Iterator[Bench]:
    """Lend a net to work on; random numbers, gradients, modes and buffers are as before at the end.

    Args:
        net: the user's.
        seed: what torch's, NumPy's and Python's random numbers start from within; None goes on.
    """
    with undisturbed_randomness(net, seed), torch.inference_mode(False), torch.enable_grad():
        try:
            copied = copy.deepcopy(net)
        except Exception:  # whatever a user's module says when it cannot be copied
            with _put_back(net):
                yield Bench(net, False)
        else:
            yield Bench(copied, True)


@contextlib.contextmanager
def undisturbed_randomness(net: nn.Module, seed: int | None) -> Iterator[None]:
    """Restore the generators of torch, NumPy and Python at the end."""
    cuda = sorted({p.device.index for p in net.parameters() if p.device.type == "cuda"})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (nets draw from it)
    try:
        with torch.random.fork_rng(devices=cuda):
            if seed is not None:
                torch.manual_seed(seed)
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def _put_back(net: nn.Module) -> Iterator[None]:
    state = [*net.parameters(), *net.buffers()]
    values = [t.detach().clone() for t in state]
    grads = [(p, p.grad) for p in net.parameters()]
    modes = [(m, m.training) for m in net.modules()]
    for p in net.parameters():
        p.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(state, values, strict=True):
                tensor.copy_(value)
        for p, grad in grads:
            p.grad = grad
        for module, training in modes:
            module.training = training


def in_double(
    place: Bench, run: Callable[..., Result], loss: Any, inputs: Any, targets: Any
) -> tuple[Result, list[str]]:
    """Call run(net, loss, inputs, targets) on a copy in float64: the answer, and notes on it.

    Raises:
        Exception: whatever `run` raises in the net's own dtype.
    """
    if not place.copied:
        note = "the net cannot be copied; measured in place, in its own dtype, and put back"
        return run(place.net, loss, inputs, targets), [note]
    try:
        net = copy.deepcopy(place.net).double()
        double_loss = copy.deepcopy(loss).double() if isinstance(loss, nn.Module) else loss
        return run(net, double_loss, *map(_floats_in_double, (inputs, targets))), []
    except Exception as error:  # a net of fixed dtype; a real fault shows again below
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        note = f"the net does not work in float64 ({reason}); measured in its own dtype"
        return run(copy.deepcopy(place.net), loss, inputs, targets), [note]


def call(net: nn.Module, inputs: Any) -> Any:
    """Call a net on one tensor, on a tuple of arguments or on a dict of named ones."""
    if isinstance(inputs, tuple | list):
        return net(*inputs)
    return net(**inputs) if isinstance(inputs, dict) else net(inputs)


def convert(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply `change` to every tensor within nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: convert(part, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(convert(part, change) for part in value)
    return value


def _floats_in_double(value: Any) -> Any:
    """Return the same with its floating tensors in float64; integers stay what they are."""
    return convert(value, lambda t: t.double() if t.is_floating_point() else t)


def as_floats(value: Any) -> Any:
    """Return the same with uint8 images scaled to 0 .. 1, as `train.fit` feeds them."""
    return convert(value, lambda t: t.float() / 255 if t.dtype == torch.uint8 else t)


def detached(value: Any) -> Any:
    """Return the same without the graph it came from."""
    return convert(value, Tensor.detach)


def count_samples(inputs: Any, batch_dim: int) -> int:
    """The length of the first tensor along `batch_dim`; 0 if there is none."""
    first = next(iter(tensors(inputs)), None)
    return first.shape[batch_dim] if first is not None and first.dim() > batch_dim else 0
