"""The seesaw loss."""

import math
from typing import Unpack

import torch

from counterpoise.losses._adjusted import AdjustedCrossEntropyLoss
from counterpoise.losses._check import (
    Counts,
    Focusing,
    as_counts,
    as_number,
    by_default,
    check_call,
    check_range,
)
from counterpoise.losses._elements import result_dtype


class SeesawLoss(AdjustedCrossEntropyLoss):
    r"""Cross entropy in which frequent classes press less on rare ones, unless they are mistaken.

    .. math::
        \text{loss} = -\log \frac{e^{z_t}}{e^{z_t} + \sum_{j \ne t} S_{tj} \, e^{z_j}}, \qquad
        S_{tj} = \min\Bigl(1, \frac{n_j}{n_t}\Bigr)^p \,
        \max\Bigl(1, \frac{\sigma_j}{\max(\sigma_t, \text{eps})}\Bigr)^q

    with t the target class, z the logits, n the counts and σ = softmax(z). The first factor, the
    mitigation, spares classes that are rarer than the target; the second, the compensation, presses
    harder on classes that are more probable than it. The gradient takes S as constant.

    Source: Wang et al. 2020, arXiv 2008.10032, section 3; mmdetection for eps and the counting.

    Args:
        counts: training samples of each class as the loss sees them, (C). An empty class counts as
            the rarest of the others. None counts the targets of all calls in training mode, this
            one included, in the buffer `counts`, as the authors do; call `eval()` on the loss
            before validating with it. Each process counts its own.
        p: exponent of the mitigation, at least 0.
        q: exponent of the compensation, at least 0.
        eps: the least that σ_t is taken for; 0 is the paper's formula, 0.01 mmdetection's default.
        num_classes: C, where counts is None.
        **settings: `weight`, `gamma`, `label_smoothing`, `ignore_index`, `reduction` of
            `AdjustedCrossEntropyLoss`, where shapes, dtypes, reductions and errors stand.

    Raises:
        TypeError: probabilities as the target; a setting that the loss does not have.
        ValueError: neither counts nor num_classes, or both.

    Example:
        >>> import torch
        >>> from counterpoise.losses import SeesawLoss
        >>> loss = SeesawLoss([900, 100])
        >>> round(loss(torch.tensor([[0.0, 1.0]]), torch.tensor([0])).item(), 4)
        1.4959
    """

    counts: torch.Tensor

    def __init__(
        self,
        counts: Counts | None = None,
        p: float = 0.8,
        q: float = 2.0,
        *,
        eps: float = 0.0,
        num_classes: int | None = None,
        **settings: Unpack[Focusing],
    ) -> None:
        super().__init__(**settings)
        self.p, self.q = as_number("p", p, 0), as_number("q", q, 0)
        self.eps = as_number("eps", eps, 0)
        if (counts is None) == (num_classes is None):
            raise ValueError(
                "SeesawLoss needs counts, the samples of each class, or num_classes, to count them "
                f"itself, but got counts {counts} and num_classes {num_classes}"
            )
        self.counting = counts is None
        n = (
            torch.zeros(num_classes or 0).long()
            if counts is None
            else by_default(as_counts(counts))
        )
        self.register_buffer("counts", n)
        for name in [name for name, buffer in self._buffers.items() if buffer is None]:
            self._buffers[name] = self._buffers.pop(name)  # torch.export needs the empty ones last

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        sample_weight: torch.Tensor | None = None,
        normalizer: torch.Tensor | float | None = None,
    ) -> torch.Tensor:
        """Return the reduced loss; see `adjusted_cross_entropy`."""
        check_call(logits, self._arguments(target, sample_weight, normalizer))
        if target.is_floating_point():
            raise TypeError(
                "the target of SeesawLoss must be class numbers (int64), on which its factors "
                f"depend, but got probabilities ({target.dtype}); take target.argmax(1)"
            )
        classes = logits.shape[min(1, logits.dim() - 1)]
        if len(self.counts) != classes:
            raise ValueError(
                f"counts must have one entry per class, but has {len(self.counts)} for {classes} "
                "classes"
            )
        check_range(target, classes, self.ignore_index)
        z = logits.to(torch.promote_types(logits.dtype, torch.float32))
        z = z + self._log_factors(z.detach(), target.long())
        value = super().forward(z, target, sample_weight=sample_weight, normalizer=normalizer)
        return value.to(result_dtype(logits))

    @torch.no_grad()
    def _log_factors(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return log S, of the logits' shape; at the target it is 0."""
        axis = min(1, z.dim() - 1)
        valid = target != self.ignore_index
        index = torch.where(valid, target, 0)
        if self.counting and self.training:
            self.counts.scatter_add_(0, index.flatten(), valid.long().flatten())
        index = index.unsqueeze(axis)
        z_t = z.gather(axis, index)
        if self.eps:
            z_t = torch.maximum(z_t, z.logsumexp(axis, keepdim=True) + math.log(self.eps))
        # Where z_t is -inf the loss is infinite, with factors or without.
        log_ratio = (z - z_t).clamp_min(0).nan_to_num(0.0, 0.0)
        log_n = (self.counts + (self.counts == 0)).to(z.dtype).log()
        log_rarer = (log_n.view(-1, *[1] * (z.dim() - 1 - axis)) - log_n[index]).clamp_max(0)
        return self.q * log_ratio + self.p * log_rarer
