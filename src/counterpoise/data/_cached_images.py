"""Encoded images, wherever they are, decoded into the cache."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import cast

import torch

from counterpoise.data import cache
from counterpoise.data._decode import (
    Decoder,
    Encoded,
    Header,
    Interpolation,
    Resize,
    Summary,
    common_form,
    described,
    read_headers,
    summarize,
)
from counterpoise.data._options import Options
from counterpoise.text import listed, printable


@dataclass(frozen=True)
class Images:
    """Images that are to be decoded.

    Attributes:
        encoded: each image's file or its content.
        name: returns what people call an image, by its number.
        root: where they are, in messages.
        source: the same, in the cache's list.
    """

    encoded: Sequence[Encoded]
    name: Callable[[int], str]
    root: str
    source: str

    def decoded(self, stamps: Iterable[str], options: Options) -> cache.Entry:
        """Return the cache's entry of these images; what is not in it yet is decoded.

        Its `about["reading"]` is that of `data.Splits`. Those that cannot be read are warned of.

        Args:
            stamps: texts that are others when the images are.
            options: the cache, the size asked for, and whom to tell of the progress.

        Raises:
            ValueError: none of them can be read, or the cache cannot be written.
        """
        key = cache.key("images", *stamps)
        found = self._summary(options.cache, key)
        between = "bilinear" if options.interpolation == "auto" else options.interpolation
        how = cast(Resize, options.resize), cast(Interpolation, between)
        form = common_form(found, options.image_size, *how)
        notes = list(described(found, form))
        own = {} if between == "bilinear" else {"interpolation": between}  # so older keys stay
        place = cache.folder(options.cache) / cache.key(key, form, *own.values())
        entry = cache.open_entry(place)
        if entry is None:
            about = {"source": self.source, "notes": notes}
            shape = (len(self.encoded), *form.shape)
            try:
                with closing(Decoder(self.encoded, form)) as decoder:
                    entry = cache.fill(
                        place, shape, torch.uint8, decoder.block, about, options.on_progress
                    )
            except OSError as error:
                raise ValueError(
                    f"{printable(place.parent)} must hold the decoded images, which needs "
                    f"{math.prod(shape) / 2**30:,.1f} GiB, but: {error.strerror or error}; --set "
                    "data.cache names another folder, and a smaller --image-size needs less"
                ) from error
        reading = {
            "kind": "images",
            "shape": list(form.shape),
            "resize": form.resize,
            "low": form.low if found.wide else None,
            "high": form.high if found.wide else None,
            **own,
        }
        entry = replace(entry, about={**entry.about, "reading": reading})
        if entry.unread:
            self._check_any(entry.unread)
            warnings.warn(f"{self._broken(entry.unread)}; they were left out", stacklevel=4)
        return entry

    def _summary(self, where: str, key: str) -> Summary:
        """Return what the images' headers say, which the cache remembers."""
        known = cache.recall(where, key)
        if known is not None:
            return Summary(**known)
        headers = read_headers(self.encoded)
        whole = [header for header in headers if isinstance(header, Header)]
        self._check_any({k: h for k, h in enumerate(headers) if isinstance(h, str)})
        found = summarize(whole)
        cache.remember(where, key, asdict(found))
        return found

    def _check_any(self, unread: dict[int, str]) -> None:
        """Refuse images of which none can be read."""
        if len(unread) == len(self.encoded):
            raise ValueError(f"{self._broken(unread)}; check that they are images at all")

    def _broken(self, unread: dict[int, str]) -> str:
        named = listed(f"{self.name(k)} ({why})" for k, why in sorted(unread.items()))
        return f"{len(unread)} of {len(self.encoded)} images in {self.root} cannot be read: {named}"
