"""The asymmetric loss for many labels per sample, few of them true."""

import torch
from torch import nn

from counterpoise.losses._check import check_at_least, check_reduction
from counterpoise.losses._elements import prepared, reduced, result_dtype
from counterpoise.losses._sigmoid_focal import decisions


class AsymmetricLoss(nn.Module):
    r"""Focal loss with a stronger focus on the negatives, and none at all on the easiest of them.

        loss = y * (1 - p)^gamma_pos * -log(p) + (1 - y) * p_m^gamma_neg * -log(1 - p_m)
        p = sigmoid(logits),    p_m = max(p - clip, 0)

    Source: Ben-Baruch et al. 2020, arXiv 2009.14119, eq. 7.

    Args:
        gamma_neg, gamma_pos: at least 0; defaults as in the authors' code.
        clip: the probability up to which a negative costs nothing, within 0 .. 1 (1 excluded).
        ignore_index: the target that says that a label is not known.
        reduction: "mean" over the known labels, as torch's BCEWithLogitsLoss; "sum" is the authors'
            choice, whose learning rates are for it; "batchmean" divides by the samples; "none".

    Shape: logits and target alike; target may be soft, 0 .. 1. Output in the logits' dtype, float32
    under autocast; half precision is computed in float32.

    Raises:
        ValueError: a gamma negative, clip outside its range, unknown reduction, shapes that differ.
        TypeError: logits that are not floating.

    Example:
        >>> import torch
        >>> from counterpoise.losses import AsymmetricLoss
        >>> loss = AsymmetricLoss(reduction="sum")
        >>> round(loss(torch.tensor([[3.0, -3.0]]), torch.tensor([[1.0, 0.0]])).item(), 4)
        0.0023
    """

    def __init__(
        self,
        gamma_neg: float = 4.0,
        gamma_pos: float = 1.0,
        clip: float = 0.05,
        reduction: str = "mean",
        *,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        check_at_least("gamma_neg", gamma_neg, 0)
        check_at_least("gamma_pos", gamma_pos, 0)
        if not 0 <= clip < 1:
            raise ValueError(f"clip must be within 0 .. 1, 1 excluded, but got {clip}")
        check_reduction(reduction)
        self.gamma_neg, self.gamma_pos, self.clip = float(gamma_neg), float(gamma_pos), float(clip)
        self.reduction, self.ignore_index = reduction, ignore_index

    def extra_repr(self) -> str:
        """What print(loss) shows."""
        return (
            f"gamma_neg={self.gamma_neg:g}, gamma_pos={self.gamma_pos:g}, clip={self.clip:g}, "
            f"reduction={self.reduction!r}"
        )

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the reduced loss."""
        z, y, known = prepared(logits, target, self.ignore_index)
        yes, no = decisions(z, self.gamma_pos, self.gamma_neg)
        if self.clip:
            p_m = torch.sigmoid(z) - self.clip
            counts = p_m > 0
            p_m = torch.where(counts, p_m, 0.5)  # any value with a finite gradient
            no = torch.where(counts, -(p_m**self.gamma_neg) * torch.log1p(-p_m), 0.0)
        losses = y * yes + (1 - y) * no
        return reduced(losses, known, self.reduction, result_dtype(logits))
