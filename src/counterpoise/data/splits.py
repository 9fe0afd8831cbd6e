"""Labelled samples, and a data set of a training and a test split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from counterpoise.data._columns import Column
from counterpoise.data._rows import Rows
from counterpoise.labels import count_classes
from counterpoise.text import html_table

_CHANNELS = (1, 3)  # of images
_SHOWN = 20  # classes, in a table
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled samples, in order.

    Args:
        inputs: The samples, uint8 or floating, first dimension N; images are (N, 1, H, W). A
            tensor, or `Rows` of one that is stored in a file.
        targets: The class index of each sample, shape (N,). Any integer type is taken; it is
            kept as int64, which is what the losses of PyTorch ask for.
        names: A name of each sample, by which people find it: its file, or its row. None where
            there is none.
        groups: A number of each sample, int64 (N,), the same for samples that belong together,
            say to one person; no two splits share one. None where each stands alone.

    Raises:
        TypeError: If either is no tensor or has an unfitting dtype, or a name is no text.
        ValueError: If the shapes do not fit together or a class index is negative.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]))
        >>> len(split)
        3
    """

    inputs: torch.Tensor | Rows
    targets: torch.Tensor
    names: tuple[str, ...] | None = None
    groups: torch.Tensor | None = None

    def __post_init__(self) -> None:
        _check_inputs(self.inputs)
        _check_targets(self.targets)
        if self.names is not None:
            object.__setattr__(self, "names", _sample_names(self.names, len(self.inputs)))
        if self.groups is not None and self.groups.shape != self.targets.shape:
            raise ValueError(
                f"groups must be one number per sample, got {tuple(self.groups.shape)} for "
                f"{len(self.targets)} samples"
            )
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"inputs and targets must have one entry per sample, got {len(self.inputs)} inputs "
                f"and {len(self.targets)} targets; cut both to the same samples"
            )
        # The dataclass is frozen, so the plain assignment is closed here as well.
        object.__setattr__(self, "targets", self.targets.to(torch.int64))

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: torch.Tensor) -> Split:
        """Return the samples at the given positions, with their names and groups."""
        names = self.names and tuple(self.names[k] for k in index.tolist())
        inputs = self.inputs.take(index) if isinstance(self.inputs, Rows) else self.inputs[index]
        groups = None if self.groups is None else self.groups[index]
        return Split(inputs, self.targets[index], names, groups)

    def __repr__(self) -> str:
        return f"Split({_described(self)})"

    def _repr_html_(self) -> str:
        counts = count_classes(self.targets).tolist()
        rows = _some_classes([(k, n) for k, n in enumerate(counts) if n])
        return html_table(repr(self), ("class", "samples"), rows)


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: a split to train on, a split to test on, and the names of the classes.

    Args:
        name: The data set's name.
        train: The samples to train on.
        test: The samples to test on.
        class_names: The name of each class, in the order of the class indices.
        source: One line for people: where the data came from.
        notes: Sentences on how they were read.
        validation: The samples to choose on, where the data have such a split of their own; None
            to hold some of `train` out.
        columns: What the columns of a table hold, where `inputs` are its cells (`data.Column`);
            None for inputs that are numbers as they are.
        held_out: Whether `test` was held out of samples that had no test split of their own, so
            that another one can be drawn for each seed.
        cautions: Sentences on what may be wrong with them.
        reading: How a sample becomes an input, for `data.read_unseen`: plain data, ready for
            `json.dumps`. Left out, or where it does not fit the inputs, it says their shape and
            dtype; of cells that were put together by hand it is empty. Of features ("features" in
            it) it is that of the images that they were made of.

    Raises:
        TypeError: If a split is no `Split`, or a name is no text.
        ValueError: If a split holds a class index that has no name.

    Example:
        >>> import torch
        >>> split = Split(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
        >>> Splits("toy", split, split, ("cat", "dog"), "made by hand").num_classes
        2
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()
    validation: Split | None = None
    columns: tuple[Column, ...] | None = None
    held_out: bool = False
    cautions: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for label, split in self.named().items():
            if not isinstance(split, Split):
                raise TypeError(f"{label} must be a Split, got {type(split).__name__}; make it one")
        object.__setattr__(self, "class_names", _as_names(self.class_names))
        _check_text("name", self.name)
        _check_text("source", self.source)
        if self.reading.get("kind") != "table" and "features" not in self.reading:
            plain = {} if self.columns is not None else _reading_of(self.train.inputs)
            same = plain and all(self.reading.get(k) == plain[k] for k in ("kind", "shape"))
            object.__setattr__(self, "reading", self.reading if same else plain)
        for label, split in self.named().items():
            highest = int(split.targets.max()) if len(split) else -1
            if highest >= self.num_classes:
                raise ValueError(
                    f"class_names must name every class, got {self.num_classes} names but class "
                    f"{highest} in the {label} split; add the missing names"
                )

    def named(self) -> dict[str, Split]:
        """Return the splits that there are by their names: train, validation, test."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}

    def with_inputs(self, inputs: Mapping[str, torch.Tensor | Rows]) -> Splits:
        """Return the same samples with other inputs, given by the names of the splits."""
        found = {name: replace(s, inputs=inputs[name]) for name, s in self.named().items()}
        validation = found.get("validation")
        return replace(self, train=found["train"], test=found["test"], validation=validation)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def __repr__(self) -> str:
        return (
            f"Splits({self.name!r}: {self.num_classes} classes, train {_described(self.train)}, "
            f"test {_described(self.test)})"
        )

    def _repr_html_(self) -> str:
        counts = (count_classes(s.targets, self.num_classes) for s in (self.train, self.test))
        rows = list(zip(self.class_names, *(n.tolist() for n in counts), strict=True))
        return html_table(repr(self), ("class", "train", "test"), _some_classes(rows))


def _reading_of(inputs: torch.Tensor | Rows) -> dict[str, Any]:
    """Return how a sample is read of which nothing is known but the inputs."""
    shape = list(inputs.shape[1:])
    if inputs.dtype == torch.uint8 and len(shape) == 3 and shape[0] in _CHANNELS:
        return {"kind": "images", "shape": shape, "resize": "crop", "low": None, "high": None}
    dtype = str(inputs.dtype).removeprefix("torch.")
    return {"kind": "arrays", "shape": shape, "dtype": dtype}


def _described(split: Split) -> str:
    dtype = str(split.inputs.dtype).removeprefix("torch.")
    return f"{len(split):,} samples {tuple(split.inputs.shape[1:])} {dtype}"


def _some_classes(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Return the rows of the first classes, and one that says how many more there are."""
    more = [(f"{len(rows) - _SHOWN} more", "", "")[: len(rows[0])]] if len(rows) > _SHOWN else []
    return [*rows[:_SHOWN], *more]


def check_pair(train: Split, test: Split) -> None:
    """Refuse splits of which one cannot be trained on and the other tested.

    Raises:
        ValueError: If a split is empty, or the samples of the two differ in shape or dtype.
    """
    for label, split in (("train", train), ("test", test)):
        if not len(split):
            raise ValueError(f"the {label} split must have samples, got none; add some")
    kinds = [(tuple(split.inputs.shape[1:]), split.inputs.dtype) for split in (train, test)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "the samples to train and to test on must have the same shape and dtype, got "
            f"{kinds[0][0]} {kinds[0][1]} and {kinds[1][0]} {kinds[1][1]}; bring both into the "
            "same form and onto the same scale"
        )
    if 0 in kinds[0][0]:
        raise ValueError(f"each sample must hold a number, got shape {kinds[0][0]}; check inputs")


def _as_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the classes' names as a tuple of text."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(
            f"class_names must be a text for each class, got {type(names).__name__}; pass a tuple"
        )
    names = tuple(names)
    for name in names:
        _check_text("class_names", name)
    return tuple(map(str, names))


