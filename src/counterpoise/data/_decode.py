"""Image files to arrays of bytes, of one shape and one mode."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

from counterpoise.files import open_ordinary
from counterpoise.text import one_line

SUFFIXES = frozenset(
    f".{ending}"
    for formats in (
        ("jpg", "jpeg", "jpe", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff"),
        ("ppm", "pgm", "pbm", "pnm", "avif", "jp2", "j2k", "tga"),
    )
    for ending in formats
)
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
_LARGE = 8_000_000  # pixels; no more than two of these are decoded at once
_ORIENTATION, _SIDEWAYS = 0x0112, 5  # in EXIF: from here on height and width are exchanged
_GREY, _WIDE = ("1", "L", "LA", "La"), ("I", "F")
_RESAMPLE = Image.Resampling.BICUBIC

Resize = Literal["crop", "squash", "pad"]


@dataclass(frozen=True)
class Header:
    """What the beginning of an image file says.

    Attributes:
        height: of the image as it is looked at.
        width: the same.
        kind: "grey", "rgb", or "wide": grey with more than 8 bits.
        low: the darkest value of a wide one.
        high: the brightest.
    """

    height: int
    width: int
    kind: Literal["grey", "rgb", "wide"]
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Form:
    """What all images of a folder become: uint8 of (channels, height, width).

    Attributes:
        shape: channels, height and width; 1 channel or 3.
        resize: how an image comes to height and width.
        low: the value that becomes 0 in images with more than 8 bits.
        high: the value that becomes 255 there.
    """

    shape: tuple[int, int, int]
    resize: Resize = "crop"
    low: float = 0.0
    high: float = 65535.0


def read_headers(files: Sequence[Path]) -> list[Header | str]:
    """Return the header of each image, or why there is none."""
    Image.init()  # before the threads
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_header, files, chunksize=64))


class Decoder:
    """Decoder of image files into one form, in threads.

    Args:
        files: the images.
        form: what they become.
    """

    def __init__(self, files: Sequence[Path], form: Form) -> None:
        self.files, self.form = files, form
        Image.init()
        self.pool = ThreadPoolExecutor(os.cpu_count())
        self.few = ThreadPoolExecutor(2)  # for large images: each thread keeps its memory

    def block(self, first: int, end: int) -> tuple[np.ndarray, dict[int, str]]:
        """Return images first .. end - 1, uint8 (N, C, H, W), and why some of them are empty."""
        files = self.files[first:end]
        found = list(self.pool.map(lambda path: _decode(path, self.form, _LARGE), files))
        large = [k for k, image in enumerate(found) if image is None]
        again = self.few.map(lambda k: _decode(files[k], self.form, math.inf), large)
        for k, image in zip(large, again, strict=True):
            found[k] = image
        samples = np.zeros((len(files), *self.form.shape), np.uint8)
        unread = {}
        for k, image in enumerate(found):
            if isinstance(image, np.ndarray):
                samples[k] = image
            else:
                unread[k] = str(image)
        return samples, unread

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(cancel_futures=True)
        self.few.shutdown(cancel_futures=True)


def _explained(work: Callable[[], object]) -> object:
    """Return the result, or why there is none: Pillow raises whatever a broken file leads to."""
    try:
        return work()
    except Image.UnidentifiedImageError:
        return "no image of a known format"
    except OSError as error:
        return error.strerror or one_line(error)
    except Exception as error:
        return one_line(error) or type(error).__name__


def _header(path: Path) -> Header | str:
    def work() -> Header:
        with open_ordinary(path) as file, _open(file) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS:
                width, height = height, width
            if not image.mode.startswith(_WIDE):
                kind = "grey" if image.mode in _GREY else "rgb"
                return Header(height, width, kind)
            values = _values(image)
            return Header(height, width, "wide", float(values.min()), float(values.max()))

    return _explained(work)  # type: ignore[return-value]


def _values(image: Image.Image) -> np.ndarray:
    """Return the values of an image with more than 8 bits."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    return values


