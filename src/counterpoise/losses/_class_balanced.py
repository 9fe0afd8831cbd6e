"""The class-balanced loss."""

from typing import ClassVar, Unpack

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import Counts, Reducing
from counterpoise.losses._class_weights import effective_number_weights


class ClassBalancedLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy (or focal loss) weighted by the effective number of samples of a class.

    .. math::
        \text{loss} = -w_t \, (1 - p_t)^\gamma \log p_t, \qquad
        w_j \propto \frac{1 - \beta}{1 - \beta^{n_j}}

    where n_j is the count of class j and the weights are scaled to mean 1. beta = 0 weighs all
    classes alike, beta -> 1 by 1 / counts.

    Source: Cui et al. 2019, arXiv 1901.05555, eq. 4 and 8 (their softmax variant).

    Args:
        counts: training samples of each class, (C).
        beta: at least 0, below 1; 0.9999 is the authors' choice for CIFAR-LT.
        gamma: the focal loss's, at least 0.
        **settings: `label_smoothing`, `ignore_index`, `reduction` of `AdjustedCrossEntropyLoss`,
            where shapes, dtypes, reductions and errors stand.

    Example:
        >>> from counterpoise.losses import ClassBalancedLoss
        >>> ClassBalancedLoss([900, 100], beta=0.999).weight
        tensor([0.2764, 1.7236])
    """

    _names: ClassVar = {"weight": "counts"}

    def __init__(
        self, counts: Counts, beta: float = 0.9999, gamma: float = 0.0, **settings: Unpack[Reducing]
    ) -> None:
        super().__init__(weight=effective_number_weights(counts, beta), gamma=gamma, **settings)
        self.beta = beta
