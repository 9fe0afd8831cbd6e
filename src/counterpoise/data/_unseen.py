"""New, unlabelled data, read exactly as the data that a model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from counterpoise.data._columns import Column
from counterpoise.data._options import Progress
from counterpoise.data._table_labels import without_blanks, without_point_zero
from counterpoise.text import listed

_Read = Callable[[int, int], tuple[Tensor, dict[int, str]]]
_GAPS = ("", "nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat", "?", "-")


@dataclass(frozen=True)
class Batch:
    """Some samples of new data.

    Attributes:
        index: their positions among all, int64 (n,).
        inputs: as `data.Split.inputs` has them, (n, ...).
    """

    index: Tensor
    inputs: Tensor


@dataclass(eq=False, repr=False)
class Unseen:
    """New data, from `read_unseen`.

    Attributes:
        names: of each sample: its file, from the folder on; "row 2" as a spreadsheet counts the
            rows of a table, or by the index of a DataFrame; "row 0" of an array.
        columns: what the cells of a table hold: those of training, each category with its new
            values at the end; None for other data.
        labels: the class of each sample, by name, where the data say it; None for one without, or
            of a class that the model has not; None for data without labels.
        notes: sentences on what was found, left out and interpreted.
        strays: those of them on a table's cells that are none of what training held, such as words
            among numbers, and are taken as missing.
        unread: why a sample could not be read, by its name; complete when `batches` has ended.
    """

    names: tuple[str, ...]
    columns: tuple[Column, ...] | None
    labels: tuple[str | None, ...] | None
    notes: list[str]
    strays: list[str]
    _open: Callable[[], AbstractContextManager[_Read]]
    _batch_size: int
    _on_progress: Progress | None
    unread: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Unseen({len(self):,} samples)"

    def batches(self) -> Iterator[Batch]:
        """Yield the samples in order, batch by batch; those that cannot be read are left out."""
        with self._open() as read:
            for first in range(0, len(self), self._batch_size):
                end = min(first + self._batch_size, len(self))
                inputs, why = read(first, end)
                self.unread |= {self.names[first + k]: reason for k, reason in why.items()}
                there = torch.tensor([k for k in range(end - first) if k not in why]).long()
                if len(there):
                    yield Batch(there + first, inputs[there] if why else inputs)
                if self._on_progress is not None:
                    self._on_progress(end, len(self))


def read_unseen(
    source: Any,
    reading: Mapping[str, Any],
    columns: Sequence[Column] | None = None,
    *,
    class_names: Sequence[str] = (),
    target: str = "",
    on_progress: Progress | None = None,
    batch_size: int = 256,
) -> Unseen:
    """Read new data as those were read that a model was trained on.

    Each sample is read by itself: how many there are, in which order, and what else stands in their
    file changes nothing. Images are decoded while `Unseen.batches` is read, a batch at a time.

    Args:
        source: For images a folder of images, nested or not, an image file, or a list of paths, of
            contents or of Pillow's images, which may differ from their large JPEG files by
            rounding. For images and arrays a .npz file (x, or its only array; y if it has
            labels), a .npy file, an array or a tensor, of samples or one sample. For tables a file
            that `load` takes, a DataFrame, dictionaries, or an array of the same columns; cells
            that are numbers or times by type are taken as these, however training wrote them.
        reading: `Splits.reading` of the data that were trained on.
        columns: `Splits.columns` of them; new values of a category come after theirs. None where
            they are not known: a category's cells are then positions in its values here.
        class_names: of the model, by which labels are known; () for any.
        target: The column of the classes; left out, that of training, if it is there.
        on_progress: Called with the numbers of samples that are read and that there are.
        batch_size: How many samples are read at a time.

    Returns:
        The samples, their names, and what there is to say of them.

    Raises:
        ValueError: There is no such thing, nothing in it can be read, a column is missing, of 20
            cells or more of a column more than half are none of what training held, arrays are of
            another shape, or the reading is empty, as in studies of earlier versions.

    Example:
        >>> import torch
        >>> from counterpoise.data import digits, read_unseen
        >>> data = digits()
        >>> new = read_unseen(data.test.inputs[:5], data.reading, batch_size=2)
        >>> [batch.inputs.shape[0] for batch in new.batches()]
        [2, 2, 1]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}; 256 is usual")
    if reading.get("kind") not in ("table", "images", "arrays"):
        raise ValueError(
            f"reading must say how samples were read in training, got kind {reading.get('kind')!r}:"
            " the study is of an earlier version, or its cells were put together by hand; "
            "counterpoise compare with the same plan adds what is missing"
        )
    found, read = _opened(source, reading, columns, class_names, target)
    found.notes = list(found.notes)
    numbered = reading["kind"] != "table"  # whose labels are words
    labels = _settled(found.labels, class_names, found.names, found.notes, numbered)
    kept = found.names, found.columns, labels, found.notes, found.strays
    return Unseen(*kept, read, batch_size, on_progress)


