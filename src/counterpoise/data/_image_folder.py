"""Folders of images, decoded into the cache."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from counterpoise.data._cached_images import Images
from counterpoise.data._decode import SUFFIXES
from counterpoise.data._groups import check_apart, groups_of, numbered
from counterpoise.data._hold_out import as_splits
from counterpoise.data._layout import Layout, folders, nfc, read_layout
from counterpoise.data._listed_images import find_list, read_listed
from counterpoise.data._options import Options
from counterpoise.data._rows import Rows
from counterpoise.data._small_classes import settle_named
from counterpoise.data._table_file import is_table
from counterpoise.data.splits import Split, Splits
from counterpoise.text import listed, printable


def read_image_folder(root: Path, options: Options) -> Splits:
    """Read images, class by class and split by split, or as a table beside them says."""
    table = find_list(root)
    layout = read_listed(root, table, options) if table else read_layout(root, options)
    files = [path for split in layout.files.values() for path, _ in split]
    if not files:
        loose = [p.name for p in sorted(root.iterdir()) if p.suffix.lower() in SUFFIXES]
        tables = [p.name for p in sorted(root.iterdir()) if is_table(p)]
        remedy = "check that it is the right place"
        if loose:
            remedy = (
                f"of its own it holds {listed(loose)}: make a folder per class of them, or write "
                "a labels.csv with columns file and label"
            )
        elif tables:
            remedy = f"of a table give the file: {listed(str(printable(root / t)) for t in tables)}"
        raise ValueError(
            f"{printable(root)} must hold a folder per class with images "
            f"({', '.join(sorted(SUFFIXES))}) in it, but no image was found there; {remedy}"
        )

    def name_of(k: int) -> str:
        inside = files[k].is_relative_to(root)
        return str(printable(files[k].relative_to(root) if inside else files[k]))

    images = Images(files, name_of, printable(root), printable(root.resolve()))
    stamps = (f"{layout.name(path)}\0{layout.stamps[path]}" for path in files)
    entry = images.decoded(stamps, options)
    class_names = sorted({name for split in layout.files.values() for _, name in split})
    number = {name: k for k, name in enumerate(class_names)}
    if table is None:
        _report_empty(root, layout, number)
    stored, first, splits = entry.samples, 0, {}
    groups, by = None, ""
    if layout.groups:
        groups, by = numbered([layout.groups[path] for path in files]), "the table beside them"
    elif options.group:
        groups = groups_of([layout.name(path) for path in files], options.group)
        by = f"the pattern {options.group!r}"
    for split, found in layout.files.items():
        read = [k for k in range(len(found)) if first + k not in entry.unread]
        index = torch.tensor(read, dtype=torch.int64) + first
        splits[split] = Split(
            Rows(stored, index, entry),
            torch.tensor([number[found[k][1]] for k in read], dtype=torch.int64),
            tuple(layout.name(found[k][0]) for k in read),
            None if groups is None else groups[index],
        )
        first += len(found)
    name, source = printable(root.resolve().name), printable(root)
    splits, class_names = settle_named(splits, class_names, options)
    data = as_splits(
        name, source, splits["train"], splits.get("test"), class_names, options.seed, by
    )
    notes = (*entry.about["notes"], *layout.notes, *data.notes)
    data = replace(
        data,
        notes=notes,
        reading=entry.about["reading"],
        validation=splits.get("validation"),
        cautions=(*data.cautions, *_alike(class_names)),
    )
    check_apart(data)
    return data


def _alike(class_names: Sequence[str]) -> list[str]:
    """Return a sentence on classes whose names differ in case alone, if there are any."""
    same: dict[str, list[str]] = {}
    for name in class_names:
        same.setdefault(name.casefold(), []).append(name)
    found = [" and ".join(map(repr, names)) for names in same.values() if len(names) > 1]
    if not found:
        return []
    return [
        f"classes whose names differ in case alone: {listed(found)}; rename them if they are one"
    ]


def _report_empty(root: Path, layout: Layout, number: dict[str, int]) -> None:
    """Warn of class folders without an image."""
    home = layout.homes.get("train", root)
    names = [nfc(folder.name) for folder in folders(home)]
    empty = [name for name in dict.fromkeys(names) if name not in number]
    if empty and not layout.by_parent:
        warnings.warn(
            f"{len(empty)} of the {len(set(names))} classes in {printable(root)} were left out, as "
            f"no image is in their folders: {listed(map(repr, empty))}",
            stacklevel=4,
        )
