"""The vector-scaling loss, and its special case with temperatures alone."""

from typing import ClassVar, Unpack

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import Counts, Focusing, as_counts, as_number, by_default
from counterpoise.losses._logit_adjusted import log_prior


class VSLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy of logits that are both scaled and offset by the size of their class.

    .. math::
        \text{loss} = -\log \text{softmax}(s \cdot z + b)_t, \qquad
        s_j = \Bigl(\frac{n_j}{\max_k n_k}\Bigr)^{\text{power}}, \qquad
        b_j = \tau \log \frac{n_j}{\sum_k n_k}

    with logits z and the count n_j of class j.
    The offset helps early in the training and the scale late, when every sample is fitted. At
    evaluation take the argmax of the bare logits.

    Source: Kini et al. 2021, arXiv 2103.01550, eq. 2 (`power` is their γ).

    Args:
        counts: training samples of each class as the loss sees them, (C). An empty class counts as
            the rarest of the others.
        power: of the scale, at least 0; 0 is `LogitAdjustedLoss`.
        tau: of the offset; 0 is `CDTLoss`.
        **settings: `weight`, `gamma`, `label_smoothing`, `ignore_index`, `reduction` of
            `AdjustedCrossEntropyLoss`, where shapes, dtypes, reductions and errors stand.

    Example:
        >>> import torch
        >>> from counterpoise.losses import VSLoss
        >>> loss = VSLoss([90, 10], power=0.3)
        >>> round(loss(torch.tensor([[0.0, 1.0]]), torch.tensor([1])).item(), 4)
        1.8509
    """

    _names: ClassVar = {"scale": "counts", "offset": "counts"}

    def __init__(
        self, counts: Counts, power: float = 0.3, tau: float = 1.0, **settings: Unpack[Focusing]
    ) -> None:
        power, tau = as_number("power", power, 0), as_number("tau", tau)
        n = as_counts(counts)
        scale = by_default((n / n.max()) ** power)
        offset = by_default(tau * log_prior(counts)) if tau else None
        super().__init__(scale=scale, offset=offset, **settings)
        self.power, self.tau = power, tau


class CDTLoss(VSLoss):
    r"""Class-dependent temperatures: cross entropy of logits scaled by the size of their class.

    .. math::
        \text{loss} = -\log \text{softmax}\Bigl(
        \Bigl(\frac{n_j}{\max_k n_k}\Bigr)^{\text{power}} z_j\Bigr)_t

    Source: Ye et al. 2020, arXiv 2001.01385, eq. 4 (`power` is their γ).

    Args:
        counts, power, settings: as in `VSLoss`.

    Example:
        >>> import torch
        >>> from counterpoise.losses import CDTLoss
        >>> loss = CDTLoss([90, 10], power=0.3)
        >>> round(loss(torch.tensor([[0.0, 1.0]]), torch.tensor([1])).item(), 4)
        0.4676
    """

    def __init__(self, counts: Counts, power: float = 0.3, **settings: Unpack[Focusing]) -> None:
        super().__init__(counts, power=power, tau=0.0, **settings)
