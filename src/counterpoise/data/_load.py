"""One door to all data: a word, a path or the name of an object."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor
from torch.utils.data import ConcatDataset

from counterpoise.data._arrays import as_classes, as_inputs
from counterpoise.data._datasets import datasets_of, read_datasets
from counterpoise.data._digits import digits
from counterpoise.data._entries import read_pair
from counterpoise.data._fashion_mnist import fashion_mnist
from counterpoise.data._hold_out import as_splits
from counterpoise.data._hugging_face import HUB, is_saved_dataset, read_hugging_face
from counterpoise.data._npz import read_npz
from counterpoise.data._options import Options
from counterpoise.data._small_classes import settle_small_classes
from counterpoise.data._table_file import TEXTS, TYPED, is_table
from counterpoise.data._unstored import Unstored
from counterpoise.data.splits import Split, Splits
from counterpoise.registry import resolve
from counterpoise.text import one_line
from counterpoise.user_code import raised

_NAMED: dict[str, Callable[[], Splits]] = {"fashion_mnist": fashion_mnist, "digits": digits}
_FILES = (".npz", *TEXTS, *TYPED)


def load(
    source: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, ...] = 0,
    resize: str = "crop",
    interpolation: str = "auto",
    target: str = "",
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    group: str = "",
    test: str = "auto",
    split: str = "",
    min_samples: int = 0,
    small: str = "refuse",
    missing_labels: str = "refuse",
    cache: str = "auto",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Splits:
    """Load a data set from whatever holds it.

    Where there is no test split, a fifth of each class is held out as one, at least one sample.

    Args:
        source: One of
            "fashion_mnist" and "digits";
            a folder of images, one subfolder per class, or train, val and test with such
            subfolders, or with a labels.csv: images become grey if all are, else RGB, are turned
            upright, scaled, and kept in the cache (docs/images.md says how they are read);
            a .npz file with x and y (or inputs, data, images; targets, labels), or with x_train,
            y_train, x_test and y_test;
            a table with a header, whose class stands in `target`, or in the column target, label or
            class, or else in the last one, or in COLUMN of "file.csv:COLUMN": .csv, .tsv, .txt,
            .dat, .data or .tab, of any separator, packed (.gz, .bz2, .xz, .zip, .zst) or not,
            .parquet, .feather or .xlsx (docs/data.md says how it is read);
            a folder that `datasets` saved (save_to_disk), or "hf:OWNER/NAME" or
            "hf:OWNER/NAME:CONFIG" on the Hugging Face Hub;
            "package.module:name" of a `Splits`, of a pair (inputs, targets), of a torch Dataset of
            pairs (input, class), of such Datasets as a pair (to train and to test on) or by the
            names of splits, or of a function without arguments that returns one of these.
            A folder called digits is "./digits".
        image_size: Height and width to which the images of a folder are scaled, or one number for
            both; 0 for their own, where all have one of 64 pixels a side or fewer, and else for the
            median of their shorter sides, from 8 to 32.
        resize: How an image comes to that shape: "crop" cuts to the shape asked for, "squash"
            stretches, "pad" puts it on a black ground.
        interpolation: Between pixels: "bilinear" or "bicubic"; "auto" is bilinear.
        target: The column of the classes of a table; for folders of folders "top" or "parent".
        drop: Columns that are not read.
        keep: Columns that are read although they look like row numbers.
        group: A column, or a pattern of file names, that says which samples belong together: no
            group is in two splits.
        test: "auto", for the data's own test split or else "held_out", a fixed fifth of each class;
            "per_seed", which a study draws anew for each of its seeds; or a file or folder.
        split: A column that says train, validation or test; or "time:COLUMN", the past to train on.
        min_samples: How many samples a class must have; 0 for one a split.
        small: What becomes of classes with fewer: "refuse", "drop" or "merge" (into "other").
        missing_labels: What becomes of a table's rows without a class: "refuse" or "drop".
        cache: The folder in which decoded images are kept; "auto" for the user's cache folder;
            "never" for torch Datasets whose entries are read anew whenever they are asked for.
        seed: Decides which samples are held out.
        on_progress: Called with the numbers of images that are read and that there are.

    Returns:
        The data set; images are uint8 (N, C, H, W), vectors float32 (N, F). Of a table they are
        its cells, float64 (N, columns), which `columns` describe: `encoded` makes numbers of them,
        and a study does so by each run's own training split.

    Raises:
        ValueError: If there is no such thing, nothing in it can be read, a class has fewer than
            three samples (two, beside a test split), or a function of yours raises.
        TypeError: If an object is neither a data set nor a pair.

    Example:
        >>> load("digits").train.inputs.shape
        torch.Size([1198, 1, 8, 8])
    """
    options = Options(
        image_size,
        resize,
        target,
        tuple(drop),
        tuple(keep),
        group,
        test,
        split,
        min_samples,
        small,
        cache,
        seed,
        on_progress or Options.on_progress,
        missing_labels=missing_labels,
        interpolation=interpolation,
    )
    word = os.fspath(source)
    with _enough_memory(word):
        if word in _NAMED:
            options.check(word)
            return _NAMED[word]()
        path = _path(word)
        if word.startswith(HUB):
            return read_hugging_face(word, options)
        if path.is_dir() and is_saved_dataset(path):
            return read_hugging_face(str(path), options)
        if path.is_dir():
            # Imported here because Pillow is not needed for anything else.
            from counterpoise.data._image_folder import read_image_folder

            return read_image_folder(path, options)
        if path.is_file():
            return _read_file(path, options)
        if path.exists():
            raise ValueError(
                f"data must be a folder or an ordinary file, got {word!r}, which is a pipe or a "
                "device; write what comes out of it into a file"
            )
        file, _, column = word.rpartition(":")
        if is_table(Path(file)) and _path(file).is_file():
            return _read_file(_path(file), replace(options, target=column))
        if ":" in word:
            return _from_object(word, resolve("data", word, {}), options)
        raise ValueError(
            f"data must be {', '.join(_NAMED)}, a folder of images, a file ({', '.join(_FILES)}), "
            f"hf:OWNER/NAME or package.module:name, got {word!r}, and nothing has that name"
            f"{_nearest(word, path)}"
        )


def open_unstored(word: str, marks: Tensor, readers: int) -> Unstored:
    """Return the samples of Datasets that `load` read with `cache="never"`, one after the other.

    Args:
        word: "package.module:name", as it was given to `load`.
        marks: the digests of all entries, of `data.Unstored.marks`, those to train on first, then
            those to validate and to test on.
        readers: worker processes that read them.

    Raises:
        ValueError: there are no such Datasets any more, or they have another number of entries.
    """
    found = resolve("data", word, {})
    named = datasets_of(_call(word, found) if callable(found) else found) or {}
    order = [named[name] for name in ("train", "validation", "test") if name in named]
    number = sum(map(len, order))  # type: ignore[arg-type]
    if number != len(marks):
        raise ValueError(
            f"{word} must give the Datasets that the study began with, of {len(marks):,} entries, "
            f"but gives {number:,}; counterpoise compare with the same plan begins anew"
        )
    whole = ConcatDataset(order)
    first = read_pair(word, whole, 0)[0]
    return Unstored(word, whole, (number, *first.shape), first.dtype, marks, readers=readers)


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


def _read_file(path: Path, options: Options) -> Splits:
    if path.suffix.lower() == ".npz":
        return read_npz(path, options)
    if is_table(path):
        # Imported here because pandas is not needed for anything else.
        from counterpoise.data._table import read_table

        return read_table(path, options)
    raise ValueError(
        f"a file of data must end in {', '.join(_FILES)}, got {path}; convert it, or unpack it "
        "and give the folder"
    )


def _path(word: str) -> Path:
    """Return a word as a path, with ~ as the home folder."""
    try:
        return Path(word).expanduser() if word.startswith("~") else Path(word)
    except RuntimeError as error:
        raise ValueError(f"data must be found, got {word!r}, but: {error}; give a path") from error


def _from_object(word: str, found: object, options: Options) -> Splits:
    if callable(found):
        found = _call(word, found)
    if isinstance(found, Splits):
        options.check("a data.Splits")
        return found
    if (datasets := datasets_of(found)) is not None:
        return read_datasets(word, datasets, options)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise TypeError(
            f"{word} must be or return a data.Splits, torch Datasets or a pair (inputs, targets), "
            f"got {type(found).__name__}; wrap what you have in one of these"
        )
    options.check("a pair (inputs, targets)")
    class_names, (targets,) = as_classes(found[1])
    split = Split(as_inputs(found[0]), targets)
    (whole,), class_names = settle_small_classes(split, (), class_names, options)
    return as_splits(word.partition(":")[2], word, whole, None, class_names, options.seed)


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
