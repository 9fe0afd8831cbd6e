"""One door to all data: a word, a path or the name of an object."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from counterpoise.data._arrays import as_classes, as_inputs
from counterpoise.data._digits import digits
from counterpoise.data._fashion_mnist import fashion_mnist
from counterpoise.data._hold_out import as_splits
from counterpoise.data._npz import read_npz
from counterpoise.data._table import read_table
from counterpoise.data.splits import Split, Splits
from counterpoise.registry import resolve
from counterpoise.text import one_line
from counterpoise.user_code import raised

_NAMED: dict[str, Callable[[], Splits]] = {"fashion_mnist": fashion_mnist, "digits": digits}
_TABLES = (".csv", ".tsv")
_FILES: dict[str, Callable[[Path, int], Splits]] = {
    ".npz": read_npz,
    **dict.fromkeys(_TABLES, read_table),
}


def load(
    source: str | os.PathLike[str],
    *,
    image_size: int = 0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Splits:
    """Load a data set from whatever holds it.

    Where there is no test split, a fifth of each class is held out as one, at least one sample.

    Args:
        source: One of
            "fashion_mnist" and "digits";
            a folder of images (jpg, png, bmp, gif, webp, tif), one subfolder per class, or train
            and test with such subfolders: images become grey if all are, else RGB, are turned
            upright, scaled, and cut to the square in their middle;
            a .npz file with x and y (or inputs, data, images; targets, labels), or with x_train,
            y_train, x_test and y_test;
            a .csv or .tsv file with a header, whose class stands in the column target, label or
            class, or else in the last one, or in COLUMN of "file.csv:COLUMN": text becomes a column
            of 0 and 1 per value, a missing number its column's mean and a mark; columns stand apart
            by commas, or by semicolons, and then 0,5 is one half;
            "package.module:name" of a `Splits`, of a pair (inputs, targets), or of a function
            without arguments that returns either.
            A folder called digits is "./digits".
        image_size: Height and width to which the images of a folder are scaled; 0 for the median
            of their shorter sides, from 8 to 32.
        seed: Decides which samples are held out.
        on_progress: Called with the numbers of images that are read and that there are.

    Returns:
        The data set; images are uint8 (N, C, H, W), tables float32 (N, F). Text that stands for
        classes is kept as it is.

    Raises:
        ValueError: If there is no such thing, nothing in it can be read, a class has fewer than
            three samples (two, beside a test split), or a function of yours raises.
        TypeError: If an object is neither a data set nor a pair.

    Example:
        >>> load("digits").train.inputs.shape
        torch.Size([1198, 1, 8, 8])
    """
    if image_size < 0:
        raise ValueError(f"image_size must be 0 or more, got {image_size}; 32 is usual")
    word = os.fspath(source)
    with _enough_memory(word):
        if word in _NAMED:
            return _NAMED[word]()
        path = _path(word)
        if path.is_dir():
            # Imported here because Pillow is not needed for anything else.
            from counterpoise.data._image_folder import read_image_folder

            return read_image_folder(path, image_size, seed, on_progress or (lambda *_: None))
        if path.is_file():
            return _reader(path)(path, seed)
        if path.exists():
            raise ValueError(
                f"data must be a folder or an ordinary file, got {word!r}, which is a pipe or a "
                "device; write what comes out of it into a file"
            )
        file, _, column = word.rpartition(":")
        if Path(file).suffix.lower() in _TABLES and _path(file).is_file():
            return read_table(_path(file), seed, column)
        if ":" in word:
            return _from_object(word, resolve("data", word, {}), seed)
        raise ValueError(
            f"data must be {', '.join(_NAMED)}, a folder of images, a file ({', '.join(_FILES)}) "
            f"or package.module:name, got {word!r}, and nothing has that name{_nearest(word, path)}"
        )


@contextmanager
def _enough_memory(word: str) -> Iterator[None]:
    """Say in one line that there was not enough memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # torch's
            raise
        raise ValueError(
            f"{word} must fit into memory, but there is not enough; take fewer or smaller samples"
        ) from error


def _reader(path: Path) -> Callable[[Path, int], Splits]:
    if path.suffix.lower() not in _FILES:
        raise ValueError(
            f"a file of data must end in {', '.join(_FILES)}, got {path}; convert it, or unpack it "
            "and give the folder"
        )
    return _FILES[path.suffix.lower()]


def _path(word: str) -> Path:
    """Return a word as a path, with ~ as the home folder."""
    try:
        return Path(word).expanduser() if word.startswith("~") else Path(word)
    except RuntimeError as error:
        raise ValueError(f"data must be found, got {word!r}, but: {error}; give a path") from error


def _from_object(word: str, found: object, seed: int) -> Splits:
    if callable(found):
        found = _call(word, found)
    if isinstance(found, Splits):
        return found
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise TypeError(
            f"{word} must be or return a counterpoise.data.Splits or a pair (inputs, targets), got "
            f"{type(found).__name__}; wrap what you have in either"
        )
    class_names, (targets,) = as_classes(found[1])
    split = Split(as_inputs(found[0]), targets)
    return as_splits(word.partition(":")[2], word, split, None, class_names, seed)


def _call(word: str, function: Callable[[], object]) -> object:
    """Call a user's function, and report in one line its error and where it was raised."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{word} must return data when it is called without arguments, but raised "
            f"{one_line(raised(error))}; correct it"
        ) from error


def _nearest(word: str, path: Path) -> str:
    """Say which word, or which neighbour of the path, may be meant."""
    folder = path.parent
    beside = folder.iterdir() if folder.is_dir() else ()
    known = [*_NAMED, *(str(p) for p in beside if p.is_dir() or p.suffix.lower() in _FILES)]
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; check the spelling"
