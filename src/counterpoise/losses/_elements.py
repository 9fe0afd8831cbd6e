"""What the losses of independent yes/no decisions share: checks and reductions of elements."""

import torch

from counterpoise.kernels._eager import autocasting, readable
from counterpoise.losses._check import check_reduction, check_tensors


def prepared(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Logits and target in the dtype of computation, and what is known: None where all is.

    Refuses what does not fit together. The logits of unknown labels are 0: 0 * NaN would be NaN.
    """
    check_tensors(logits=logits, target=target)
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
    seen = readable(y) and y.numel() > 0
    if seen and ignore_index not in (0, 1) and _within(y):  # as mostly, and quicker
        return z, y, None
    known = y != ignore_index
    if seen and not _within(torch.where(known, y, 0.0)):
        raise ValueError(
            f"target must be within 0 .. 1 (or {ignore_index}, which is ignored), but holds "
            f"{y[known].min():g} .. {y[known].max():g}"
        )
    return torch.where(known, z, 0.0), y, known


def _within(y: torch.Tensor) -> bool:
    low, high = y.aminmax()
    return bool(low.item() >= 0 and high.item() <= 1)


def reduced(
    losses: torch.Tensor, known: torch.Tensor | None, reduction: str, dtype: torch.dtype
) -> torch.Tensor:
    """The losses of the known elements, reduced."""
    check_reduction(reduction)
    if known is not None:
        losses = torch.where(known, losses, 0.0)
    if reduction == "none":
        return losses.to(dtype)
    total = losses.sum()
    if reduction == "mean":
        total = total / (losses.numel() if known is None else known.sum())
    elif reduction == "batchmean":
        total = total / losses.shape[0]
    return total.to(dtype)


def result_dtype(logits: torch.Tensor) -> torch.dtype:
    """The logits' own, or under autocast at least float32."""
    if autocasting(logits):
        return torch.promote_types(logits.dtype, torch.float32)
    return logits.dtype
