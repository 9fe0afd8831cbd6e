"""What the losses of independent yes/no decisions share: checks and reductions of elements."""

import torch

from counterpoise.kernels._eager import autocasting
from counterpoise.losses._check import check_reduction


def prepared(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and target in the dtype of computation; refuses what does not fit together."""
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
    return logits.to(wide), target.to(wide)


def reduced(
    losses: torch.Tensor, valid: torch.Tensor, reduction: str, dtype: torch.dtype
) -> torch.Tensor:
    """The losses of the valid elements, reduced."""
    check_reduction(reduction)
    losses = torch.where(valid, losses, 0.0)
    if reduction == "none":
        return losses.to(dtype)
    total = losses.sum()
    if reduction == "mean":
        total = total / valid.sum()
    elif reduction == "batchmean":
        total = total / losses.shape[0]
    return total.to(dtype)


def result_dtype(logits: torch.Tensor) -> torch.dtype:
    """The logits' own, or under autocast at least float32."""
    if autocasting(logits):
        return torch.promote_types(logits.dtype, torch.float32)
    return logits.dtype
