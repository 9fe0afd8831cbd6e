"""Folders of images, a subfolder a class."""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps

from counterpoise.data._hold_out import as_splits
from counterpoise.data._options import Options, Progress
from counterpoise.data.memory import check_memory
from counterpoise.data.splits import Split, Splits
from counterpoise.files import open_ordinary
from counterpoise.text import one_line, printable

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
_NAMED = 3
_LARGE = 8_000_000  # pixels; no more than two of these are decoded at once
_ORIENTATION, _SIDEWAYS = 0x0112, 5  # in EXIF: from here on height and width are exchanged
_LARGEST_SIZE, _SMALLEST_SIZE = 32, 8  # to which images are scaled if nothing is said
_LOOKED_AT = 256  # images whose sizes decide that


def read_image_folder(root: Path, options: Options) -> Splits:
    """Read root/CLASS/... or root/train/CLASS/... and root/test/CLASS/... ."""
    folders = _folders(root, root)
    by_word = {folder.name.lower(): folder for folder in folders}
    splits = [root]
    if "train" in by_word and _folders(by_word["train"], root):
        splits = _split_folders(root, by_word)
    class_names = [folder.name for folder in _folders(splits[0], root)]
    files, targets, sizes = [], [], []
    for split in splits:
        found = _files(split, class_names, root)
        files += [file for file, _ in found]
        targets += [k for _, k in found]
        sizes.append(len(found))
    class_names, targets = _without_empty(root, class_names, targets)
    height, width = _median_size(files)
    image_size = options.image_size or max(_SMALLEST_SIZE, min(height, width, _LARGEST_SIZE))
    assert isinstance(image_size, int)
    images, readable = _read_all(root, files, image_size, options.on_progress)
    index = torch.tensor(targets, dtype=torch.int64)[readable]
    n = int(readable[: sizes[0]].sum())
    names = [
        file.relative_to(root).as_posix()
        for file, read in zip(files, readable.tolist(), strict=True)
        if read
    ]
    train = Split(images[:n], index[:n], tuple(names[:n]))
    rest = Split(images[n:], index[n:], tuple(names[n:]))
    test = rest if len(splits) == 2 else None
    name, source = printable(root.resolve().name), printable(root)
    note = (
        f"{len(images):,} {'grey' if images.shape[1] == 1 else 'RGB'} images of {height} x {width} "
        f"pixels (median height and width), cut to a square and scaled to {image_size} x "
        f"{image_size}"
    )
    splits = as_splits(name, source, train, test, class_names, options.seed)
    return replace(splits, notes=(note,))


def _split_folders(root: Path, by_word: dict[str, Path]) -> list[Path]:
    """Return the folders of the two splits."""
    if "test" not in by_word:
        raise ValueError(
            f"{root} must hold a folder test beside train, but holds {', '.join(by_word)}; rename "
            "the one to test on, or give the folder train alone, of which a fifth is held out"
        )
    unread = [folder.name for word, folder in by_word.items() if word not in ("train", "test")]
    if unread:
        warnings.warn(f"{root} also holds {', '.join(unread)}: not read", stacklevel=4)
    return [by_word["train"], by_word["test"]]


def _folders(folder: Path, root: Path) -> list[Path]:
    """Return the folders in a folder; a link among them may not leave the data set."""
    found = sorted(p for p in folder.iterdir() if p.is_dir() and not _ignored(p.name))
    for path in found:
        if path.is_symlink() and root.resolve() not in path.resolve().parents:
            raise ValueError(
                f"the folders of {root} must lie in it, but {path.relative_to(root)} is a link to "
                f"{os.readlink(path)}; copy it there, or make it a folder of links to the images"
            )
    return found


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _files(split: Path, class_names: Sequence[str], root: Path) -> list[tuple[Path, int]]:
    """Return the images of a split and their classes, in a fixed order."""
    unknown = [f.name for f in _folders(split, root) if f.name not in class_names]
    if unknown:
        raise ValueError(
            f"{split} must hold the classes of the training split alone, but also holds "
            f"{', '.join(map(repr, unknown))}; make the folders' names agree"
        )
    unread: list[str] = []
    found = [
        (path, k)
        for k, name in enumerate(class_names)
        if (split / name).is_dir()
        for path in sorted(_walk(split / name, unread))
        if path.suffix.lower() in _SUFFIXES
    ]
    if unread:
        more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        warnings.warn(
            f"links to folders are not followed in {root}: {', '.join(sorted(unread)[:_NAMED])}"
            f"{more}; copy what they lead to",
            stacklevel=4,
        )
    return found


def _without_empty(
    root: Path, class_names: Sequence[str], targets: Sequence[int]
) -> tuple[list[str], list[int]]:
    """Return the classes that have an image in some split, and the targets numbered by these."""
    left = sorted({*targets})
    empty = [repr(name) for k, name in enumerate(class_names) if k not in left]
    if left and empty:
        more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
        warnings.warn(
            f"{len(empty)} of the {len(class_names)} classes in {root} were left out, as no image "
            f"is in their folders: {', '.join(empty[:_NAMED])}{more}",
            stacklevel=4,
        )
    return [class_names[k] for k in left], [left.index(k) for k in targets]


