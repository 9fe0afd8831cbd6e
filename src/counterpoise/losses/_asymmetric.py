"""The asymmetric loss for many labels per sample, few of them true."""

import math

import torch
from torch import nn

from counterpoise.losses._check import as_number, check_reduction
from counterpoise.losses._elements import prepared, reduced, result_dtype
from counterpoise.losses._sigmoid_focal import costs, focused


class AsymmetricLoss(nn.Module):
    r"""Focal loss with a stronger focus on the negatives, and none at all on the easiest of them.

        loss = y * (1 - p)^gamma_pos * -log(p) + (1 - y) * p_m^gamma_neg * -log(1 - p_m)
        p = sigmoid(logits),    p_m = max(p - clip, 0)

    Value and gradient are exact where p rounds to 1, too. The focal factors are differentiated
    through, as the formula says; the authors' code can detach them
    (`disable_torch_grad_focal_loss`), which gives other gradients.

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
        ValueError: a gamma negative, clip outside its range, unknown reduction, shapes that differ,
            targets outside 0 .. 1 (on a CPU).
        TypeError: logits that are not floating, a setting that is no number.

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
        self.gamma_neg = as_number("gamma_neg", gamma_neg, 0)
        self.gamma_pos = as_number("gamma_pos", gamma_pos, 0)
        self.clip = as_number("clip", clip, 0, "; 0 clips nothing")
        if self.clip >= 1:
            raise ValueError(f"clip must be within 0 .. 1, 1 excluded, but got {clip}")
        check_reduction(reduction)
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
        u, v = costs(z)
        yes = focused(v, u, self.gamma_pos)
        if self.clip:
            ahead = z - math.log(self.clip / (1 - self.clip))  # of what the clip lets pass
            counts = ahead > torch.finfo(z.dtype).eps
            u, v = costs(_clipped(u, v, torch.where(counts, ahead, 1.0), self.clip))
            no = torch.where(counts, focused(u, v, self.gamma_neg), 0.0)
        else:
            no = focused(u, v, self.gamma_neg)
        losses = y * yes + (1 - y) * no
        return reduced(losses, known, self.reduction, result_dtype(logits))


def _clipped(u: torch.Tensor, v: torch.Tensor, ahead: torch.Tensor, clip: float) -> torch.Tensor:
    """The logit of p_m = p - clip, from u = -log(1 - p), v = -log(p).

    With `ahead` the logit less that of the clip, p_m = p * (1 - clip) * (1 - exp(-ahead)), and
    1 - p_m = (1 - p) + clip: factors and positive terms lose no digits, nor do their slopes.
    """
    log_p_m = torch.log1p(-torch.exp(-ahead)) + math.log1p(-clip) - v
    return log_p_m - torch.logaddexp(-u, u.new_full((), math.log(clip)))
