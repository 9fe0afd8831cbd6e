"""Inspect a user's net without leaving a trace in it."""

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.probe.nested import to_float64

Loss = Callable[[Any, Any], Tensor]  # of the net's output and the targets
Result = TypeVar("Result")


@dataclass(frozen=True)
class Inspected:
    """A net to work on: a copy of the user's, or that itself (`is_copy` False), later restored."""

    net: nn.Module
    is_copy: bool


@contextlib.contextmanager
def inspect(net: nn.Module, seed: int | None = None) -> Iterator[Inspected]:
    """Provide a net to work on, and restore the user's and the random state at the end.

    Of a net that cannot be copied, weights, buffers, gradients and modes are restored.

    Args:
        net: the user's.
        seed: seeds the generators of torch, NumPy and Python within; None leaves them.
    """
    with _restored_random_state(net, seed), torch.inference_mode(False), torch.enable_grad():
        try:
            copied = copy.deepcopy(net)
        except Exception:  # whatever a user's module raises when it cannot be copied
            with _restored(net):
                yield Inspected(net, False)
        else:
            yield Inspected(copied, True)


def run_in_float64(
    inspected: Inspected,
    run: Callable[[nn.Module, Loss, object, object], Result],
    loss: Loss,
    inputs: object,
    targets: object,
) -> tuple[Result, list[str]]:
    """Call run(net, loss, inputs, targets) on a copy in float64; return its result and notes.

    A net that cannot be copied, or does not work in float64, is run in its own dtype; a note says
    so.

    Raises:
        Exception: whatever `run` raises in the net's own dtype.
    """
    if not inspected.is_copy:
        note = "the net cannot be copied; measured in place, in its own dtype, and restored"
        return run(inspected.net, loss, inputs, targets), [note]
    try:
        net = copy.deepcopy(inspected.net).double()
        double_loss = copy.deepcopy(loss).double() if isinstance(loss, nn.Module) else loss
        return run(net, double_loss, to_float64(inputs), to_float64(targets)), []
    except Exception as error:  # a net of fixed dtype; a real error is raised again below
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        note = f"the net does not work in float64 ({reason}); measured in its own dtype"
        return run(copy.deepcopy(inspected.net), loss, inputs, targets), [note]


@contextlib.contextmanager
def _restored_random_state(net: nn.Module, seed: int | None) -> Iterator[None]:
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
def _restored(net: nn.Module) -> Iterator[None]:
    """Restore weights, buffers, gradients and modes at the end."""
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
