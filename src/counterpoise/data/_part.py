"""Holders for labelled samples: one part, and a whole data set of two parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled samples, in order.

    Args:
        inputs: The samples, uint8 or floating, first dimension N; images are (N, 1, H, W).
        targets: The class index of each sample, shape (N,). Any integer type is taken; it is
            kept as int64, which is what the losses of PyTorch ask for.

    Raises:
        TypeError: If either is no tensor or has an unfitting dtype.
        ValueError: If the shapes do not fit together or a class index is negative.

    Example:
        >>> import torch
        >>> part = Part(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]))
        >>> len(part)
        3
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        _check_inputs(self.inputs)
        _check_targets(self.targets)
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"inputs and targets must have one entry per sample, got {len(self.inputs)} inputs "
                f"and {len(self.targets)} targets; cut both to the same samples"
            )
        # The dataclass is frozen, so the plain assignment is closed here as well.
        object.__setattr__(self, "targets", self.targets.to(torch.int64))

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: a part to train on, a part to test on, and what its classes are called.

    Args:
        name: The data set's name.
        train: The samples to train on.
        test: The samples to test on.
        class_names: The name of each class, in the order of the class indices.
        source: One line for people: where the data came from.

    Raises:
        ValueError: If a part holds a class index that has no name.

    Example:
        >>> import torch
        >>> part = Part(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
        >>> Data("toy", part, part, ("cat", "dog"), "made by hand").num_classes
        2
    """

    name: str
    train: Part
    test: Part
    class_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        for label, part in (("train", self.train), ("test", self.test)):
            highest = int(part.targets.max()) if len(part) else -1
            if highest >= self.num_classes:
                raise ValueError(
                    f"class_names must name every class, got {self.num_classes} names but class "
                    f"{highest} in the {label} part; add the missing names"
                )

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def count_classes(targets: torch.Tensor, num_classes: int | None = None) -> list[int]:
    """Count the samples of each class.

    Args:
        targets: Class indices, an integer tensor of shape (N,).
        num_classes: The length of the answer; None stops at the highest class that occurs.

    Returns:
        The number of samples of class 0, 1, 2 and so on.

    Raises:
        TypeError: If targets is no integer tensor.
        ValueError: If a class index is negative, or num_classes or higher.

    Example:
        >>> import torch
        >>> count_classes(torch.tensor([0, 2, 2]), num_classes=4)
        [1, 0, 2, 0]
    """
    _check_targets(targets)
    counts = torch.bincount(targets.to(torch.int64), minlength=num_classes or 0).tolist()
    if num_classes is not None and len(counts) > num_classes:
        raise ValueError(
            f"targets must lie below num_classes={num_classes}, got class {len(counts) - 1}; "
            f"pass num_classes={len(counts)} or more"
        )
    return counts


def _check_inputs(inputs: torch.Tensor) -> None:
    """Refuse inputs that are no uint8 or floating tensor with a sample dimension."""
    if not isinstance(inputs, torch.Tensor):
        raise TypeError(
            f"inputs must be a torch.Tensor, got {type(inputs).__name__}; use torch.as_tensor"
        )
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        raise TypeError(
            f"inputs must be uint8 or floating, got {inputs.dtype}; convert them with .float()"
        )
    if inputs.dim() == 0:
        raise ValueError("inputs must have a sample dimension, got a scalar; add it with [None]")


def _check_targets(targets: torch.Tensor) -> None:
    """Refuse targets that are no flat integer tensor of class indices."""
    if not isinstance(targets, torch.Tensor):
        raise TypeError(
            f"targets must be a torch.Tensor, got {type(targets).__name__}; use torch.as_tensor"
        )
    if targets.dtype not in _INTEGERS:
        raise TypeError(
            f"targets must be integer class indices, got {targets.dtype}; convert them with .long()"
        )
    if targets.dim() != 1:
        raise ValueError(f"targets must have shape (N,), got {tuple(targets.shape)}; flatten them")
    if len(targets) and int(targets.min()) < 0:
        raise ValueError(
            f"targets must be class indices from 0 up, got {int(targets.min())}; renumber them"
        )
