"""Images with a table beside them that says the class of each file."""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.data._decode import SUFFIXES
from counterpoise.data._layout import SPLIT_OF, Layout, nfc, walk
from counterpoise.data._options import Options
from counterpoise.files import open_ordinary
from counterpoise.text import listed, one_line, printable

if TYPE_CHECKING:
    import pandas as pd

_TABLES = ("labels.csv", "metadata.csv", "labels.tsv", "metadata.tsv")
_FILE = ("file_name", "filename", "file", "path", "image", "image_path", "image_id", "id")
_LABEL = ("label", "class", "target", "category", "class_name")
_GROUP, _SPLIT = ("group", "group_id"), ("split", "subset", "partition")


def find_list(root: Path) -> Path | None:
    """Return the table in a folder that says which image is of which class; None without one."""
    return next((root / name for name in _TABLES if (root / name).is_file()), None)


def read_listed(root: Path, path: Path, options: Options) -> Layout:
    """Return the images that a table lists, with their classes, splits and groups.

    Raises:
        ValueError: a table without columns of files and classes, files that are not there, splits
            of other names than train, validation and test.
    """
    options.check(f"images with {path.name}", "target", "group", "split")
    table = _read(path)
    file = _column(path, table, "", _FILE, "the files")
    label = _column(path, table, options.target, _LABEL, "the classes")
    split = _column(path, table, options.split, _SPLIT, "")
    group = _column(path, table, options.group, _GROUP, "")
    found = Layout(root)
    places = _found(root, path, table[file], found)
    missing = table.index[table[label].str.strip() == ""]
    if len(missing):
        raise ValueError(
            f"each row of {printable(path)} must have a class in column {label!r}, but "
            f"{len(missing):,} have none: {listed(f'row {k + 2}' for k in missing)}; fill or "
            "remove them"
        )
    splits = _splits(path, table[split]) if split else ["train"] * len(table)
    for place, name, where in zip(places, table[label], splits, strict=True):
        found.files.setdefault(where, []).append((place, nfc(name.strip())))
    found.files = {k: found.files[k] for k in ("train", "validation", "test") if k in found.files}
    if "train" not in found.files:
        raise ValueError(f"column {split!r} of {printable(path)} must say train of some rows")
    if group:
        words = (nfc(word.strip()) for word in table[group])
        found.groups = {  # an image without a group is one of its own
            place: word or f"\0{place}" for place, word in zip(places, words, strict=True)
        }
    unused = [repr(name) for name in table.columns if name not in (file, label, split, group)]
    if unused:
        found.notes.append(
            f"columns that are not used: {listed(unused)}; --group names one that says what "
            "belongs together, say to one person"
        )
    said = {"classes": label, "splits": split, "groups": group}
    found.notes.append(
        f"files from column {file!r} of {path.name}"
        + "".join(f", {what} from {column!r}" for what, column in said.items() if column)
    )
    return found


def _read(path: Path) -> pd.DataFrame:
    """Return a table of texts."""
    import pandas as pd  # here, as it takes half a second

    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        with open_ordinary(path) as file:
            table = pd.read_csv(
                file, sep=separator, dtype=str, keep_default_na=False, index_col=False
            )
    except Exception as error:  # pandas raises many kinds
        raise ValueError(
            f"{printable(path)} must be a table of files and classes in UTF-8, but: "
            f"{one_line(error)}"
        ) from error
    return table.rename(columns=str.strip)


def _column(path: Path, table: pd.DataFrame, asked: str, usual: Iterable[str], what: str) -> str:
    """Return the name of a column: the one asked for, or a usual one; "" where it may be absent."""
    lower = {name.lower(): name for name in reversed(list(table.columns))}
    found = asked if asked in table.columns else ""
    if not asked:
        found = next((lower[name] for name in usual if name in lower), "")
    if not found and (asked or what):
        raise ValueError(
            f"{printable(path)} must have a column {repr(asked) if asked else f'of {what}'}, such "
            f"as {next(iter(usual))}, but has {listed(map(repr, table.columns), 8)}; name one"
            " (--target names that of the classes), or take the table away where the folders are "
            "the classes"
        )
    return found


def _found(root: Path, path: Path, names: pd.Series, found: Layout) -> list[Path]:
    """Return the file of each row, by its path, its name, or its name without the ending."""
    images = [p for p in walk(root, [], found.stamps) if p.suffix.lower() in SUFFIXES]
    by_name: dict[str, list[Path]] = {}
    for image in images:
        inside = unicodedata.normalize("NFC", image.relative_to(root).as_posix())
        short = inside.rpartition("/")[2]
        for name in {inside, short, inside.rpartition(".")[0], short.rpartition(".")[0]}:
            by_name.setdefault(name, []).append(image)
    wanted = [nfc(name.strip().replace("\\", "/").removeprefix("./")) for name in names]
    for what, bad in (
        ("is not there", [name for name in wanted if name not in by_name]),
        ("could be several", [name for name in wanted if len(by_name.get(name, ())) > 1]),
    ):
        if bad:
            raise ValueError(
                f"each row of {printable(path)} must name one file below {printable(root)}, but "
                f"of {len(wanted):,} rows {len(bad):,} name one that {what}: {listed(bad)}; "
                "correct them"
            )
    places = [by_name[name][0] for name in wanted]
    twice = [found.name(place) for place, number in Counter(places).items() if number > 1]
    if twice:
        raise ValueError(
            f"each row of {printable(path)} must name a file of its own, but {len(twice):,} are "
            f"named twice: {listed(twice)}; take one of the rows away"
        )
    unlisted = len(images) - len(set(places))
    if unlisted:
        warnings.warn(
            f"images below {printable(root)} that {path.name} does not name were not read: "
            f"{unlisted:,}",
            stacklevel=5,
        )
    return places


def _splits(path: Path, column: pd.Series) -> list[str]:
    found = column.str.strip().str.lower().map(SPLIT_OF)
    if found.isna().any():
        odd = sorted(set(column[found.isna()]))
        raise ValueError(
            f"column {column.name!r} of {printable(path)} must say train, validation or test, but "
            f"says {listed(map(repr, odd))}; rename them, or the column"
        )
    return list(found)
