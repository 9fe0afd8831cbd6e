"""Classes with too few samples: refused, dropped, or merged into one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from counterpoise.data._options import Options
from counterpoise.data.splits import Split
from counterpoise.labels import count_classes
from counterpoise.text import listed

_WHOLE, _BESIDE_TEST = 3, 2  # samples: one each to train, to validate and to test on
MERGED = "other"


def settle_small_classes(
    train: Split, others: Sequence[Split | None], class_names: Sequence[str], options: Options
) -> tuple[tuple[Split, ...], tuple[str, ...]]:
    """Return splits and names without the classes that are too small, as the options say.

    A class must have `options.min_samples` among the samples to train on, or as many as are needed
    to train, validate and, where there is no other split, test on. Those of `small` = "merge"
    become the class "other".

    Args:
        train: the samples to train on; with those to test on where there is no other split.
        others: further splits, or None.
        class_names: of all.
        options: `min_samples` and `small`.

    Returns:
        The splits, `train` first and None left out, and the names.

    Raises:
        ValueError: there are such classes, and they are to be refused.
    """
    splits = (train, *(split for split in others if split is not None))
    least = max(options.min_samples, _BESIDE_TEST if len(splits) > 1 else _WHOLE)
    counts = count_classes(train.targets, len(class_names)).tolist()
    small = [k for k, n in enumerate(counts) if n < least]
    if not small or (options.small == "refuse" and not options.min_samples):
        return splits, tuple(class_names)  # what is needed is checked where it is split
    said = listed([f"{class_names[k]!r} has {counts[k]:,}" for k in small])
    if options.small == "refuse":
        raise ValueError(
            f"each class must have {least:,} samples at least (min_samples), but {said}; set "
            "small (--small) to drop or merge, or lower it"
        )
    kept = [k for k in range(len(class_names)) if k not in set(small)]
    names = [class_names[k] for k in kept]
    if options.small == "merge" and MERGED not in names:
        names.append(MERGED)
    place = torch.full((len(class_names),), -1)
    place[torch.tensor(kept, dtype=torch.int64)] = torch.arange(len(kept))
    if options.small == "merge":
        place[place < 0] = names.index(MERGED)
    what = "merged into 'other'" if options.small == "merge" else "left out"
    one = len(small) == 1
    warnings.warn(
        f"{len(small):,} {'class has' if one else 'classes have'} fewer than {least:,} samples: "
        f"{said}: {what}",
        stacklevel=5,
    )
    return tuple(_renumbered(split, place) for split in splits), tuple(names)


def settle_named(
    splits: Mapping[str, Split], class_names: Sequence[str], options: Options
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Do the same with splits by their names, one of which is "train"."""
    order = sorted(splits, key=lambda name: name != "train")
    others = [splits[name] for name in order[1:]]
    found, names = settle_small_classes(splits["train"], others, class_names, options)
    return dict(zip(order, found, strict=True)), names


def _renumbered(split: Split, place: torch.Tensor) -> Split:
    targets = place[split.targets]
    kept = torch.nonzero(targets >= 0).flatten()
    return replace(split.take(kept), targets=targets[kept])
