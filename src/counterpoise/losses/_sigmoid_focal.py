"""The focal loss of independent yes/no decisions."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.kernels.adjusted_cross_entropy.eager import LINEAR
from counterpoise.losses._check import check_settings
from counterpoise.losses._elements import PerClass, Vector, along_classes, keep, reduced_loss, shown


class SigmoidFocalLoss(nn.Module):
    r"""Focal loss for one or many yes/no decisions per sample: binary, multi-label, dense.

    .. math::
        \text{loss} = \text{weight} \cdot \bigl(-y \, \text{pos\_weight} \, \alpha \,
        (1 - p)^\gamma \log p - (1 - y) (1 - \alpha) \, p^\gamma \log(1 - p)\bigr), \qquad
        p = \text{sigmoid}(\text{logits})

    Finite and exact at every logit for every gamma >= 0; with gamma = 0 and alpha = None it is
    `torch.nn.BCEWithLogitsLoss`, with its weight and pos_weight.

    Source: Lin et al. 2017, arXiv 1708.02002, eq. 5, the form they train detectors with.

    Args:
        gamma: focusing parameter, at least 0: it down-weights easy decisions.
        alpha: share of the weight that "yes" gets, within 0 .. 1, one number or one per class (C);
            None weighs both sides by 1. The paper takes 0.25.
        reduction: "mean" divides by the number of known labels, which no weight changes, as torch's
            BCEWithLogitsLoss does; "batchmean" by the samples (axis 0); "sum"; "none". Detectors
            divide by their number of boxes: hand that to the call as `normalizer`.
        weight: what a class counts, one number or one per class (C), at least 0.
        pos_weight: what "yes" counts beside "no", the same.
        label_smoothing: s within 0 .. 1; y becomes y (1 - s) + s / 2, as in Keras.
        soft_targets: what y between 0 and 1 means. "expected": the loss expected of a label that is
            1 with probability y, the formula above, as in kornia. "interpolated": y within p_t, as
            in torchvision and fvcore; with p_t = y p + (1 - y) (1 - p) the loss is
            (α y + (1 - α) (1 - y)) (1 - p_t)^γ times the cross entropy. For 0 and 1 they are equal.
        ignore_index: the target that says that a label is not known.

    Shape: logits and target alike, (N), (N, C) or any other; classes are in axis 1 (the last for
    (C)). target may be soft, 0 .. 1. sample_weight (N), the logits' shape, or that without the
    classes. Output in the logits' dtype, float32 under autocast; half precision is computed in
    float32.

    Raises:
        ValueError: a number outside its range or a vector not one per class, unknown reduction,
            shapes that differ, targets outside 0 .. 1 (on a CPU).
        TypeError: logits that are not floating, a setting that is no number.

    Example:
        >>> import torch
        >>> from counterpoise.losses import SigmoidFocalLoss
        >>> loss = SigmoidFocalLoss(gamma=2.0, alpha=0.25)
        >>> round(loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])).item(), 4)
        0.6404
    """

    alpha: PerClass
    weight: PerClass
    pos_weight: PerClass

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Vector = 0.25,
        reduction: str = "mean",
        *,
        weight: Vector = None,
        pos_weight: Vector = None,
        label_smoothing: float = 0.0,
        soft_targets: Literal["expected", "interpolated"] = "expected",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        check_settings(gamma, 0.0, label_smoothing, reduction)
        if soft_targets not in ("expected", "interpolated"):
            raise ValueError(
                f"soft_targets must be 'expected' or 'interpolated', but got {soft_targets!r}"
            )
        keep(self, alpha=alpha, weight=weight, pos_weight=pos_weight)
        largest = self.alpha.max() if isinstance(self.alpha, torch.Tensor) else self.alpha or 0.0
        if largest > 1:
            raise ValueError(f"alpha must be within 0 .. 1, but got {largest:g}")
        self.gamma, self.label_smoothing = float(gamma), float(label_smoothing)
        self.soft_targets, self.ignore_index = soft_targets, ignore_index
        self.reduction = reduction

    forward = reduced_loss

    def extra_repr(self) -> str:
        """Return the settings, for print(loss)."""
        return shown(self, "gamma", "alpha", "soft_targets")

    def yes_and_no(self, z: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cost of each decision if yes, and if no, before weights."""
        u, v = costs(z)
        alpha = along_classes("alpha", self.alpha, z)
        of_yes, of_no = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
        if self.soft_targets == "expected":
            return of_yes * focused(v, u, self.gamma), of_no * focused(u, v, self.gamma)
        factor = focused(y * of_yes + (1 - y) * of_no, -_log_error(z, y, u, v), self.gamma)
        return factor * v, factor * u


def costs(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return -log(1 - p) and -log(p) of p = sigmoid(z): the cross entropy of no, and of yes."""
    return F.softplus(z, threshold=LINEAR), F.softplus(-z, threshold=LINEAR)


def focused(
    cost: torch.Tensor, other: torch.Tensor, gamma: float, constant: bool = False
) -> torch.Tensor:
    """Return cost * (1 - p_t)^gamma, 1 - p_t = exp(-other); the factor may be without gradient."""
    return cost * torch.exp(-gamma * (other.detach() if constant else other)) if gamma else cost


def _log_error(z: torch.Tensor, y: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return log(1 - p_t) = log(y (1 - p) + (1 - y) p), where u = -log(1 - p) and v = -log(p).

    As logaddexp, but with derivatives of every order where a term is log(0).
    """
    d = torch.logit(y) - z  # the first term less the second
    largest = torch.where(d > 0, y.log() - u, torch.log1p(-y) - v)
    return largest + F.softplus(torch.where(d > 0, -d, d))