@dataclass
class _Found:
    """Names, columns, labels, notes and strays of what was found, as `Unseen` has them."""

    names: tuple[str, ...]
    columns: tuple[Column, ...] | None
    labels: Sequence[str] | None
    notes: list[str]
    strays: list[str] = field(default_factory=list)


def _opened(
    source: Any,
    reading: Mapping[str, Any],
    columns: Sequence[Column] | None,
    class_names: Sequence[str],
    target: str,
) -> tuple[_Found, Callable[[], AbstractContextManager[_Read]]]:
    """Return what was found, and a function that begins to read it."""
    if reading["kind"] == "table":
        # Imported here because images need no pandas, and tables no Pillow.
        from counterpoise.data._unseen_table import read_cells

        table = read_cells(source, reading, columns, target)
        cells = table.cells
        found = _Found(table.names, table.columns, table.labels, table.notes, table.strays)
        return found, lambda: nullcontext(lambda first, end: (cells[first:end], {}))
    if target:
        raise ValueError(f"target is for tables, but got {target!r}; leave it out")
    from counterpoise.data import _unseen_samples as samples

    if reading["kind"] == "images" and samples.are_images(source):
        images, form = samples.find_images(source, class_names), samples.form_of(reading)
        found = _Found(images.names, None, images.labels, images.notes)
        return found, lambda: samples.decoding(images.encoded, form)
    array, labels, notes = samples.read_arrays(source)
    arrays = samples.NewArrays(array, reading)
    names = tuple(f"row {k}" for k in range(len(arrays)))
    found = _Found(names, None, labels, [*notes, *arrays.notes])
    return found, lambda: nullcontext(arrays.block)


def _settled(
    words: Sequence[str] | None,
    class_names: Sequence[str],
    names: Sequence[str],
    notes: list[str],
    numbered: bool,
) -> tuple[str | None, ...] | None:
    """Return labels as the names of classes, and say which are none; None where all are."""
    if words is None:
        return None
    plain = {word: without_blanks(word) for word in dict.fromkeys(words)}
    known = set(class_names) or {word for word in plain.values() if word.lower() not in _GAPS}
    found: dict[str, str | None] = {}
    for word, name in plain.items():
        whole = without_point_zero(name)
        found[word] = name if name in known else whole if whole in known else None
    numbers = {word: without_point_zero(name) for word, name in plain.items()}
    if (
        numbered
        and class_names
        and not any(found.values())
        and all(n.isascii() and n.isdigit() and int(n) < len(class_names) for n in numbers.values())
    ):
        found = {word: class_names[int(n)] for word, n in numbers.items()}
        notes.append("labels are numbers: taken for the positions of the classes, from 0 on")
    missing = [k for k, word in enumerate(words) if found[word] is None]
    gaps = [k for k in missing if plain[words[k]].lower() in _GAPS]
    unknown = [k for k in missing if plain[words[k]].lower() not in _GAPS]
    for which, said in (
        (gaps, "without a label"),
        (unknown, "with a label that is no class of the model"),
    ):
        if which:
            one = len(which) == 1
            some = listed(
                f"{names[k]} ({plain[words[k]]!r})" if which is unknown else names[k] for k in which
            )
            notes.append(
                f"{len(which):,} sample{'' if one else 's'} {said}, not to be scored: {some}"
            )
    return None if len(missing) == len(words) else tuple(found[word] for word in words)
