"""The focal loss of independent yes/no decisions."""

import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.kernels.tilted_cross_entropy.composed import LINEAR
from counterpoise.losses._check import Values, as_vector, check_at_least, check_reduction
from counterpoise.losses._elements import prepared, reduced, result_dtype


class SigmoidFocalLoss(nn.Module):
    r"""The focal loss for one or many yes/no decisions per sample: binary, multi-label, dense.

        loss = y * alpha * (1 - p)^gamma * -log(p) + (1 - y) * (1 - alpha) * p^gamma * -log(1 - p)

    with p = sigmoid(logits). Finite and exact at every logit for every gamma >= 0; with gamma = 0
    and no alpha it is `torch.nn.BCEWithLogitsLoss`.

    Source: Lin et al. 2017, arXiv 1708.02002, eq. 5, the form they train detectors with.

    Args:
        gamma: how strongly easy decisions are taken back, at least 0.
        alpha: share of the weight that "yes" gets, within 0 .. 1, one number or one per class (C);
            None weighs both sides by 1. The paper takes 0.25.
        ignore_index: the target that says that a label is not known.
        reduction: "mean" over the known labels, as torch's; "sum"; "none"; "batchmean" divides by
            the samples (axis 0). Detectors sum, and divide by their number of boxes.

    Shape: logits and target alike, (N), (N, C) or any other; with a vector alpha, classes in axis 1
    (the last for (C)). target may be soft, 0 .. 1. Output in the logits' dtype, float32 under
    autocast; half precision is computed in float32.

    Raises:
        ValueError: gamma negative, alpha outside 0 .. 1, unknown reduction, shapes that differ.
        TypeError: logits that are not floating.

    Example:
        >>> import torch
        >>> from counterpoise.losses import SigmoidFocalLoss
        >>> loss = SigmoidFocalLoss(gamma=2.0, alpha=0.25)
        >>> round(loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])).item(), 4)
        0.6404
    """

    alpha: torch.Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Values = 0.25,
        reduction: str = "mean",
        *,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        check_at_least("gamma", gamma, 0)
        check_reduction(reduction)
        values = as_vector("alpha", [alpha] if isinstance(alpha, int | float) else alpha, least=0)
        if values is not None and not bool((values <= 1).all()):
            raise ValueError(f"alpha must be within 0 .. 1, but got {values.tolist()}")
        self.gamma, self.reduction, self.ignore_index = float(gamma), reduction, ignore_index
        self.register_buffer("alpha", values)

    def extra_repr(self) -> str:
        """What print(loss) shows."""
        alpha = None if self.alpha is None else [round(a, 4) for a in self.alpha.tolist()]
        return f"gamma={self.gamma:g}, alpha={alpha}, reduction={self.reduction!r}"

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the reduced loss."""
        z, y, known = prepared(logits, target, self.ignore_index)
        yes, no = decisions(z, self.gamma, self.gamma)
        if self.alpha is not None:
            alpha = self.alpha.to(z)
            if alpha.numel() > 1:
                alpha = alpha.view(-1, *[1] * max(0, z.dim() - 2))
            yes, no = alpha * yes, (1 - alpha) * no
        losses = y * yes + (1 - y) * no
        return reduced(losses, known, self.reduction, result_dtype(logits))


def decisions(
    z: torch.Tensor, gamma_yes: float, gamma_no: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of each logit when the truth is yes, and when it is no.

    With u = softplus(z) = -log(1 - p) and v = softplus(-z) = -log(p), the focal factors
    (1 - p)^gamma and p^gamma are exp(-gamma * u) and exp(-gamma * v).
    """
    u, v = F.softplus(z, threshold=LINEAR), F.softplus(-z, threshold=LINEAR)
    yes = v * torch.exp(-gamma_yes * u) if gamma_yes else v
    no = u * torch.exp(-gamma_no * v) if gamma_no else u
    return yes, no
