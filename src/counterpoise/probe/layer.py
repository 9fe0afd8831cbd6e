"""The measurements of one layer, and the table of all layers. All sums are in float64."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from counterpoise.probe.nested import sample_dim

_NORM = re.compile(r"(Norm|Norm\dd)$")  # LayerNorm, BatchNorm2d, a user's RMSNorm; NormedLinear not
_HEADINGS = {
    "name": "layer",
    "kind": "kind",
    "activation_rms": "activation",
    "visible_share": "visible",
    "dead_share": "dead",
    "grad_norm": "gradient",
    "update_ratio": "update",
}
LEGEND = "visible share: variance over the inputs divided by the second moment"


class LayerRow(TypedDict):
    """One row of `watch` and `first_step`; None where nothing could be measured.

    Attributes:
        name: of the module within the net; "" for the net itself.
        kind: the module's class.
        calls: how often it was called in the latest forward pass.
        activation_rms: root mean square of its output.
        visible_share: variance of its output over the inputs, divided by the second moment, in
            0 .. 1; at 0 the output no longer depends on the input.
        dead_share: share of its units that are 0 for every sample.
        grad_norm: L2 norm of the loss gradient with respect to its weights.
        update_ratio: L2 norm of the latest update of its weights over that of the weights; missing
            in `first_step`, which takes no step.
    """

    name: str
    kind: str
    calls: int
    activation_rms: float | None
    visible_share: float | None
    dead_share: float | None
    grad_norm: float | None
    update_ratio: NotRequired[float | None]


def is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalization, by the name of its class."""
    return _NORM.search(type(module).__name__) is not None


def own_weights(module: nn.Module) -> list[nn.Parameter]:
    """Return the matrices (two dimensions or more) that a module itself owns; none of a norm's.

    The parameters behind a parametrized weight count as the module's own.
    """
    if is_norm(module):
        return []
    owned = list(module.parameters(recurse=False))
    parametrized = getattr(module, "parametrizations", None)
    owned += parametrized.parameters() if isinstance(parametrized, nn.ModuleDict) else []
    return [p for p in owned if is_lazy(p) or p.dim() >= 2]


class Layer:
    """One watched layer: its latest forward pass, and the latest update of its weights."""

    def __init__(self, name: str, module: nn.Module, weights: list[nn.Parameter]) -> None:
        self.name, self.module, self.weights = name, module, weights
        self.previous = [w.detach().clone() for w in weights]
        self.update_ratio: float | None = None
        self.reset()

    def reset(self) -> None:
        """Start a new forward pass."""
        self.calls, self.dims, self.rms, self.std = 0, 0, 0.0, 0.0
        self.dead_share: float | None = None

    def add_output(self, x: Tensor, batch_dim: int, samples: int) -> None:
        """Add the output of one call."""
        rms, std = moments(x, sample_dim(x, batch_dim, samples))
        self.rms, self.std = math.hypot(self.rms, rms), math.hypot(self.std, std)
        self.calls, self.dims = self.calls + 1, x.dim()

    def count_dead_units(self, x: Tensor) -> None:
        """Count the dead units, once a pass, in this layer's output behind the activation."""
        if self.dead_share is None and x.dim():
            is_conv = isinstance(self.module, nn.modules.conv._ConvNd) and x.dim() == self.dims
            self.dead_share = zero_share(x, 1 if is_conv and x.dim() > 2 else x.dim() - 1)

    def measure_update(self) -> None:
        """Compare the weights with their previous values; without a difference nothing changes."""
        update = l2_norm(w.detach() - p for w, p in zip(self.weights, self.previous, strict=True))
        if update:
            size = l2_norm(self.previous)
            self.update_ratio = update / size if size else None
            self.previous = [w.detach().clone() for w in self.weights]

    def row(self, grad_norms: Mapping[Tensor, float]) -> LayerRow:
        """Return the layer's row, given the gradient norms by weight."""
        called = self.calls > 0
        norms = [grad_norms.get(w, 0.0) for w in self.weights if w.requires_grad]
        return {
            "name": self.name,
            "kind": type(self.module).__name__,
            "calls": self.calls,
            "activation_rms": self.rms / self.calls**0.5 if called else None,
            "visible_share": visible_share(self.rms, self.std) if called else None,
            "dead_share": self.dead_share,
            "grad_norm": math.hypot(*norms) if norms else None,
            "update_ratio": self.update_ratio,
        }


def moments(x: Tensor, dim: int) -> tuple[float, float]:
    """Return sqrt(mean x²) and sqrt(mean variance of x along `dim`)."""
    x, scale = _scaled(x)
    std = x.var(dim, correction=0).mean().sqrt().item()
    return x.square().mean().sqrt().item() * scale, std * scale


def visible_share(rms: float, std: float) -> float:
    """Return the variance over the inputs divided by the second moment; 0 where that is 0."""
    return (std / rms) ** 2 if rms else 0.0


def zero_share(x: Tensor, unit_dim: int) -> float:
    """Return the share of the units (indices along `unit_dim`) whose values are all 0."""
    alive = (x.detach() != 0).movedim(unit_dim, 0).flatten(1).any(1)
    return 1.0 - alive.double().mean().item()


def l2_norm(tensors: Iterable[Tensor]) -> float:
    """Return the L2 norm of all the tensors together."""
    norms = []
    for tensor in tensors:
        x, scale = _scaled(tensor)
        norms.append(torch.linalg.vector_norm(x).item() * scale)
    return math.hypot(*norms)


def _scaled(x: Tensor) -> tuple[Tensor, float]:
    """Return `x` in float64, and the scale it was divided by so that squares stay in range."""
    x = x.detach()
    if x.is_sparse:
        x = x.coalesce().values()
    if x.is_complex():
        x = torch.view_as_real(x)
    x = x.to(torch.float32 if x.device.type == "mps" else torch.float64)  # MPS has no float64
    low, high = (1e-15, 1e15) if x.dtype is torch.float32 else (1e-140, 1e140)
    scale = torch.linalg.vector_norm(x, torch.inf).item() if x.numel() else 0.0
    in_range = low < scale < high or not 0 < scale < math.inf
    return (x, 1.0) if in_range else (x / scale, scale)


def format_rows(rows: Sequence[LayerRow]) -> str:
    """Return the rows as a table of fixed columns, numbers to two digits, and its legend."""
    lines = table_cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join([*(_line(line, widths) for line in lines), LEGEND])


def table_cells(rows: Sequence[LayerRow]) -> list[list[str]]:
    """Return the head of the table, and the cells of each row."""
    return [list(_HEADINGS.values()), *map(_cells, rows)]


def _cells(row: Mapping[str, object]) -> list[str]:
    return [_cell(key, row.get(key)) for key in _HEADINGS]


def _cell(key: str, value: object) -> str:
    if isinstance(value, str):
        return value or "(the net)"
    if not isinstance(value, int | float):
        return "-"
    return f"{value:.0%}" if key == "dead_share" else f"{value:.2g}"


def _line(cells: list[str], widths: list[int]) -> str:
    left = [c.ljust(w) for c, w in zip(cells[:2], widths[:2], strict=True)]
    return "  ".join([*left, *map(str.rjust, cells[2:], widths[2:])]).rstrip()
