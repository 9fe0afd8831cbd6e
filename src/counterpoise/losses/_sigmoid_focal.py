"""The focal loss of independent yes/no decisions."""

import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.kernels.adjusted_cross_entropy.eager import LINEAR
from counterpoise.losses._check import Values, as_number, as_vector, check_reduction
from counterpoise.losses._elements import prepared, reduced, result_dtype


class SigmoidFocalLoss(nn.Module):
    r"""The focal loss for one or many yes/no decisions per sample: binary, multi-label, dense.

        loss = y * alpha * (1 - p)^gamma * -log(p) + (1 - y) * (1 - alpha) * p^gamma * -log(1 - p)

    with p = sigmoid(logits). Finite and exact at every logit for every gamma >= 0; with gamma = 0
    and no alpha it is `torch.nn.BCEWithLogitsLoss`.

    Source: Lin et al. 2017, arXiv 1708.02002, eq. 5, the form they train detectors with.

    Args:
        gamma: focusing parameter, at least 0: it down-weights easy decisions.
        alpha: share of the weight that "yes" gets, within 0 .. 1, one number or one per class (C);
            None weighs both sides by 1. The paper takes 0.25.
        ignore_index: the target that says that a label is not known.
        reduction: "mean" over the known labels, as torch's; "sum"; "none"; "batchmean" divides by
            the samples (axis 0). Detectors sum, and divide by their number of boxes.

    Shape: logits and target alike, (N), (N, C) or any other; with a vector alpha, classes in axis 1
    (the last for (C)). target may be soft, 0 .. 1. Output in the logits' dtype, float32 under
    autocast; half precision is computed in float32.

    Raises:
        ValueError: gamma negative, alpha outside 0 .. 1 or not one per class, unknown reduction,
            shapes that differ, targets outside 0 .. 1 (on a CPU).
        TypeError: logits that are not floating, a setting that is no number.

    Example:
        >>> import torch
        >>> from counterpoise.losses import SigmoidFocalLoss
        >>> loss = SigmoidFocalLoss(gamma=2.0, alpha=0.25)
        >>> round(loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])).item(), 4)
        0.6404
    """

    alpha: torch.Tensor | float | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Values = 0.25,
        reduction: str = "mean",
        *,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.gamma = as_number("gamma", gamma, 0)
        check_reduction(reduction)
        self.reduction, self.ignore_index = reduction, ignore_index
        if isinstance(alpha, int | float) or getattr(alpha, "ndim", 1) == 0:
            self.alpha = largest = as_number("alpha", alpha, 0)
        else:
            values = as_vector("alpha", alpha, least=0)
            self.register_buffer("alpha", values)
            largest = 0.0 if values is None else float(values.max())
        if largest > 1:
            raise ValueError(f"alpha must be within 0 .. 1, but got {largest:g}")

    def extra_repr(self) -> str:
        """What print(loss) shows."""
        alpha = self.alpha
        if isinstance(alpha, torch.Tensor):
            alpha = [round(a, 4) for a in alpha.tolist()]
        return f"gamma={self.gamma:g}, alpha={alpha}, reduction={self.reduction!r}"

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the reduced loss."""
        z, y, known = prepared(logits, target, self.ignore_index)
        u, v = costs(z)
        yes, no = focused(v, u, self.gamma), focused(u, v, self.gamma)
        if self.alpha is not None:
            alpha = self.alpha
            if isinstance(alpha, torch.Tensor):
                _check_alpha(alpha, z)
                alpha = alpha.to(z).view(-1, *[1] * max(0, z.dim() - 2))
            yes, no = alpha * yes, (1 - alpha) * no
        losses = y * yes + (1 - y) * no
        return reduced(losses, known, self.reduction, result_dtype(logits))


def costs(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """-log(1 - p) and -log(p) of p = sigmoid(z): what each decision costs if no, and if yes."""
    return F.softplus(z, threshold=LINEAR), F.softplus(-z, threshold=LINEAR)


def focused(cost: torch.Tensor, other: torch.Tensor, gamma: float) -> torch.Tensor:
    """The cost of the truth, times its focal factor: exp(-other) is the probability of a miss."""
    return cost * torch.exp(-gamma * other) if gamma else cost


def _check_alpha(alpha: torch.Tensor, z: torch.Tensor) -> None:
    classes = z.shape[min(1, z.dim() - 1)] if z.dim() else 1
    if len(alpha) != classes:
        raise ValueError(
            f"alpha must be one number or one per class, but has {len(alpha)} entries for the "
            f"{classes} classes of logits {tuple(z.shape)}; the classes are in axis 1"
        )
