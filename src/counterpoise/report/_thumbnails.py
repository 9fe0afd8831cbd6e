"""Samples of image data, as small PNGs in the page."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.study import Record, Study

SIDE = 48  # pixels; larger images are scaled down
BUDGET = 900_000  # characters for all misclassified samples together
_PER_VARIANT, _PER_PAIR = 4, 12
_IN_ALL = 200  # training samples


@dataclass(frozen=True)
class Thumbnail:
    """Misclassified sample.

    Attributes:
        uri: the image as a data URI.
        name: its file, or its number in the test split.
        by: number of seeds that misclassify it, by index of the variant.
        runs: number of runs that were tested on it.
    """

    uri: str
    name: str
    by: dict[int, int]
    runs: int

    @property
    def file(self) -> str:
        """The name without its folders."""
        return self.name.rpartition("/")[2]


class Images:
    """Images of one split of a study's data, read on demand.

    Args:
        study: the study.
        split: "train", "test" or "pool", the one and after it the other.
    """

    def __init__(self, study: Study, split: str) -> None:
        kept = study.samples(split, images=True)
        images = kept is not None and kept.inputs.ndim == 4 and kept.inputs.shape[1] in (1, 3)
        self.kept = kept if images else None

    @property
    def available(self) -> bool:
        """Return whether the data are images, and still in the cache."""
        return self.kept is not None

    def targets(self) -> np.ndarray:
        """Return the true classes."""
        return self.kept.targets if self.kept else np.empty(0, np.int64)

    def uris(self, indices: Sequence[int]) -> Iterator[str]:
        """Yield images as data URIs."""
        if self.kept is not None:
            for row in self.kept.rows[list(indices)]:
                yield data_uri(np.array(self.kept.inputs[row]))


def data_uri(image: np.ndarray, side: int = SIDE) -> str:
    """Return an image (1 or 3, H, W) as the data URI of a small PNG.

    Args:
        image: uint8, or floating point, scaled so that the darkest pixel is black and the
            brightest white.
        side: pixels; larger images are scaled down.
    """
    from PIL import Image

    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.thumbnail((side, side))
    if picture.mode == "RGB":
        picture = picture.quantize(64)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def misclassified(study: Study, pairs: Sequence[tuple[int, int]]) -> dict[str, list[Thumbnail]]:
    """Return samples of each confusion (true, predicted), the most frequently misclassified first.

    The last pairs may have none, as all images together stay below `BUDGET`.
    """
    split = "pool" if study.resampled else "test"
    images = Images(study, split)
    answers = _answers(study) if images.available else None
    if answers is None:
        return {}
    targets, names = images.targets(), study.sample_names(split)
    found: dict[str, list[Thumbnail]] = {}
    left = BUDGET
    for true, predicted in pairs:
        candidates = np.flatnonzero(targets == true)
        taken = {
            v: (predictions[:, candidates] == predicted).sum(0)
            for v, predictions in answers.items()
        }
        chosen = _choose(taken)
        shown = []
        for k, uri in zip(chosen, images.uris([int(candidates[k]) for k in chosen]), strict=True):
            left -= len(uri)
            if left < 0:
                return found
            index = int(candidates[k])
            by = {v: int(n[k]) for v, n in taken.items() if n[k]}
            runs = sum(int((predictions[:, index] >= 0).sum()) for predictions in answers.values())
            shown.append(Thumbnail(uri, names[index] if names else f"no. {index}", by, runs))
        if shown:
            found[f"e-{true}-{predicted}"] = shown
    return found


def _answers(study: Study) -> dict[int, np.ndarray] | None:
    """Return the predictions (seeds, samples) by index of the variant; None if some are missing.

    Of samples that a seed does not test on they are -1.
    """
    total = sum(study.data["test_counts"])
    if study.resampled:
        total += sum(study.data["train_counts"])
    found = {}
    for index, label in enumerate(study.labels):
        rows = [_spread(r, total) for r in study.of(label)]
        if any(row is None for row in rows):
            return None
        if rows:
            found[index] = np.array(rows)
    return found or None


def _spread(record: Record, total: int) -> np.ndarray | None:
    """Return a run's predictions of all samples; None where they are of other samples."""
    predicted, drawn = record.answers[0].astype(np.int32), record.test_rows
    if drawn is None:
        return predicted if len(predicted) == total else None
    if len(drawn) and drawn[-1] >= total:
        return None
    spread = np.full(total, -1, np.int32)
    spread[drawn] = predicted
    return spread


def _choose(taken: dict[int, np.ndarray]) -> list[int]:
    """Return samples such that every variant has some, those of most seeds first."""
    total = np.sum(list(taken.values()), 0)
    chosen: dict[int, None] = {}
    for rank in range(_PER_VARIANT):
        for votes in taken.values():
            order = np.lexsort((-total, -votes))
            if rank < len(order) and votes[order[rank]]:
                chosen[int(order[rank])] = None
    return list(chosen)[:_PER_PAIR]


def of_each_class(study: Study, each: int = 6) -> list[list[str]]:
    """Return the first training images of every class; empty for very many classes or no images."""
    images = Images(study, "train")
    classes = range(len(study.data["class_names"]))
    each = min(each, _IN_ALL // len(classes))
    if not images.available or not each:
        return []
    targets = images.targets()
    return [list(images.uris(np.flatnonzero(targets == k)[:each].tolist())) for k in classes]
