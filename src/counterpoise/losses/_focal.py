"""The focal loss."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import Values, as_vector


class FocalLoss(AdjustedCrossEntropyLoss):
    r"""Focal loss, α-balanced, for multi-class classification.

    .. math::
        \text{loss} = -\alpha_t \, (1 - p_t)^\gamma \log p_t, \qquad
        p = \text{softmax}(\text{logits})

    where t is the target class. `gamma` down-weights the samples that are already classified well,
    `alpha` balances the classes. With gamma = 0 it is `torch.nn.CrossEntropyLoss(alpha)`.

    Source: Lin et al. 2017, arXiv 1708.02002, eq. 5. Shapes, dtypes, reductions and errors:
    `AdjustedCrossEntropyLoss`. Formula: `kernels/adjusted_cross_entropy/reference.py`.

    Args:
        gamma: focusing parameter, at least 0: it down-weights easy samples; 2 in the paper. One
            number, or one per class, (C).
        alpha: class weights α, (C), None for all 1; kept in the buffer `weight`, as torch's losses
            keep theirs.
        reduction: "mean" divides by the sum of the targets' α, as torch's cross entropy does with
            its weights, "batchmean" by the number of samples, as the paper does; "sum"; "none".
        label_smoothing, ignore_index: as in `torch.nn.CrossEntropyLoss`.

    Example:
        >>> import torch
        >>> from counterpoise.losses import FocalLoss
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
        >>> round(FocalLoss(gamma=2.0)(logits, torch.tensor([0, 2])).item(), 4)
        0.0058
    """

    _names: ClassVar = {"weight": "alpha"}

    def __init__(
        self,
        gamma: float | torch.Tensor | Sequence[float] = 2.0,
        alpha: Values = None,
        reduction: str = "mean",
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
    ) -> None:
        super().__init__(
            gamma=gamma,
            weight=as_vector("alpha", alpha),
            reduction=reduction,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
        )
