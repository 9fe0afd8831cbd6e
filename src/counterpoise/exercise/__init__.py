"""The exercise: its names, its demo, and findings on its single runs.

    from counterpoise.exercise import *

fills the blanks of the exercise: its cells run as they are. This package uses the public names of
the library alone, as your own code would.

demo.py        the two parts of the exercise as plans for `counterpoise.study`, and their results
_networks.py   `explain_norms`: which networks learned, and why another did not
_losses.py     `compare_losses`: two losses on the same test images
_alpha.py      `explain_alpha`: what the scale of α does to that comparison
_summary.py    all of it in a few sentences

Noise in a finding on single runs is two standard errors of the difference, from the finite number
of test images. Both networks see the same images, which makes the true noise smaller rather than
larger; the noise between seeds comes on top, and one run of each cannot show it, so a finding says
that every time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise import losses, models, norms
from counterpoise.data import Split, make_imbalanced
from counterpoise.exercise._alpha import explain_alpha as explain_alpha
from counterpoise.exercise._losses import compare_losses as compare_losses
from counterpoise.exercise._networks import explain_norms as explain_norms
from counterpoise.train import accuracy, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = [  # the names of the exercise, which has none of the three functions above
    "DeeperCNN",
    "DeeperCNNGroupNorm",
    "DeeperCNNLayerNorm",
    "FocalLoss",
    "GroupNormCustom",
    "LayerNormCustom",
    "create_imbalanced_dataset",
    "plot_confusion_matrix",
    "train",
    "validate",
]


class LayerNormCustom(norms.LayerNorm):
    """`counterpoise.norms.LayerNorm` with the exercise's names: γ is `gamma`, β is `beta`."""

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5) -> None:
        shape = normalized_shape if isinstance(normalized_shape, int) else list(normalized_shape)
        super().__init__(shape, eps)

    @property
    def gamma(self) -> nn.Parameter:
        """The scale, torch's `weight`."""
        return self.weight

    @property
    def beta(self) -> nn.Parameter:
        """The shift, torch's `bias`."""
        return self.bias


class GroupNormCustom(norms.GroupNorm):
    """`counterpoise.norms.GroupNorm` with the exercise's names and order of arguments."""

    def __init__(self, num_features: int, num_groups: int, eps: float = 1e-5) -> None:
        super().__init__(num_groups, num_features, eps)

    gamma, beta = LayerNormCustom.gamma, LayerNormCustom.beta


class FocalLoss(losses.FocalLoss):
    r"""Focal loss, averaged over the batch: the mean of $-\alpha_t (1 - p_t)^\gamma \log p_t$.

    Logits, target and alpha may be on different devices; the loss is computed where the logits are.

    Args:
        alpha: one weight per class (tensor, array or list), or None for all 1.
        gamma: the focusing parameter, at least 0.
    """

    def __init__(self, alpha: Tensor | Sequence[float] | None = None, gamma: float = 2.0) -> None:
        super().__init__(gamma, alpha, reduction="batchmean")

    def forward(self, logits: Tensor, target: Tensor, **settings: Any) -> Tensor:
        """Return the mean loss of logits (N, C) and class indices (N)."""
        return super().forward(logits, target.to(logits.device), **settings)


class DeeperCNN(models.DeeperCNN):
    """The net of the exercise: two blocks of convolutions for 28x28 images, without a norm."""

    _norm: str | None = None

    def __init__(
        self,
        c_in: int = 1,
        c_out: int = 10,
        hidden_dim_1: int = 4,
        hidden_dim_2: int = 8,
        nr_convs_per_block: int = 2,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(
            None if self._norm is None else norms.ALL[self._norm],
            in_channels=c_in,
            num_classes=c_out,
            channels=(hidden_dim_1, hidden_dim_2),
            convs_per_block=nr_convs_per_block,
            activation=activation,
        )


class DeeperCNNLayerNorm(DeeperCNN):
    """`DeeperCNN` with a LayerNorm over (C, H, W) after every convolution."""

    _norm = "layer"


class DeeperCNNGroupNorm(DeeperCNN):
    """`DeeperCNN` with a GroupNorm of two groups after every convolution."""

    _norm = "group"


def create_imbalanced_dataset(
    X: Tensor, y: Tensor, num_samples_per_class: Mapping[int, int]
) -> tuple[Tensor, Tensor]:
    """Take the first samples of each class, as many as requested, class after class.

    Raises:
        ValueError: a class has fewer samples than requested; the message has both numbers.
    """
    part = make_imbalanced(Split(X, y), num_samples_per_class)
    return part.inputs[:], part.targets


def validate(model: nn.Module, X_val: Tensor, y_val: Tensor) -> float:
    """Return the accuracy of a model; its training mode is restored afterwards."""
    return accuracy(model, _as_part(X_val, y_val))


def train(
    model: nn.Module,
    X_train: Tensor,
    y_train: Tensor,
    X_test: Tensor,
    y_test: Tensor,
    num_epochs: int = 3,
    lr: float = 0.1,
    loss_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> tuple[list[float], list[float], list[float]]:
    """Train with SGD in batches of 32, printing a line an epoch, as the exercise does.

    The order of the samples follows torch's seed. Data may be on the CPU and the model elsewhere.

    Returns:
        The loss, the validation accuracy and the training accuracy of each epoch, plain floats.
    """
    loss_fn = nn.functional.cross_entropy if loss_fn is None else loss_fn
    name = getattr(loss_fn, "__name__", repr(loss_fn))
    print(f"Training model {type(model).__name__} with {name} for {num_epochs} epochs")  # noqa: T201 as the exercise
    rows = fit(
        model,
        loss_fn,
        _as_part(X_train, y_train),
        _as_part(X_test, y_test),
        epochs=num_epochs,
        lr=lr,
        seed=int(torch.randint(2**31, ())),
        on_epoch=_print_row,
    )[1:]
    return (
        [row["loss"] for row in rows],
        [row["test_accuracy"] for row in rows],
        [row["train_accuracy"] for row in rows],
    )


def plot_confusion_matrix(
    y_true: Sequence[int] | Tensor,
    y_pred: Sequence[int] | Tensor,
    classes: Sequence[str],
    title: str = "Confusion matrix",
    cmap: "str | Colormap" = "Blues",
) -> "Axes":
    """Draw the confusion matrix with counts, shaded by the share of the true class.

    Returns:
        The axes.
    """
    import matplotlib.pyplot as plt

    from counterpoise.metrics import score
    from counterpoise.plots import draw_confusion

    confusion = score(np.asarray(y_true), np.asarray(y_pred), len(classes)).confusion
    axes = plt.figure(figsize=(9, 8), layout="constrained").add_subplot()
    draw_confusion(axes, confusion, classes, title, cmap)
    plt.show()
    return axes


def _as_part(X: Tensor, y: Tensor) -> Split:
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    return Split(X.reshape(-1, 1, 28, 28) if X.dim() < 4 else X, y.long())


def _print_row(row: dict[str, Any]) -> None:
    start = "Before training: "
    if row["loss"] is not None:
        start = f"Epoch {row['epoch'] - 1}, Loss: {row['loss']:.4f}, "
    accuracies = (
        f"validation accuracy: {row['test_accuracy']:.4f}, "
        f"train accuracy: {row['train_accuracy']:.4f}"
    )
    print(start + accuracies)  # noqa: T201 as the exercise
