"""Shared by the losses of independent yes/no decisions: weights, checks and reductions."""

from typing import Protocol

import torch
from torch import nn

from counterpoise.kernels import dispatch
from counterpoise.kernels.adjusted_cross_entropy.eager import divided
from counterpoise.losses import _check
from counterpoise.losses._check import Values, as_number, as_vector

Vector = Values | float  # one number for all classes, or one per class
PerClass = torch.Tensor | float | None  # the same, as a loss keeps it


class Decisions(Protocol):
    """A loss with its settings, and its value for logits z and known targets y."""

    weight: PerClass
    pos_weight: PerClass
    label_smoothing: float
    ignore_index: int
    reduction: str

    def yes_and_no(self, z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each element if its label is yes, and if it is no."""
        ...


def keep(loss: nn.Module, **vectors: Vector) -> None:
    """Check settings and keep them in the loss, as buffers but for single numbers."""
    for name, value in vectors.items():
        if isinstance(value, int | float) or getattr(value, "ndim", 1) == 0:
            setattr(loss, name, as_number(name, value, 0))
        else:
            loss.register_buffer(name, as_vector(name, value, least=0))


def shown(loss: Decisions, *names: str) -> str:
    """Return the settings named and those that all share, for print(loss)."""
    settings = {n: getattr(loss, n) for n in (*names, "weight", "pos_weight", "label_smoothing")}
    for name, value in settings.items():
        if isinstance(value, torch.Tensor):
            settings[name] = [round(x, 4) for x in value.tolist()]
    settings = {n: v for n, v in settings.items() if n in names or v}
    return ", ".join(f"{n}={v!r}" for n, v in {**settings, "reduction": loss.reduction}.items())


def along_classes(name: str, value: PerClass, z: torch.Tensor) -> PerClass:
    """Return the number of each class so that it multiplies z, whose classes are in axis 1."""
    if not isinstance(value, torch.Tensor):
        return value
    classes = z.shape[min(1, z.dim() - 1)] if z.dim() else 1
    if len(value) not in (1, classes):
        raise ValueError(
            f"{name} must be one number or one per class, but has {len(value)} entries for the "
            f"{classes} classes of logits {tuple(z.shape)}; the classes are in axis 1"
        )
    return value.to(z).view(-1, *[1] * max(0, z.dim() - 2)) if len(value) > 1 else value.to(z)[0]


def reduced_loss(
    loss: Decisions,
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    sample_weight: torch.Tensor | None = None,
    normalizer: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """Return the loss, reduced; `normalizer` replaces the denominator of the means."""
    _check.check_reduction(loss.reduction)
    if isinstance(normalizer, torch.Tensor) and normalizer.numel() == 1:
        normalizer = normalizer.reshape(())
    if normalizer is not None:
        _check.check_normalizer(normalizer, loss.reduction)
    z, y, known = _prepared(logits, target, loss.ignore_index)
    weight = along_classes("weight", loss.weight, z)
    if sample_weight is not None:
        weight = _times(_of_elements(sample_weight, z), weight)
    if isinstance(weight, torch.Tensor):
        z = torch.where(weight == 0, 0.0, z)  # as where the label is unknown
    y = y * (1 - loss.label_smoothing) + loss.label_smoothing / 2 if loss.label_smoothing else y
    yes, no = loss.yes_and_no(z, y)
    yes = _times(yes, along_classes("pos_weight", loss.pos_weight, z))
    losses = _times(y * yes + (1 - y) * no, weight)
    losses = losses if known is None else torch.where(known, losses, 0.0)
    by = normalizer
    if loss.reduction == "mean" and by is None:
        by = losses.numel() if known is None else known.sum()
    elif loss.reduction == "batchmean" and by is None:
        by = losses.shape[0]
    losses = losses if loss.reduction == "none" else losses.sum()
    return (losses if by is None else divided(losses, by)).to(result_dtype(logits))


def _prepared(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return logits and target in the dtype of computation, and a mask of known labels or None.

    Refuses what does not fit together. Unknown labels and their logits are 0: 0 * NaN is NaN.
    """
    _check.check_tensors(logits=logits, target=target)
    if not logits.is_floating_point():
        raise TypeError(f"logits must be floating, but got {logits.dtype}; use logits.float()")
    if logits.shape != target.shape:
        raise ValueError(
            f"target must have the logits' shape {tuple(logits.shape)}, 1 for yes and 0 for no, "
            f"but got {tuple(target.shape)}; torch.nn.functional.one_hot makes it of class numbers"
        )
    if target.is_complex():
        raise TypeError(f"target must be real, but got {target.dtype}")
    wide = torch.promote_types(logits.dtype, torch.float32)
    z, y = logits.to(wide), target.to(wide)
    seen = dispatch.readable(y) and y.numel() > 0
    if seen and ignore_index not in (0, 1) and _within(y):  # as mostly, and quicker
        return z, y, None
    known = y != ignore_index
    z, y = torch.where(known, z, 0.0), torch.where(known, y, 0.0)
    if seen and not _within(y):
        y = target[known]
        raise ValueError(
            f"target must be within 0 .. 1 (or {ignore_index}, which is ignored), but holds "
            f"{y.min():g} .. {y.max():g}"
        )
    return z, y, known


def _times(x: torch.Tensor, factor: PerClass) -> torch.Tensor:
    return x if factor is None else x * factor


def _within(y: torch.Tensor) -> bool:
    low, high = y.aminmax()
    return bool(low.item() >= 0 and high.item() <= 1)


def _of_elements(sample_weight: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return the weights of samples so that they multiply the logits z."""
    _check.check_tensors(sample_weight=sample_weight)
    n, dense = z.shape[:1], z.shape[2:]
    rows = n + (1,) * (z.dim() - 1)
    for given, shape in ((z.shape, z.shape), (n + dense, (*n, 1, *dense)), (n, rows), ((), ())):
        if sample_weight.shape == given:
            return sample_weight.to(z).reshape(shape)
    raise ValueError(
        "sample_weight must have one entry per sample, or the logits' shape with or without the "
        f"classes in axis 1, but got {tuple(sample_weight.shape)} for logits {tuple(z.shape)}"
    )


def result_dtype(logits: torch.Tensor) -> torch.dtype:
    """Return the logits' own dtype, or under autocast at least float32."""
    if dispatch.autocasting(logits):
        return torch.promote_types(logits.dtype, torch.float32)
    return logits.dtype
