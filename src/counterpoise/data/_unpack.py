"""Compressed files, unpacked as far as memory allows."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from counterpoise.data.memory import check_memory
from counterpoise.files import open_ordinary
from counterpoise.text import one_line

PACKED = (".gz", ".bz2", ".xz", ".zip", ".zst")
_BLOCK = 2**24
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, OSError)


def unpacked(path: Path, copies: int) -> bytes:
    """Return the content of a file, unpacked where its name ends in .gz, .bz2, .xz, .zip or .zst.

    Args:
        path: the file.
        copies: how many times as large as its content is what will be made of it.

    Raises:
        ValueError: it does not fit into memory, is damaged, or holds several files.
    """
    blocks: list[bytes] = []
    check_memory(path, copies * path.stat().st_size)
    with ExitStack() as stack:
        file = stack.enter_context(open_ordinary(path))
        try:
            opened = stack.enter_context(_opened(path, file))
            while block := opened.read(_BLOCK):
                blocks.append(block)
                check_memory(path, copies * len(block))  # the others are no longer free
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(
                f"{path} must be possible to unpack, but: {one_line(error)}; pack it again"
            ) from error
    return b"".join(blocks)


def _opened(path: Path, file: IO[bytes]) -> Any:
    kind = path.suffix.lower()
    if kind == ".gz":
        return gzip.GzipFile(fileobj=file)
    if kind == ".bz2":
        return bz2.BZ2File(file)
    if kind == ".xz":
        return lzma.LZMAFile(file)
    if kind == ".zip":
        return _only_member(path, zipfile.ZipFile(file))
    return _zstandard(path, file) if kind == ".zst" else file


def _only_member(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    members = [m for m in archive.infolist() if not m.is_dir() and "__MACOSX" not in m.filename]
    if len(members) != 1:
        raise ValueError(
            f"{path} must hold one table, but holds {len(members)} files; unpack it, and give one "
            "of them"
        )
    return archive.open(members[0])


def _zstandard(path: Path, file: IO[bytes]) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ValueError(
            f"{path} is unpacked by a package that is not installed, zstandard; install it with: "
            "pip install 'counterpoise[tables]'"
        ) from error
    return zstandard.ZstdDecompressor().stream_reader(file)