def _walk(folder: Path, unread: list[str]) -> Iterator[Path]:
    """Yield the files at any depth; links to folders are noted as not read."""
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if _ignored(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    unread.append(printable(entry.path))
                else:
                    yield Path(entry.path)


def _median_size(files: Sequence[Path]) -> tuple[int, int]:
    """Return the median height and width of some of the images; 0 where none can be opened."""
    Image.init()
    sizes = []
    for path in files[:: max(1, len(files) // _LOOKED_AT)]:
        # Pillow's readers raise whatever a broken file leads to.
        with suppress(Exception), open_ordinary(path) as file, _open(file) as image:
            upright = image.getexif().get(_ORIENTATION, 1) < _SIDEWAYS
            sizes.append(image.size[::-1] if upright else image.size)
    height, width = np.median(sizes, axis=0) if sizes else (0, 0)
    return int(height), int(width)


def _read_all(
    root: Path, files: Sequence[Path], size: int, on_progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images that can be read, (N, C, H, W), and which of the files they are."""
    if not files:
        raise ValueError(
            f"{root} must hold a folder per class with images ({', '.join(_SUFFIXES)}) in it, but "
            "no image was found there; check that it is the right place"
        )
    check_memory(root, 2 * 3 * size * size * len(files))
    found = _decode(files, size, on_progress)
    bad = {file: why for file, why in zip(files, found, strict=True) if isinstance(why, str)}
    if bad:
        named = [
            f"{printable(file.relative_to(root))} ({why})"
            for file, why in list(bad.items())[:_NAMED]
        ]
        line = f"{len(bad)} of {len(files)} images in {root} cannot be read: {', '.join(named)}"
        line += f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        if len(bad) == len(files):
            raise ValueError(f"{line}; check that they are images at all")
        warnings.warn(f"{line}; they were left out", stacklevel=4)
    images = [image for image in found if isinstance(image, np.ndarray)]
    readable = torch.tensor([not isinstance(image, str) for image in found])
    return torch.from_numpy(_stack(images)), readable


def _decode(
    files: Sequence[Path], size: int, on_progress: Progress
) -> list[np.ndarray | str | None]:
    """Return each image, or why there is none; large ones in two threads of their own.

    Not by a lock among the threads of all: each would keep the memory that it once needed.
    """
    Image.init()  # before the threads
    with ThreadPoolExecutor() as pool:
        found = []
        for image in pool.map(lambda path: _read(path, size, _LARGE), files):
            found.append(image)
            on_progress(len(found), len(files))
    large = [k for k, image in enumerate(found) if image is None]
    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(lambda k: _read(files[k], size), large))
    for k, image in zip(large, images, strict=True):
        found[k] = image
    return found


def _stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, 1, H, W) if all are grey, else (N, 3, H, W)."""
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[:, None]
    colored = [image if image.ndim == 3 else image[..., None].repeat(3, 2) for image in images]
    return np.ascontiguousarray(np.stack(colored).transpose(0, 3, 1, 2))


def _read(path: Path, size: int, most: float = math.inf) -> np.ndarray | str | None:
    """Return an image, (H, W) or (H, W, 3), or why there is none; None if it has more pixels."""
    try:
        with open_ordinary(path) as file, _open(file) as image:
            image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded no larger than needed
            if image.width * image.height > most:
                return None
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(ImageOps.fit(_plain(image), (size, size), Image.Resampling.BICUBIC))
    except Image.UnidentifiedImageError:
        return "no image of a known format"
    except OSError as error:
        return error.strerror or one_line(error)
    except Exception as error:  # Pillow's readers raise whatever a broken file leads to
        return one_line(error) or type(error).__name__


def _open(file: BinaryIO) -> Image.Image:
    """Open an image as `Image.open` does, but refuse the size that Pillow only warns of."""
    start = file.read(16)
    for name in _FORMATS:
        make, accept = Image.OPEN.get(name, (None, None))
        accepted = make is not None and (accept is None or accept(start))
        if not accepted or isinstance(accepted, str):  # text says that support is missing
            continue
        file.seek(0)
        try:
            image = make(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # of another format after all
            continue
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and image.width * image.height > most:
            raise ValueError(
                f"{image.width} x {image.height} pixels, above Pillow's limit of {most}; scale it "
                "down"
            )
        return image
    raise Image.UnidentifiedImageError


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in mode L or RGB, transparent pixels as white."""
    if image.mode == "F":
        raise ValueError("floating pixels, whose range nobody knows; save it with 8 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("pixels of more than 16 bits; save it with 8 bits")
        return Image.fromarray((wide >> 8).astype(np.uint8))
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        image = _in_mode(image, "RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _in_mode(image, "L" if grey else "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image, without the copy that Pillow makes where it has the mode already."""
    return image if image.mode == mode else image.convert(mode)
