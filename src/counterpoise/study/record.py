"""What happened in one run, on disk.

A run's folder holds, once it is finished:

    run.json             what it was, its scores, and the SHA-256 of every other file; written last
    history.jsonl        a row an epoch
    predictions.npz      logits and targets of the validation and the test part
    weights.safetensors  the trained net
    probe.json           what reached each layer before the first step
    timing.json          how long it took: the only file that differs between two equal runs

and before that a `checkpoint.safetensors`, from which the run goes on. Every file is written to a
temporary name, synced and renamed, so that it is there whole or not at all. Nothing is unpickled.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MEND = "counterpoise compare with the same plan trains it again"

RUN, CHECKPOINT, TIMING = "run.json", "checkpoint.safetensors", "timing.json"


class Damaged(ValueError):
    """A finished run whose files are not what they were when it finished."""


def write(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with open(unfinished, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def finish(folder: Path, files: Mapping[str, bytes | str], run: Mapping[str, Any]) -> None:
    """Write a run's files, `run.json` with their digests last, and drop the checkpoint."""
    digests = {}
    for name, content in files.items():
        content = content.encode() if isinstance(content, str) else content
        write(folder / name, content)
        if name != TIMING:
            digests[name] = hashlib.sha256(content).hexdigest()
    write(folder / RUN, to_json({**run, "files": digests}))
    (folder / CHECKPOINT).unlink(missing_ok=True)


def read(folder: Path) -> dict[str, Any] | None:
    """Return `run.json` of a finished run, its files checked; None where there is none.

    Raises:
        Damaged: a file is missing or has changed; the message says which.
    """
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Damaged(f"{folder / RUN} cannot be read: {error}; {_MEND}") from error
    for name, digest in run["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise Damaged(f"{path} is not the file that the run finished with; {_MEND}")
    return run


def is_done(folder: Path) -> bool:
    """Whether the run is finished; what remains of a damaged one is removed, to be run again."""
    try:
        return read(folder) is not None
    except Damaged:
        (folder / RUN).unlink(missing_ok=True)
        return False


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a finished run."""
    text = (folder / "history.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def arrays(folder: Path) -> dict[str, Any]:
    """Return the arrays of `predictions.npz`."""
    import numpy as np

    with np.load(folder / "predictions.npz", allow_pickle=False) as kept:
        return dict(kept)


def npz(**arrays: Any) -> bytes:
    """Return arrays as the bytes of a compressed .npz file, the same for the same arrays."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def tensors(named: Mapping[str, Any]) -> bytes:
    """Return named tensors as the bytes of a .safetensors file."""
    import safetensors.torch

    return safetensors.torch.save({k: _plain(v) for k, v in named.items()})


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a training's state, tensors and all, as one file."""
    import safetensors.torch

    found: dict[str, Any] = {}
    metadata = {"state": json.dumps(_pack(state, found))}
    write(folder / CHECKPOINT, safetensors.torch.save(found, metadata))


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the state that was saved last; None where there is none that can be read."""
    import safetensors

    try:
        with safetensors.safe_open(folder / CHECKPOINT, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _unpack(json.loads(file.metadata()["state"]), found)
    except (OSError, safetensors.SafetensorError):
        return None


def to_json(value: Any) -> str:
    """Return JSON with keys in order, the same for equal values; NaN and infinity become null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def to_jsonl(rows: list[dict[str, Any]]) -> str:
    """Return rows as JSON lines; NaN and infinity become null."""
    return "".join(json.dumps(_finite(row), ensure_ascii=False) + "\n" for row in rows)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def _pack(value: Any, tensors: dict[str, Any]) -> Any:
    """Return what JSON can hold; tensors go into `tensors`, and keys keep their types."""
    if isinstance(value, Mapping):
        return {"dict": [[k, _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(v, tensors) for v in value]}
    if hasattr(value, "detach"):
        name = str(len(tensors))
        tensors[name] = _plain(value)
        return {"tensor": name}
    return value


def _unpack(value: Any, tensors: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "list":
        return [_unpack(v, tensors) for v in inner]
    return {k: _unpack(v, tensors) for k, v in inner}


def _plain(tensor: Any) -> Any:
    """Return a tensor as a file holds it: a contiguous one of its own on the CPU."""
    import torch

    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _sync(folder: Path) -> None:
    """Make the rename itself last, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
