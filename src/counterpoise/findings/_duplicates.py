"""Samples that a study's data hold more than once: CP102 and CP103."""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from counterpoise.findings.finding import Evidence, Finding, listed, sentence
from counterpoise.study import Study

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
    path = study.data_file
    if path is None or path.stat().st_size > LARGEST:
        return None
    return _digests(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _digests(path: Path, _: int) -> dict[str, list[bytes]]:
    return {split: [_digest(row) for row in rows] for split, rows in _inputs(path).items()}


def _digest(row: Any) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()


def _inputs(path: Path) -> dict[str, Any]:
    """Return both splits' inputs, a row a sample; none of a dtype without numpy's (bfloat16)."""
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            kept = {split: file.get_tensor(f"{split}_inputs") for split in ("train", "test")}
    except TypeError:
        return {}
    return {split: inputs.reshape(len(inputs), -1) for split, inputs in kept.items()}
