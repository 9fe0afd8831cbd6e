"""A study's data as its runs read them.

The samples stay in the cache (`data.cache`), whose pages all runs share. `data.safetensors` in the
study's folder says which of them are in which split, after the imbalance profile, with their
classes, names and groups; `study.json` holds what is to be said of them, and that file's digest.
Samples of `cache = "never"` are in no cache; the file has a digest of each in place of them. Of
features it also says which images they are of.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NotRequired, cast

from counterpoise import files
from counterpoise.study import record
from counterpoise.study._imbalance import DRAW_SEED, imbalanced
from counterpoise.study._nets import reading_of
from counterpoise.study.events import DataFacts
from counterpoise.study.plan import Plan

if TYPE_CHECKING:
    import numpy as np
    import torch

    from counterpoise.data import Column, Split, Splits

FILE = "data.safetensors"


class Facts(DataFacts):
    """The same, with the samples' entry of the cache, and size and digest of the splits' file.

    The entry is empty where samples are read anew each time.
    """

    entry: str
    bytes: int
    sha256: str
    images: NotRequired[str]  # of features: the entry of the images that they are of


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
            reading = dict(vars(plan.data))
            source = reading.pop("source")
            reading |= reading_of(plan.training)
            data = load(source, **reading, on_progress=on_progress)
    left_out = tuple(str(w.message) for w in warned if w.category is UserWarning)
    check_data(data)
    i = plan.imbalance
    own = any(v.imbalance for v in plan.variants)  # then runs cut their training splits
    train = data.train if own else imbalanced(data.train, data.num_classes, i, i.largest)
    test = imbalanced(data.test, data.num_classes, i, i.test_largest) if i.test else data.test
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
    train, test, _ = draw_test(data.train, data.test, DRAW_SEED)
    return replace(data, train=train, test=test)


def keep(
    data: "Splits",
    left_out: Sequence[str],
    folder: Path,
    known: Facts | None = None,
    where: str = "auto",
    images: "Splits | None" = None,
) -> Facts:
    """Write the splits into the study's folder and the cache, unless there; return the facts.

    Args:
        data: from `gather`.
        left_out: from `gather`, too.
        folder: the study's.
        known: the facts that the study has of its data so far.
        where: the cache's folder, or "auto".
        images: of features, the same samples as they were before.
    """
    from counterpoise.data import count_classes, fingerprint

    splits, place, marks = _in_cache(data, where)
    shown, shown_place = _in_cache(images, where)[:2] if images is not None else ({}, "")
    counts = {
        k: count_classes(p.targets, data.num_classes).tolist() for k, (p, _) in splits.items()
    }
    facts: DataFacts = {
        "name": data.name,
        "source": data.source,
        "class_names": list(data.class_names),
        "train_counts": counts["train"],
        "test_counts": counts["test"],
        "shape": list(data.train.inputs.shape[1:]),
        "notes": list(data.notes),
        "left_out": list(left_out),
        "cautions": list(data.cautions),
        "fingerprint": fingerprint(data),
        "reading": dict(data.reading),
    }
    here = {**facts, "entry": place} | ({"images": shown_place} if images is not None else {})
    same = known and here.items() <= known.items()
    if known and same and _is_whole(folder, known):
        return known
    tensors: dict[str, torch.Tensor] = {} if marks is None else {"marks": marks}
    for name, (split, rows) in splits.items():
        tensors |= {f"{name}_rows": rows, f"{name}_targets": split.targets}
        if split.names:
            tensors[f"{name}_names"] = _packed(split.names)
        if split.groups is not None:
            tensors[f"{name}_groups"] = split.groups
    tensors |= {f"{name}_images": rows for name, (_, rows) in shown.items()}
    if data.columns is not None:
        tensors["columns"] = _packed([[c.name, c.kind, c.values] for c in data.columns])
    content = record.tensors(tensors)
    files.write(folder / FILE, content)
    digest = hashlib.sha256(content).hexdigest()
    return cast(Facts, {**here, "bytes": len(content), "sha256": digest})


def _packed(names: Sequence[object]) -> "torch.Tensor":
    """Return names, or what columns hold, as the bytes of a JSON list."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(names).encode()), dtype=torch.uint8)


def _in_cache(
    data: "Splits", where: str
) -> "tuple[dict[str, tuple[Split, torch.Tensor]], str, torch.Tensor | None]":
    """Return each split with its rows in an entry of the cache, which is written if need be.

    Returns:
        The splits with their rows, the entry's folder, and None; of samples that are in no cache
        their rows among all of them, "", and the digest of each.

    Raises:
        ValueError: the cache cannot be written, or samples that are in memory shall be in none.
    """
    from counterpoise.data import Rows, in_cache

    splits = in_cache(data, where).named()
    if (unstored := _unstored(splits)) is not None:
        return unstored[0], "", unstored[1]
    rows = {k: (s, cast(Rows, s.inputs)) for k, s in splits.items()}
    entry = rows["train"][1].entry
    assert entry is not None
    return {k: (s, r.index) for k, (s, r) in rows.items()}, str(entry.folder), None


