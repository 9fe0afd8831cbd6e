"""Folders of images, a subfolder a class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from counterpoise.data._part import Data, Part
from counterpoise.data._split import as_data

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
_TOLD = 3


def read_image_folder(root: Path, image_size: int, seed: int) -> Data:
    """Read root/CLASS/... or root/train/CLASS/... and root/test/CLASS/... ."""
    folders = _folders(root)
    by_word = {folder.name.lower(): folder for folder in folders}
    parts = [root]
    if "train" in by_word and _folders(by_word["train"]):
        parts = _parts(root, by_word)
    class_names = [folder.name for folder in _folders(parts[0])]
    files, targets, sizes = [], [], []
    for part in parts:
        found = _files(part, class_names)
        files += [file for file, _ in found]
        targets += [k for _, k in found]
        sizes.append(len(found))
    images, readable = _read_all(root, files, image_size)
    index = torch.tensor(targets, dtype=torch.int64)[readable]
    n = int(readable[: sizes[0]].sum())
    train, rest = Part(images[:n], index[:n]), Part(images[n:], index[n:])
    test = rest if len(parts) == 2 else None
    return as_data(root.resolve().name, str(root), train, test, class_names, seed)


def _parts(root: Path, by_word: dict[str, Path]) -> list[Path]:
    """Return the folders of the two parts."""
    if "test" not in by_word:
        raise ValueError(
            f"{root} must hold a folder test beside train, but holds {', '.join(by_word)}; rename "
            "the one to test on, or give the folder train alone, of which a fifth is held out"
        )
    unread = [folder.name for word, folder in by_word.items() if word not in ("train", "test")]
    if unread:
        warnings.warn(f"{root} also holds {', '.join(unread)}: not read", stacklevel=4)
    return [by_word["train"], by_word["test"]]


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not _ignored(path.name))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _files(part: Path, class_names: Sequence[str]) -> list[tuple[Path, int]]:
    """Return the images of a part and their classes, in a fixed order."""
    unknown = [f.name for f in _folders(part) if f.name not in class_names]
    if unknown:
        raise ValueError(
            f"{part} must hold the classes of the training part alone, but also holds "
            f"{', '.join(map(repr, unknown))}; make the folders' names agree"
        )
    return [
        (path, k)
        for k, name in enumerate(class_names)
        for path in sorted((part / name).rglob("*"))
        if path.suffix.lower() in _SUFFIXES
        and not any(_ignored(word) for word in path.relative_to(part / name).parts)
        and path.is_file()
    ]


def _read_all(root: Path, files: Sequence[Path], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images that can be read, (N, C, H, W), and which of the files they are."""
    if not files:
        raise ValueError(
            f"{root} must hold a folder per class with images ({', '.join(_SUFFIXES)}) in it, but "
            "no image was found there; check that it is the right place"
        )
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda path: _read(path, size), files))
    bad = {file: why for file, why in zip(files, found, strict=True) if isinstance(why, str)}
    if bad:
        told = [f"{file.relative_to(root)} ({why})" for file, why in list(bad.items())[:_TOLD]]
        line = f"{len(bad)} of {len(files)} images in {root} cannot be read: {', '.join(told)}"
        line += f" and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
        if len(bad) == len(files):
            raise ValueError(f"{line}; check that they are images at all")
        warnings.warn(f"{line}; they were left out", stacklevel=4)
    images = [image for image in found if not isinstance(image, str)]
    readable = torch.tensor([not isinstance(image, str) for image in found])
    return torch.from_numpy(_stack(images)), readable


def _stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, 1, H, W) if all are grey, else (N, 3, H, W)."""
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[:, None]
    colored = [image if image.ndim == 3 else image[..., None].repeat(3, 2) for image in images]
    return np.ascontiguousarray(np.stack(colored).transpose(0, 3, 1, 2))


def _read(path: Path, size: int) -> np.ndarray | str:
    """Return an image, (H, W) or (H, W, 3), or why there is none."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.draft(None, (2 * size, 2 * size))  # a JPEG is decoded no larger than needed
            upright = _plain(ImageOps.exif_transpose(image))
            return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC))
    except Image.UnidentifiedImageError:
        return "no image of a known format"
    except Exception as error:  # Pillow's readers raise whatever a broken file leads to
        return str(error) or type(error).__name__


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in mode L or RGB, what is transparent as white."""
    if image.mode == "F":
        raise ValueError("floating pixels, whose range nobody knows; save it with 8 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("pixels of more than 16 bits; save it with 8 bits")
        return Image.fromarray((wide >> 8).astype(np.uint8))
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if grey else "RGB")
