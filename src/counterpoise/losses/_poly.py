"""The poly loss."""

from typing import Unpack

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import LEAST_POLY, Weighting, as_number


class PolyLoss(AdjustedCrossEntropyLoss):
    r"""Poly-1: cross entropy (or focal loss) with a changed first coefficient of its series.

    .. math::
        \text{loss} = (1 - p_t)^\gamma \, \bigl(-\log p_t + \epsilon \, (1 - p_t)\bigr)

    Source: Leng et al. 2022, arXiv 2204.12511, eq. 4 (gamma = 0) and table 1 (focal).

    Args:
        epsilon: at least -1; 1 is a good first try on images, and 0 is cross entropy.
        gamma: the focal loss's, at least 0.
        **settings: `weight`, `label_smoothing`, `ignore_index`, `reduction` of
            `AdjustedCrossEntropyLoss`, where shapes, dtypes, reductions and errors stand.

    Example:
        >>> import torch
        >>> from counterpoise.losses import PolyLoss
        >>> round(PolyLoss(epsilon=1.0)(torch.zeros(1, 2), torch.tensor([0])).item(), 4)
        1.1931
    """

    def __init__(
        self, epsilon: float = 1.0, gamma: float = 0.0, **settings: Unpack[Weighting]
    ) -> None:
        epsilon = as_number("epsilon", epsilon, -1, LEAST_POLY)
        super().__init__(poly=epsilon, gamma=gamma, **settings)
