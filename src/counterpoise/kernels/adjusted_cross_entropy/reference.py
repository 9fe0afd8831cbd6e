"""The formula of every softmax loss for imbalance, as the papers write it: readable, not stable.

Sources: focal, Lin et al. 2017, arXiv 1708.02002, eq. 5; offsets, Menon et al. 2020, arXiv
2007.07314, eq. 10; scales, Ye et al. 2020, arXiv 2001.01385; margins, Cao et al. 2019, arXiv
1906.07413, eq. 13; poly, Leng et al. 2022, arXiv 2204.12511, eq. 4.
"""

from typing import NamedTuple

import torch


class Arguments(NamedTuple):
    """All that the loss depends on besides the logits (N, C, ...)."""

    target: torch.Tensor  # class numbers (N, ...), or class probabilities (N, C, ...)
    weight: torch.Tensor | None = None  # (C,)
    sample_weight: torch.Tensor | None = None  # (N, ...)
    scale: torch.Tensor | None = None  # (C,)
    offset: torch.Tensor | None = None  # (C,)
    margin: torch.Tensor | None = None  # (C,), taken from the logit of the target alone
    gamma: torch.Tensor | float = 0.0  # one for all classes, or (C,)
    normalizer: torch.Tensor | float | None = None  # what the means divide by instead
    poly: float = 0.0
    label_smoothing: float = 0.0
    ignore_index: int = -100
    reduction: str = "none"

    @property
    def soft(self) -> bool:
        """True where a sample's target is more than one class."""
        return self.label_smoothing != 0 or self.target.is_floating_point()

    @property
    def vectors(self) -> tuple[torch.Tensor | None, ...]:
        """The vectors, in the order in which the kernels take them."""
        return self.weight, self.sample_weight, self.scale, self.offset, self.margin

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers behind gamma, in the order in which the kernels take them."""
        return self.poly, self.label_smoothing

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that are tensors; they may be among the first eight."""
        return [x for x in self[:8] if x is not None and isinstance(x, torch.Tensor)]


def adjusted_cross_entropy(logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the loss of each sample: logits (N, C) to (N,); without reduction and sample weights.

    $w_t ((1 - p_t)^γ (-log p_t) + poly (1 - p_t)^(γ + 1))$ with p = softmax(scale * logits +
    offset - margin_t at the target t); for class probabilities, the expectation over t.
    """
    target, classes = arguments.target, logits.shape[1]
    a = logits if arguments.scale is None else logits * arguments.scale
    a = a if arguments.offset is None else a + arguments.offset
    as_target = a.unsqueeze(1).expand(-1, classes, -1)  # (N, target, class)
    if arguments.margin is not None:
        as_target = as_target - torch.diag(arguments.margin)
    p = torch.softmax(as_target, dim=2).diagonal(dim1=1, dim2=2)
    losses = (1 - p) ** arguments.gamma * (-torch.log(p) + arguments.poly * (1 - p))
    if arguments.weight is not None:
        losses = losses * arguments.weight
    if not arguments.soft:
        return losses.gather(1, target.unsqueeze(1)).squeeze(1)
    if not target.is_floating_point():
        target = torch.nn.functional.one_hot(target, classes)
    share = arguments.label_smoothing
    return ((target * (1 - share) + share / classes) * losses).sum(1)
