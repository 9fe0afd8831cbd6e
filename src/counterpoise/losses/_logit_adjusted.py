"""The logit-adjusted loss, and its special case, the balanced softmax."""

from typing import ClassVar, Unpack

import torch

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import Counts, Focusing, as_counts, as_number, by_default


def log_prior(counts: Counts) -> torch.Tensor:
    """Return the logarithm of each class's share in float64; an empty class is as the rarest."""
    n = as_counts(counts)
    return (n / n.sum()).log()


class LogitAdjustedLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy of logits to which tau times the log of the class's share is added.

    .. math::
        \text{loss} = -\log \text{softmax}(z + \tau \log \pi)_t, \qquad
        \pi_j = \frac{n_j}{\sum_k n_k}

    with logits z and the count n_j of class j. The offset explains the class sizes, so that the net
    need not: its bare logits, at evaluation, are those for balanced classes. Take their argmax
    without the offset.

    Source: Menon et al. 2020, arXiv 2007.07314, eq. 10.

    Args:
        counts: training samples of each class as the loss sees them, (C): with a balancing sampler
            all alike (`sampler.seen_counts()`). An empty class counts as the rarest of the others.
        tau: how much of the shares is taken out; 1 in theory, tuned on validation in practice.
        **settings: `weight`, `gamma`, `label_smoothing`, `ignore_index`, `reduction` of
            `AdjustedCrossEntropyLoss`, where shapes, dtypes, reductions and errors stand.

    Example:
        >>> import torch
        >>> from counterpoise.losses import LogitAdjustedLoss
        >>> loss = LogitAdjustedLoss([90, 10])
        >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
        2.3026
    """

    _names: ClassVar = {"offset": "counts"}

    def __init__(self, counts: Counts, tau: float = 1.0, **settings: Unpack[Focusing]) -> None:
        tau = as_number("tau", tau)
        super().__init__(offset=by_default(tau * log_prior(counts)), **settings)
        self.tau = tau


class BalancedSoftmaxLoss(LogitAdjustedLoss):
    r"""Cross entropy of logits to which the log of the class's count is added.

    .. math::
        \text{loss} = -\log \frac{n_t e^{z_t}}{\sum_j n_j e^{z_j}}

    with logits z and the count n_j of class j. It is `LogitAdjustedLoss` with tau = 1, since a
    constant added to all logits changes no softmax.

    Source: Ren et al. 2020, arXiv 2007.10740, eq. 4.

    Args:
        counts, settings: as in `LogitAdjustedLoss`.

    Example:
        >>> import torch
        >>> from counterpoise.losses import BalancedSoftmaxLoss
        >>> loss = BalancedSoftmaxLoss([90, 10])
        >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
        2.3026
    """

    def __init__(self, counts: Counts, **settings: Unpack[Focusing]) -> None:
        super().__init__(counts, tau=1.0, **settings)
