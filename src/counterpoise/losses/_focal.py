"""The focal loss."""

from collections.abc import Sequence

import torch
from torch import nn

from counterpoise.kernels.focal_loss import focal_loss

REDUCTIONS = ("mean", "batchmean", "sum", "none")


class FocalLoss(nn.Module):
    r"""The α-balanced multi-class focal loss.

        loss = -weight_t * (1 - p_t)^gamma * log(p_t),    p = softmax(logits)

    where t is the target class. `gamma` takes weight off the samples that are already classified
    well, `weight` (the paper's α) balances the classes. With gamma = 0 it is
    `torch.nn.CrossEntropyLoss(weight)`. Computed from the margin between the target's logit and the
    others, so that value and gradient are finite and exact for every gamma >= 0, p_t -> 1 included.

    Source: Lin et al. 2017, arXiv 1708.02002, eq. 5. Formula: `kernels/focal_loss/reference.py`.

    Args:
        gamma: how strongly easy samples are taken back, at least 0; 2 in the paper.
        weight: one weight per class, None for all 1. A buffer: it moves with the module.
        reduction: "mean" divides by the sum of the targets' weights, as torch's cross entropy does,
            "batchmean" by the number of samples, as the paper does; "sum"; "none".

    Shape: logits (N, C) or (N, C, d1, ...), target int64 (N,) or (N, d1, ...) with classes
    0 .. C-1. Output a number, or the target's shape for reduction "none". Half precision is
    computed in float32 and returned in float32.

    Raises:
        ValueError: gamma negative, weight not one per class, an unknown reduction, shapes that do
            not match, a class out of range.
        TypeError: a target that is not of integers.

    Example:
        >>> import torch
        >>> from counterpoise.losses import FocalLoss
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
        >>> round(FocalLoss(gamma=2.0)(logits, torch.tensor([0, 2])).item(), 4)
        0.0058
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        weight: torch.Tensor | Sequence[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma must be at least 0, but got {gamma}; the paper uses 2")
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}, but got {reduction!r}")
        self.gamma = float(gamma)
        self.reduction = reduction
        self.register_buffer("weight", _as_weight(weight))

    def extra_repr(self) -> str:
        """What print(loss) shows."""
        weighted = "" if self.weight is None else f", weight of {self.weight.numel()} classes"
        return f"gamma={self.gamma:g}{weighted}, reduction={self.reduction!r}"

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the reduced loss."""
        weight = self.weight
        _check(logits, target, weight)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if weight is not None:
            weight = weight.to(logits)
        try:
            loss = focal_loss(logits, target.long(), weight, self.gamma)
        except (IndexError, RuntimeError) as error:
            _explain_range(target, logits.shape[1], error)
            raise
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return loss.sum()
        if self.reduction == "batchmean" or weight is None:
            return loss.mean()
        return loss.sum() / weight[target].sum()


def _as_weight(weight: torch.Tensor | Sequence[float] | None) -> torch.Tensor | None:
    if weight is None:
        return None
    weight = torch.as_tensor(weight, dtype=torch.get_default_dtype()).detach().clone()
    if weight.dim() != 1 or not bool((weight >= 0).all()):
        raise ValueError(
            f"weight must be one number >= 0 per class, but got shape {tuple(weight.shape)} with "
            f"{weight.flatten()[:4].tolist()}"
        )
    return weight


def _check(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> None:
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must hold class numbers (int64), but got {target.dtype}")
    if logits.dim() < 2 or (logits.shape[0], *logits.shape[2:]) != tuple(target.shape):
        raise ValueError(
            f"logits must be (N, C, ...) and target (N, ...), but got {tuple(logits.shape)} and "
            f"{tuple(target.shape)}"
        )
    if logits.shape[1] < 2:
        raise ValueError(f"logits need at least 2 classes in axis 1, but got {tuple(logits.shape)}")
    if weight is not None and weight.numel() != logits.shape[1]:
        raise ValueError(
            f"weight must have one entry per class, but got {weight.numel()} for "
            f"{logits.shape[1]} classes"
        )


def _explain_range(target: torch.Tensor, classes: int, error: Exception) -> None:
    if target.numel() and (int(target.min()) < 0 or int(target.max()) >= classes):
        raise ValueError(
            f"target must be within 0 .. {classes - 1}, but holds {int(target.min())} .. "
            f"{int(target.max())}"
        ) from error
