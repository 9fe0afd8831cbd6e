"""The folder of an exported model, checked before anything in it is used.

model.json          what the model is, and the size and SHA-256 of every other file
weights-N.safetensors, or model-N.skops of a classical model
model-N.onnx        the same net for onnxruntime, with probabilities where a formula gives them
model-N.pt2         the same as a program of torch.export, which is never opened here
README.md           the model card
"""

from __future__ import annotations

import re
from pathlib import Path

from counterpoise import files
from counterpoise.sealed import Content, Damaged, OtherFormat, unseal

FORMAT = 1
MODEL = "model.json"


def read_folder(folder: Path) -> Content:
    """Return the content of an exported model's `model.json`, once its files are what it says.

    Raises:
        ValueError: no exported model.
        Damaged: a file that is missing or was changed; the message names it.
    """
    again = "counterpoise export writes the model again"
    try:
        content = unseal(folder / MODEL, FORMAT)
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder that counterpoise export wrote, but its {MODEL}: "
            f"{error.strerror}"
        ) from error
    except OtherFormat:
        raise
    except Damaged as error:
        raise Damaged(f"{error}; {again}") from error
    known = content.get("files")
    if not isinstance(known, dict) or not all(map(_is_file, known.items())):
        raise Damaged(f"{folder / MODEL} does not name its files; {again}")
    for name, about in known.items():
        try:
            same = files.digest(folder / name, about["bytes"]) == about["sha256"]
        except OSError as error:
            why = "is missing" if isinstance(error, FileNotFoundError) else error.strerror
            raise Damaged(f"{folder / name} {why}; {again}") from None
        if not same:
            raise Damaged(f"{folder / name} is not the file that was exported; {again}")
    return content


def _is_file(entry: tuple[str, object]) -> bool:
    """Return whether a file's entry has a plain name, a size and a digest."""
    name, about = entry
    return (
        re.fullmatch(r"\w[\w.-]*", name) is not None
        and isinstance(about, dict)
        and type(about.get("bytes")) is int
        and isinstance(about.get("sha256"), str)
    )
