"""The whole family of softmax losses for imbalance, as a module."""

import torch
from torch import nn

from counterpoise.kernels.adjusted_cross_entropy import Samples
from counterpoise.losses._check import (
    Values,
    as_vector,
    check_range,
    check_settings,
    check_tensors,
)
from counterpoise.losses._functional import adjusted_cross_entropy


class AdjustedCrossEntropyLoss(nn.Module):
    r"""Cross entropy with class-wise scale, offset, margin and weight, focusing γ and poly term.

        a = scale * logits + offset
        p_t = exp(a_t - margin_t) / (exp(a_t - margin_t) + sum of exp(a_j) over j != t)
        loss = weight_t * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t))

    The other softmax losses of this package are this one with parameters computed from the class
    counts; without any parameter it is `torch.nn.CrossEntropyLoss`. The vectors are buffers: they
    move with the module and are in its state_dict, as CrossEntropyLoss's weight is. Vectors
    computed from counts have the default dtype; for the full precision of float64 logits, make that
    float64 (`torch.set_default_dtype`) when the loss is built.

    Sources, arguments, reductions, rules for nothing-counts and errors:
    `counterpoise.losses.adjusted_cross_entropy`, the same as a function.

    Args:
        scale, offset, margin, weight: one number per class, or None.
        gamma, poly, label_smoothing, ignore_index, reduction: as in the function.

    Shape: logits (C), (N, C) or (N, C, d1, ...); target class numbers without the C, or
    probabilities with it; sample_weight without it. Output a number, or with reduction "none" one
    per sample; in the logits' dtype.

    Raises:
        ValueError: vectors that are not one finite number per class, and what the function refuses.

    Example:
        >>> import torch
        >>> from counterpoise.losses import AdjustedCrossEntropyLoss
        >>> loss = AdjustedCrossEntropyLoss(offset=[0.0, 0.0, -2.0], gamma=1.0)
        >>> loss
        AdjustedCrossEntropyLoss(offset of 3 classes, gamma=1)
        >>> round(loss(torch.zeros(1, 3), torch.tensor([2])).item(), 4)
        2.5838
    """

    scale: torch.Tensor | None
    offset: torch.Tensor | None
    margin: torch.Tensor | None
    weight: torch.Tensor | None

    def __init__(
        self,
        *,
        scale: Values = None,
        offset: Values = None,
        margin: Values = None,
        weight: Values = None,
        gamma: float = 0.0,
        poly: float = 0.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_settings(gamma, poly, label_smoothing, reduction)
        self.register_buffer("scale", as_vector("scale", scale))
        self.register_buffer("offset", as_vector("offset", offset))
        self.register_buffer("margin", as_vector("margin", margin))
        self.register_buffer("weight", as_vector("weight", weight))
        self.gamma, self.poly = float(gamma), float(poly)
        self.label_smoothing = float(label_smoothing)
        self.ignore_index, self.reduction = ignore_index, reduction

    def extra_repr(self) -> str:
        """Return the parameters that differ from plain cross entropy's, for print(loss)."""
        shown = [f"{name} of {len(v)} classes" for name, v in self.named_buffers(recurse=False)]
        numbers = {"gamma": 0.0, "poly": 0.0, "label_smoothing": 0.0}
        shown += [f"{n}={getattr(self, n):g}" for n, d in numbers.items() if getattr(self, n) != d]
        others = {"ignore_index": -100, "reduction": "mean"}
        shown += [f"{n}={getattr(self, n)!r}" for n, d in others.items() if getattr(self, n) != d]
        return ", ".join(shown)

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        sample_weight: torch.Tensor | None = None,
        normalizer: torch.Tensor | float | None = None,
    ) -> torch.Tensor:
        """Return the reduced loss; see `adjusted_cross_entropy`."""
        return adjusted_cross_entropy(
            logits,
            target,
            scale=self.scale,
            offset=self.offset,
            margin=self.margin,
            weight=self.weight,
            gamma=self.gamma,
            poly=self.poly,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            normalizer=normalizer,
            sample_weight=sample_weight,
        )

    def normalizer(
        self, target: torch.Tensor, sample_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What this loss divides by on a batch with these targets: a number.

        A mean over micro-batches or ranks is their sums over the sum of their normalizers, not the
        mean of their means. Add these up (and all-reduce the sum), and hand it to every call:

        >>> import torch
        >>> from counterpoise.losses import FocalLoss
        >>> loss, logits = FocalLoss(alpha=[1.0, 9.0]), torch.tensor([[1.0, 0.0], [0.5, 0.0]])
        >>> target = torch.tensor([0, 1])
        >>> total = loss.normalizer(target)
        >>> parts = [loss(logits[i:i+1], target[i:i+1], normalizer=total) for i in range(2)]
        >>> bool(torch.isclose(sum(parts), loss(logits, target)))
        True

        Class numbers out of range are refused as by the loss itself; without a vector, the loss
        does not know the number of classes, and refuses negative ones only.
        """
        check_tensors(target=target, sample_weight=sample_weight)
        if target.is_floating_point():  # probabilities: every sample counts, classes in axis 1
            target = torch.zeros_like(target.select(min(1, target.dim() - 1), 0), dtype=torch.long)
            samples = Samples(target, sample_weight=sample_weight)
        else:
            classes = next((len(v) for v in self.buffers(recurse=False)), None)
            check_range(target, classes, self.ignore_index)
            samples = Samples(target, self.ignore_index, self.weight, sample_weight)
        dtype = torch.float32
        for x in (samples.weight, sample_weight):
            dtype = dtype if x is None else torch.promote_types(dtype, x.dtype)
        by = "batchmean" if self.reduction == "batchmean" else "mean"
        return samples.normalizer(by, dtype)
