"""Labelled samples of other kinds, such as a torch Dataset, as a `Split`."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from counterpoise.data._arrays import as_tensor
from counterpoise.data.splits import Split, Splits
from counterpoise.labels import Labels, read_labels

Samples = Split | tuple[object, Labels] | Dataset
"""Labelled samples: a `Split`, a pair (inputs, targets), or a torch Dataset of such pairs."""


def as_split(samples: Samples, name: str = "samples") -> Split:
    """Return labelled samples of any kind as a `Split`.

    Args:
        samples: a `Split`, which is returned itself; a pair (inputs, targets) of tensors or arrays,
            shapes and values as they are, but float64 arrays, NumPy's default, in float32; or a
            torch Dataset with a length whose entries are pairs (tensor or array, class number),
            which is read once, into memory.
        name: of the argument, for the message.

    Raises:
        TypeError: a DataLoader, an IterableDataset, or anything else; inputs that are no numbers.
        ValueError: a Dataset with random augmentation, of which one draw would be kept, with
            entries of several shapes, or without any.

    Example:
        >>> import numpy as np
        >>> from counterpoise.data import as_split
        >>> split = as_split((np.zeros((3, 2)), [0, 1, 1]))
        >>> split.inputs.dtype, split.targets
        (torch.float32, tensor([0, 1, 1]))
    """
    if isinstance(samples, Split):
        return samples
    if isinstance(samples, tuple | list) and len(samples) == 2:
        inputs, targets = samples
        return Split(as_tensor(inputs, name), read_labels(targets))
    if isinstance(samples, Dataset) and not isinstance(samples, IterableDataset):
        return _read(samples, name)
    hint = "make inputs and targets of it"
    if isinstance(samples, DataLoader):
        hint = (
            "batches are drawn here: give loader.dataset and batch_size, and in place of its "
            "sampler one of counterpoise.samplers"
        )
    elif isinstance(samples, Splits):
        hint = "give its train, and its test as the test split"
    raise TypeError(
        f"{name} must be a data.Split, a pair (inputs, targets) or a torch Dataset of such pairs, "
        f"but got a {type(samples).__name__}; {hint}"
    )


def _read(samples: Dataset, name: str) -> Split:
    """Read a Dataset from its first entry to its last."""
    entries = [samples[k] for k in range(len(samples))]  # type: ignore[arg-type]
    if not entries or any(not isinstance(e, tuple | list) or len(e) != 2 for e in entries):
        raise ValueError(
            f"{name} must hold pairs (input, class number), and one at least, but this "
            f"{type(samples).__name__} of {len(entries)} entries does not"
        )
    inputs = [as_tensor(x, name) for x, _ in entries]
    if len({(x.shape, x.dtype) for x in inputs}) > 1:
        raise ValueError(
            f"{name} must hold inputs of one shape and dtype; bring them into one form"
        )
    if not torch.equal(as_tensor(samples[0][0], name), inputs[0]):
        raise ValueError(
            f"{name} is read once, but its first entry is another one each time: leave the random "
            "augmentation out of the Dataset, and give it as augment=, a function of batch and "
            "generator"
        )
    return Split(torch.stack(inputs), read_labels(np.array([np.asarray(y) for _, y in entries])))
