"""A study's data as its runs read them: one file in the study's folder.

`data.safetensors` holds the splits after the imbalance profile, so that no run decodes images
again, the system shares one copy among the runs, and the study can be resumed, and its samples
shown, when the source is elsewhere. `study.json` holds what is to be said of them, and the file's
digest.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise import files
from counterpoise.study import record
from counterpoise.study.events import DataFacts
from counterpoise.study.plan import Plan
from counterpoise.study.settings import Imbalance

if TYPE_CHECKING:
    import torch

    from counterpoise.data import Split, Splits

FILE = "data.safetensors"
_DRAW_SEED = 0


class Facts(DataFacts):
    """The same, with size and digest of the file that the data are kept in."""

    bytes: int
    sha256: str


def gather(
    plan: Plan, data: "Splits | None" = None, on_progress: Callable[[int, int], None] | None = None
) -> "tuple[Splits, tuple[str, ...]]":
    """Load the plan's data, lay its imbalance over them, and check them; nothing is written.

    Args:
        plan: the study.
        data: a `counterpoise.data.Splits` in place of what `plan.data.source` names.
        on_progress: called with the numbers of images that are read and that there are; with 0
            and 0 before anything is read.

    Returns:
        The splits, and the warnings of what was left out.
    """
    from counterpoise.data import load
    from counterpoise.study._check_data import check_data

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if data is None:
            if on_progress is not None:
                on_progress(0, 0)
            t, d = plan.training, plan.data
            data = load(
                d.source,
                image_size=t.image_size,
                resize=t.resize,
                target=d.target,
                drop=d.drop,
                keep=d.keep,
                group=d.group,
                test=d.test,
                split=d.split,
                min_samples=d.min_samples,
                small=d.small,
                cache=d.cache,
                on_progress=on_progress,
            )
    left_out = tuple(str(w.message) for w in warned if w.category is UserWarning)
    check_data(data)
    i = plan.imbalance
    train = _imbalanced(data.train, data.num_classes, i, i.largest)
    test = _imbalanced(data.test, data.num_classes, i, i.test_largest) if i.test else data.test
    return replace(data, train=train, test=test), left_out


def with_test(plan: Plan, data: "Splits") -> "Splits":
    """Return data of `gather` with the test split of a plan: where each seed draws one, such a one.

    Raises:
        ValueError: they have a test split of their own.
    """
    from counterpoise.data import draw_test

    if plan.test == "fixed":
        return data
    if not data.held_out or data.validation is not None:
        raise ValueError(
            f"data.test = 'per_seed' draws test splits from samples that have none, but "
            f"{data.source} has splits of its own; leave data.test out to test on that split, or "
            "put its samples together with those to train on"
        )
    train, test, _ = draw_test(data.train, data.test, _DRAW_SEED)
    return replace(data, train=train, test=test)


def keep(
    data: "Splits", left_out: Sequence[str], folder: Path, known: Facts | None = None
) -> Facts:
    """Write both splits into the study's folder, unless they are there; return the facts.

    Args:
        data: from `gather`.
        left_out: from `gather`, too.
        folder: the study's.
        known: the facts that the study has of its data so far.
    """
    from counterpoise.data import count_classes, fingerprint

    splits = {"train": data.train, "test": data.test}
    counts = {k: count_classes(p.targets, data.num_classes).tolist() for k, p in splits.items()}
    facts: DataFacts = {
        "name": data.name,
        "source": data.source,
        "class_names": list(data.class_names),
        "train_counts": counts["train"],
        "test_counts": counts["test"],
        "shape": list(data.train.inputs.shape[1:]),
        "notes": list(data.notes),
        "left_out": list(left_out),
        "fingerprint": fingerprint(data),
    }
    if known and facts.items() <= known.items() and _is_whole(folder, known):
        return known
    tensors = {
        f"{name}_{kind}": getattr(split, kind)
        for name, split in splits.items()
        for kind in ("inputs", "targets")
    }
    tensors |= {f"{k}_groups": s.groups for k, s in splits.items() if s.groups is not None}
    tensors |= {
        f"{name}_names": _packed(split.names) for name, split in splits.items() if split.names
    }
    content = record.tensors(tensors)  # copies: splits can be slices of one tensor
    files.write(folder / FILE, content)
    return {**facts, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _packed(names: Sequence[str]) -> "torch.Tensor":
    """Return names as the bytes of a JSON list."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(names).encode()), dtype=torch.uint8)


def read_names(path: Path, split: str) -> tuple[str, ...] | None:
    """Return the names of a split's samples, from the file of `find_kept`; None without any.

    Raises:
        record.Damaged: they are no list of texts.
    """
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        if f"{split}_names" not in file.keys():  # noqa: SIM118 it is no mapping
            return None
        content = file.get_tensor(f"{split}_names").tobytes()
    try:
        names = json.loads(content)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise record.Damaged(f"{path} holds names of samples that are no list of texts")
    return tuple(names)


def find_kept(folder: Path, facts: Facts) -> Path | None:
    """Return the file that holds both splits; None where it was taken away.

    Raises:
        record.Damaged: it is not the file that the study was run on.
    """
    if not (folder / FILE).exists():
        return None
    if not _is_whole(folder, facts):
        raise record.Damaged(
            f"{folder / FILE} is not the file that the study was run on; counterpoise compare with "
            "the same plan writes it again"
        )
    return folder / FILE


def _is_whole(folder: Path, facts: Facts) -> bool:
    try:
        return files.digest(folder / FILE, facts["bytes"]) == facts["sha256"]
    except (FileNotFoundError, IsADirectoryError):
        return False


def load_splits(folder: Path) -> "tuple[Split, Split]":
    """Return the training and the test split."""
    import safetensors.torch

    from counterpoise.data import Split

    kept = safetensors.torch.load_file(folder / FILE)
    train, test = (
        Split(kept[f"{k}_inputs"], kept[f"{k}_targets"], groups=kept.get(f"{k}_groups"))
        for k in ("train", "test")
    )
    return train, test


def _imbalanced(split: "Split", num_classes: int, i: Imbalance, largest: int) -> "Split":
    """Cut a split to the profile; without a `largest`, to the largest one that the data allow."""
    if i.profile == "none":
        return split
    from counterpoise.data import count_classes, imbalance_counts, make_imbalanced

    have = count_classes(split.targets, num_classes).tolist()
    seed = _DRAW_SEED if i.draw == "random" else None
    counts = imbalance_counts(i.profile, num_classes, largest or max(have), i.factor)
    if not largest:
        scale = min(1.0, *(n / asked for n, asked in zip(have, counts, strict=True)))
        largest = int(max(have) * scale)
        counts = imbalance_counts(i.profile, num_classes, largest, i.factor)
    return make_imbalanced(split, counts, seed)
