"""FashionMNIST, from the cache, from Debian's package or from the web."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from counterpoise.data import _idx_files
from counterpoise.data._debian import DEBIAN_FOLDER, DEBIAN_PACKAGE
from counterpoise.data._mirrors import MIRRORS, pooch
from counterpoise.data._search import Search
from counterpoise.data.splits import Split, Splits

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class DataNotFound(FileNotFoundError):
    """No location holds the whole data set; the message lists those tried and the remedy."""


def fashion_mnist(
    *,
    cache: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool = False,
    mirrors: Sequence[str] = MIRRORS,
    debian: str | os.PathLike[str] | None = DEBIAN_FOLDER,
) -> Splits:
    """Load FashionMNIST: 60000 training and 10000 test images of clothes, ten classes.

    Each of the four files is looked for in the cache, then in the folder of Debian's package,
    then on the mirrors; only files whose content has the right SHA-256 are used. A file that is
    there but unfit is named in a UserWarning.

    Args:
        cache: The folder for downloads, of which the subfolder `fashion-mnist` is used. None
            takes the environment variable COUNTERPOISE_DATA, or else the user's cache folder.
        download: Whether files may be downloaded.
        progress: Whether to show progress bars while downloading.
        mirrors: Web folders that hold the four files, in the order to try them.
        debian: The folder of Debian's package; None leaves it out.

    Returns:
        The data set; images are uint8 of shape (N, 1, 28, 28).

    Raises:
        DataNotFound: If no place has all that is needed.
        TypeError: If cache or debian is no path, or mirrors is a single string.

    Example:
        >>> data = fashion_mnist()
        >>> data.train.inputs.shape
        torch.Size([60000, 1, 28, 28])
    """
    if isinstance(mirrors, str):
        raise TypeError(f"mirrors must be a sequence of addresses, got a str; pass ({mirrors!r},)")
    folder = _cache_folder(cache)
    search = Search()
    search.look_in(folder, "cache folder")
    if debian is not None:
        search.look_in(_as_path("debian", debian), "Debian's folder")
    if download:
        search.download(tuple(mirrors), folder, progress)
    if search.missing():
        raise DataNotFound(_explain(search, folder, download))
    for line in search.bad:
        warnings.warn(f"{line}; another source was used", UserWarning, stacklevel=2)
    return _as_data(search)


def _cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """Return the folder for this data set's files."""
    if cache is None:
        # A variable that is set but empty means unset, as usual in shells.
        cache = os.environ.get("COUNTERPOISE_DATA") or pooch.os_cache("counterpoise")
    return _as_path("cache", cache) / "fashion-mnist"


def _as_path(name: str, value: str | os.PathLike[str]) -> Path:
    """Return a path argument as a path, with ~ replaced by the home folder."""
    try:
        return Path(value).expanduser()
    except TypeError:
        raise TypeError(
            f"{name} must be a path or None, got {type(value).__name__}; pass a folder's path"
        ) from None


def _explain(search: Search, folder: Path, download: bool) -> str:
    """Name in one line the locations tried, the fault of each, and the remedy."""
    tried = [*search.tried] if download else [*search.tried, "download=False forbids a download"]
    connect = "connect to the internet" if download else "allow download=True"
    return (
        f"FashionMNIST was not found: {'; '.join(tried)}. "
        f"Install Debian's package {DEBIAN_PACKAGE}, or put {', '.join(search.missing())} "
        f"into {folder}, or {connect}, and try again."
    )


def _as_data(search: Search) -> Splits:
    """Turn the four found files into tensors."""
    found = search.contents
    return Splits(
        name="FashionMNIST",
        train=_as_split(found[_idx_files.TRAIN_IMAGES], found[_idx_files.TRAIN_LABELS]),
        test=_as_split(found[_idx_files.TEST_IMAGES], found[_idx_files.TEST_LABELS]),
        class_names=CLASS_NAMES,
        source=f"FashionMNIST (Zalando Research): {'; '.join(search.sources)}",
    )


def _as_split(images: bytes, labels: bytes) -> Split:
    """Turn the content of two files into a split."""
    return Split(_idx_files.parse_images(images), _idx_files.parse_labels(labels))
