"""Samples that a study's data hold more than once: CP102 and CP103."""

import hashlib
from collections.abc import Callable, Mapping

from counterpoise.findings.finding import Evidence, Finding, listed, sentence
from counterpoise.study import Kept, Study

LARGEST = 2**30  # bytes of a data file that is still read through


def across_splits(study: Study) -> list[Finding]:
    """CP102: test samples whose input is, byte for byte, that of a training sample."""
    splits = _splits(study)
    if not splits:
        return []
    first = _first_places(splits["train"])
    copies = {i: first[digest] for i, digest in enumerate(splits["test"]) if digest in first}
    if not copies:
        return []
    template = (
        "{copies} of {samples} test samples "
        + _copied(copies)
        + " of training samples ({pairs}), so "
        "scores are flattered by what was learned by heart."
    )
    names = _names(study, "test"), _names(study, "train")
    evidence: Evidence = {
        "copies": len(copies),
        "samples": len(splits["test"]),
        "pairs": _pairs(copies, *names),
    }
    return [sentence("CP102", template, evidence)]


def within_training(study: Study) -> list[Finding]:
    """CP103: training samples that repeat an earlier one, if validation is split from them."""
    splits = _splits(study) if study.plan.training.validation else None
    if not splits:
        return []
    first = _first_places(splits["train"])
    every = enumerate(splits["train"])
    copies = {i: first[digest] for i, digest in every if first[digest] != i}
    if not copies:
        return []
    template = (
        "{copies} of {samples} training samples " + _copied(copies) + " of another one ({pairs}). "
        "Validation is split from them, so what is chosen on it may lean on samples that the net "
        "was trained on."
    )
    names = _names(study, "train")
    evidence: Evidence = {
        "copies": len(copies),
        "samples": len(splits["train"]),
        "pairs": _pairs(copies, names, names),
    }
    return [sentence("CP103", template, evidence)]


def _copied(copies: Mapping[int, int]) -> str:
    return "is an exact copy" if len(copies) == 1 else "are exact copies"


def _names(study: Study, split: str) -> Callable[[int], str]:
    """Return how the samples of a split are called: by file or row, or else by number."""
    names = study.sample_names(split)
    words = {"train": "training", "test": "test"}[split]
    return names.__getitem__ if names else f"{words} sample {{}}".format


def _pairs(
    copies: Mapping[int, int], of_copy: Callable[[int], str], of_other: Callable[[int], str]
) -> str:
    """Write the first copies out, each with the sample that it repeats."""
    return listed([f"{of_copy(i)} is {of_other(k)}" for i, k in copies.items()], between="; ")


def _first_places(digests: list[bytes]) -> dict[bytes, int]:
    return {digest: i for i, digest in reversed(list(enumerate(digests)))}


def _splits(study: Study) -> Mapping[str, list[bytes]] | None:
    """Return the digests of both splits' inputs; None where the data are no longer kept."""
    kept = {split: study.samples(split) for split in ("train", "test")}
    found = {split: k for split, k in kept.items() if k is not None}
    if len(found) < 2 or sum(k.inputs[:1].nbytes * len(k.rows) for k in found.values()) > LARGEST:
        return None
    return _digests(study.data["fingerprint"], tuple(found.items()))


_last: dict[str, Mapping[str, list[bytes]]] = {}


def _digests(fingerprint: str, kept: tuple[tuple[str, Kept], ...]) -> Mapping[str, list[bytes]]:
    """Return the digest of each sample; those of the last data set are remembered."""
    if fingerprint not in _last:
        _last.clear()
        _last[fingerprint] = {
            split: [_digest(k.inputs[row].tobytes()) for row in k.rows] for split, k in kept
        }
    return _last[fingerprint]


def _digest(row: bytes) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()
