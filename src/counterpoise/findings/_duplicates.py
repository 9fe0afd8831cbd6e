"""Samples that a study's data hold more than once: CP102 and CP103."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from counterpoise.findings._finding import Evidence, Finding, sentence
from counterpoise.study import Study

LARGEST = 2**30  # bytes of a data file that is still read through


def across_parts(study: Study) -> list[Finding]:
    """CP102: test samples whose input is, byte for byte, that of a training sample."""
    parts = _parts(study)
    if not parts:
        return []
    first = _first_places(parts["train"])
    copies = {i: first[digest] for i, digest in enumerate(parts["test"]) if digest in first}
    if not copies:
        return []
    test, train = next(iter(copies.items()))
    template = (
        "{copies} of {samples} test samples are exact copies of training samples (test sample "
        "{test} of training sample {train}, for one), so scores are flattered by what was learned "
        "by heart."
    )
    evidence: Evidence = {
        "copies": len(copies),
        "samples": len(parts["test"]),
        "test": test,
        "train": train,
    }
    return [sentence("CP102", template, evidence)]


def within_training(study: Study) -> list[Finding]:
    """CP103: training samples that repeat an earlier one, if validation is split from them."""
    parts = _parts(study) if study.plan.training.validation else None
    if not parts:
        return []
    first = _first_places(parts["train"])
    copies = [i for i, digest in enumerate(parts["train"]) if first[digest] != i]
    if not copies:
        return []
    template = (
        "{copies} of {samples} training samples are exact copies of another one (sample {later} of "
        "sample {earlier}, for one). Validation is split from them, so what is chosen on it may "
        "lean on samples that the net was trained on."
    )
    evidence: Evidence = {
        "copies": len(copies),
        "samples": len(parts["train"]),
        "later": copies[0],
        "earlier": first[parts["train"][copies[0]]],
    }
    return [sentence("CP103", template, evidence)]


def _first_places(digests: list[bytes]) -> dict[bytes, int]:
    return {digest: i for i, digest in reversed(list(enumerate(digests)))}


def _parts(study: Study) -> Mapping[str, list[bytes]] | None:
    """The digests of both parts' inputs; None where the study's folder does not hold its data."""
    path = study.data_file
    if path is None or path.stat().st_size > LARGEST:
        return None
    return _digests(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _digests(path: Path, _: int) -> dict[str, list[bytes]]:
    return {part: [_digest(row) for row in rows] for part, rows in _inputs(path).items()}


def _digest(row: Any) -> bytes:
    return hashlib.blake2b(row, digest_size=16).digest()


def _inputs(path: Path) -> dict[str, Any]:
    """Both parts' inputs, a row a sample; none if numpy does not know their dtype (bfloat16)."""
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            kept = {part: file.get_tensor(f"{part}_inputs") for part in ("train", "test")}
    except TypeError:
        return {}
    return {part: inputs.reshape(len(inputs), -1) for part, inputs in kept.items()}
