"""The asymmetric loss for many labels per sample, few of them true."""

import math

import torch
from torch import nn

from counterpoise.losses._check import as_number, check_settings
from counterpoise.losses._elements import PerClass, Vector, keep, reduced_loss, shown
from counterpoise.losses._sigmoid_focal import costs, focused


class AsymmetricLoss(nn.Module):
    r"""Focal loss with a stronger focus on the negatives, and none at all on the easiest of them.

    .. math::
        \text{loss} = -y \, (1 - p)^{\gamma_+} \log p
        - (1 - y) \, p_m^{\gamma_-} \log(1 - p_m), \qquad
        p = \text{sigmoid}(\text{logits}), \quad p_m = \max(p - \text{clip}, 0)

    Value and gradient are exact where p rounds to 1, too.

    Source: Ben-Baruch et al. 2020, arXiv 2009.14119, eq. 7, and the authors' code.

    Args:
        gamma_neg, gamma_pos: at least 0; defaults as in the authors' code.
        clip: the probability up to which a negative costs nothing, within 0 .. 1 (1 excluded); 0 or
            None clips nothing.
        reduction: as in `SigmoidFocalLoss`; "sum" is the authors' choice, whose learning rates are
            for it.
        disable_torch_grad_focal_loss: whether the focal factors are constants to the gradient, as
            by default in the authors' code; otherwise it is that of the formula.
        weight, pos_weight, label_smoothing, ignore_index: as in `SigmoidFocalLoss`, as are shapes,
            dtypes, `sample_weight`, `normalizer` and errors.

    Example:
        >>> import torch
        >>> from counterpoise.losses import AsymmetricLoss
        >>> loss = AsymmetricLoss(reduction="sum")
        >>> round(loss(torch.tensor([[3.0, -3.0]]), torch.tensor([[1.0, 0.0]])).item(), 4)
        0.0023
    """

    weight: PerClass
    pos_weight: PerClass

    def __init__(
        self,
        gamma_neg: float = 4.0,
        gamma_pos: float = 1.0,
        clip: float | None = 0.05,
        reduction: str = "mean",
        *,
        disable_torch_grad_focal_loss: bool = False,
        weight: Vector = None,
        pos_weight: Vector = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        check_settings(0.0, 0.0, label_smoothing, reduction)
        self.gamma_neg = as_number("gamma_neg", gamma_neg, 0)
        self.gamma_pos = as_number("gamma_pos", gamma_pos, 0)
        self.clip = as_number("clip", 0.0 if clip is None else clip, 0, "; None clips nothing")
        if self.clip >= 1:
            raise ValueError(f"clip must be within 0 .. 1, 1 excluded, but got {clip}")
        keep(self, weight=weight, pos_weight=pos_weight)
        self.disable_torch_grad_focal_loss = disable_torch_grad_focal_loss
        self.label_smoothing, self.ignore_index = float(label_smoothing), ignore_index
        self.reduction = reduction

    forward = reduced_loss

    def extra_repr(self) -> str:
        """Return the settings, for print(loss)."""
        return shown(self, "gamma_neg", "gamma_pos", "clip", "disable_torch_grad_focal_loss")

    def yes_and_no(self, z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cost of each decision if yes, and if no, before weights."""
        constant = self.disable_torch_grad_focal_loss
        u, v = costs(z)
        yes = focused(v, u, self.gamma_pos, constant)
        if not self.clip:
            return yes, focused(u, v, self.gamma_neg, constant)
        ahead = z - math.log(self.clip / (1 - self.clip))  # of what the clip lets pass
        counts = ahead > torch.finfo(z.dtype).eps
        u, v = costs(_clipped(u, v, torch.where(counts, ahead, 1.0), self.clip))
        return yes, torch.where(counts, focused(u, v, self.gamma_neg, constant), 0.0)


def _clipped(u: torch.Tensor, v: torch.Tensor, ahead: torch.Tensor, clip: float) -> torch.Tensor:
    """Return the logit of p_m = p - clip, from u = -log(1 - p), v = -log(p).

    With `ahead` the logit less that of the clip, p_m = p * (1 - clip) * (1 - exp(-ahead)), and
    1 - p_m = (1 - p) + clip: factors and positive terms lose no digits, nor do their slopes.
    """
    log_p_m = torch.log1p(-torch.exp(-ahead)) + math.log1p(-clip) - v
    return log_p_m - torch.log(torch.exp(-u) + clip)
