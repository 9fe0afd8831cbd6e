"""Samples that a study's data hold more than once, or nearly: CP102, CP103 and CP107."""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from counterpoise.findings import _looks
from counterpoise.findings.finding import Evidence, Finding, listed, sentence
from counterpoise.study import Kept, Study

LARGEST = 2**30  # bytes of data that are still read through
MOST = 30_000  # images that are compared by their looks
_LINES = 32  # of a large image that are read, at least
_BLOCK = 256  # images that are made small at a time

_REMEDY = (
    " Take one of each pair out, or keep what belongs together in one split, with --group or "
    "data.group."
)


class _Seen(NamedTuple):
    """Samples as they were read, those of the training split first."""

    kept: Kept
    train: int  # samples of the training split
    digests: list[bytes]
    small: "_looks.Bytes | None"  # grey, of images


def across_splits(study: Study) -> list[Finding]:
    """CP102: test samples whose input is, byte for byte, that of a training sample."""
    seen = _seen(study)
    if seen is None:
        return []
    copies = _copies(seen, 0 if study.resampled else seen.train)
    if not study.resampled:
        copies = {i: k for i, k in copies.items() if k < seen.train}
    if not copies:
        return []
    evidence: Evidence = {
        "copies": len(copies),
        "samples": len(seen.digests) - (0 if study.resampled else seen.train),
        "pairs": _pairs(copies, _names(study, seen)),
    }
    if study.resampled:
        template = (
            "{copies} of {samples} samples " + _copied(copies) + " of another one ({pairs}). Where "
            "a seed tests on one of them and trains on the other, its scores are flattered by what "
            "was learned by heart."
        )
    else:
        template = (
            "{copies} of {samples} test samples " + _copied(copies) + " of training samples "
            "({pairs}), so scores are flattered by what was learned by heart."
        )
    return [sentence("CP102", template + _REMEDY, evidence)]


def within_training(study: Study) -> list[Finding]:
    """CP103: training samples that repeat an earlier one, if validation is split from them."""
    if not study.plan.training.validation or study.resampled:  # then CP102 tells of all copies
        return []
    seen = _seen(study)
    copies = {i: k for i, k in _copies(seen, 0).items() if i < seen.train} if seen else {}
    if not seen or not copies:
        return []
    template = (
        "{copies} of {samples} training samples " + _copied(copies) + " of another one ({pairs}). "
        "Validation is split from them, so what is chosen on it may lean on samples that the net "
        "was trained on."
    )
    evidence: Evidence = {
        "copies": len(copies),
        "samples": seen.train,
        "pairs": _pairs(copies, _names(study, seen)),
    }
    return [sentence("CP103", template, evidence)]


def nearly_equal(study: Study) -> list[Finding]:
    """CP107: test images that look nearly the same as a training image, without being a copy."""
    seen = _seen(study)
    if seen is None or seen.small is None:
        return []
    side = seen.kept.groups
    if not study.resampled:
        side = (np.arange(len(seen.small)) >= seen.train).astype(np.int64)
    near: dict[int, int] = {}
    for k, i in _looks.near_pairs(seen.small, side).tolist():
        if seen.digests[i] != seen.digests[k]:
            near.setdefault(i, k)
    if not near:
        return []
    evidence: Evidence = {
        "near": len(near),
        "samples": len(seen.small) - (0 if study.resampled else seen.train),
        "pairs": _pairs(near, _names(study, seen), "like"),
    }
    one = len(near) == 1
    if study.resampled:
        template = (
            "{near} of {samples} images "
            + ("looks" if one else "look")
            + " nearly the same as another one ({pairs}). Where a seed tests on one of them and "
            "trains on the other, its scores are flattered."
        )
    else:
        template = (
            "{near} of {samples} test images "
            + ("looks nearly the same as a training image" if one else "look nearly the same as")
            + ("" if one else " training images")
            + " ({pairs}), so scores may be flattered."
        )
    return [sentence("CP107", template + _REMEDY, evidence)]


def _copied(copies: Mapping[int, int]) -> str:
    return "is an exact copy" if len(copies) == 1 else "are exact copies"


def _names(study: Study, seen: _Seen) -> Callable[[int], str]:
    """Return how the samples are called: by file or row, or else by number."""
    names = {split: study.sample_names(split) for split in ("train", "test")}

    def name(k: int) -> str:
        split, word, k = (
            ("train", "training", k) if k < seen.train else ("test", "test", k - seen.train)
        )
        own = names[split]
        return own[k] if own else f"{word} sample {k}"

    return name


def _pairs(copies: Mapping[int, int], name: Callable[[int], str], word: str = "") -> str:
    """Write the first copies out, each with the sample that it repeats."""
    like = f"is {word}".strip()
    return listed([f"{name(i)} {like} {name(k)}" for i, k in copies.items()], between="; ")


def _copies(seen: _Seen, first: int) -> dict[int, int]:
    """Return the samples from `first` on that repeat an earlier one of no common group."""
    groups = seen.kept.groups
    earlier: dict[bytes, int] = {}
    found = {}
    for i, digest in enumerate(seen.digests):
        k = earlier.setdefault(digest, i)
        apart = groups is None or groups[i] != groups[k]
        if i >= first and k != i and apart and _equal(seen.kept, i, k):
            found[i] = k
    return found


def _equal(kept: Kept, i: int, k: int) -> bool:
    one, other = (kept.inputs[kept.rows[j]].tobytes() for j in (i, k))
    return one == other


_last: dict[str, _Seen] = {}


def _seen(study: Study) -> _Seen | None:
    """Read the samples through; None where they are no longer kept, or too many.

    What was read of the last data set is remembered.
    """
    if study.data_file is None:
        return None
    fingerprint = study.data["fingerprint"]
    if fingerprint not in _last:
        kept, train = (study.samples(k, images=True) for k in ("pool", "train"))
        if kept is None or train is None:
            return None
        if len(kept.rows) * _lines(kept.inputs[:1]).nbytes > LARGEST:
            return None
        _last.clear()
        _last[fingerprint] = _read(kept, len(train.rows))
    return _last[fingerprint]


def _read(kept: Kept, train: int) -> _Seen:
    images = kept.inputs.ndim == 4 and kept.inputs.shape[1] in (1, 3)
    images = images and min(kept.inputs.shape[2:]) >= _looks.SMALLEST and len(kept.rows) <= MOST
    digests, small = [], []
    for rows in np.array_split(kept.rows, range(_BLOCK, len(kept.rows), _BLOCK)):
        block = np.stack([_lines(kept.inputs[row][None])[0] for row in rows])
        digests += [_digest(sample.tobytes()) for sample in block]
        small += [_looks.small(block)] if images else []
    return _Seen(kept, train, digests, np.concatenate(small) if small else None)


def _lines(samples: np.ndarray) -> np.ndarray:
    """Return every so many lines of images that have many, and other samples whole."""
    return samples[:, :, :: max(1, samples.shape[2] // _LINES)] if samples.ndim == 4 else samples


def _digest(row: bytes) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()