def _unstored(
    splits: "dict[str, Split]",
) -> "tuple[dict[str, tuple[Split, torch.Tensor]], torch.Tensor] | None":
    """Return each split with its rows among all samples of Datasets, and the digest of each.

    None where samples are stored.
    """
    import torch

    from counterpoise.data import Rows, Unstored

    first: dict[Unstored, int] = {}
    rows = {}
    for name, split in splits.items():
        source = split.inputs.unstored if isinstance(split.inputs, Rows) else None
        if source is None:
            return None
        before = first.setdefault(source, sum(map(len, first)))
        rows[name] = (split, cast(Rows, split.inputs).index + before)
    return rows, torch.cat([source.marks for source in first])


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


class Kept(NamedTuple):
    """One split of a study's data, read from its folder and the cache, without torch."""

    inputs: "np.ndarray"  # of the whole entry, mapped into memory
    rows: "np.ndarray"  # which of them are in the split
    targets: "np.ndarray"
    groups: "np.ndarray | None" = None


def read_kept(path: Path, facts: Facts, split: str, images: bool = False) -> Kept | None:
    """Return a split, from the file of `find_kept`; None where its samples left the cache.

    None as well where they never were in it, and for those of a dtype that NumPy has not, such as
    bfloat16.

    Args:
        path: the file.
        facts: the study's.
        split: its name.
        images: of features return the images that they are of.
    """
    place, which = facts["entry"], "rows"
    if images and "images" in facts:
        place, which = facts["images"], "images"
    if not place:
        return None
    import numpy as np
    from safetensors import safe_open

    try:
        entry = json.loads(files.read(Path(place) / "entry.json"))["content"]
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        if dtype.isbuiltin != 1:  # another library's, such as bfloat16 of ml_dtypes
            return None
        inputs = np.memmap(Path(place) / "samples.bin", dtype, "r", shape=shape)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    with safe_open(path, "numpy") as file:
        rows, targets = (file.get_tensor(f"{split}_{what}") for what in (which, "targets"))
        grouped = f"{split}_groups" in file.keys()  # noqa: SIM118 it is no mapping
        groups = file.get_tensor(f"{split}_groups") if grouped else None
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(inputs):
        raise record.Damaged(f"{path} names samples that {place} has not")
    return Kept(inputs, rows, targets, groups)


def joined(splits: Sequence[Kept]) -> Kept:
    """Return splits of the same data as one, in order."""
    import numpy as np

    groups = [k.groups for k in splits if k.groups is not None]
    return Kept(
        splits[0].inputs,
        np.concatenate([k.rows for k in splits]),
        np.concatenate([k.targets for k in splits]),
        np.concatenate(groups) if len(groups) == len(splits) else None,
    )


def load_splits(folder: Path, place: Path | str, readers: int = 1) -> "dict[str, Split]":
    """Return the splits by name, their samples mapped into memory, or read when they are used.

    Args:
        folder: the study's.
        place: the samples' folder in the cache; or the `module:name` of the Datasets that they are
            read from anew each time.
        readers: processes that do so.

    Raises:
        FileNotFoundError: the samples are no longer in the cache.
        ValueError: the Datasets are not those that the study began with.
    """
    import safetensors.torch

    from counterpoise.data import Rows, Split, cache, open_unstored

    kept = safetensors.torch.load_file(folder / FILE)
    if isinstance(place, str):
        samples, entry = open_unstored(place, kept["marks"], readers), None
    elif (entry := cache.open_entry(place)) is not None:
        samples = entry.samples
    else:
        raise FileNotFoundError(
            f"the samples in {place} are gone from the cache; counterpoise compare with the "
            "same plan reads them again"
        )
    return {
        name: Split(
            Rows(samples, kept[f"{name}_rows"], entry),
            kept[f"{name}_targets"],
            groups=kept.get(f"{name}_groups"),
        )
        for name in ("train", "validation", "test")
        if f"{name}_rows" in kept
    }


def load_columns(folder: Path) -> "tuple[Column, ...] | None":
    """Return what the cells of a table hold; None for other data."""
    from safetensors import safe_open

    from counterpoise.data import Column

    with safe_open(folder / FILE, "numpy") as file:
        if "columns" not in file.keys():  # noqa: SIM118 it is no mapping
            return None
        rows = json.loads(file.get_tensor("columns").tobytes())
    return tuple(Column(name, kind, tuple(values)) for name, kind, values in rows)
