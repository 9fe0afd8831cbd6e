"""One watched layer: which modules count as one, and what is noted of it."""

import math
import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from counterpoise.probe._numbers import length, moments, sample_dim, zero_share

_NORM = re.compile(r"(Norm|Norm\dd)$")  # LayerNorm, BatchNorm2d, a user's RMSNorm; NormedLinear not


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes, by the name of its class."""
    return _NORM.search(type(module).__name__) is not None


def own_weights(module: nn.Module) -> list[nn.Parameter]:
    """The matrices (two dimensions or more) that a module itself owns; none of a norm's.

    A parametrized weight counts as the module's own, by what it is made of.
    """
    if is_norm(module):
        return []
    owned = list(module.parameters(recurse=False))
    made = getattr(module, "parametrizations", None)
    owned += made.parameters() if isinstance(made, nn.ModuleDict) else []
    return [p for p in owned if is_lazy(p) or p.dim() >= 2]


class Layer:
    """What one layer did in the latest forward pass, and what backward and update did to it."""

    def __init__(self, name: str, module: nn.Module, weights: list[nn.Parameter]) -> None:
        self.name, self.module, self.weights = name, module, weights
        self.before = [w.detach().clone() for w in weights]
        self.update_ratio: float | None = None
        self.forget()

    def forget(self) -> None:
        """Start a new forward pass."""
        self.calls, self.dims, self.size, self.spread = 0, 0, 0.0, 0.0
        self.dead: float | None = None

    def note_output(self, x: Tensor, batch_dim: int, samples: int | None) -> None:
        """Add one call's output."""
        size, spread = moments(x, sample_dim(x, batch_dim, samples))
        self.size, self.spread = math.hypot(self.size, size), math.hypot(self.spread, spread)
        self.calls, self.dims = self.calls + 1, x.dim()

    def note_successor(self, x: Tensor) -> None:
        """Count, once, the dead units of what this layer's output became."""
        if self.dead is None and x.dim():
            convolved = isinstance(self.module, nn.modules.conv._ConvNd) and x.dim() == self.dims
            self.dead = zero_share(x, 1 if convolved and x.dim() > 2 else x.dim() - 1)

    def note_update(self) -> None:
        """Compare the weights with those last seen: what a step changed, relative to their size."""
        step = length(w.detach() - b for w, b in zip(self.weights, self.before, strict=True))
        if step:
            size = length(self.before)
            self.update_ratio = step / size if size else None
            self.before = [w.detach().clone() for w in self.weights]

    def row(self, gradients: dict[Tensor, float]) -> dict[str, Any]:
        """The layer's line of the table; None where there is nothing to tell."""
        called = self.calls > 0
        return {
            "name": self.name,
            "kind": type(self.module).__name__,
            "calls": self.calls,
            "activation_rms": self.size / self.calls**0.5 if called else None,
            "visible_share": visible_share(self.size, self.spread) if called else None,
            "dead_share": self.dead,
            "grad_norm": _grad_norm(self.weights, gradients),
            "update_ratio": self.update_ratio,
        }


def visible_share(size: float, spread: float) -> float:
    """Return the share of the second moment that is variance over the samples; 0 of nothing."""
    return (spread / size) ** 2 if size else 0.0


def _grad_norm(weights: Iterable[nn.Parameter], gradients: dict[Tensor, float]) -> float | None:
    trained = [w for w in weights if w.requires_grad]
    return math.hypot(*(gradients.get(w, 0.0) for w in trained)) if trained else None
