"""The registry of training programs: each a source, a kind, a planted cause and a function."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

CAUSES = (
    "no gradient",
    "parameters no optimizer holds",
    "NaN",
    "weight decay",
    "dropout",
    "dead units",
    "saturated units",
    "symmetric weights",
    "softmax before the loss",
    "wrong sign",
    "wrong loss",
    "constant loss",
    "constant output",
    "batch norm in eval",
    "learning rate too low",
    "learning rate too high",
    "inputs: NaN",
    "inputs: constant",
    "inputs: scale",
    "inputs: transposed",
    "targets: one class",
    "targets: outside",
    "targets: scale",
    "targets: random",
    "the signal vanishes",
    "the gradient vanishes",
    "the signal explodes",
    "samples mixed",
    "too small a net",
    "late start",
)


@dataclass(frozen=True)
class Program:
    """All that `counterpoise.doctor.diagnose` takes, under its names.

    `meant` is the loss that tells whether the net has learned, where `loss` does not: it takes the
    net's outputs, and of all constant ones its lowest is finite.
    """

    net: nn.Module
    loss: Callable
    inputs: object
    targets: object
    lr: float
    optimizer: str | Callable = "sgd"
    batch_size: int = 32
    batch_dim: int = 0
    meant: Callable | None = None


@dataclass(frozen=True)
class Entry:
    """A registered program; `cause` is the planted one, None for a program meant to learn."""

    name: str
    source: str
    kind: str
    cause: str | None
    make: Callable[[], Program]

    @property
    def half(self):
        """Decided by the source alone, so that all programs of a source are in one half."""
        return ("development", "held out")[hashlib.sha256(self.source.encode()).digest()[0] % 2]

    def build(self, seed):
        """The program with data, net and dropout drawn from a seed."""
        torch.manual_seed(seed)
        return self.make()


PROGRAMS: dict[str, Entry] = {}


def program(source, kind, cause=None):
    """Register a function () -> Program that draws from torch's global generator."""
    if cause is not None and cause not in CAUSES:
        raise ValueError(f"{cause!r} is not a cause")

    def register(make):
        name = f"{make.__module__.rpartition('.')[2]}/{make.__name__}"
        PROGRAMS[name] = Entry(name, source, kind, cause, make)
        return make

    return register
