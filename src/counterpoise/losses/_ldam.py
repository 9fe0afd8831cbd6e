"""The label-distribution-aware margin loss."""

from typing import ClassVar, Unpack

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import Counts, Focusing, as_counts, as_number, by_default


class LDAMLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy in which the target's logit has to win by a margin, larger for rare classes.

    .. math::
        \text{loss} = -\log \text{softmax}\bigl(s \, (z - m_t \mathbb{1}_t)\bigr)_t, \qquad
        m_j = m_\text{max} \Bigl(\frac{\min_k n_k}{n_j}\Bigr)^{1/4}

    with logits z, scale s, and the count n_j of class j.

    Made for cosines as logits: give the net a `models.NormedLinear` as its last layer, or it will
    not learn. The authors' recipe weighs the classes from late in the training on:
    `DeferredReweighting`.

    Source: Cao et al. 2019, arXiv 1906.07413, eq. 10 and 13, and the authors' code for the scale.

    Args:
        counts: training samples of each class as the loss sees them, (C). An empty class counts as
            the rarest of the others.
        max_margin: the margin of the rarest class, at least 0: 0.5 for small sets, 0.3 for large.
        scale: the factor of the cosines, above 0.
        **settings: `weight`, `gamma`, `label_smoothing`, `ignore_index`, `reduction` of
            `AdjustedCrossEntropyLoss`, where shapes, dtypes, reductions and errors stand.

    Example:
        >>> import torch
        >>> from counterpoise.losses import LDAMLoss
        >>> cosines = torch.tensor([[0.2, 0.6]])
        >>> round(LDAMLoss([900, 100])(cosines, torch.tensor([1])).item(), 4)
        3.0486
    """

    _names: ClassVar = {"scale": "counts", "margin": "counts"}

    def __init__(
        self,
        counts: Counts,
        max_margin: float = 0.5,
        scale: float = 30.0,
        **settings: Unpack[Focusing],
    ) -> None:
        max_margin, scale = as_number("max_margin", max_margin, 0), as_number("scale", scale, 1e-6)
        n = as_counts(counts)
        margin = scale * max_margin * (n.min() / n) ** 0.25
        super().__init__(margin=by_default(margin), scale=[scale] * len(n), **settings)
        self.max_margin = max_margin