def _decode(path: Path, form: Form, most: float) -> np.ndarray | str | None:
    """Return an image, (C, H, W), or why there is none; None if it has more pixels than `most`."""
    channels, height, width = form.shape

    def work() -> np.ndarray | None:
        with open_ordinary(path) as file, _open(file) as image:
            image.draft(None, (2 * width, 2 * height))  # a JPEG is decoded no larger than needed
            if image.width * image.height > most:
                return None
            ImageOps.exif_transpose(image, in_place=True)
            plain = _resized(_plain(image, form), (width, height), form.resize)
            pixels = np.asarray(_in_mode(plain, "L" if channels == 1 else "RGB"))
            return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)

    return _explained(work)  # type: ignore[return-value]


def _resized(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    if image.size == size:
        return image
    if resize == "squash":
        return image.resize(size, _RESAMPLE)
    return (ImageOps.pad if resize == "pad" else ImageOps.fit)(image, size, _RESAMPLE)


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


def _plain(image: Image.Image, form: Form) -> Image.Image:
    """Return the image in mode L or RGB, transparent pixels as white."""
    if image.mode.startswith(_WIDE):
        scale = 255 / ((form.high - form.low) or 1.0)
        values = (_values(image).astype(np.float64) - form.low) * scale
        return Image.fromarray(np.clip(values, 0, 255).round().astype(np.uint8))
    grey = image.mode in _GREY
    if image.has_transparency_data:
        image = _in_mode(image, "RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _in_mode(image, "L" if grey else "RGB")


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image, without the copy that Pillow makes where it has the mode already."""
    return image if image.mode == mode else image.convert(mode)


def common_form(headers: Iterable[Header], size: int | tuple[int, ...], resize: Resize) -> Form:
    """Return what images with these headers become.

    Grey if all are grey, else RGB. Where no size is asked for, images that all have the same one
    of `KEPT` pixels a side or fewer keep it; else they become squares of the median of their
    shorter sides, from `SMALLEST` to `LARGEST`. Values of more than 8 bits are scaled so that the
    range of all of them becomes 0 .. 255.
    """
    found = list(headers)
    wide = [h for h in found if h.kind == "wide"]
    channels = 3 if any(h.kind == "rgb" for h in found) else 1
    low, high = min((h.low for h in wide), default=0.0), max((h.high for h in wide), default=0.0)
    return Form((channels, *_sides(found, size)), resize, low, high)


KEPT, SMALLEST, LARGEST = 64, 8, 32


def _sides(headers: Sequence[Header], size: int | tuple[int, ...]) -> tuple[int, int]:
    if size:
        height, width = size if isinstance(size, tuple) else (size, size)
        return height, width
    one = headers[0].height, headers[0].width
    if (
        all((h.height, h.width) == one for h in headers)
        and SMALLEST <= min(one) <= max(one) <= KEPT
    ):
        return one
    height, width = np.median([(h.height, h.width) for h in headers], axis=0)
    side = int(max(SMALLEST, min(height, width, LARGEST)))
    return side, side


def described(headers: Iterable[Header], form: Form) -> Iterator[str]:
    """Yield sentences on what the images were and what became of them."""
    found = list(headers)
    height, width = map(int, np.median([(h.height, h.width) for h in found], axis=0))
    one = len({(h.height, h.width) for h in found}) == 1
    channels, *sides = form.shape
    mode = "grey" if channels == 1 else "RGB"
    said = f"{len(found):,} {mode} images of {height} x {width} pixels"
    said += "" if one else " (median height and width)"
    how = {
        "crop": "cut to that shape",
        "squash": "squashed into that shape",
        "pad": "padded with black to that shape",
    }[form.resize]
    if [height, width] == sides and one:
        yield f"{said}, kept as they are"
    elif height * sides[1] == width * sides[0] and one:
        yield f"{said}, scaled to {sides[0]} x {sides[1]}"
    else:
        yield f"{said}, scaled to {sides[0]} x {sides[1]} and {how}"
    wide = sum(h.kind == "wide" for h in found)
    if wide:
        yield (
            f"{wide:,} of them with more than 8 bits a pixel: their values from {form.low:g} to "
            f"{form.high:g}, the range over all of them, became 0 to 255"
        )
