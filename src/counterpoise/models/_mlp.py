"""Multilayer perceptron."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

Norm = Callable[[Any], nn.Module]


class MLP(nn.Module):
    r"""Multilayer perceptron: fully connected layers from vectors to logits.

    .. math::
        h_0 = x, \qquad
        h_l = \text{dropout}(\text{activation}(\text{norm}(W_l h_{l-1} + b_l))), \qquad
        \text{logits} = W h_L + b

    Inputs of more axes, such as images, are flattened first.

    Args:
        norm: a function from the normalized shape, here (width,), to a module, such as
            `counterpoise.norms.ALL["layer"]` or `lambda shape: nn.BatchNorm1d(shape[0])`; None for
            no norm. Norms that need pixels ("layer2d", "instance") refuse vectors.
        in_features: numbers per sample, over all axes.
        num_classes: number of logits.
        hidden: the widths of the hidden layers; empty for a linear classifier.
        activation: a function without arguments to a module, such as `nn.ReLU`.
        dropout: probability that a hidden layer's output is dropped in training, 0 <= p < 1.

    Shape: (N, ...) of `in_features` numbers per sample to (N, num_classes).

    Raises:
        ValueError: sizes out of range, or inputs of another size than the net was built for.

    Example:
        >>> import torch
        >>> from counterpoise import models, norms
        >>> net = models.MLP(norms.ALL["layer"], in_features=30, num_classes=2, hidden=(64, 64))
        >>> net(torch.randn(5, 30)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        norm: Norm | None = None,
        *,
        in_features: int,
        num_classes: int = 10,
        hidden: Sequence[int] = (256, 128),
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [in_features, *hidden]
        if min(*widths, num_classes) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                "MLP needs in_features, num_classes and each hidden width >= 1 and 0 <= dropout < "
                f"1, but got {in_features}, {num_classes}, {tuple(hidden)} and {dropout}"
            )
        self.in_features = in_features
        layers: list[nn.Module] = [nn.Flatten()]
        for before, width in itertools.pairwise(widths):
            layers.append(nn.Linear(before, width))
            layers += [norm((width,))] if norm is not None else []
            layers.append(activation())
            layers += [nn.Dropout(dropout)] if dropout else []
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        if x.dim() < 2 or math.prod(x.shape[1:]) != self.in_features:
            raise ValueError(
                f"this MLP was built for in_features={self.in_features} numbers a sample, but got "
                f"inputs {tuple(x.shape)}; pass in_features when building it"
            )
        return self.layers(x)


def for_shape(norm: Norm | None, shape: tuple[int, ...], num_classes: int) -> MLP:
    """Return the net for samples of any shape, which are flattened."""
    return MLP(norm, in_features=math.prod(shape), num_classes=num_classes)
