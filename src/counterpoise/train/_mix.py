"""Mixing: pairs of training samples become one, with both classes as probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise import registry

Mixer = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Function from inputs, class numbers (N) and a random generator to inputs and probabilities."""


@dataclass(frozen=True, eq=False)
class Mix:
    r"""Mixing of the samples of a batch in pairs, as `fit` takes it.

    With one $\lambda \sim \text{Beta}(\alpha, \alpha)$ a batch:

    .. math::
        \tilde x = \lambda x_i + (1 - \lambda) x_j, \qquad
        \tilde q = \lambda q_i + (1 - \lambda) q_j

    with the one-hot probabilities q of the classes and j the sample before i in the batch, whose
    order is random. "cutmix" pastes a box of $x_j$ into $x_i$ and takes as $\lambda$ the share of
    the pixels that stay; "remix" gives all of $\tilde q$ to the rarer class where it is three times
    rarer and has less than half of the sample taken from it.

    Sources: mixup, Zhang et al. 2017, arXiv 1710.09412; CutMix, Yun et al. 2019, arXiv 1905.04899;
    Remix, Chou et al. 2020, arXiv 2007.03943.

    Args:
        name: a key of `MIXES` but "none".
        counts: training samples of each class, (C), as the loss sees them; on any device.
        alpha: above 0. The papers take 1 for CIFAR; mixup's takes 0.2 to 0.4 for ImageNet.

    Raises:
        ValueError: an unknown name, or an alpha that is not above 0.

    Example:
        >>> import torch
        >>> from counterpoise.train import Mix
        >>> mix, x = Mix("mixup", torch.tensor([3, 1])), torch.tensor([[0.0], [1.0]])
        >>> x, q = mix(x, torch.tensor([0, 1]), torch.Generator().manual_seed(0))
        >>> bool((x[:, 0] == q[:, 1]).all()), q.sum(1).tolist()
        (True, [1.0, 1.0])
    """

    name: str
    counts: Tensor
    alpha: float = 1.0

    def __post_init__(self) -> None:
        names = [name for name in MIXES if name != "none"]
        if self.name not in names:
            raise ValueError(registry.unknown("mix", self.name, names))
        if not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, but got {self.alpha}; the papers take 1")

    def __call__(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the mixed inputs, and the class probabilities (N, C), in float32 or wider."""
        dtype = torch.promote_types(inputs.dtype, torch.float32)
        q = F.one_hot(targets, len(self.counts)).to(dtype)
        return MIXES[self.name](inputs, q, generator, self.alpha, self.counts)


MIXES = {name: member.load() for name, member in registry.MIXES.items()}
