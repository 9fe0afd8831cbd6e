"""Image files to arrays of bytes, of one shape and one mode."""

from __future__ import annotations

import errno
import io
import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

from counterpoise.data.memory import give_back
from counterpoise.files import open_ordinary
from counterpoise.text import one_line, printable

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
_LASTING = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EISDIR, errno.ELOOP)
_GREY, _WIDE = ("1", "L", "LA", "La"), ("I", "F")
KEPT, SMALLEST, LARGEST = 64, 8, 32  # pixels a side, where no size is asked for
_RESAMPLE = {  # bilinear as torchvision; a third quicker than bicubic
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

Resize = Literal["crop", "squash", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Encoded = Path | bytes | Image.Image
"""An image file, the content of one, or an image that Pillow has opened."""


@dataclass(frozen=True)
class Header:
    """The beginning of an image file.

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
    """The form that all images of a folder get: uint8 of (channels, height, width).

    Attributes:
        shape: channels, height and width; 1 channel or 3.
        resize: how an image comes to height and width.
        low: the value that becomes 0 in images with more than 8 bits; NaN to refuse these.
        high: the value that becomes 255 there.
        interpolation: between pixels.
    """

    shape: tuple[int, int, int]
    resize: Resize = "crop"
    low: float = 0.0
    high: float = 65535.0
    interpolation: Interpolation = field(default="bilinear", repr=False)


def read_headers(files: Sequence[Encoded]) -> list[Header | str]:
    """Return the header of each image, or why there is none."""
    Image.init()  # before the threads
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # contents are fetched there, one at a time
        return list(pool.map(lambda k: _header(files[k]), range(len(files))))


class Decoder:
    """Decoder of image files into one form, in threads.

    Args:
        files: the images.
        form: what they become.
    """

    def __init__(self, files: Sequence[Encoded], form: Form) -> None:
        self.files, self.form = files, form
        Image.init()
        self.pool = ThreadPoolExecutor(os.cpu_count())
        self.few = ThreadPoolExecutor(2)  # for large images: each thread keeps its memory

    def block(self, first: int, end: int) -> tuple[np.ndarray, dict[int, str]]:
        """Return images first .. end - 1, uint8 (N, C, H, W), and why some of them are empty."""
        samples = np.zeros((end - first, *self.form.shape), np.uint8)

        def read(k: int, most: float) -> str | None:
            """Decode an image into its place; return why it is empty, or "" if it is large."""
            image = _decode(self.files[first + k], self.form, most)
            if not isinstance(image, np.ndarray):
                return image or ""
            samples[k] = image
            return None

        found = dict(enumerate(self.pool.map(lambda k: read(k, _LARGE), range(len(samples)))))
        large = [k for k, why in found.items() if why == ""]
        found |= zip(large, self.few.map(lambda k: read(k, math.inf), large), strict=True)
        return samples, {k: why for k, why in found.items() if why is not None}

    def close(self) -> None:
        """End the threads, and free what they needed."""
        self.pool.shutdown(cancel_futures=True)
        self.few.shutdown(cancel_futures=True)
        give_back()


@contextmanager
def _opened(image: Encoded) -> Iterator[Image.Image]:
    """Open an image; of one that is open already give a copy, as it may be used elsewhere."""
    if isinstance(image, Image.Image):
        yield image.copy()
        return
    raw = io.BytesIO(image) if isinstance(image, bytes) else open_ordinary(image)
    with raw as file, _open(file) as found:
        yield found


def _explained(image: Encoded, work: Callable[[], object]) -> object:
    """Return the result, or why there is none: Pillow raises whatever a broken file leads to.

    Raises:
        ValueError: what may go better the next time, such as too many open files.
    """
    try:
        return work()
    except Image.UnidentifiedImageError:
        return "no image of a known format"
    except OSError as error:
        if error.errno is not None and error.errno not in _LASTING:
            name = printable(image) if isinstance(image, Path) else "an image"
            raise ValueError(f"{name} cannot be read now: {error.strerror}") from error
        return error.strerror or one_line(error)
    except MemoryError:
        raise
    except Exception as error:
        return one_line(error) or type(error).__name__


def _header(encoded: Encoded) -> Header | str:
    def work() -> Header:
        with _opened(encoded) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS:
                width, height = height, width
            if not image.mode.startswith(_WIDE):
                kind = "grey" if image.mode in _GREY else "rgb"
                return Header(height, width, kind)
            values = _values(image)
            return Header(height, width, "wide", float(values.min()), float(values.max()))

    return _explained(encoded, work)  # type: ignore[return-value]


def _values(image: Image.Image) -> np.ndarray:
    """Return the values of an image with more than 8 bits."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    return values


def _decode(encoded: Encoded, form: Form, most: float) -> np.ndarray | str | None:
    """Return an image, (C, H, W), or why there is none; None if it has more pixels than `most`."""
    channels, height, width = form.shape

    def work() -> np.ndarray | None:
        with _opened(encoded) as image:
            image.draft(None, (2 * width, 2 * height))  # a JPEG is decoded no larger than needed
            if image.width * image.height > most:
                return None
            ImageOps.exif_transpose(image, in_place=True)
            plain = _resized(_plain(image, form), (width, height), form)
            pixels = np.asarray(_in_mode(plain, "L" if channels == 1 else "RGB"))
            return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)

    return _explained(encoded, work)  # type: ignore[return-value]


def _resized(image: Image.Image, size: tuple[int, int], form: Form) -> Image.Image:
    if image.size == size:
        return image
    between = _RESAMPLE[form.interpolation]
    if form.resize == "squash":
        return image.resize(size, between)
    return (ImageOps.pad if form.resize == "pad" else ImageOps.fit)(image, size, between)


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
        if math.isnan(form.low):
            raise ValueError(
                "more than 8 bits a pixel, as no image to train on had, so that nothing says which "
                "value is white"
            )
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


@dataclass(frozen=True)
class Summary:
    """The headers of all images of a folder, together.

    Attributes:
        images: how many could be opened.
        height: the median one.
        width: the same.
        shorter: the median of the shorter sides.
        equal: whether all have the same height and width.
        grey: whether none has colours.
        wide: how many have more than 8 bits a pixel.
        low: the darkest value of these.
        high: the brightest.
    """

    images: int
    height: int
    width: int
    shorter: int
    equal: bool
    grey: bool
    wide: int
    low: float
    high: float


def summarize(headers: Sequence[Header]) -> Summary:
    """Return what headers, one at least, say together."""
    sizes = np.array([(h.height, h.width) for h in headers])
    height, width = np.median(sizes, axis=0)
    wide = [h for h in headers if h.kind == "wide"]
    return Summary(
        len(headers),
        int(height),
        int(width),
        int(np.median(sizes.min(1))),
        bool((sizes == sizes[0]).all()),
        all(h.kind != "rgb" for h in headers),
        len(wide),
        min((h.low for h in wide), default=0.0),
        max((h.high for h in wide), default=0.0),
    )


def common_form(
    found: Summary, size: int | tuple[int, ...], resize: Resize, interpolation: Interpolation
) -> Form:
    """Return what images become.

    Grey if all are grey, else RGB. Where no size is asked for, images that all have the same one
    of `KEPT` pixels a side or fewer keep it; else they become squares of the median of their
    shorter sides, from `SMALLEST` to `LARGEST`. Values of more than 8 bits are scaled so that the
    range of all of them becomes 0 .. 255.
    """
    if size:
        height, width = size if isinstance(size, tuple) else (size, size)
    elif found.equal and max(found.height, found.width) <= KEPT:
        height, width = found.height, found.width
    else:
        height = width = max(SMALLEST, min(found.shorter, LARGEST))
    shape = (1 if found.grey else 3, height, width)
    return Form(shape, resize, found.low, found.high, interpolation)


def described(found: Summary, form: Form) -> Iterator[str]:
    """Yield sentences on what the images were and what became of them."""
    size, sides = (found.height, found.width), form.shape[1:]
    said = (
        f"{found.images:,} {'grey' if found.grey else 'RGB'} images of {size[0]} x {size[1]} pixels"
    )
    said += "" if found.equal else " (median height and width)"
    how = {"crop": "cut to that shape", "squash": "squashed into it", "pad": "padded to it"}
    if found.equal and size == sides:
        yield f"{said}, kept as they are"
    elif found.equal and size[0] * sides[1] == size[1] * sides[0]:
        yield f"{said}, scaled to {sides[0]} x {sides[1]}"
    else:
        yield f"{said}, scaled to {sides[0]} x {sides[1]} and {how[form.resize]}"
    if found.wide:
        yield (
            f"{found.wide:,} of them with more than 8 bits a pixel: their values from "
            f"{found.low:g} to {found.high:g}, the range over all of them, became 0 to 255"
        )
