"""The four files of FashionMNIST: their names, their hashes, and how to read them safely."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np
import torch

from counterpoise.files import open_ordinary

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"

# Hashes of what the gzip files hold. They stay the same when somebody compresses the files
# anew, as Debian does; the hashes of the gzip files themselves do not.
CONTENT_SHA256: dict[str, str] = {
    TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

_MOST = 60_000 * 28 * 28 + 16  # bytes in the largest of them

# Hashes of the gzip files as the authors publish them, for downloads.
UPSTREAM_SHA256: dict[str, str] = {
    TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    TEST_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


class BadFile(ValueError):
    """A file with unexpected content; the message names the fault."""


def read_file(path: Path, name: str) -> bytes | None:
    """Read and check one of the four files.

    Args:
        path: Where the file lies.
        name: Which of the four it should be.

    Returns:
        The decompressed content, or None if there is no such file.

    Raises:
        BadFile: If the file cannot be read or holds anything else.
    """
    try:
        content = _decompress(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except EOFError:
        raise BadFile("truncated: the gzip stream ends too early") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadFile(f"corrupted: {error}") from None
    except OSError as error:
        raise BadFile(f"cannot be read: {error.strerror or error}") from None
    _check_content(content, name)
    return content


def parse_images(content: bytes) -> torch.Tensor:
    """Turn checked IDX content into uint8 images of shape (N, 1, H, W)."""
    return torch.from_numpy(_parse(content)).unsqueeze(1)


def parse_labels(content: bytes) -> torch.Tensor:
    """Turn checked IDX content into int64 class indices of shape (N,)."""
    return torch.from_numpy(_parse(content)).to(torch.int64)


def _decompress(path: Path) -> bytes:
    """Return all a gzip file holds, or one byte more than any of the four files does."""
    with open_ordinary(path) as raw, gzip.open(raw) as stream:
        content = stream.read(_MOST + 1)
    if not content:
        # An empty file decompresses to nothing without any complaint.
        raise EOFError
    return content


def _check_content(content: bytes, name: str) -> None:
    """Refuse content that is not that of the named file."""
    found = hashlib.sha256(content).hexdigest()
    if found == CONTENT_SHA256[name]:
        return
    for other, expected in CONTENT_SHA256.items():
        if found == expected:
            raise BadFile(f"swapped: it holds the content of {other}")
    raise BadFile(f"corrupted: the SHA-256 of its content is {found}, not {CONTENT_SHA256[name]}")


def _parse(content: bytes) -> np.ndarray:
    """Parse IDX: two zero bytes, type, number of dimensions, the dimensions, the values."""
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    # The bytes object is read-only; a copy makes the tensors writable.
    return values.reshape([int(size) for size in shape]).copy()