def _check_text(what: str, text: str) -> None:
    """Refuse values that are no text."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be text, got {type(text).__name__}; pass a str")


def _sample_names(names: Iterable[str], samples: int) -> tuple[str, ...]:
    """Return the samples' names, once it is sure that they are that."""
    found = tuple(names)
    odd = [name for name in found if not isinstance(name, str)]
    if odd or isinstance(names, str):
        raise TypeError(f"names must be one text per sample, got {odd[0] if odd else names!r}")
    if len(found) != samples:
        raise ValueError(
            f"names must be one per sample, got {len(found)} names for {samples} samples; leave "
            "them out, or name all"
        )
    return found


def _check_inputs(inputs: torch.Tensor | Rows) -> None:
    """Refuse inputs that are no uint8 or floating tensor with a sample dimension."""
    if isinstance(inputs, Rows):
        stored = inputs.stored
        inputs = stored if isinstance(stored, torch.Tensor) else torch.empty(1, dtype=stored.dtype)
    if not isinstance(inputs, torch.Tensor):
        raise TypeError(
            f"inputs must be a torch.Tensor, got {type(inputs).__name__}; use torch.as_tensor"
        )
    if inputs.dtype != torch.uint8 and inputs.dtype not in _FLOATS:
        raise TypeError(
            f"inputs must be uint8 or floating, got {inputs.dtype}; convert them with .float()"
        )
    if inputs.layout != torch.strided or inputs.is_meta:
        raise TypeError(
            f"inputs must be a dense tensor with content, got {inputs.layout} on {inputs.device}; "
            "use .to_dense()"
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
    if targets.layout != torch.strided or targets.is_meta:
        raise TypeError(
            f"targets must be a dense tensor with content, got {targets.layout} on "
            f"{targets.device}; use .to_dense()"
        )
    if targets.dim() != 1:
        raise ValueError(f"targets must have shape (N,), got {tuple(targets.shape)}; flatten them")
    if len(targets) and int(targets.min()) < 0:
        raise ValueError(
            f"targets must be class indices from 0 up, got {int(targets.min())}; renumber them"
        )
