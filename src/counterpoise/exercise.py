"""The exercise sheet's own names, each a thin face of the real part.

    from counterpoise.exercise import *

fills the blanks of the sheet: its cells run as they stand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise import losses, models, norms
from counterpoise.data import Part, make_imbalanced
from counterpoise.train import accuracy, fit

__all__ = [
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
    """`counterpoise.norms.LayerNorm` with the sheet's names: γ is `gamma`, β is `beta`."""

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
    """`counterpoise.norms.GroupNorm` with the sheet's names and order of arguments."""

    def __init__(self, num_features: int, num_groups: int, eps: float = 1e-5) -> None:
        super().__init__(num_groups, num_features, eps)

    @property
    def gamma(self) -> nn.Parameter:
        """The scale, torch's `weight`."""
        return self.weight

    @property
    def beta(self) -> nn.Parameter:
        """The shift, torch's `bias`."""
        return self.bias


class FocalLoss(losses.FocalLoss):
    """`counterpoise.losses.FocalLoss`, averaged over the batch as on the sheet.

    Scores, target and alpha may be on different devices; the loss is computed where the scores are.

    Args:
        alpha: one weight per class (tensor, array or list), or None for all 1.
        gamma: the focusing parameter, at least 0.
    """

    def __init__(self, alpha: Tensor | Sequence[float] | None = None, gamma: float = 2.0) -> None:
        super().__init__(gamma, alpha, reduction="batchmean")

    def forward(self, logits: Tensor, target: Tensor, **settings: Any) -> Tensor:
        """Return the mean of -α_t (1 - p_t)^γ log(p_t)."""
        return super().forward(logits, target.to(logits.device), **settings)


class DeeperCNN(models.DeeperCNN):
    """The sheet's net: 28x28 images, two blocks of convolutions, no norm."""

    _norm: str | None = None

    def __init__(
        self,
        c_in: int = 1,
        c_out: int = 10,
        hidden_dim_1: int = 4,
        hidden_dim_2: int = 8,
        nr_convs_per_block: int = 2,
        activation: Any = nn.ReLU,
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
    """`DeeperCNN` with a LayerNorm over (C, H, W) behind every convolution."""

    _norm = "layer"


class DeeperCNNGroupNorm(DeeperCNN):
    """`DeeperCNN` with a GroupNorm of two groups behind every convolution."""

    _norm = "group"


def create_imbalanced_dataset(
    X: Tensor, y: Tensor, num_samples_per_class: Mapping[int, int]
) -> tuple[Tensor, Tensor]:
    """Take the first samples of each class, as many as asked for, class after class.

    Raises:
        ValueError: a class has fewer samples than asked for; says which, and how many it has.
    """
    part = make_imbalanced(Part(X, y), num_samples_per_class)
    return part.inputs, part.targets


def validate(model: nn.Module, X_val: Tensor, y_val: Tensor) -> float:
    """The share of the samples that the model classifies right; its mode is put back afterwards."""
    return accuracy(model, _as_part(X_val, y_val))


def train(
    model: nn.Module,
    X_train: Tensor,
    y_train: Tensor,
    X_test: Tensor,
    y_test: Tensor,
    num_epochs: int = 3,
    lr: float = 0.1,
    loss_fn: Any = None,
) -> tuple[list[float], list[float], list[float]]:
    """Train with SGD in batches of 32, printing a line an epoch, as the sheet does.

    The order of the samples follows torch's seed. Data may be on the CPU and the model elsewhere.

    Returns:
        The loss, the validation accuracy and the training accuracy of each epoch, plain floats.
    """
    loss_fn = nn.functional.cross_entropy if loss_fn is None else loss_fn
    name = getattr(loss_fn, "__name__", repr(loss_fn))
    print(f"Training model {type(model).__name__} with {name} for {num_epochs} epochs")  # noqa: T201 the sheet prints
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
    cmap: Any = "Blues",
) -> Any:
    """Draw the confusion matrix with counts, shaded by the share of the true class; the axes."""
    import matplotlib.pyplot as plt

    from counterpoise.metrics import score
    from counterpoise.plots import draw_confusion

    confusion = score(np.asarray(y_true), np.asarray(y_pred), len(classes)).confusion
    axes = plt.figure(figsize=(9, 8), layout="constrained").add_subplot()
    draw_confusion(axes, confusion, classes, title, cmap)
    plt.show()
    return axes


def _as_part(X: Tensor, y: Tensor) -> Part:
    X, y = torch.as_tensor(X), torch.as_tensor(y)
    return Part(X.reshape(-1, 1, 28, 28) if X.dim() < 4 else X, y.long())


def _print_row(row: dict[str, Any]) -> None:
    accuracies = (
        f"validation accuracy: {row['test_accuracy']:.4f}, "
        f"train accuracy: {row['train_accuracy']:.4f}"
    )
    start = (
        "Before training: "
        if row["loss"] is None
        else (f"Epoch {row['epoch'] - 1}, Loss: {row['loss']:.4f}, ")
    )
    print(start + accuracies)  # noqa: T201 the sheet prints
