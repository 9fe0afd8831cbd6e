"""The layouts of image folders: which file belongs to which class and which split."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from counterpoise.data._decode import SUFFIXES
from counterpoise.data._options import TEST_WORDS, Options
from counterpoise.text import listed, printable

_SPLITS = {
    "train": "train training trainset training_set train_set",
    "validation": "val valid validation valset validation_set val_set valid_set dev development",
    "test": "test testing testset testing_set test_set holdout",
}
SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words.split()}
_LEVELS = ("top", "parent")
_JUNK = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "lost+found")
_PLACED = 2  # folders that repeat the same names, from which on they are no classes


@dataclass
class Layout:
    """Image files with their classes, split by split.

    Attributes:
        root: the folder that the names of files begin in.
        files: of each split that there is, with the name of its class, in a fixed order.
        stamps: size and times of the last change of content and of state of each file.
        groups: what a file belongs to, where a table beside the images says so.
        homes: the folder of each split, where it is one of class folders.
        by_parent: whether the folder that a file lies in names its class, not the outermost one.
        notes: sentences on how the layout was understood.
    """

    root: Path
    files: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)
    stamps: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    groups: dict[Path, str] = field(default_factory=dict)
    homes: dict[str, Path] = field(default_factory=dict)
    by_parent: bool = False
    notes: list[str] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """Return a file's name in the data set."""
        home = os.path.join(self.root, "")  # pathlib takes ten times as long
        return nfc(os.fspath(path).removeprefix(home).replace(os.sep, "/"))


def read_layout(root: Path, options: Options) -> Layout:
    """Return the images of root/CLASS/... or root/train/CLASS/..., root/test/CLASS/... and so on.

    Raises:
        ValueError: a layout that could be understood in two ways, or none.
    """
    options.check("a folder of images", "target", "group", "test")
    if options.target not in ("", *_LEVELS):
        raise ValueError(
            f"target must be top or parent for a folder of images, got {options.target!r}: the "
            "folder that names an image's class"
        )
    found = Layout(root, by_parent=options.target == "parent")
    found.homes = _split_folders(root, options, found)
    for split, folder in found.homes.items():
        _check_links(folder, root)
        found.files[split] = _of_split(folder, split, options, found)
    if root not in found.homes.values():
        _report_beside(root)
    for split in found.files.keys() - {"train"}:
        _check_classes(split, found)
    return found


def ignored(name: str) -> bool:
    """Return whether a file or folder is of an operating system, a browser or an archiver."""
    return name.startswith(".") or name.lower() in _JUNK


def nfc(name: str) -> str:
    """Return a name as it is compared: macOS writes accents as characters of their own."""
    return unicodedata.normalize("NFC", name)


def folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name."""
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and not ignored(e.name))


def _split_folders(root: Path, options: Options, found: Layout) -> dict[str, Path]:
    """Return the folder of each split; of the whole data set as "train" where there are none."""
    by_split: dict[str, list[Path]] = {}
    others = []
    for folder in folders(root):
        split = SPLIT_OF.get(nfc(folder.name).lower().replace("-", "_").replace(" ", "_"))
        by_split.setdefault(split, []).append(folder) if split else others.append(folder)
    if not any(folders(f) for f in by_split.get("train", [])):  # a class may be called train
        _check_no_train(root, by_split, others)
        splits = {"train": root}
    else:
        splits = _checked_splits(root, by_split, others)
    if options.test not in TEST_WORDS:
        splits["test"] = _asked_test(root, options.test)
        splits = {k: f for k, f in splits.items() if k == "test" or f != splits["test"]}
    elif "validation" in splits and "test" not in splits:
        folder = splits["validation"].name
        found.notes.append(
            f"choices are made on the folder {folder}; a test split is held out of the training "
            f"samples (--test {folder} would test on that folder instead)"
        )
    return splits


def _check_no_train(root: Path, by_split: dict[str, list[Path]], others: Sequence[Path]) -> None:
    """Refuse the folders test and val without a train beside them."""
    alone = [f for k in ("validation", "test") for f in by_split.get(k, ()) if folders(f)]
    if alone and not others:
        raise ValueError(
            f"{root} must hold a folder train beside {listed(f.name for f in alone)}, but holds "
            "none with class folders in it; rename the one to train on"
        )


def _checked_splits(
    root: Path, by_split: dict[str, list[Path]], others: Sequence[Path]
) -> dict[str, Path]:
    doubled = [found for found in by_split.values() if len(found) > 1]
    if doubled:
        raise ValueError(
            f"{root} must hold each split once, but holds {listed(f.name for f in doubled[0])}, "
            "which mean the same; remove or rename one of them"
        )
    splits = {split: found[0] for split, found in by_split.items()}
    bare = [f for f in splits.values() if not folders(f)]
    if bare:
        raise ValueError(
            f"{bare[0]} must hold a folder per class as {splits['train'].name} does, but holds "
            f"none: without classes nothing can be tested on it; give {splits['train']} alone, of "
            "which a fifth is held out"
        )
    images = [f for f in others if any(p.suffix.lower() in SUFFIXES for p in walk(f, []))]
    if images:
        raise ValueError(
            f"{root} must hold splits or classes, but holds {splits['train'].name}, which looks "
            f"like a split, beside {listed(f.name for f in images)}, which hold images as well; "
            f"move them, or give {splits['train']} alone"
        )
    if others:
        warnings.warn(f"{root} also holds {listed(f.name for f in others)}: not read", stacklevel=6)
    return splits


def _asked_test(root: Path, test: str) -> Path:
    """Return the folder that was asked for to test on."""
    for folder in (Path(test).expanduser(), root / test):
        if folder.is_dir() and folders(folder):
            return folder
    raise ValueError(
        f"test must be held_out, per_seed or a folder with a folder per class, got {test!r}, which "
        f"is none, nor is {root / test}; check the path"
    )


def _of_split(folder: Path, split: str, options: Options, found: Layout) -> list[tuple[Path, str]]:
    """Return the images of a split and their classes."""
    tops = folders(folder)
    if not options.target:
        _check_levels(folder, tops)
    unread: list[str] = []
    endings: Counter[str] = Counter()
    images: list[tuple[Path, str]] = []
    by_class: dict[str, list[Path]] = {}
    for top in tops:
        by_class.setdefault(nfc(top.name), []).append(top)
    loose = _count_loose(folder, endings) if tops else 0
    for name in sorted(by_class):
        paths = (p for top in by_class[name] for p in walk(top, unread, found.stamps))
        for path in sorted(paths):
            if path.suffix.lower() in SUFFIXES:
                images.append((path, nfc(path.parent.name) if options.target == "parent" else name))
            else:
                endings[path.suffix.lower() or path.name] += 1
    if options.target == "parent":
        images.sort(key=lambda pair: pair[1])
    _report_unread(folder, unread, endings, loose)
    return images


def _count_loose(folder: Path, endings: Counter[str]) -> int:
    """Return how many images lie in a folder itself; count other files there by ending."""
    loose = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file() and not ignored(entry.name):
                ending = Path(entry.name).suffix.lower()
                loose += ending in SUFFIXES
                endings.update([ending or entry.name] * (ending not in SUFFIXES))
    return loose


def _report_beside(root: Path) -> None:
    """Warn of files beside the folders of splits."""
    endings: Counter[str] = Counter()
    _report_unread(root, [], endings, _count_loose(root, endings))


def _check_levels(folder: Path, tops: Sequence[Path]) -> None:
    """Refuse folders that hold no images but the same folders: which of them are the classes?"""
    below = [frozenset(nfc(f.name) for f in folders(top)) for top in tops[: 2 * _PLACED]]
    common = frozenset.intersection(*below) if len(below) >= _PLACED else frozenset()
    if len(common) >= 2 and not any(_has_image(top) for top in tops[: 2 * _PLACED]):
        raise ValueError(
            f"the folders of {folder} must be classes, but {listed(f.name for f in tops)} each "
            f"hold the folders {listed(sorted(common))}: --target parent (target in [data]) takes "
            "these for the classes, --target top the outer ones"
        )


def _has_image(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(Path(e.name).suffix.lower() in SUFFIXES for e in entries)


def walk(
    folder: Path, unread: list[str], stamps: dict[Path, tuple[int, int, int]] | None = None
) -> Iterator[Path]:
    """Yield the files at any depth; links to folders are noted as not read."""
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if ignored(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    unread.append(printable(entry.path))
                else:
                    path = Path(entry.path)
                    if stamps is not None:
                        stamps[path] = stamp(path)
                    yield path


def stamp(path: Path) -> tuple[int, int, int]:
    """Return a file's size and its times of the last change; zeros where it is not there.

    The second time is that of the file's state: archivers and copies set the first one at will.
    """
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _report_unread(folder: Path, links: list[str], endings: Counter[str], loose: int) -> None:
    """Warn of what was not read."""
    if links:
        warnings.warn(
            f"links to folders are not followed in {folder}: {listed(sorted(links))}; copy what "
            "they lead to",
            stacklevel=6,
        )
    if loose:
        warnings.warn(
            f"images in {folder} itself, outside of the class folders, were not read: {loose:,}",
            stacklevel=6,
        )
    if endings:
        said = listed(f"{n:,} {ending}" for ending, n in endings.most_common())
        few = endings.total() == 1
        warnings.warn(
            f"{endings.total():,} file{'' if few else 's'} in {folder} "
            f"{'does not end like an image and was' if few else 'do not end like images and were'} "
            f"not read: {said}",
            stacklevel=6,
        )


def _check_links(folder: Path, root: Path) -> None:
    """Refuse a class folder that is a link out of the data set."""
    home = root.resolve()
    for path in folders(folder):
        if path.is_symlink() and home not in path.resolve().parents:
            raise ValueError(
                f"the folders of {root} must lie in it, but {path.name} is a link to "
                f"{os.readlink(path)}; copy it there, or make it a folder of links to the images"
            )


def _check_classes(split: str, found: Layout) -> None:
    """Refuse classes of a split that are not among those that are trained on."""
    known = {name for _, name in found.files["train"]}
    unknown = sorted({name for _, name in found.files[split]} - known)
    if unknown:
        raise ValueError(
            f"the {split} split of {found.root} must hold the classes of the training split alone, "
            f"but also holds {listed(map(repr, unknown))}; make the folders' names agree"
        )
